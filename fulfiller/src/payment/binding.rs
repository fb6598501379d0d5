//! Which of a payment's completed events count, and for which order. Pure.

use std::collections::BTreeSet;

use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::ids::{OrderId, TxnId};
use quittance_common::shop::Verdict;

use super::standing::PAID_AFTER_DENIED;
use super::{Standing, txn};

/// The completed events that nothing speaks against. Against one speaks any refusal of the same
/// transaction, the authorisation's having been denied or failed, an order that was cancelled, and
/// a person who has closed it; nothing does once a person has accepted it.
pub(super) fn sound<'a>(
    sorted: &[&PaymentEvent],
    completed: &[&'a PaymentEvent],
    standing: Standing,
    flags: &mut BTreeSet<String>,
) -> Vec<&'a PaymentEvent> {
    match standing.verdict {
        Verdict::Accepted => return completed.to_vec(),
        Verdict::Closed => return Vec::new(),
        Verdict::Open => {}
    }
    let is_refused = |paid: &PaymentEvent| {
        sorted.iter().any(|event| match event.event_type {
            EventType::Voided | EventType::Expired => txn(event) == txn(paid),
            EventType::Denied | EventType::Failed => {
                let parent = paid.data.parent_txn_id.as_ref().map(TxnId::as_str);
                txn(event) == txn(paid) || Some(txn(event)) == parent
            }
            _ => false,
        })
    };
    let mut sound = completed.to_vec();
    sound.retain(|event| {
        let refused = is_refused(event);
        if refused {
            flags.insert(PAID_AFTER_DENIED.to_owned());
        }
        !refused && !standing.is_cancelled()
    });
    sound
}

/// The order that the checks have held these events against. Never their invoice: anybody can write
/// the number of somebody else's order there.
pub(super) fn bound(events: &[&PaymentEvent], flags: &mut BTreeSet<String>) -> Option<String> {
    let bound: BTreeSet<&OrderId> = claimed_orders(events).collect();
    if bound.len() > 1 {
        flags.insert("settles_another_order".to_owned());
    }
    claimed_orders(events).next().map(ToString::to_string)
}

/// The invoice that they name, where no check has held them against an order.
pub(super) fn invoice(events: &[&PaymentEvent]) -> Option<String> {
    if claimed_orders(events).next().is_some() {
        return None;
    }
    events
        .iter()
        .filter(|event| !event.data.is_of_a_series())
        .find_map(|event| event.data.order.invoice.clone())
}

fn claimed_orders<'a>(events: &'a [&PaymentEvent]) -> impl Iterator<Item = &'a OrderId> {
    events.iter().filter_map(|event| event.data.order.claimed())
}
