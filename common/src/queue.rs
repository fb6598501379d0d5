//! The queue port: what the stages may ask of a message broker, and its two engines.
//!
//! A closed set, so an enum rather than a trait: [`Queues::RabbitMq`] (quorum queues, publisher
//! confirms), [`Queues::Embedded`] (one `SQLite` file, group commit), and [`Queues::Remote`] (the
//! latter in another process of this machine, for tools). One contract suite in `tests` runs
//! against all of them.

pub mod embedded;
pub mod rabbitmq;
pub mod topology;

use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::message::Message;
use crate::retry::Rung;
pub use topology::{ArchiveLimits, QueueId, QueueNames, WorkQueue};

/// Where a message is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A queue, through the default exchange: a lost binding cannot hide behind another.
    Queue(QueueId),
    /// The archive: kept for its time, read without taking.
    Archive,
    /// The topic exchange `ipn.payments`, for queues that the shop binds itself. Nobody listening
    /// is no failure here, and only here.
    Payments {
        /// `{gateway}.{event type}`, such as `paypal.payment.completed`.
        routing_key: String,
    },
}

/// Why a publish is not known to be durable. In every case the same message may be published
/// again under the same id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The broker returned the message: no queue of that name.
    #[error("no queue took the message (returned as unroutable)")]
    Unroutable,
    /// The broker said no: a length limit with `reject-publish`, or a fault inside it.
    #[error("the broker refused the message (nack)")]
    Refused,
    /// The broker blocks publishers (memory or disk alarm).
    #[error("the broker blocks publishers: {reason}")]
    Blocked {
        /// The broker's words.
        reason: String,
    },
    /// No connection now. When it broke after sending, the detail says that the outcome is unknown.
    #[error("the broker is unavailable: {detail}")]
    Unavailable {
        /// What happened last, without credentials.
        detail: String,
    },
    /// Sent, and no confirm within the time: the outcome is unknown.
    #[error("no confirm within {0:?}; the outcome is unknown")]
    Timeout(Duration),
    /// Larger than the engine carries.
    #[error("the message is too large for the broker: {bytes} bytes")]
    TooLarge {
        /// Size of body and headers.
        bytes: usize,
    },
}

