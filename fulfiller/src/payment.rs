//! What all the events of one payment mean together. Pure, and blind to the order of arrival:
//! the events are sorted before anything is concluded.
//!
//! The rules: a completed payment takes its goods, once; a pending one reserves them; a full
//! refund puts them back, a partial one does not; reversals and disputes move nothing and are
//! flagged for a person; a payment that was refused and completed is for a person as well, and so
//! is one for an order that was cancelled.
//!
//! An authorisation and its captures are one payment: what is captured adds up, the goods are
//! reserved by the one and taken by the first of the others, and the authorisation's end (voided,
//! expired) says nothing about money that was captured before.
//!
//! The result depends on *which* events there are, not on when each was received: nothing is
//! chosen by time. What a customer was told on the way (pending, failed) is true of the day on
//! which it was told, and is the only thing that differs between two orders of arrival; see
//! [`due`].

use std::collections::{BTreeMap, BTreeSet};

use quittance_common::event::{EventType, Line, PaymentEvent};
use quittance_common::ids::{Sku, TxnId};
use quittance_common::money::Money;
use quittance_common::settings::Restock;

mod effects;
mod ledger;
mod status;

pub use effects::{Effect, due, effects};
pub use ledger::Refund;
use ledger::{captured, is_full, is_reversed, mark_captures, refunds, sum};
pub use status::Status;

/// That there is money for an order which the shop has cancelled.
pub const ORDER_CANCELLED: &str = "order_cancelled";

/// That money for such an order is on its way.
pub const PENDING_FOR_CANCELLED: &str = "pending_for_cancelled_order";

/// Whether the gateway has called a payment completed, and what speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// It has not.
    Unseen,
    /// It has, and nothing speaks against it.
    Sound,
    /// It was refused as well: for a person.
    Contradicted,
    /// Its order was cancelled: for a person.
    ForCancelled,
}

/// What has become of the order that a payment is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OrderState {
    /// It stands, or there is none.
    #[default]
    Open,
    /// The shop has cancelled it.
    Cancelled,
}

/// That a payment was refused as well as completed.
const PAID_AFTER_DENIED: &str = "paid_after_denied";

/// A payment after all of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// What became of it.
    pub status: Status,
    /// What was paid, or is to be.
    pub gross: Option<Money>,
    /// The sum of what was given back.
    pub refunded: Option<Money>,
    /// What was bought: how many of each sku.
    pub lines: BTreeMap<Sku, i64>,
    /// What a person should see, as reason codes.
    pub flags: BTreeSet<String>,
    /// The order that this payment settles: the one that the checks bound it to, or else its
    /// invoice; only when it is paid and not one of a series (renewals repeat the invoice).
    pub settles: Option<String>,
    /// What has become of the order that it is for.
    pub(crate) order: OrderState,
    /// Whether the money was there at some time, and what speaks against it.
    pub(crate) money: Incoming,
    /// Refunds of a payment that is known to be paid.
    refunds: Vec<Refund>,
    /// Whether all of it was given back, and the goods go back on the shelf for that.
    puts_back: bool,
}

/// Concludes what `events`, all of one subject, mean together. Their order does not matter.
pub fn fold(events: &[PaymentEvent]) -> Payment {
    fold_for(OrderState::Open, events)
}

/// The same where something is known about the order that the payment is for. It makes no
/// difference whether the order was cancelled before the events or between them.
pub fn fold_for(order: OrderState, events: &[PaymentEvent]) -> Payment {
    let mut sorted: Vec<&PaymentEvent> = events.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let of = |wanted: EventType| {
        sorted
            .iter()
            .copied()
            .filter(move |e| e.event_type == wanted)
    };

    let mut flags: BTreeSet<String> = sorted
        .iter()
        .flat_map(|event| event.data.flags.iter().cloned())
        .collect();
    let refusal = sorted
        .iter()
        .filter_map(|event| Status::of_refusal(event.event_type))
        .max_by_key(|status| status.weight());
    let completed: Vec<&PaymentEvent> = of(EventType::Completed).collect();
    let sound = sound(&sorted, &completed, order, &mut flags);
    let pending: Vec<&PaymentEvent> = of(EventType::Pending).collect();
    // The payment's own events say what it is about; the highest rank wins.
    let telling: Vec<&PaymentEvent> = sound
        .iter()
        .chain(&completed)
        .chain(&pending)
        .copied()
        .chain(
            sorted
                .iter()
                .copied()
                .filter(|e| Status::of_refusal(e.event_type).is_some()),
        )
        .collect();
    let gross =
        captured(&sound, &mut flags).or_else(|| telling.iter().find_map(|event| event.data.gross));
    let authorized = pending.iter().find_map(|event| event.data.gross);
    let asked = telling.iter().find_map(|event| event.data.asked);
    mark_captures(&sound, gross, authorized, asked, &mut flags);
    let paid = !sound.is_empty();

    let refunds = refunds(&sorted, gross, &mut flags);
    let refunded = sum(&refunds);
    let refunded_in_full = is_full(gross, refunded, &mut flags);
    let reversed = is_reversed(&sorted, &mut flags);
    mark(&sorted, &completed, &mut flags);
    let lines = lines(&telling, &mut flags);
    let settles = settles(&sound, &mut flags);

    let status = match (completed.is_empty(), refusal) {
        _ if reversed => Status::Reversed,
        (false, _) if refunded_in_full => Status::Refunded,
        (false, _) if !refunds.is_empty() => Status::PartiallyRefunded,
        (false, _) => Status::Completed,
        (true, Some(refusal)) => refusal,
        (true, None) if !pending.is_empty() => Status::Pending,
        (true, None) => Status::Noted,
    };
    if order == OrderState::Cancelled && !completed.is_empty() {
        flags.insert(ORDER_CANCELLED.to_owned());
    } else if order == OrderState::Cancelled && status == Status::Pending {
        flags.insert(PENDING_FOR_CANCELLED.to_owned());
    }
    Payment {
        status,
        order,
        money: match order {
            _ if completed.is_empty() => Incoming::Unseen,
            OrderState::Cancelled => Incoming::ForCancelled,
            OrderState::Open if paid => Incoming::Sound,
            OrderState::Open => Incoming::Contradicted,
        },
        gross,
        refunded,
        lines,
        settles,
        flags,
        refunds,
        puts_back: refunded_in_full,
    }
}

