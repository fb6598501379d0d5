//! Which row of the books an event belongs to. Pure.

use std::fmt;

use crate::event::{PaymentEvent, Subject};

/// The name of a row in the books: `{gateway}:{environment}:{kind}:{id}`. The account is not part
/// of it: one transaction reported to two of the merchant's URLs is still one transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectKey {
    kind: &'static str,
    id: String,
    full: String,
}

impl SubjectKey {
    /// The row that `event` belongs to. A dispute that names a payment belongs to the payment,
    /// so that whoever looks at the payment sees it.
    pub fn of(event: &PaymentEvent) -> Self {
        let (kind, id) = match (&event.data.subject, &event.data.txn_id) {
            (Subject::Payment(txn), _) | (Subject::Case(_), Some(txn)) => ("payment", txn.as_str()),
            (Subject::Case(id), None) => ("case", id.as_str()),
            (Subject::Subscription(id), _) => ("subscription", id.as_str()),
            (Subject::Payout(id), _) => ("payout", id.as_str()),
            (Subject::Message(id), _) => ("message", id.as_str()),
        };
        let full = format!("{}:{}:{kind}:{id}", event.gateway, event.data.environment);
        Self {
            kind,
            id: id.to_owned(),
            full,
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// `payment`, `case`, `subscription`, `payout` or `message`.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The id without the rest: the transaction id of a payment.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for SubjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.full)
    }
}
