//! The words for what became of a payment.

use quittance_common::event::EventType;

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
    pub(super) const fn of_refusal(event_type: EventType) -> Option<Self> {
        match event_type {
            EventType::Denied => Some(Self::Denied),
            EventType::Failed => Some(Self::Failed),
            EventType::Expired => Some(Self::Expired),
            EventType::Voided => Some(Self::Voided),
            _ => None,
        }
    }

    /// Which of several refusals is told: the strongest word.
    pub(super) const fn weight(self) -> u8 {
        match self {
            Self::Denied => 4,
            Self::Failed => 3,
            Self::Voided => 2,
            Self::Expired => 1,
            _ => 0,
        }
    }
}