impl PublishError {
    /// The metric label and reason code.
    pub const fn as_label(&self) -> &'static str {
        match self {
            Self::Unroutable => "unroutable",
            Self::Refused => "refused",
            Self::Blocked { .. } => "blocked",
            Self::Unavailable { .. } => "unavailable",
            Self::Timeout(_) => "timeout",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// Why an operation on queues, other than publishing, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The broker cannot be reached now.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// A queue exists with other arguments than the topology table's (AMQP 406): a person must
    /// decide; a restart does not help.
    #[error("queue `{queue}` exists with other arguments: {detail}")]
    Mismatch {
        /// The queue's name.
        queue: String,
        /// The broker's words.
        detail: String,
    },
    /// The embedded engine's file failed.
    #[error("the embedded queue failed: {0}")]
    Store(#[from] sqlx::Error),
    /// The engine cannot do this.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// Whether publishing makes sense now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Connected and not blocked.
    Up,
    /// Connected, and the broker blocks publishers.
    Blocked(String),
    /// Not connected; a supervisor is trying.
    Down(String),
}

/// A delivery could not be settled: the broker has taken it back and will deliver it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the delivery is no longer ours; it will be delivered again")]
pub struct StaleDelivery;

/// One message in hand, unacked.
#[derive(Debug)]
pub struct Delivery {
    /// The message as it was published.
    pub message: Message,
    /// Whether the broker may have delivered it before.
    pub redelivered: bool,
    /// How to settle it.
    pub acker: Acker,
}

/// Settles one delivery, once: both ways consume it. Dropping it leaves the message to be
/// redelivered when the consumer goes away.
#[derive(Debug)]
pub enum Acker {
    /// An AMQP delivery.
    RabbitMq(rabbitmq::Acker),
    /// A row that is leased to us.
    Embedded(embedded::Acker),
    /// A row that the server has leased to us.
    Remote(embedded::RemoteAcker),
}

impl Acker {
    /// The message is done.
    ///
    /// # Errors
    /// [`StaleDelivery`] when it is no longer ours (connection lost, lease over).
    pub async fn ack(self) -> Result<(), StaleDelivery> {
        match self {
            Self::RabbitMq(acker) => acker.ack().await,
            Self::Embedded(acker) => acker.ack().await,
            Self::Remote(acker) => acker.ack().await,
        }
    }

    /// Gives it back at once, for somebody else. `RabbitMQ` before 4.3 counts this as a delivery.
    ///
    /// # Errors
    /// [`StaleDelivery`] when it is no longer ours.
    pub async fn requeue(self) -> Result<(), StaleDelivery> {
        match self {
            Self::RabbitMq(acker) => acker.requeue().await,
            Self::Embedded(acker) => acker.requeue().await,
            Self::Remote(acker) => acker.requeue().await,
        }
    }
}

/// A subscription to one queue. Survives reconnections by itself: `next` ends only after
/// [`Consumer::stop`], or when the engine is closed.
#[derive(Debug)]
pub enum Consumer {
    /// On `RabbitMQ`.
    RabbitMq(rabbitmq::Consumer),
    /// On the embedded engine.
    Embedded(embedded::Consumer),
    /// On the embedded engine of another process.
    Remote(embedded::RemoteConsumer),
}

impl Consumer {
    /// The next delivery. Cancel-safe: a delivery is never lost by dropping the future.
    pub async fn next(&mut self) -> Option<Delivery> {
        match self {
            Self::RabbitMq(consumer) => consumer.next().await,
            Self::Embedded(consumer) => consumer.next().await,
            Self::Remote(consumer) => consumer.next().await,
        }
    }

    /// Takes no more from the queue (`basic.cancel`); returns when the broker has agreed or is
    /// gone. Deliveries not yet seen by `next` are given back.
    pub async fn stop(&mut self) {
        match self {
            Self::RabbitMq(consumer) => consumer.stop().await,
            Self::Embedded(consumer) => consumer.stop().await,
            Self::Remote(consumer) => consumer.stop().await,
        }
    }

    /// Ends the subscription and gives everything back that it has handed out and that is not
    /// settled; `held` is what the caller has of it. A broker takes it all back at one stroke, with
    /// the end of the channel, so that nobody sees a part of it; on the embedded engine it is back
    /// when this returns, and counts as unacked until then.
    pub async fn release(self, held: Vec<Acker>) {
        match self {
            Self::RabbitMq(consumer) => consumer.release(held).await,
            mut embedded @ (Self::Embedded(_) | Self::Remote(_)) => {
                embedded.stop().await;
                // One that is no longer ours has gone back already.
                join_all(held.into_iter().map(Acker::requeue)).await;
            }
        }
    }

    /// Whether the subscription stands now; for readiness.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed().is_subscribed()
    }

    /// A handle that answers [`Self::is_subscribed`] after the consumer has moved into its loop.
    pub fn subscribed(&self) -> Subscribed {
        match self {
            Self::RabbitMq(consumer) => consumer.subscribed(),
            Self::Embedded(consumer) => consumer.subscribed(),
            Self::Remote(consumer) => consumer.subscribed(),
        }
    }
}

/// Whether a subscription stands; cheap to clone.
#[derive(Debug, Clone)]
pub struct Subscribed(pub(crate) tokio::sync::watch::Receiver<bool>);

impl Subscribed {
    /// Whether the subscription stands now.
    pub fn is_subscribed(&self) -> bool {
        *self.0.borrow()
    }
}

/// One line of `quittance queues list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// The queue's name.
    pub queue: String,
    /// Messages that a consumer could take now (on a delay queue: that wait).
    pub ready: u64,
    /// Messages in a consumer's hands, at the same moment as `ready`; `None` where the engine does
    /// not tell.
    pub unacked: Option<u64>,
    /// Consumers subscribed, where the engine knows.
    pub consumers: u64,
}

/// Archived messages that are read ahead.
const ARCHIVE_AHEAD: usize = 64;

/// A stretch of the archive, by the time at which ingest had the messages. Open where `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// To this moment.
    pub until: Option<Timestamp>,
}

impl Range {
    /// Whether the message falls into it.
    pub fn contains(&self, message: &Message) -> bool {
        let at = message.headers.received_at.unwrap_or(message.timestamp);
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }
}

/// The engine in use. Cheap to clone; every clone is the same engine.
#[derive(Clone)]
pub enum Queues {
    /// Quorum queues by `lapin`.
    RabbitMq(rabbitmq::RabbitMq),
    /// One `SQLite` file.
    Embedded(embedded::Embedded),
    /// The `SQLite` file of a server that runs on this machine, by its control socket.
    Remote(embedded::Remote),
}

impl fmt::Debug for Queues {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::RabbitMq(_) => "Queues::RabbitMq",
            Self::Embedded(_) => "Queues::Embedded",
            Self::Remote(_) => "Queues::Remote",
        })
    }
}

impl Queues {
    /// Publishes and waits until the message is durable: a plain ack from the broker, or the
    /// commit that fsyncs it. Not cancel-safe in the sense that a dropped future may or may not
    /// have published; publish again with the same message id.
    pub async fn publish(&self, to: &Destination, message: Message) -> Result<(), PublishError> {
        match self {
            Self::RabbitMq(broker) => broker.publish(to, message).await,
            Self::Embedded(store) => store.publish(to, message).await,
            Self::Remote(remote) => remote.publish(to, message).await,
        }
    }

