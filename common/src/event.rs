//! The payment event: what a verified notification means, in gateway-neutral terms. Version 1.
//!
//! On the wire it is `CloudEvents` 1.0 structured JSON (`application/cloudevents+json`): `id` is the
//! business key, `type` the [`EventType`], `source` `/{gateway}/{account}`, `subject` the
//! transaction, case or subscription, `data` the rest. A golden file pins the form.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::claims::Fingerprint;
use crate::ids::{AccountId, EventKey, GatewayId, IdError, MessageId, OrderId, Sku, TxnId};
use crate::money::Money;
use crate::status::{PaymentStatus, PendingReason, ReasonCode, TxnType};
use crate::trace::TraceContext;

/// The media type of a payment event.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What happened. A closed set: the names are routing keys that other people bind to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// The money is there.
    #[serde(rename = "payment.completed")]
    Completed,
    /// The money is on its way or held; see the pending reason.
    #[serde(rename = "payment.pending")]
    Pending,
    /// Denied after pending.
    #[serde(rename = "payment.denied")]
    Denied,
    /// Failed.
    #[serde(rename = "payment.failed")]
    Failed,
    /// The authorisation expired.
    #[serde(rename = "payment.expired")]
    Expired,
    /// The authorisation was voided.
    #[serde(rename = "payment.voided")]
    Voided,
    /// Refunded by the merchant, in full or in part.
    #[serde(rename = "payment.refunded")]
    Refunded,
    /// Charged back or reversed.
    #[serde(rename = "payment.reversed")]
    Reversed,
    /// A reversal was cancelled.
    #[serde(rename = "payment.reversal_canceled")]
    ReversalCanceled,
    /// A status that says nothing about the money yet (`Created`, `Processed`).
    #[serde(rename = "payment.noted")]
    Noted,
    /// A dispute was opened.
    #[serde(rename = "dispute.opened")]
    DisputeOpened,
    /// A dispute was resolved.
    #[serde(rename = "dispute.adjusted")]
    DisputeAdjusted,
    /// Something in the life of a subscription or recurring profile, without money.
    #[serde(rename = "subscription.changed")]
    SubscriptionChanged,
    /// An item of a mass payment that the merchant sent.
    #[serde(rename = "payout.item")]
    PayoutItem,
    /// Verified, and of a kind or status that this build does not know.
    #[serde(rename = "unknown")]
    Unknown,
}

impl EventType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::Completed,
        Self::Pending,
        Self::Denied,
        Self::Failed,
        Self::Expired,
        Self::Voided,
        Self::Refunded,
        Self::Reversed,
        Self::ReversalCanceled,
        Self::Noted,
        Self::DisputeOpened,
        Self::DisputeAdjusted,
        Self::SubscriptionChanged,
        Self::PayoutItem,
        Self::Unknown,
    ];

    /// The name: CloudEvents `type`, and the routing key's second part.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "payment.completed",
            Self::Pending => "payment.pending",
            Self::Denied => "payment.denied",
            Self::Failed => "payment.failed",
            Self::Expired => "payment.expired",
            Self::Voided => "payment.voided",
            Self::Refunded => "payment.refunded",
            Self::Reversed => "payment.reversed",
            Self::ReversalCanceled => "payment.reversal_canceled",
            Self::Noted => "payment.noted",
            Self::DisputeOpened => "dispute.opened",
            Self::DisputeAdjusted => "dispute.adjusted",
            Self::SubscriptionChanged => "subscription.changed",
            Self::PayoutItem => "payout.item",
            Self::Unknown => "unknown",
        }
    }

    /// The event type of a payment status.
    pub const fn of_status(status: &PaymentStatus) -> Self {
        match status {
            PaymentStatus::Completed => Self::Completed,
            PaymentStatus::Pending => Self::Pending,
            PaymentStatus::Denied => Self::Denied,
            PaymentStatus::Failed => Self::Failed,
            PaymentStatus::Expired => Self::Expired,
            PaymentStatus::Voided => Self::Voided,
            PaymentStatus::Refunded => Self::Refunded,
            PaymentStatus::Reversed => Self::Reversed,
            PaymentStatus::CanceledReversal => Self::ReversalCanceled,
            PaymentStatus::Created | PaymentStatus::Processed => Self::Noted,
            PaymentStatus::Other(_) => Self::Unknown,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Live money or the sandbox's. From the account's settings, never from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real money.
    Live,
    /// The gateway's sandbox.
    Sandbox,
}

impl Environment {
    /// The name in keys and listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Sandbox => "sandbox",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl std::str::FromStr for Environment {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "live" => Ok(Self::Live),
            "sandbox" => Ok(Self::Sandbox),
            _ => Err(IdError::Unknown {
                allowed: "live, sandbox",
            }),
        }
    }
}

