//! What a stage may decide about a message. Stages never see an acker, so they cannot ack early,
//! twice or never: [`crate::consumer`] performs the decision.

use std::time::Duration;

use crate::ids::Reason;
use crate::message::Message;
use crate::queue::Destination;

/// The fate of one delivery.
#[derive(Debug)]
pub enum Disposition<R> {
    /// Publish everything onward, wait for every confirm, hand `receipt` back to the stage
    /// ([`crate::stage::Stage::confirmed`]), then ack.
    Forward {
        /// What is published, in order. May be empty: then the message is simply done.
        publish: Vec<(Destination, Message)>,
        /// What the stage wants back once all is confirmed.
        receipt: R,
    },
    /// Put it on a delay queue; it comes back to the same stage.
    Retry {
        /// How long at least, and whether an attempt is spent.
        wait: Wait,
        /// Why, for the header and the metric.
        reason: Reason,
        /// The same for people; capped by the shell. Never personal data, never a secret.
        detail: String,
    },
    /// Put it where an operator finds it; it never comes back by itself.
    Park {
        /// Which parking queue.
        lot: Lot,
        /// Why, for the header and the metric.
        reason: Reason,
        /// The same for people; capped by the shell. Never personal data, never a secret.
        detail: String,
    },
}

/// How a retry waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The rung of the attempts spent so far, at least this long; spends one attempt.
    Counted {
        /// The gateway's `Retry-After`, or zero.
        at_least: Duration,
    },
    /// The first rung that is at least this long; spends no attempt: somebody else is at fault.
    Free {
        /// The shortest wait that makes sense.
        at_least: Duration,
    },
}

/// Where a message is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lot {
    /// `{queue}.dead`: a stage gave up.
    Dead,
    /// `ipn.quarantine`: verified or not, it must not have an effect without a person.
    Quarantine,
}

impl Lot {
    /// The name in the books.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Quarantine => "quarantine",
        }
    }
}
