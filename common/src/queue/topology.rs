//! The one table of queues: every name, kind and argument in the system comes from here.

use std::fmt;

use crate::retry::{Ladder, Rung};

/// The three work queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkQueue {
    /// `ipn.verify`: raw notifications, for the verifier.
    Verify,
    /// `ipn.fulfil`: payment events, for the fulfiller.
    Fulfil,
    /// `ipn.notify`: announcements, for the fulfiller's notifier.
    Notify,
}

impl WorkQueue {
    /// All of them, in the order of the flow.
    pub const ALL: [Self; 3] = [Self::Verify, Self::Fulfil, Self::Notify];

    /// The part of the name after the prefix.
    pub const fn stem(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Fulfil => "fulfil",
            Self::Notify => "notify",
        }
    }
}

/// A queue of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueId {
    /// A work queue.
    Work(WorkQueue),
    /// `{queue}.retry.{delay}`: fixed TTL, dead-letters back to the work queue.
    Retry(WorkQueue, Rung),
    /// `{queue}.dead`: parked, for an operator.
    Dead(WorkQueue),
    /// `ipn.quarantine`: parked by the verifier or the fulfiller, with the reason.
    Quarantine,
}

/// Names queues under a prefix (`ipn.` unless set otherwise) and knows which exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueNames {
    prefix: String,
    ladder: Ladder,
}

impl QueueNames {
    /// Names under `prefix`, with the delay queues of `ladder`.
    pub fn new(prefix: impl Into<String>, ladder: Ladder) -> Self {
        Self {
            prefix: prefix.into(),
            ladder,
        }
    }

    /// The ladder that the delay queues are made of.
    pub const fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The full name of a queue.
    pub fn name(&self, queue: QueueId) -> String {
        let prefix = &self.prefix;
        match queue {
            QueueId::Work(work) => format!("{prefix}{}", work.stem()),
            QueueId::Retry(work, rung) => format!("{prefix}{}.retry.{rung}", work.stem()),
            QueueId::Dead(work) => format!("{prefix}{}.dead", work.stem()),
            QueueId::Quarantine => format!("{prefix}quarantine"),
        }
    }

    /// The topic exchange that shops bind to.
    pub fn payments_exchange(&self) -> String {
        format!("{}payments", self.prefix)
    }

    /// The queue of that full name, if the topology has it.
    pub fn parse(&self, name: &str) -> Option<QueueId> {
        self.all()
            .into_iter()
            .find(|queue| self.name(*queue) == name)
    }

    /// Every queue of the topology: work queues, their rungs and dead queues, the quarantine.
    pub fn all(&self) -> Vec<QueueId> {
        let mut all = Vec::new();
        for work in WorkQueue::ALL {
            all.push(QueueId::Work(work));
            all.extend(
                self.ladder
                    .rungs()
                    .iter()
                    .map(|rung| QueueId::Retry(work, *rung)),
            );
            all.push(QueueId::Dead(work));
        }
        all.push(QueueId::Quarantine);
        all
    }
}

impl Default for QueueNames {
    fn default() -> Self {
        Self::new("ipn.", Ladder::default())
    }
}

impl fmt::Display for WorkQueue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.stem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_found_again_by_its_name() {
        let names = QueueNames::default();
        for queue in names.all() {
            assert_eq!(names.parse(&names.name(queue)), Some(queue));
        }
        assert_eq!(names.parse("ipn.verify.retry.7s"), None);
    }
}
