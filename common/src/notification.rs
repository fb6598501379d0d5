//! Trust levels as types: [`RawNotification`] (exact bytes) → [`Notification`] (read, unverified)
//! → [`Verified`] (the gateway itself said so). Only a [`Proof`], which only [`crate::gateway`] can
//! make, turns the second into the third.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;

use crate::claims::Fingerprint;
use crate::event::{Environment, EventData, EventType, PaymentEvent, Source};
use crate::ids::{AccountId, EventKey, GatewayId, MessageId};
use crate::message::{Message, MessageKind};
use crate::money::Money;

/// What a gateway sent, byte for byte. All that may be done with it: post it back, read it.
#[derive(Clone, PartialEq, Eq)]
pub struct RawNotification {
    /// The message that carries it.
    pub id: MessageId,
    /// From the URL.
    pub gateway: GatewayId,
    /// From the URL.
    pub account: AccountId,
    /// By which way it came.
    pub source: Source,
    /// When ingest had the whole body.
    pub received_at: Timestamp,
    /// The exact bytes.
    pub body: Bytes,
}

impl fmt::Debug for RawNotification {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RawNotification")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why a message is not a raw notification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The `type` is not one that the verifier takes; perhaps a newer version's.
    #[error("a message of type `{0}` is not known to this version")]
    Kind(String),
    /// A header that the verifier cannot do without.
    #[error("the header `{0}` is missing or cannot be read")]
    Header(&'static str),
}

impl RawNotification {
    /// Takes the notification out of its envelope.
    pub fn from_message(message: &Message) -> Result<Self, EnvelopeError> {
        let source = match (&message.kind, &message.headers.replay_id) {
            (MessageKind::NotificationV1, None) => Source::Ipn,
            (MessageKind::NotificationV1, Some(_)) => Source::Replay,
            (MessageKind::EvidenceV1, _) => Source::Pdt,
            (MessageKind::PaymentV1 | MessageKind::AnnouncementV1 | MessageKind::Unknown(_), _) => {
                return Err(EnvelopeError::Kind(message.kind.as_str().to_owned()));
            }
        };
        Ok(Self {
            id: message.id,
            gateway: message
                .headers
                .gateway
                .ok_or(EnvelopeError::Header("gateway"))?,
            account: message
                .headers
                .account
                .clone()
                .ok_or(EnvelopeError::Header("account"))?,
            source,
            received_at: message.headers.received_at.unwrap_or(message.timestamp),
            body: message.body.clone(),
        })
    }
}

/// A notification as read: what it *claims*. Nothing in it is true yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The environment that the message itself claims (`test_ipn=1` is the sandbox). `None` where
    /// the form of message cannot say (PDT).
    pub claimed_environment: Option<Environment>,
    /// What the message says was added to the price of the items: shipping, handling, tax,
    /// insurance. Never negative; discounts take no part. `None` when nothing was.
    pub added: Option<Money>,
    /// Who was paid.
    pub payee: Payee,
    /// One reading for each thing that the message tells; a mass payment tells many.
    pub readings: Vec<Reading>,
}

impl Notification {
    /// What the message means to that account: the same for every copy, by whichever way it came.
    pub fn meaning(&self, gateway: GatewayId, account: &AccountId) -> Fingerprint {
        let mut told: Vec<String> = self
            .readings
            .iter()
            .map(|reading| format!("{} {}", reading.key, reading.fingerprint.as_str()))
            .collect();
        told.sort_unstable();
        Fingerprint::of(format!("{gateway} {account}\n{}", told.join("\n")).as_bytes())
    }
}

/// Who was paid, in the gateway's three spellings; lower case, trimmed. All empty for forms of
/// message in which the merchant is the payer (mass pay) or the gateway says nothing.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payee {
    /// `receiver_id`: the account's id (an e-mail address from the simulator).
    pub receiver_id: Option<String>,
    /// `business`: as the button gave it; an alias is possible.
    pub business: Option<String>,
    /// `receiver_email`: always the account's *primary* address.
    pub receiver_email: Option<String>,
    /// For messages in which the merchant pays: `payer_id` and `payer_email`.
    pub payer: Vec<String>,
    /// Whether the merchant is the payer in this form of message.
    pub merchant_pays: bool,
}

impl fmt::Debug for Payee {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Payee(..)")
    }
}

/// One thing that a notification tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The business key.
    pub key: EventKey,
    /// The hash of the fields that carry meaning.
    pub fingerprint: Fingerprint,
    /// What happened.
    pub event_type: EventType,
    /// The rest.
    pub data: EventData,
    /// Oddities that a person should see and that must not pass as paid: reason codes, a closed set
    /// for each gateway ([`crate::gateway::paypal::doubt::Doubt`]).
    pub doubts: Vec<crate::ids::Reason>,
}

/// The gateway's own word that a message is genuine. Made in [`crate::gateway`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof(pub(crate) ());

/// A notification that the gateway has confirmed. Genuine, which is not yet *ours* or *right*:
/// receiver, price and order are checked by the verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    notification: Notification,
    gateway: GatewayId,
    account: AccountId,
    received_at: Timestamp,
}

impl Verified {
    /// Joins what was read with the gateway's word for it.
    pub fn new(raw: &RawNotification, notification: Notification, _proof: Proof) -> Self {
        Self {
            notification,
            gateway: raw.gateway,
            account: raw.account.clone(),
            received_at: raw.received_at,
        }
    }

    /// What was read.
    pub const fn notification(&self) -> &Notification {
        &self.notification
    }

    /// The events to publish.
    pub fn into_events(self) -> Vec<PaymentEvent> {
        let Self {
            notification,
            gateway,
            account,
            received_at,
        } = self;
        notification
            .readings
            .into_iter()
            .map(|reading| PaymentEvent {
                key: reading.key,
                fingerprint: reading.fingerprint,
                event_type: reading.event_type,
                gateway,
                account: account.clone(),
                received_at,
                trace: None,
                data: reading.data,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AccountId;
    use crate::message::Headers;

    fn message(kind: MessageKind, replay_id: Option<&str>) -> Message {
        Message {
            id: MessageId::from_name("raw"),
            kind,
            timestamp: "2026-11-22T10:00:00Z".parse().unwrap(),
            headers: Headers {
                gateway: Some(GatewayId::PayPal),
                account: "default".parse::<AccountId>().ok(),
                replay_id: replay_id.map(str::to_owned),
                ..Headers::default()
            },
            content_type: "application/x-www-form-urlencoded".to_owned(),
            body: Bytes::from_static(b"txn_id=1"),
        }
    }

    #[test]
    fn the_kind_of_message_tells_by_which_way_it_came() {
        let source = |kind, replay| {
            RawNotification::from_message(&message(kind, replay)).map(|raw| raw.source)
        };
        assert_eq!(source(MessageKind::NotificationV1, None), Ok(Source::Ipn));
        assert_eq!(
            source(MessageKind::NotificationV1, Some("r1")),
            Ok(Source::Replay)
        );
        assert_eq!(source(MessageKind::EvidenceV1, None), Ok(Source::Pdt));
        assert_eq!(
            source(MessageKind::PaymentV1, None),
            Err(EnvelopeError::Kind("ipn.payment.v1".to_owned()))
        );
    }

    #[test]
    fn an_envelope_without_account_is_refused() {
        let mut message = message(MessageKind::NotificationV1, None);
        message.headers.account = None;
        assert_eq!(
            RawNotification::from_message(&message),
            Err(EnvelopeError::Header("account"))
        );
    }
}