/// By which way we heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The gateway's notification, proven by postback.
    Ipn,
    /// The gateway's own answer to our PDT look-up.
    Pdt,
    /// An operator's replay (verified again).
    Replay,
}

impl Source {
    /// The name in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipn => "ipn",
            Self::Pdt => "pdt",
            Self::Replay => "replay",
        }
    }
}

/// What an event is about: the thing whose events are folded together, whatever their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Subject {
    /// A payment, by the transaction id of the payment itself: a refund's or reversal's subject is
    /// its parent.
    Payment(TxnId),
    /// A dispute, by case id.
    Case(String),
    /// A subscription or recurring profile, by its id.
    Subscription(String),
    /// An item of a mass payment, by its own transaction id.
    Payout(String),
    /// None of these; by the message's own hash.
    Message(String),
}

impl Subject {
    /// The id, without the kind.
    pub fn id(&self) -> &str {
        match self {
            Self::Payment(txn) => txn.as_str(),
            Self::Case(id) | Self::Subscription(id) | Self::Payout(id) | Self::Message(id) => id,
        }
    }
}

/// How the shop may recognise its order: pass-through fields, untrusted until checked. Shops put
/// addresses and names there: never in logs or metrics.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrderRef {
    /// `invoice`, at most 127 characters at `PayPal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<String>,
    /// `custom`, at most 256 characters at `PayPal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<String>,
    /// The order that the verifier's checks found this payment to be for, and that it may settle.
    /// `None` for a renewal, which settles no order, and for what matches none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<OrderId>,
}

impl fmt::Debug for OrderRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OrderRef")
            .field("invoice", &self.invoice.is_some())
            .field("custom", &self.custom.is_some())
            .field("bound", &self.bound.is_some())
            .finish()
    }
}

/// One cart line, or the single item of a payment. Options may hold what the buyer typed: never in
/// logs or metrics.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Line {
    /// `item_number`: the shop's sku, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<Sku>,
    /// `item_name`, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `quantity`; 1 when the gateway gave none.
    pub quantity: u32,
    /// `mc_gross_N`: the line's gross, quantity included. Absent for a single item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross: Option<Money>,
    /// `option_nameK` and `option_selectionK`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<(String, String)>,
}

impl fmt::Debug for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Line")
            .field("sku", &self.sku)
            .field("quantity", &self.quantity)
            .field("gross", &self.gross)
            .field("options", &self.options.len())
            .finish_non_exhaustive()
    }
}

/// Who paid, as far as the shop needs it. Personal data: never in logs or metrics.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payer {
    /// `payer_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `payer_email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `first_name` and `last_name`, or `payer_business_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `residence_country` or `address_country_code`: two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

impl fmt::Debug for Payer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Payer(..)")
    }
}

/// A verified, checked event. Built only from a [`crate::notification::Verified`] or read from the
/// queue that only the verifier writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEvent {
    /// The business key; two events with one key are one event.
    pub key: EventKey,
    /// Hash of the fields that carry meaning.
    pub fingerprint: Fingerprint,
    /// What happened.
    pub event_type: EventType,
    /// Who told us.
    pub gateway: GatewayId,
    /// Whose account, from the URL.
    pub account: AccountId,
    /// When ingest had it.
    pub received_at: Timestamp,
    /// The trace that it belongs to: CloudEvents' distributed tracing extension. Says nothing
    /// about the payment; two copies of one event differ in it.
    pub trace: Option<TraceContext>,
    /// Everything else.
    pub data: EventData,
}