    /// Publishes to a delay queue of `queue`; the message comes back after the rung's wait.
    pub async fn publish_delayed(
        &self,
        queue: WorkQueue,
        rung: Rung,
        message: Message,
    ) -> Result<(), PublishError> {
        self.publish(&Destination::Queue(QueueId::Retry(queue, rung)), message)
            .await
    }

    /// Subscribes with at most `prefetch` messages in hand. Returns at once, also while the broker
    /// is down: the consumer subscribes as soon as it can.
    pub async fn consume(&self, queue: QueueId, prefetch: u16) -> Consumer {
        match self {
            Self::RabbitMq(broker) => Consumer::RabbitMq(broker.consume(queue, prefetch).await),
            Self::Embedded(store) => Consumer::Embedded(store.consume(queue, prefetch).await),
            Self::Remote(remote) => Consumer::Remote(remote.consume(queue, prefetch).await),
        }
    }

    /// How full each queue of the topology is, in the topology's order.
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        match self {
            Self::RabbitMq(broker) => broker.depths().await,
            Self::Embedded(store) => store.depths().await,
            Self::Remote(remote) => remote.depths().await,
        }
    }

    /// How full one queue is at this moment; on `RabbitMQ` asked by AMQP, which does not tell
    /// `unacked`. `None` when there is no such queue.
    pub async fn depth(&self, queue: QueueId) -> Result<Option<Depth>, QueueError> {
        match self {
            Self::RabbitMq(broker) => broker.depth(queue).await,
            Self::Embedded(store) => store.depth(queue).await,
            Self::Remote(remote) => remote.depth(queue).await,
        }
    }

    /// The message at the head of a queue, without a consumer; `None` when nothing is ready. On
    /// `RabbitMQ` it is taken and given back, which before 4.3 counts as a delivery.
    pub async fn head(&self, queue: QueueId) -> Result<Option<Message>, QueueError> {
        match self {
            Self::RabbitMq(broker) => broker.head(queue).await,
            Self::Embedded(store) => Ok(store.peek(queue, 1).await?.pop()),
            Self::Remote(remote) => Ok(remote.onlooker().peek(queue, 1).await?.pop()),
        }
    }

    /// How many messages the archive has; `None` when there is no archive.
    pub async fn archive_depth(&self) -> Result<Option<Depth>, QueueError> {
        match self {
            Self::RabbitMq(broker) => broker.archive_depth().await,
            Self::Embedded(store) => store.archive_depth().await,
            Self::Remote(remote) => remote.onlooker().archive_depth().await,
        }
    }

    /// The oldest message of the archive; `None` when it shows none.
    pub async fn archive_head(&self) -> Result<Option<Message>, QueueError> {
        match self {
            Self::RabbitMq(broker) => broker.archive_head().await,
            Self::Embedded(_) | Self::Remote(_) => {
                self.archived(Range::default()).recv().await.transpose()
            }
        }
    }

    /// What the archive has of the time from `since` to `until`, oldest first, a message perhaps
    /// more than once. Ends with what was there at the call; an end without an error is the end of
    /// the archive. On `RabbitMQ` the end is marked by a small message to the stream.
    pub fn archived(&self, range: Range) -> mpsc::Receiver<Result<Message, QueueError>> {
        let (sender, found) = mpsc::channel(ARCHIVE_AHEAD);
        match self {
            Self::RabbitMq(broker) => broker.archived(range, sender),
            Self::Embedded(store) => store.archived(range, sender),
            Self::Remote(remote) => remote.archived(range, sender),
        }
        found
    }

    /// Whether publishing makes sense now.
    pub fn status(&self) -> Status {
        match self {
            Self::RabbitMq(broker) => broker.status(),
            Self::Embedded(store) => store.status(),
            Self::Remote(remote) => remote.status(),
        }
    }

    /// Resolves when the broker has a queue with other arguments than the topology's: a person must
    /// decide, and the process should end saying so. Pending otherwise.
    pub async fn fatal(&self) -> QueueError {
        match self {
            Self::RabbitMq(broker) => broker.fatal().await,
            Self::Embedded(_) | Self::Remote(_) => std::future::pending().await,
        }
    }

    /// Closes connections, waiting at most `within`.
    pub async fn close(&self, within: Duration) {
        match self {
            Self::RabbitMq(broker) => broker.close(within).await,
            Self::Embedded(store) => store.close(within).await,
            Self::Remote(remote) => remote.close(),
        }
    }
}
