//! What follows from a payment's state: what it should hold of its goods, and who is told. Pure.

use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::shop::Hold;
use quittance_common::status::PendingReason;

use super::{Incoming, Payment, Status};
use crate::announcement::News;

/// One thing to be done for a payment, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Bring the stock to this.
    Stock(Hold),
    /// Tell the customer.
    Tell(News),
}

/// Everything that a payment in this state must have had, in order. What it has had already is
/// left out by whoever does it.
pub fn effects(payment: &Payment, events: &[PaymentEvent]) -> Vec<Effect> {
    if payment.is_paid() {
        let mut effects = vec![Effect::Stock(Hold::Taken)];
        effects.extend(due(payment).into_iter().map(Effect::Tell));
        if payment.puts_back {
            effects.push(Effect::Stock(Hold::Nothing));
        }
        return effects;
    }
    if payment.money == Incoming::Contradicted {
        // A person decides. Until then the goods are not sold to anybody else: what is on its way
        // to the buyer must not go back on the shelf.
        let mut effects = vec![Effect::Stock(Hold::Taken)];
        effects.extend(due(payment).into_iter().map(Effect::Tell));
        effects.extend(payment.puts_back.then_some(Effect::Stock(Hold::Nothing)));
        return effects;
    }
    match payment.status {
        Status::Pending if !payment.standing.is_cancelled() => vec![
            Effect::Stock(Hold::Reserved),
            Effect::Tell(News::Pending {
                reason: pending_reason(events),
                // Nobody knows before the goods were looked for.
                set_aside: false,
            }),
        ],
        // Refused; for an order that was cancelled (money is for a person); closed by one;
        // reversed before it was ever paid; or nothing known: whatever is held is given back.
        Status::Pending
        | Status::Denied
        | Status::Failed
        | Status::Expired
        | Status::Voided
        | Status::Completed
        | Status::PartiallyRefunded
        | Status::Refunded
        | Status::Reversed
        | Status::Noted => {
            let mut effects = vec![Effect::Stock(Hold::Nothing)];
            effects.extend(due(payment).into_iter().map(Effect::Tell));
            effects
        }
    }
}

/// The set of notifications that the payment's final state calls for: the same in every order of
/// arrival. What a customer may have been told besides is what was true when it was told: that the
/// payment is pending, or that its authorisation ended (both told only while nothing better is
/// known), and, of a payment that was both refused and paid and is for a person now, whichever
/// came first.
pub fn due(payment: &Payment) -> Vec<News> {
    let refunds = payment.refunds.iter().map(|refund| News::Refunded {
        refund: refund.id.clone(),
        amount: refund.amount,
    });
    if payment.is_paid() {
        return std::iter::once(News::Received).chain(refunds).collect();
    }
    if payment.money != Incoming::Unseen {
        // For a person, and nobody is thanked; whoever gets his money back hears so.
        return refunds.collect();
    }
    match payment.status {
        Status::Denied | Status::Failed | Status::Expired | Status::Voided => vec![News::Failed],
        _ => Vec::new(),
    }
}

/// Why the payment is pending: of several reasons, one that is not merely that it was authorised.
fn pending_reason(events: &[PaymentEvent]) -> Option<PendingReason> {
    let waits = |reason: &PendingReason| {
        matches!(reason, PendingReason::Authorization | PendingReason::Order)
    };
    events
        .iter()
        .filter(|event| event.event_type == EventType::Pending)
        .max_by_key(|event| {
            let reason = event.data.pending_reason.as_ref();
            (!reason.is_some_and(waits), event.key.clone())
        })
        .and_then(|event| event.data.pending_reason.clone())
}