/// The `data` of the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    /// The raw message that this was read from.
    pub message_id: MessageId,
    /// By which way we heard.
    pub source: Source,
    /// Live or sandbox.
    pub environment: Environment,
    /// What it is about.
    pub subject: Subject,
    /// `txn_id` of this very event (a refund has its own; a dispute carries the payment's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn_id: Option<TxnId>,
    /// `parent_txn_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_txn_id: Option<TxnId>,
    /// `txn_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn_type: Option<TxnType>,
    /// `payment_status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_status: Option<PaymentStatus>,
    /// `pending_reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_reason: Option<PendingReason>,
    /// `reason_code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<ReasonCode>,
    /// `subscr_id`, `recurring_payment_id` or `mp_id` of a payment: the subscription, recurring
    /// profile or billing agreement that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// `mc_gross` with `mc_currency`; negative for refunds and reversals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross: Option<Money>,
    /// `mc_fee`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money>,
    /// `payment_date`, UTC; `None` when it could not be read, which blocks nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// The order, as the gateway passed it through.
    #[serde(default)]
    pub order: OrderRef,
    /// What was bought.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// Who paid.
    #[serde(default)]
    pub payer: Payer,
    /// What the checks noted without refusing (`overpaid`, `unmatched_item`), as reason codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// The CloudEvents envelope, structured JSON.
#[derive(Serialize, Deserialize)]
struct CloudEvent {
    specversion: String,
    id: EventKey,
    source: String,
    #[serde(rename = "type")]
    event_type: EventType,
    subject: String,
    time: Timestamp,
    datacontenttype: String,
    /// Extension attribute: the hash of the fields that carry meaning.
    fingerprint: Fingerprint,
    /// Extension attribute: the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    data: EventData,
}

/// Why a text is not a payment event of version 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not the JSON of this version.
    #[error("not a payment event of version 1: {0}")]
    Json(#[from] serde_json::Error),
    /// A `specversion` other than 1.x.
    #[error("CloudEvents version {0} is not supported")]
    Version(String),
    /// `source` is not `/{gateway}/{account}`.
    #[error("the event's source is not /gateway/account")]
    Source,
}

impl PaymentEvent {
    /// The routing key on the topic exchange: `{gateway}.{event type}`.
    pub fn routing_key(&self) -> String {
        format!("{}.{}", self.gateway, self.event_type)
    }

    /// The message id of this event: the same for every copy of the same event.
    pub fn message_id(&self) -> MessageId {
        MessageId::from_name(self.key.as_str())
    }

