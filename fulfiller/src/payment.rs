//! What all the events of one payment mean together. Pure, and blind to the order of arrival:
//! the events are sorted before anything is concluded.
//!
//! The rules: a completed payment takes its goods, once; a pending one reserves them; a full
//! refund puts them back, a partial one does not; reversals and disputes move nothing and are
//! flagged for a person; a payment that was refused and completed is for a person as well.

use std::collections::{BTreeMap, BTreeSet};

use quittance_common::event::{EventType, Line, PaymentEvent};
use quittance_common::ids::Sku;
use quittance_common::money::Money;
use quittance_common::shop::Hold;
use quittance_common::status::TxnType;

use crate::announcement::News;

/// The status of a payment, as listings show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The money is there.
    Completed,
    /// The money is on its way or held.
    Pending,
    /// Some of it was given back.
    PartiallyRefunded,
    /// All of it was given back.
    Refunded,
    /// It was taken back.
    Reversed,
    /// Denied.
    Denied,
    /// Failed.
    Failed,
    /// The authorisation expired.
    Expired,
    /// The authorisation was voided.
    Voided,
    /// Nothing is known about the money.
    Noted,
}

impl Status {
    /// The name in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Pending => "pending",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Reversed => "reversed",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Voided => "voided",
            Self::Noted => "noted",
        }
    }

    /// The status of an event that says that no money will come.
    const fn of_refusal(event_type: EventType) -> Option<Self> {
        match event_type {
            EventType::Denied => Some(Self::Denied),
            EventType::Failed => Some(Self::Failed),
            EventType::Expired => Some(Self::Expired),
            EventType::Voided => Some(Self::Voided),
            _ => None,
        }
    }
}

/// One refund: its id (the refund's own transaction) and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The refund's transaction id, or the event's key where there is none.
    pub id: String,
    /// How much, as a positive amount.
    pub amount: Money,
}

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
    /// Whether the money was there at some time and nothing speaks against it.
    paid: bool,
    /// Refunds of a payment that is known to be paid.
    refunds: Vec<Refund>,
    /// Whether all of it was given back.
    refunded_in_full: bool,
}

/// One thing to be done for a payment, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Bring the stock to this.
    Stock(Hold),
    /// Tell the customer.
    Tell(News),
}

/// Concludes what `events`, all of one subject, mean together. Their order does not matter.
pub fn fold(events: &[PaymentEvent]) -> Payment {
    let mut sorted: Vec<&PaymentEvent> = events.iter().collect();
    sorted.sort_by(|a, b| (a.received_at, &a.key).cmp(&(b.received_at, &b.key)));
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
        .rev()
        .find_map(|event| Status::of_refusal(event.event_type));
    let completed: Vec<&PaymentEvent> = of(EventType::Completed).collect();
    let pending: Vec<&PaymentEvent> = of(EventType::Pending).collect();
    // The payment's own events say what it is about; the latest word of the highest rank wins.
    let telling: Vec<&PaymentEvent> = completed
        .iter()
        .chain(&pending)
        .copied()
        .chain(
            sorted
                .iter()
                .copied()
                .filter(|e| Status::of_refusal(e.event_type).is_some()),
        )
        .collect();
    let gross = telling
        .iter()
        .copied()
        .chain(of(EventType::PayoutItem))
        .find_map(|event| event.data.gross);
    let paid = !completed.is_empty() && refusal.is_none();

    let refunds = refunds(&sorted, gross, &mut flags);
    let refunded = sum(&refunds);
    let refunded_in_full = is_full(gross, refunded, &mut flags);
    let reversed = is_reversed(&sorted, &mut flags);
    mark(&sorted, &completed, refusal, &mut flags);
    let lines = lines(&telling, &mut flags);
    let settles = completed
        .iter()
        .filter(|event| paid && !is_of_a_series(event))
        .find_map(|event| {
            let order = &event.data.order;
            let bound = order.bound.as_ref().map(ToString::to_string);
            bound.or_else(|| order.invoice.clone())
        });

    let status = match (completed.is_empty(), refusal) {
        _ if reversed => Status::Reversed,
        (false, _) if refunded_in_full => Status::Refunded,
        (false, _) if !refunds.is_empty() => Status::PartiallyRefunded,
        (false, _) => Status::Completed,
        (true, Some(refusal)) => refusal,
        (true, None) if !pending.is_empty() => Status::Pending,
        (true, None) => Status::Noted,
    };
    Payment {
        status,
        gross,
        refunded,
        lines,
        flags,
        settles,
        paid,
        refunds,
        refunded_in_full,
    }
}

