//! How the transactions of one payment hang together: an order at the gateway, its authorisations,
//! and the captures of each. Pure, and blind to the order of arrival: the events are sorted.

use std::collections::{BTreeMap, BTreeSet};

use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::ids::{Sku, TxnId};
use quittance_common::money::Money;
use quittance_common::shop::SubjectKey;
use quittance_common::status::PendingReason;

use super::status::Status;
use super::{lines, txn};

/// Which transaction names which as its parent.
pub(super) struct Family<'a> {
    parents: BTreeMap<&'a str, &'a str>,
}

impl<'a> Family<'a> {
    /// As any of a transaction's events says: not each repeats its parent.
    pub(super) fn of(sorted: &[&'a PaymentEvent]) -> Self {
        let mut parents = BTreeMap::new();
        for event in sorted {
            let parent = event.data.parent_txn_id.as_ref().map(TxnId::as_str);
            if let Some(parent) = parent.filter(|_| SubjectKey::authorization_of(event).is_some()) {
                parents.entry(txn(event)).or_insert(parent);
            }
        }
        Self { parents }
    }

    /// The transactions above `txn`, the nearest first. They may name each other in a circle.
    fn above<'b>(&'b self, txn: &'b str) -> impl Iterator<Item = &'b str> {
        let parent = move |txn: &&'b str| self.parents.get(txn).copied();
        std::iter::successors(parent(&txn), parent).take(self.parents.len())
    }

    fn is_below(&self, txn: &str, above: &str) -> bool {
        self.above(txn).any(|found| found == above)
    }

    fn has_parent(&self, event: &PaymentEvent) -> bool {
        self.parents.contains_key(txn(event))
    }
}

/// Whether the event tells of money that comes once the merchant captures it.
fn awaits_capture(event: &PaymentEvent) -> bool {
    let reason = event.data.pending_reason.as_ref();
    reason.is_some_and(PendingReason::awaits_capture)
}

/// What was authorised: by an order at the gateway, whatever was authorised of it in parts; else by
/// all authorisations together. A capture that is pending authorises nothing.
pub(super) fn authorized(pending: &[&PaymentEvent], family: &Family<'_>) -> Option<Money> {
    let mut amounts: BTreeMap<&str, Money> = BTreeMap::new();
    for event in pending {
        if let Some(gross) = event.data.gross
            && (awaits_capture(event) || !family.has_parent(event))
        {
            amounts.entry(txn(event)).or_insert(gross);
        }
    }
    let is_topmost = |txn: &str| !family.above(txn).any(|above| amounts.contains_key(above));
    let mut topmost = amounts
        .iter()
        .filter(|(txn, _)| is_topmost(txn))
        .map(|(_, gross)| *gross);
    let first = topmost.next()?;
    topmost.try_fold(first, Money::checked_add)
}

/// Whether `event`, which refuses a transaction, says nothing about the payment as a whole.
///
/// What refuses a capture of an authorisation that is known counts for itself alone, and another
/// capture may follow. The end of an authorisation says nothing while money of it, or of another
/// one, is still on its way.
pub(super) fn counts_for_itself(
    event: &PaymentEvent,
    all: &[&PaymentEvent],
    family: &Family<'_>,
) -> bool {
    match event.event_type {
        EventType::Denied | EventType::Failed => all.iter().any(|other| {
            let parent = event.data.parent_txn_id.as_ref().map(TxnId::as_str);
            awaits_capture(other) && parent == Some(txn(other)) && txn(other) != txn(event)
        }),
        EventType::Voided | EventType::Expired => {
            let refused: BTreeSet<&str> = all
                .iter()
                .filter(|other| Status::of_refusal(other.event_type).is_some())
                .map(|other| other.data.subject.id())
                .collect();
            let ended = event.data.subject.id();
            all.iter().any(|other| {
                other.event_type == EventType::Pending
                    && !refused.contains(txn(other))
                    && !family.is_below(ended, txn(other))
            })
        }
        _ => false,
    }
}

/// What was bought: how many of each sku. Where there are captures, the lines of an order win, then
/// those of what was authorised; else each capture may name a part of the goods, or repeat them
/// all, and of each sku the most that one of them names was bought.
pub(super) fn goods(
    telling: &[&PaymentEvent],
    family: &Family<'_>,
    flags: &mut BTreeSet<String>,
) -> BTreeMap<Sku, i64> {
    if telling.iter().any(|event| family.has_parent(event)) {
        for is_for_order in [true, false] {
            for rank in [Rank::Topmost, Rank::Authorization, Rank::Capture] {
                let named = telling.iter().copied().filter(|event| {
                    event.data.order.claimed().is_some() == is_for_order
                        && Rank::of(event, family) == Some(rank)
                });
                let mut notes = BTreeSet::new();
                let most = most_of_each(named, &mut notes);
                if !most.is_empty() {
                    flags.extend(notes);
                    return most;
                }
            }
        }
    }
    lines(telling, flags)
}

/// Where an event about money that comes in stands in its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// What names no parent: an order at the gateway, or an authorisation.
    Topmost,
    /// An authorisation of such an order.
    Authorization,
    /// A capture.
    Capture,
}

impl Rank {
    fn of(event: &PaymentEvent, family: &Family<'_>) -> Option<Self> {
        match event.event_type {
            EventType::Completed | EventType::Pending if !family.has_parent(event) => {
                Some(Self::Topmost)
            }
            EventType::Pending if awaits_capture(event) => Some(Self::Authorization),
            EventType::Completed | EventType::Pending => Some(Self::Capture),
            _ => None,
        }
    }
}

fn most_of_each<'a>(
    events: impl Iterator<Item = &'a PaymentEvent>,
    flags: &mut BTreeSet<String>,
) -> BTreeMap<Sku, i64> {
    let mut most: BTreeMap<Sku, i64> = BTreeMap::new();
    for event in events {
        for (sku, quantity) in lines(&[event], flags) {
            let known = most.entry(sku).or_default();
            *known = quantity.max(*known);
        }
    }
    most
}
