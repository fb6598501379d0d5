//! What a stage is: a name, a decision about one message, and what it does once that is durable.

use std::fmt;

use crate::disposition::{Disposition, Lot};
use crate::ids::Reason;
use crate::message::Message;

/// The stages, as metrics and spans name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StageName {
    /// HTTP in.
    Ingest,
    /// Postback, checks, claim.
    Verifier,
    /// Payment record and stock.
    Fulfiller,
    /// Customer notifications (a part of the fulfiller).
    Notifier,
}

impl StageName {
    /// Every stage, for label sets.
    pub const ALL: [Self; 4] = [
        Self::Ingest,
        Self::Verifier,
        Self::Fulfiller,
        Self::Notifier,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Verifier => "verifier",
            Self::Fulfiller => "fulfiller",
            Self::Notifier => "notifier",
        }
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a message is parked.
#[derive(Debug, Clone, Copy)]
pub struct Why<'a> {
    /// The reason code.
    pub reason: &'a Reason,
    /// The same for people. Never personal data.
    pub detail: &'a str,
}

/// One consuming stage. The loop in [`crate::consumer`] calls it; tests call it directly.
pub trait Stage: Send + Sync + 'static {
    /// Its name in metrics and logs.
    const NAME: StageName;

    /// What [`Self::confirmed`] needs to finish a message, such as a held claim.
    type Receipt: Send;

    /// Resolves when the stage wants another delivery; a stage whose server is down waits here
    /// and so spends no attempts. Must be cancel-safe.
    fn ready(&self) -> impl Future<Output = ()> + Send;

    /// Decides about one message. Never acks, never loops; a panic counts as a failed attempt.
    fn handle(&self, message: &Message) -> impl Future<Output = Disposition<Self::Receipt>> + Send;

    /// Called before a message is put on a parking queue, whoever decided so: the stage, or the loop
    /// for a handler that panicked. For the stage's own records; what cannot be recorded is parked
    /// all the same. A crash after it repeats it.
    fn parked(&self, message: &Message, lot: Lot, why: Why<'_>) -> impl Future<Output = ()> + Send {
        let _ = (message, lot, why);
        async {}
    }

    /// Called after every publish of a [`Disposition::Forward`] is confirmed and before the ack.
    /// A crash before it repeats `handle`; it must be idempotent.
    fn confirmed(&self, receipt: Self::Receipt) -> impl Future<Output = ()> + Send;
}