/// Everything that a payment in this state must have had, in order. What it has had already is
/// left out by whoever does it; more events only ever add to a paid payment's effects.
pub fn effects(payment: &Payment, events: &[PaymentEvent]) -> Vec<Effect> {
    if payment.paid {
        let mut effects = vec![Effect::Stock(Hold::Taken), Effect::Tell(News::Received)];
        effects.extend(payment.refunds.iter().map(|refund| {
            Effect::Tell(News::Refunded {
                refund: refund.id.clone(),
                amount: refund.amount,
            })
        }));
        if payment.refunded_in_full {
            effects.push(Effect::Stock(Hold::Nothing));
        }
        return effects;
    }
    match payment.status {
        Status::Pending => {
            let reason = events
                .iter()
                .filter(|event| event.event_type == EventType::Pending)
                .max_by_key(|event| (event.received_at, event.key.clone()))
                .and_then(|event| event.data.pending_reason.clone());
            vec![
                Effect::Stock(Hold::Reserved),
                Effect::Tell(News::Pending { reason }),
            ]
        }
        Status::Denied | Status::Failed | Status::Expired | Status::Voided => {
            vec![Effect::Stock(Hold::Nothing), Effect::Tell(News::Failed)]
        }
        // Paid after it was refused (for a person), reversed before it was ever paid, or nothing
        // known: whatever was set aside is given back, and the customer hears nothing.
        Status::Completed
        | Status::PartiallyRefunded
        | Status::Refunded
        | Status::Reversed
        | Status::Noted => vec![Effect::Stock(Hold::Nothing)],
    }
}

/// Whether a payment is one of many under the same invoice.
const fn is_of_a_series(event: &PaymentEvent) -> bool {
    matches!(
        event.data.txn_type,
        Some(
            TxnType::SubscrPayment
                | TxnType::RecurringPayment
                | TxnType::RecurringPaymentOutstandingPayment
                | TxnType::MerchPmt
        )
    )
}

/// The ledger of refunds, each counted once.
fn refunds(
    sorted: &[&PaymentEvent],
    gross: Option<Money>,
    flags: &mut BTreeSet<String>,
) -> Vec<Refund> {
    let mut ledger: BTreeMap<String, Refund> = BTreeMap::new();
    let of_type = |event: &&&PaymentEvent| event.event_type == EventType::Refunded;
    for event in sorted.iter().filter(of_type) {
        let id = event
            .data
            .txn_id
            .as_ref()
            .map_or(event.key.as_str(), |txn| txn.as_str())
            .to_owned();
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

fn sum(refunds: &[Refund]) -> Option<Money> {
    refunds
        .iter()
        .map(|refund| refund.amount)
        .reduce(|a, b| a.checked_add(b).unwrap_or(a))
}

fn is_full(gross: Option<Money>, refunded: Option<Money>, flags: &mut BTreeSet<String>) -> bool {
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
fn is_reversed(sorted: &[&PaymentEvent], flags: &mut BTreeSet<String>) -> bool {
    let count = |wanted: EventType| {
        sorted
            .iter()
            .filter(|event| event.event_type == wanted)
            .map(|event| {
                event
                    .data
                    .txn_id
                    .as_ref()
                    .map_or(event.key.as_str(), |txn| txn.as_str())
            })
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

/// The remaining flags.
fn mark(
    sorted: &[&PaymentEvent],
    completed: &[&PaymentEvent],
    refusal: Option<Status>,
    flags: &mut BTreeSet<String>,
) {
    let has = |wanted: EventType| sorted.iter().any(|event| event.event_type == wanted);
    let mut flag = |when: bool, name: &str| {
        if when {
            flags.insert(name.to_owned());
        }
    };
    flag(
        !completed.is_empty() && refusal.is_some(),
        "paid_after_denied",
    );
    flag(
        completed.is_empty() && has(EventType::Refunded),
        "refund_awaits_payment",
    );
    let amounts: BTreeSet<_> = completed
        .iter()
        .filter_map(|event| event.data.gross)
        .map(|gross| (gross.currency(), gross.minor()))
        .collect();
    flag(amounts.len() > 1, "amount_changed");
    flag(
        !completed.is_empty() && amounts.is_empty(),
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
