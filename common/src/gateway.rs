//! The gateway adapter: protocols as data and pure functions. The HTTP itself is the verifier's.
//!
//! The shape fits the other families of gateways (signature, fetch-back, certificate): they add
//! variants to [`AuthPlan`] and arms to the functions below, and no stage changes.

pub mod paypal;

use std::time::Duration;

use bytes::Bytes;
use url::Url;

use crate::ids::{GatewayId, Reason};
use crate::notification::{Notification, Proof, RawNotification};
use crate::settings::Account;

/// What must be done to know whether a message is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthPlan {
    /// Ask the gateway by this request and [`judge`] its answer.
    Postback(Request),
    /// The gateway gave it to us itself, over a connection that we opened: nothing to ask.
    Known(Proof),
}

/// A POST to be made: HTTP/1.1, no redirects, the body byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where to; from the account's settings, never from the message.
    pub url: Url,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The exact body.
    pub body: Bytes,
}

/// What the gateway answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds form, if any.
    pub retry_after: Option<Duration>,
    /// The body, cut at a few KiB.
    pub body: Bytes,
}

/// Three outcomes, never two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Genuine.
    Verified(Proof),
    /// The gateway did not send this.
    Invalid,
    /// No answer that means anything: ask again later, guess never.
    Indeterminate {
        /// A stable reason (`http_status`, `html_answer`, `redirect`, `empty_answer` ...).
        reason: Reason,
        /// How long the gateway wants to be left alone.
        retry_after: Option<Duration>,
    },
}

/// Why a body cannot be read as a notification at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A field that decides something is there more than once: never guessed.
    #[error("the field `{field}` is there more than once")]
    Ambiguous {
        /// The field's name.
        field: String,
    },
    /// A field that decides something cannot be read.
    #[error("the field `{field}` cannot be read: {problem}")]
    Field {
        /// The field's name.
        field: String,
        /// What is wrong with it; never the value.
        problem: String,
    },
    /// It tells of more things than the gateway puts into one message.
    #[error("the message tells of {found} items; {most} are the most that one can have")]
    TooMany {
        /// How many.
        found: usize,
        /// The most that are read.
        most: usize,
    },
    /// No field that says what the message is about.
    #[error("nothing in the message says what it is about")]
    Nothing,
}

impl ReadError {
    /// The reason code.
    pub fn reason(&self) -> Reason {
        Reason::of(match self {
            Self::Ambiguous { .. } => "ambiguous_field",
            Self::Field { .. } => "unreadable_field",
            Self::TooMany { .. } => "too_many_items",
            Self::Nothing => "not_a_notification",
        })
    }
}

/// What must be done to know whether `raw` is genuine.
pub fn authenticate(raw: &RawNotification, account: &Account) -> AuthPlan {
    match raw.gateway {
        GatewayId::PayPal => paypal::authenticate(raw, account),
    }
}

/// What the gateway's answer means.
pub fn judge(gateway: GatewayId, reply: &Reply) -> Verdict {
    match gateway {
        GatewayId::PayPal => paypal::judge(reply),
    }
}

/// Reads what a message claims. `account` gives the environment that goes into the keys.
///
/// # Errors
/// When a deciding field is ambiguous or unreadable; the message then goes to a person.
pub fn read(raw: &RawNotification, account: &Account) -> Result<Notification, ReadError> {
    match raw.gateway {
        GatewayId::PayPal => paypal::read(raw, account),
    }
}

/// The answer that ingest owes the gateway for an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The HTTP status.
    pub status: u16,
    /// The body; empty for `PayPal`.
    pub body: &'static str,
}

/// What ingest answers once the message is durable.
pub const fn acknowledge(gateway: GatewayId) -> Acknowledgement {
    match gateway {
        GatewayId::PayPal => Acknowledgement {
            status: 200,
            body: "",
        },
    }
}
