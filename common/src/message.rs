//! The envelope that travels through every queue, on either engine.
//!
//! The engines translate it to AMQP properties and headers or to columns; the golden files under
//! `tests/golden` pin the AMQP form. Reading is lenient: a header that cannot be read is kept in
//! [`Headers::other`] and its typed field stays empty, so that a bad header never loses a body.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use jiff::Timestamp;

use crate::ids::{AccountId, GatewayId, MessageId, Reason};

/// The most bytes of `reason-detail`: headers share one AMQP frame (131,072 bytes), and more than
/// a frame kills the connection for everybody.
pub const REASON_DETAIL_LIMIT: usize = 2048;

/// One message: what is known about the body, and the body exactly as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Kept through every hop.
    pub id: MessageId,
    /// What the body is (AMQP `type`).
    pub kind: MessageKind,
    /// The media type of the body, as received for a raw notification.
    pub content_type: String,
    /// When this message was made.
    pub timestamp: Timestamp,
    /// Where it comes from and what has happened to it.
    pub headers: Headers,
    /// The body. For a raw notification the exact bytes that the gateway sent.
    pub body: Bytes,
}

impl fmt::Debug for Message {
    /// Shows the size of the body, never the body: it holds personal data.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Message")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a body is, with the version of its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageKind {
    /// `ipn.notification.v1`: a raw notification, exact bytes.
    NotificationV1,
    /// `ipn.evidence.v1`: a PDT reply that the gateway gave us itself; skips only the postback.
    EvidenceV1,
    /// `ipn.payment.v1`: a payment event, `CloudEvents` JSON.
    PaymentV1,
    /// `ipn.announcement.v1`: a customer notification to be sent, JSON.
    AnnouncementV1,
    /// Something this build does not know, kept verbatim: delayed and parked, never dropped.
    Unknown(String),
}

