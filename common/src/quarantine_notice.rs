//! The note to the merchant about a message that was parked: an announcement that any stage can
//! queue without knowing anything of mail.
//!
//! Its id is made of what the message is about and of the reason: however often the same comes
//! again, and by whichever way, it is one mail.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::disposition::Lot;
use crate::event::OrderRef;
use crate::ids::{EventKey, MessageId, Reason, TxnId};
use crate::message::{Message, MessageKind};
use crate::money::Money;
use crate::shop::parked::queue_of;
use crate::shop::{Outgoing, OutgoingTo};
use crate::stage::StageName;
use crate::trace::TRACEPARENT;

/// Reasons that a stranger can bring about as often as he likes, by posting what no gateway sent:
/// no mail for these, or anybody could fill the merchant's inbox.
const BY_STRANGERS: [&str; 5] = [
    "invalid",
    "environment_mismatch",
    "ambiguous_field",
    "unreadable_field",
    "gave_up",
];

/// What is known about a parked message beside its reason. Any of it may be missing.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The events that it tells. Without any, notifications are told apart by their bytes, and
    /// what a stage has made by its id.
    pub keys: Vec<EventKey>,
    /// The transaction, as the gateway names it.
    pub txn_id: Option<TxnId>,
    /// How much it is about.
    pub gross: Option<Money>,
    /// The order that it names.
    pub order: OrderRef,
    /// What the check expected, where it compares two values.
    pub expected: Option<String>,
    /// What it found instead.
    pub found: Option<String>,
    /// Whether a person's word lets it go on.
    pub can_release: bool,
}

