//! The money of a payment: what was captured, given back and taken back, each transaction counted
//! once. Pure.

use std::collections::{BTreeMap, BTreeSet};

use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::money::Money;

use super::txn;

/// One refund: its id (the refund's own transaction) and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The refund's transaction id, or the event's key where there is none.
    pub id: String,
    /// How much, as a positive amount.
    pub amount: Money,
}

/// What was captured: one amount a transaction, added up.
pub(super) fn captured(sound: &[&PaymentEvent], flags: &mut BTreeSet<String>) -> Option<Money> {
    let mut amounts: BTreeMap<&str, Money> = BTreeMap::new();
    for event in sound {
        if let Some(gross) = event.data.gross {
            amounts.entry(txn(event)).or_insert(gross);
        }
    }
    let mut amounts = amounts.into_values();
    let first = amounts.next()?;
    Some(amounts.fold(first, |sum, next| {
        sum.checked_add(next).unwrap_or_else(|| {
            flags.insert("capture_currency_mismatch".to_owned());
            sum
        })
    }))
}

/// Flags what was captured against what was authorised and what was asked. `partial_capture`, which
/// the checks note of each part, goes once the parts make up the whole.
pub(super) fn mark_captures(
    sound: &[&PaymentEvent],
    captured: Option<Money>,
    authorized: Option<Money>,
    asked: Option<Money>,
    flags: &mut BTreeSet<String>,
) {
    let Some(captured) = captured.filter(|_| !sound.is_empty()) else {
        return;
    };
    // How much more (or, below zero, less) was captured than that; `None` where it cannot be said.
    let beyond = |limit: Option<Money>| {
        let limit = limit.filter(|limit| limit.currency() == captured.currency())?;
        Some(captured.minor().saturating_sub(limit.minor()))
    };
    if beyond(authorized).is_some_and(|beyond| beyond < 0) {
        flags.insert("partly_captured".to_owned());
    }
    if beyond(asked).is_some_and(|beyond| beyond >= 0) {
        flags.remove("partial_capture");
    }
    let is_capture = sound.iter().any(|event| event.data.parent_txn_id.is_some());
    let is_too_much = [beyond(authorized), beyond(asked)]
        .into_iter()
        .flatten()
        .any(|beyond| beyond > 0);
    if is_capture && is_too_much {
        flags.insert("over_captured".to_owned());
    }
}

/// The ledger of refunds, each counted once.
pub(super) fn refunds(
    sorted: &[&PaymentEvent],
    gross: Option<Money>,
    flags: &mut BTreeSet<String>,
) -> Vec<Refund> {
    let mut ledger: BTreeMap<String, Refund> = BTreeMap::new();
    let of_type = |event: &&&PaymentEvent| event.event_type == EventType::Refunded;
    for event in sorted.iter().filter(of_type) {
        let id = txn(event).to_owned();
        match (event.data.gross, gross) {
            (None, _) => {
                flags.insert("refund_without_amount".to_owned());
            }
            (Some(refund), Some(gross)) if refund.currency() != gross.currency() => {
                flags.insert("refund_currency_mismatch".to_owned());
            }
            (Some(refund), _) => {
                let amount = refund.abs();
                ledger.entry(id.clone()).or_insert(Refund { id, amount });
            }
        }
    }
    ledger.into_values().collect()
}

pub(super) fn sum(refunds: &[Refund]) -> Option<Money> {
    refunds
        .iter()
        .map(|refund| refund.amount)
        .reduce(|a, b| a.checked_add(b).unwrap_or(a))
}

pub(super) fn is_full(
    gross: Option<Money>,
    refunded: Option<Money>,
    flags: &mut BTreeSet<String>,
) -> bool {
    match (gross, refunded) {
        (Some(gross), Some(refunded)) if gross.currency() == refunded.currency() => {
            if refunded.minor() > gross.minor() {
                flags.insert("over_refunded".to_owned());
            }
            refunded.minor() >= gross.minor()
        }
        _ => false,
    }
}

/// Whether more reversals than cancellations of reversals are known. Each has its own id.
pub(super) fn is_reversed(sorted: &[&PaymentEvent], flags: &mut BTreeSet<String>) -> bool {
    let count = |wanted: EventType| {
        sorted
            .iter()
            .filter(|event| event.event_type == wanted)
            .map(|event| txn(event))
            .collect::<BTreeSet<_>>()
            .len()
    };
    let (reversals, canceled) = (
        count(EventType::Reversed),
        count(EventType::ReversalCanceled),
    );
    if reversals > canceled {
        flags.insert("reversed".to_owned());
    }
    if canceled > 0 {
        flags.insert("reversal_canceled".to_owned());
    }
    reversals > canceled
}
