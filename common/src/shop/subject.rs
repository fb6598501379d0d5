//! Which row of the books an event belongs to. Pure.

use std::borrow::Cow;
use std::fmt;

use super::ShopError;
use crate::claims::Fingerprint;
use crate::event::{Environment, EventType, PaymentEvent, Subject};
use crate::ids::{GatewayId, TxnId};

/// The kinds of rows.
const KINDS: [&str; 5] = ["payment", "case", "subscription", "payout", "message"];

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
        Self::beside(event, kind, id)
    }

    /// The row beside the payment's that `event` tells about: the case of a dispute, the
    /// subscription of a payment. `None` when there is none, or when it is the event's own.
    pub fn about(event: &PaymentEvent) -> Option<Self> {
        match (&event.data.subject, &event.data.txn_id) {
            (Subject::Case(id), Some(_)) => Some(Self::beside(event, "case", id)),
            (Subject::Payment(_), _) => event
                .data
                .subscription
                .as_ref()
                .map(|id| Self::beside(event, "subscription", id)),
            _ => None,
        }
    }

    /// The authorisation that `event` captures. A payment that names a parent is a capture (of an
    /// authorisation, or an authorisation of an order); refunds and reversals name theirs too, and
    /// have the parent as their subject already.
    pub fn authorization_of(event: &PaymentEvent) -> Option<Self> {
        let is_payments_own = matches!(
            event.event_type,
            EventType::Completed
                | EventType::Pending
                | EventType::Denied
                | EventType::Failed
                | EventType::Expired
                | EventType::Voided
                | EventType::Noted
        );
        let Subject::Payment(own) = &event.data.subject else {
            return None;
        };
        event
            .data
            .parent_txn_id
            .as_ref()
            .filter(|parent| is_payments_own && *parent != own)
            .map(|parent| Self::beside(event, "payment", TxnId::as_str(parent)))
    }

    /// Reads a stored name; `None` when it is none.
    pub fn parse(full: &str) -> Option<Self> {
        let mut parts = full.splitn(4, ':').skip(2);
        let kind = parts.next()?;
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        Some(Self {
            kind,
            id: parts.next()?.to_owned(),
            full: full.to_owned(),
        })
    }

    /// The same of a name that the books have stored.
    pub(super) fn stored(full: &str) -> Result<Self, ShopError> {
        Self::parse(full).ok_or_else(|| ShopError::Unreadable {
            what: "subject",
            detail: "not gateway:environment:kind:id".to_owned(),
        })
    }

    /// The row of a subscription.
    pub(super) fn subscription(gateway: GatewayId, environment: Environment, id: &str) -> Self {
        Self::named(gateway, environment, "subscription", id)
    }

    fn beside(event: &PaymentEvent, kind: &'static str, id: &str) -> Self {
        Self::named(event.gateway, event.data.environment, kind, id)
    }

    fn named(gateway: GatewayId, environment: Environment, kind: &'static str, id: &str) -> Self {
        let id = bounded(id);
        Self {
            kind,
            id: id.clone().into_owned(),
            full: format!("{gateway}:{environment}:{kind}:{id}"),
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

/// The most bytes of an id that stands in an index: `PostgreSQL` takes no more than some 2700 for all
/// columns of one, and an id that a gateway gives has less than 30.
const LONGEST: usize = 512;

/// An id as the books can index it, whatever its sender wrote: one that is too long, or has a zero
/// character, which `PostgreSQL` does not store, becomes `#` and its hash.
pub(super) fn bounded(id: &str) -> Cow<'_, str> {
    if id.len() <= LONGEST && !id.contains('\0') {
        return Cow::Borrowed(id);
    }
    Cow::Owned(format!("#{}", Fingerprint::of(id.as_bytes()).as_str()))
}

impl fmt::Display for SubjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_no_index_takes_becomes_its_hash_and_others_stay() {
        let usual = "P".repeat(LONGEST);
        assert_eq!(bounded(&usual), usual);
        for odd in ["P".repeat(LONGEST + 1), "I-1\0".to_owned()] {
            let short = bounded(&odd);
            assert!(short.starts_with('#') && short.len() < 80, "{short}");
            assert_eq!(short, bounded(&odd), "the same every time");
        }
    }

    #[test]
    fn a_stored_name_is_read_back_whatever_its_id_holds() {
        let key = SubjectKey::parse("paypal:live:case:PP-D-1:2").unwrap();
        assert_eq!((key.kind(), key.id()), ("case", "PP-D-1:2"));
        assert_eq!(key.as_str(), "paypal:live:case:PP-D-1:2");
        assert_eq!(SubjectKey::parse("paypal:live:cart:1"), None);
        assert_eq!(SubjectKey::parse("paypal:live"), None);
    }
}