impl Known {
    /// What a payment event or an announcement says of itself, as far as it can be read at all.
    pub fn told_by(message: &Message) -> Self {
        let json: Value = serde_json::from_slice(&message.body).unwrap_or_default();
        let data = json.get("data").unwrap_or(&json);
        let text = |name: &str| data.get(name).and_then(Value::as_str);
        let read = |name: &str| data.get(name).cloned().unwrap_or_default();
        Self {
            txn_id: text("txn_id").and_then(|id| id.parse().ok()),
            gross: serde_json::from_value(read("gross")).ok(),
            order: serde_json::from_value(read("order")).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// How a parked message is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The message.
    pub message_id: String,
    /// On which queue it is, without the prefix: `quarantine`, `notify.dead` ...
    pub queue: String,
    /// Whether `quittance payments release` lets it go on.
    #[serde(default)]
    pub can_release: bool,
    /// What the check expected, where it compares two values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What it found instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// What is queued by [`crate::shop::Shop::enqueue`].
#[derive(Debug, Clone)]
pub struct Notice {
    /// What it is about, in the outbox.
    pub subject: String,
    /// Its row there.
    pub outgoing: Outgoing,
}

/// What to queue beside parking `message`, which `stage` does for `reason`. `None` when no person
/// is to be told: a stranger could bring it about, it is such a note itself, or nobody knows for
/// whose account the message came.
pub fn quarantine_notice(
    message: &Message,
    stage: StageName,
    lot: Lot,
    reason: &Reason,
    known: &Known,
) -> Option<Notice> {
    if BY_STRANGERS.contains(&reason.as_str()) || is_for_the_merchant(message) {
        return None;
    }
    let headers = &message.headers;
    let subject = format!("message:{}", about(message, known));
    let txn_id = known.txn_id.as_ref().map_or("", TxnId::as_str);
    let mut body = json!({
        "news": "merchant",
        "reasons": [reason.as_str()],
        "quarantined": lot == Lot::Quarantine,
        "parked": Parked {
            message_id: message.id.to_string(),
            queue: queue_of(stage.as_str(), lot.as_str()).to_owned(),
            can_release: known.can_release && lot == Lot::Quarantine,
            expected: known.expected.clone(),
            found: known.found.clone(),
        },
        "subject": subject,
        "txn_id": txn_id,
        "gross": known.gross,
        "order": known.order,
    });
    if let (Some(traceparent), Some(members)) = (&headers.traceparent, body.as_object_mut()) {
        // The notice goes by way of the outbox, which keeps bodies and no headers.
        members.insert(TRACEPARENT.to_owned(), traceparent.as_str().into());
    }
    let outgoing = Outgoing {
        id: MessageId::from_name(&format!("{subject}/mail_merchant:{reason}")),
        to: OutgoingTo::Notify,
        gateway: headers.gateway?,
        account: headers.account.clone()?,
        received_at: headers.received_at.unwrap_or(message.timestamp),
        payload: body.to_string(),
    };
    Some(Notice { subject, outgoing })
}

/// What tells a message from others that are parked for the same reason.
fn about(message: &Message, known: &Known) -> MessageId {
    if !known.keys.is_empty() {
        let mut keys: Vec<&str> = known.keys.iter().map(EventKey::as_str).collect();
        keys.sort_unstable();
        return MessageId::from_name(&keys.join("\n"));
    }
    match message.kind {
        // Each post has an id of its own, and its bytes may be posted again and again.
        MessageKind::NotificationV1 | MessageKind::EvidenceV1 => {
            MessageId::from_name(crate::claims::Fingerprint::of(&message.body).as_str())
        }
        MessageKind::PaymentV1 | MessageKind::AnnouncementV1 | MessageKind::Unknown(_) => {
            message.id
        }
    }
}

/// A note that nobody takes must not give rise to the next one.
fn is_for_the_merchant(message: &Message) -> bool {
    let news = || -> Option<String> {
        let json: Value = serde_json::from_slice(&message.body).ok()?;
        Some(json.get("news")?.as_str()?.to_owned())
    };
    message.kind == MessageKind::AnnouncementV1 && news().as_deref() == Some("merchant")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GatewayId;
    use crate::message::Headers;
    use bytes::Bytes;

    fn message(id: &str, kind: MessageKind, body: &'static [u8]) -> Message {
        Message {
            id: MessageId::from_name(id),
            kind,
            content_type: String::new(),
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            headers: Headers {
                gateway: Some(GatewayId::PayPal),
                account: "default".parse().ok(),
                ..Headers::default()
            },
            body: Bytes::from_static(body),
        }
    }

    fn refused(message: &Message, reason: &'static str, keys: &[&str]) -> Option<MessageId> {
        let known = Known {
            keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
            ..Known::default()
        };
        let (stage, lot) = (StageName::Verifier, Lot::Quarantine);
        let notice = quarantine_notice(message, stage, lot, &Reason::of(reason), &known);
        notice.map(|notice| notice.outgoing.id)
    }

    #[test]
    fn copies_of_one_event_by_any_way_are_one_note_a_reason() {
        let ipn = message("one", MessageKind::NotificationV1, b"txn_id=T1&x=1");
        let again = message("two", MessageKind::NotificationV1, b"txn_id=T1&x=1");
        let pdt = message("three", MessageKind::EvidenceV1, b"SUCCESS txn_id=T1");
        let key = ["pp:live:T1:completed:"];
        let id = refused(&ipn, "amount_mismatch", &key);
        assert!(id.is_some());
        for copy in [&again, &pdt] {
            assert_eq!(refused(copy, "amount_mismatch", &key), id);
            assert_ne!(refused(copy, "order_missing", &key), id);
        }
        let other = ["pp:live:T2:completed:"];
        assert_ne!(refused(&ipn, "amount_mismatch", &other), id);
        let [a, b] = ["pp:live:mp:1:completed", "pp:live:mp:2:completed"];
        let both = refused(&ipn, "payer_mismatch", &[a, b]);
        assert_eq!(refused(&again, "payer_mismatch", &[b, a]), both);
    }

    #[test]
    fn what_cannot_be_read_is_known_by_its_bytes() {
        let one = message("one", MessageKind::NotificationV1, b"num_cart_items=9999");
        let again = message("two", MessageKind::NotificationV1, b"num_cart_items=9999");
        let other = message("three", MessageKind::NotificationV1, b"num_cart_items=9998");
        let id = |message| refused(message, "too_many_items", &[]);
        assert_eq!(id(&one), id(&again));
        assert_ne!(id(&one), id(&other));
    }

    #[test]
    fn what_strangers_can_cause_and_notes_themselves_are_told_to_nobody() {
        let forged = message("one", MessageKind::NotificationV1, b"txn_id=T1");
        for reason in BY_STRANGERS {
            assert_eq!(refused(&forged, reason, &[]), None, "{reason}");
        }
        let about = |body| {
            let message = message("m", MessageKind::AnnouncementV1, body);
            let (stage, lot) = (StageName::Notifier, Lot::Dead);
            let known = Known::told_by(&message);
            quarantine_notice(&message, stage, lot, &Reason::of("smtp_rejected"), &known)
        };
        assert!(about(br#"{"news":"merchant","txn_id":"T1"}"#).is_none());
        let notice = about(br#"{"news":"received","txn_id":"T1","order":{"invoice":"A-1"},"gross":{"value":"9.90","currency":"EUR"}}"#);
        let body: Value = serde_json::from_str(&notice.unwrap().outgoing.payload).unwrap();
        assert_eq!(
            (&body["txn_id"], &body["gross"]["value"]),
            (&json!("T1"), &json!("9.90"))
        );
        assert_eq!(
            (&body["parked"]["queue"], &body["quarantined"]),
            (&json!("notify.dead"), &json!(false))
        );
        assert_eq!(body["order"]["invoice"], "A-1");
    }
}