impl MessageKind {
    /// The AMQP `type`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown(name) => name,
            known => known.known(),
        }
    }

    /// The AMQP `type`, of those that this build knows: a word that nobody else chose.
    pub const fn known(&self) -> &'static str {
        match self {
            Self::NotificationV1 => "ipn.notification.v1",
            Self::EvidenceV1 => "ipn.evidence.v1",
            Self::PaymentV1 => "ipn.payment.v1",
            Self::AnnouncementV1 => "ipn.announcement.v1",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Reads an AMQP `type`; what is not known is kept.
    pub fn parse(text: &str) -> Self {
        match text {
            "ipn.notification.v1" => Self::NotificationV1,
            "ipn.evidence.v1" => Self::EvidenceV1,
            "ipn.payment.v1" => Self::PaymentV1,
            "ipn.announcement.v1" => Self::AnnouncementV1,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// The header that says by which request of a person a message goes on. A hint: the request itself
/// decides.
pub const RELEASE_HEADER: &str = "release-id";

/// The headers of design section 5.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `gateway`: who sent the notification.
    pub gateway: Option<GatewayId>,
    /// `account`: from the URL, never from the body.
    pub account: Option<AccountId>,
    /// `received-at`: when ingest had the whole body, RFC 3339 with milliseconds.
    pub received_at: Option<Timestamp>,
    /// `remote-addr`: the peer's address; for people, never for decisions.
    pub remote_addr: Option<IpAddr>,
    /// `attempt`: counted attempts already spent in the present stage.
    pub attempt: u32,
    /// `reason`: why it was delayed or parked last.
    pub reason: Option<Reason>,
    /// `reason-detail`: the same for people, at most [`REASON_DETAIL_LIMIT`] bytes.
    pub reason_detail: Option<String>,
    /// `first-failed-at`: when the present stage failed first on it.
    pub first_failed_at: Option<Timestamp>,
    /// `origin-queue`: the work queue it was parked from.
    pub origin_queue: Option<String>,
    /// `replay-id`: set by a deliberate replay.
    pub replay_id: Option<String>,
    /// `traceparent`: W3C trace context.
    pub traceparent: Option<String>,
    /// Everything else that came, by header name; broker headers are stripped.
    pub other: BTreeMap<String, String>,
}

/// Names that brokers write and that must not be carried on: `RabbitMQ` 3.x interprets them.
const BROKER_HEADERS: [&str; 4] = ["x-death", "x-delivery-count", "CC", "BCC"];

impl Headers {
    /// Whether `name` belongs to the broker and is stripped on every republish.
    pub fn is_broker_header(name: &str) -> bool {
        BROKER_HEADERS.contains(&name)
            || name.starts_with("x-first-death-")
            || name.starts_with("x-last-death-")
    }

    /// Whether a person has sent the message once more, by a replay or a release: its time of receipt
    /// then tells nothing of how long the stages take.
    pub fn was_sent_again(&self) -> bool {
        self.replay_id.is_some() || self.other.contains_key(RELEASE_HEADER)
    }

    /// The headers as sorted text pairs, the form both engines store. `attempt` is always there.
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        let mut pairs: BTreeMap<String, String> = self.other.clone();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                pairs.insert(name.to_owned(), value);
            }
        };
        put("gateway", self.gateway.map(|g| g.to_string()));
        put("account", self.account.as_ref().map(ToString::to_string));
        put(
            "received-at",
            self.received_at.map(crate::clock::rfc3339_millis),
        );
        put("remote-addr", self.remote_addr.map(|a| a.to_string()));
        put("attempt", Some(self.attempt.to_string()));
        put("reason", self.reason.as_ref().map(ToString::to_string));
        put("reason-detail", self.reason_detail.clone());
        put(
            "first-failed-at",
            self.first_failed_at.map(crate::clock::rfc3339_millis),
        );
        put("origin-queue", self.origin_queue.clone());
        put("replay-id", self.replay_id.clone());
        put("traceparent", self.traceparent.clone());
        pairs.into_iter().collect()
    }

    /// Reads pairs as written by [`Self::to_pairs`] or by anybody else.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            if !Self::is_broker_header(&name) && !headers.read(&name, &value) {
                headers.other.insert(name, value);
            }
        }
        headers
    }

    /// Takes one known header; false when it is not known or cannot be read.
    fn read(&mut self, name: &str, value: &str) -> bool {
        fn set<T>(slot: &mut Option<T>, parsed: Option<T>) -> bool {
            let read = parsed.is_some();
            if read {
                *slot = parsed;
            }
            read
        }
        let text = || Some(value.to_owned());
        match name {
            "gateway" => set(&mut self.gateway, value.parse().ok()),
            "account" => set(&mut self.account, value.parse().ok()),
            "received-at" => set(&mut self.received_at, value.parse().ok()),
            "remote-addr" => set(&mut self.remote_addr, value.parse().ok()),
            "attempt" => value.parse().map(|attempt| self.attempt = attempt).is_ok(),
            "reason" => set(&mut self.reason, value.parse().ok()),
            "reason-detail" => set(&mut self.reason_detail, text()),
            "first-failed-at" => set(&mut self.first_failed_at, value.parse().ok()),
            "origin-queue" => set(&mut self.origin_queue, text()),
            "replay-id" => set(&mut self.replay_id, text()),
            "traceparent" => set(&mut self.traceparent, text()),
            _ => false,
        }
    }
}

/// Cuts a text for people to [`REASON_DETAIL_LIMIT`] bytes, at a character border.
pub fn capped_detail(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, c)| at.saturating_add(c.len_utf8()))
        .take_while(|end| *end <= REASON_DETAIL_LIMIT)
        .last()
        .unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_written_and_read_again_are_the_same() {
        let headers = Headers {
            gateway: Some(GatewayId::PayPal),
            account: Some("default".parse().unwrap()),
            received_at: Some("2026-11-22T10:00:00.125Z".parse().unwrap()),
            remote_addr: Some("127.0.0.1".parse().unwrap()),
            attempt: 3,
            reason: Some(Reason::of("gateway_timeout")),
            reason_detail: Some("no answer in 30 s".into()),
            ..Headers::default()
        };
        assert_eq!(Headers::from_pairs(headers.to_pairs()), headers);
    }

    #[test]
    fn a_header_that_cannot_be_read_is_kept_as_it_came() {
        let headers = Headers::from_pairs([("attempt".to_owned(), "many".to_owned())]);
        assert_eq!(headers.attempt, 0);
        assert_eq!(
            headers.other.get("attempt").map(String::as_str),
            Some("many")
        );
    }

    #[test]
    fn broker_headers_are_stripped() {
        let headers = Headers::from_pairs([("x-first-death-queue".to_owned(), "q".to_owned())]);
        assert!(headers.other.is_empty());
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character_border() {
        let cut = capped_detail(&"ü".repeat(REASON_DETAIL_LIMIT));
        assert_eq!(cut.len(), REASON_DETAIL_LIMIT);
    }
}