    /// The wire form.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn to_json(&self) -> Result<Vec<u8>, EventError> {
        Ok(serde_json::to_vec(&CloudEvent {
            specversion: "1.0".to_owned(),
            id: self.key.clone(),
            source: format!("/{}/{}", self.gateway, self.account),
            event_type: self.event_type,
            subject: self.data.subject.id().to_owned(),
            time: self.received_at,
            datacontenttype: "application/json".to_owned(),
            fingerprint: self.fingerprint.clone(),
            traceparent: self.trace.map(|trace| trace.to_string()),
            data: self.data.clone(),
        })?)
    }

    /// Reads the wire form. Unknown further members are ignored, so that a newer minor form of
    /// version 1 is readable.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EventError> {
        let cloud: CloudEvent = serde_json::from_slice(bytes)?;
        if !cloud.specversion.starts_with("1.") {
            return Err(EventError::Version(cloud.specversion));
        }
        let mut path = cloud.source.split('/').skip(1);
        let gateway = path
            .next()
            .and_then(|g| g.parse().ok())
            .ok_or(EventError::Source)?;
        let account = path
            .next()
            .and_then(|a| a.parse().ok())
            .ok_or(EventError::Source)?;
        Ok(Self {
            key: cloud.id,
            fingerprint: cloud.fingerprint,
            event_type: cloud.event_type,
            gateway,
            account,
            received_at: cloud.time,
            trace: cloud.traceparent.as_deref().and_then(TraceContext::parse),
            data: cloud.data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::paypal::tests::{account, fixture, raw};
    use crate::notification::{Proof, Verified};

    fn event(body: &'static [u8]) -> PaymentEvent {
        let raw = raw(body, Source::Ipn);
        let read = crate::gateway::read(&raw, &account()).unwrap();
        Verified::new(&raw, read, Proof(())).into_events().remove(0)
    }

    #[test]
    fn an_event_written_and_read_again_is_the_same() {
        for body in [
            &fixture!("cart_completed")[..],
            fixture!("refund_partial"),
            fixture!("new_case_chargeback"),
            fixture!("subscr_signup"),
            fixture!("masspay_processed"),
            fixture!("adaptive_payment"),
            fixture!("simulator_declined"),
        ] {
            let event = event(body);
            let again = PaymentEvent::from_json(&event.to_json().unwrap()).unwrap();
            assert_eq!(again, event);
        }
    }

    #[test]
    fn the_wire_form_is_cloudevents_with_exact_amounts_as_text() {
        let event = event(fixture!("refund_partial"));
        let json: serde_json::Value = serde_json::from_slice(&event.to_json().unwrap()).unwrap();
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["type"], "payment.refunded");
        assert_eq!(json["source"], "/paypal/default");
        assert_eq!(json["subject"], "7QT00000WA0000001");
        assert_eq!(json["id"], "pp:live:7QT00000RF0000001:refunded:refund");
        assert_eq!(json["data"]["gross"]["value"], "-2.50");
        assert_eq!(json["data"]["subject"]["kind"], "payment");
        assert_eq!(event.routing_key(), "paypal.payment.refunded");
    }

    /// Others read this form: a change that this test sees needs a new version.
    #[test]
    fn the_wire_form_is_the_golden_one() {
        let golden = include_str!("../../tests/golden/payment-event-v1.json");
        let event = event(fixture!("cart_completed"));
        let written: serde_json::Value = serde_json::from_slice(&event.to_json().unwrap()).unwrap();
        let pinned: serde_json::Value = serde_json::from_str(golden).unwrap();
        assert_eq!(written, pinned, "{written:#}");
        assert_eq!(PaymentEvent::from_json(golden.as_bytes()).unwrap(), event);
    }

    #[test]
    fn the_trace_travels_as_an_extension_and_one_that_is_invalid_is_no_trace() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let traced = PaymentEvent {
            trace: TraceContext::parse(traceparent),
            ..event(fixture!("cart_completed"))
        };
        let json = traced.to_json().unwrap();
        assert_eq!(PaymentEvent::from_json(&json).unwrap(), traced);
        let mut value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["traceparent"], traceparent);
        value["traceparent"] = "nonsense".into();
        let read = PaymentEvent::from_json(value.to_string().as_bytes()).unwrap();
        assert_eq!(read.trace, None);
    }

    #[test]
    fn copies_of_one_event_have_one_message_id() {
        let first = event(fixture!("web_accept_completed_umlaut"));
        let resend = event(fixture!("web_accept_completed_utf8"));
        assert_eq!(first.message_id(), resend.message_id());
        let other = event(fixture!("web_accept_completed"));
        assert_ne!(first.message_id(), other.message_id());
    }

    #[test]
    fn members_that_are_not_known_are_ignored_and_another_version_is_refused() {
        let json = event(fixture!("cart_completed")).to_json().unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        value["data"]["later"] = true.into();
        value["extension"] = 1.into();
        let newer = serde_json::to_vec(&value).unwrap();
        assert!(PaymentEvent::from_json(&newer).is_ok());
        value["specversion"] = "2.0".into();
        let other = serde_json::to_vec(&value).unwrap();
        assert!(matches!(
            PaymentEvent::from_json(&other),
            Err(EventError::Version(_))
        ));
        value["specversion"] = "1.0".into();
        value["source"] = "/paypal".into();
        let nowhere = serde_json::to_vec(&value).unwrap();
        assert!(matches!(
            PaymentEvent::from_json(&nowhere),
            Err(EventError::Source)
        ));
    }

    #[test]
    fn every_event_type_has_the_name_that_it_is_written_with() {
        for event_type in EventType::ALL {
            let written = serde_json::to_value(event_type).unwrap();
            assert_eq!(written, event_type.as_str());
        }
    }

    #[test]
    fn debug_shows_no_personal_data() {
        let shown = format!("{:?}", event(fixture!("cart_completed")));
        for secret in ["customer.example", "Muster", "order-1002", "Earl Grey"] {
            assert!(!shown.contains(secret), "{secret}");
        }
        assert!(shown.contains("TEA-1"));
    }
}