/// The order that these completed events settle: the one that the checks bound them to, or else
/// their invoice.
fn settles(sound: &[&PaymentEvent], flags: &mut BTreeSet<String>) -> Option<String> {
    let orders = sound.iter().map(|event| &event.data.order);
    let bound: BTreeSet<_> = orders.filter_map(|order| order.bound.as_ref()).collect();
    if bound.len() > 1 {
        flags.insert("settles_another_order".to_owned());
    }
    sound
        .iter()
        .find_map(|event| event.order_ref().map(str::to_owned))
}

/// The transaction that an event is its own of, where it has one.
fn txn(event: &PaymentEvent) -> &str {
    event
        .data
        .txn_id
        .as_ref()
        .map_or(event.key.as_str(), |txn| txn.as_str())
}

/// The completed events that nothing speaks against. Against one speaks any refusal of the same
/// transaction, the authorisation's having been denied or failed, and an order that was cancelled.
fn sound<'a>(
    sorted: &[&PaymentEvent],
    completed: &[&'a PaymentEvent],
    order: OrderState,
    flags: &mut BTreeSet<String>,
) -> Vec<&'a PaymentEvent> {
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
        !refused && order == OrderState::Open
    });
    sound
}

impl Payment {
    /// Whether the money was there at some time and nothing speaks against it.
    pub(crate) fn is_paid(&self) -> bool {
        self.money == Incoming::Sound
    }

    /// The same in a shop that puts goods back as `restock` says.
    #[must_use]
    pub fn by(self, restock: Restock) -> Self {
        let puts_back = self.puts_back && restock == Restock::OnFullRefund;
        Self { puts_back, ..self }
    }

    /// Whether what was sold goes back on the shelf.
    pub const fn puts_back(&self) -> bool {
        self.puts_back
    }
}

/// The remaining flags.
fn mark(sorted: &[&PaymentEvent], completed: &[&PaymentEvent], flags: &mut BTreeSet<String>) {
    let has = |wanted: EventType| sorted.iter().any(|event| event.event_type == wanted);
    let mut flag = |when: bool, name: &str| {
        if when {
            flags.insert(name.to_owned());
        }
    };
    flag(
        completed.is_empty() && has(EventType::Refunded),
        "refund_awaits_payment",
    );
    let mut amounts: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
    for event in completed {
        let known = amounts.entry(txn(event)).or_default();
        known.extend(
            event
                .data
                .gross
                .map(|gross| (gross.currency(), gross.minor())),
        );
    }
    flag(
        amounts.values().any(|known| known.len() > 1),
        "amount_changed",
    );
    flag(
        amounts.values().any(BTreeSet::is_empty),
        "paid_without_amount",
    );
    flag(has(EventType::Unknown), "unknown_event");
    let cases = |wanted: EventType| {
        sorted
            .iter()
            .filter(move |event| event.event_type == wanted)
            .map(|event| event.data.subject.id())
            .collect::<BTreeSet<&str>>()
    };
    let adjusted = cases(EventType::DisputeAdjusted);
    let opened = cases(EventType::DisputeOpened);
    flag(opened.difference(&adjusted).next().is_some(), "disputed");
    flag(!adjusted.is_empty(), "dispute_adjusted");
}

/// What was bought, from the first event that says so; how many of each sku.
fn lines(telling: &[&PaymentEvent], flags: &mut BTreeSet<String>) -> BTreeMap<Sku, i64> {
    let lines: &[Line] = telling
        .iter()
        .map(|event| event.data.lines.as_slice())
        .find(|lines| !lines.is_empty())
        .unwrap_or_default();
    let mut counted = BTreeMap::new();
    for line in lines {
        let Some(sku) = &line.sku else {
            flags.insert("item_without_sku".to_owned());
            continue;
        };
        let total: &mut i64 = counted.entry(sku.clone()).or_default();
        *total = total.saturating_add(i64::from(line.quantity));
    }
    counted
}

#[cfg(test)]
mod tests;
