//! The closed vocabularies of an event: what happened, with which money, and how we heard of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::IdError;
use crate::status::PaymentStatus;

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
