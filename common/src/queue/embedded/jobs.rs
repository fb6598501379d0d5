//! What the writer is asked, and what it has to remember between two transactions. No IO.

use std::time::Duration;

use tokio::sync::oneshot;

use super::batch::Write;
use super::line::{Line, Returned, SettleReply, Subscription};
use crate::claims::ClaimError;
use crate::claims::embedded::{Answer, Operation};
use crate::queue::{PublishError, QueueId, StaleDelivery};

/// How long the writer waits before it tries again what the disk refused.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The longest sleep; a command ends it.
const IDLE: Duration = Duration::from_mins(10);

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Store a message or a payment event.
    Publish {
        /// What to store.
        write: Write,
        /// The queue that gets it; none for a payment event.
        queue: Option<QueueId>,
        /// Who waits.
        reply: oneshot::Sender<Result<(), PublishError>>,
    },
    /// Change a claim.
    Claim {
        /// What to do.
        operation: Operation,
        /// Who waits.
        reply: oneshot::Sender<Result<Answer, ClaimError>>,
    },
    /// Settle a delivery.
    Settle {
        /// Whose it is.
        consumer: i64,
        /// Which message.
        seq: i64,
        /// Whether it is done; else it goes back.
        done: bool,
        /// Who waits.
        reply: SettleReply,
    },
    /// A new consumer.
    Subscribe(Subscription),
    /// A consumer takes no more. After the answer nothing more is handed to it.
    Unsubscribe {
        /// Which one.
        consumer: i64,
        /// Who waits.
        reply: oneshot::Sender<()>,
    },
    /// Finish and give the file up.
    Close(oneshot::Sender<()>),
}

/// Who waits for a write, and what the write means to the consumers.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A publisher.
    Publisher(Option<QueueId>, oneshot::Sender<Result<(), PublishError>>),
    /// A claimant.
    Claimant(oneshot::Sender<Result<Answer, ClaimError>>),
    /// Somebody with a delivery.
    Settler(Returned, SettleReply),
    /// The consumer that held it is gone.
    Nobody(Returned),
}

/// A write, and who waits for it.
pub(super) type Job = (Write, Waiting);

/// What lives as long as the task.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Consumers and queues.
    pub(super) line: Line,
    /// Messages that go back and are not stored as such yet.
    pub(super) owed: Vec<Returned>,
    /// Whether the last transaction failed.
    pub(super) failing: bool,
    /// When old claims are deleted next.
    pub(super) purge_at: i64,
}

impl Memory {
    /// Turns a command into a job; what needs no storage is done here.
    pub(super) fn plan(&mut self, command: Command) -> Option<Job> {
        match command {
            Command::Publish {
                write,
                queue,
                reply,
            } => Some((write, Waiting::Publisher(queue, reply))),
            Command::Claim { operation, reply } => {
                Some((Write::Claim(operation), Waiting::Claimant(reply)))
            }
            Command::Settle {
                consumer,
                seq,
                done,
                reply,
            } => match self.line.settle(consumer, seq) {
                Ok(queue) => {
                    let write = if done {
                        Write::Delete(seq)
                    } else {
                        Write::Free(seq)
                    };
                    Some((write, Waiting::Settler((seq, queue), reply)))
                }
                Err(stale) => {
                    reply.send(Err(stale)).ok();
                    None
                }
            },
            Command::Subscribe(subscription) => {
                self.line.subscribe(subscription);
                None
            }
            Command::Unsubscribe { consumer, reply } => {
                self.line.unsubscribe(consumer);
                reply.send(()).ok();
                None
            }
            Command::Close(_) => None,
        }
    }

    /// Notes which queues these jobs fill. If they fail, somebody looks in vain: no harm.
    pub(super) fn note(&mut self, jobs: &[Job], now: i64) {
        for (write, waiting) in jobs {
            match (write, waiting) {
                (Write::Message { place, .. }, Waiting::Publisher(Some(queue), _)) => {
                    self.line.stored(*queue, place.visible_at(now));
                }
                (Write::Free(_), Waiting::Settler(returned, _) | Waiting::Nobody(returned)) => {
                    self.line.returned(returned.1);
                }
                _ => {}
            }
        }
    }

    /// Answers a job that could not be stored. What could not be settled goes back.
    pub(super) fn refuse(&mut self, (_, waiting): Job, error: &sqlx::Error) {
        match waiting {
            Waiting::Publisher(_, reply) => {
                let detail = format!("the queue file could not be written: {error}");
                reply.send(Err(PublishError::Unavailable { detail })).ok();
            }
            Waiting::Claimant(reply) => {
                let detail = format!("the queue file could not be written: {error}");
                reply.send(Err(ClaimError::Unavailable(detail))).ok();
            }
            Waiting::Settler(returned, reply) => {
                self.owed.push(returned);
                reply.send(Err(StaleDelivery)).ok();
            }
            Waiting::Nobody(returned) => self.owed.push(returned),
        }
    }

    /// How long to sleep when nobody asks.
    pub(super) fn pause(&self, now: i64) -> Duration {
        if self.failing || !self.owed.is_empty() {
            return AFTER_FAILURE;
        }
        self.line.next_moment().map_or(IDLE, |moment| {
            let millis = u64::try_from(moment.saturating_sub(now)).unwrap_or(0);
            Duration::from_millis(millis).min(IDLE)
        })
    }
}
