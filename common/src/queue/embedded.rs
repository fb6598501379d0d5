//! The embedded engine: durable queues in one `SQLite` file, for one process.
//!
//! What it promises is what the broker promises. A publish that returned is on the disk; an ack
//! that returned is on the disk; `kill -9` at any instant loses nothing between the two and brings
//! nothing back after. One task writes (`writer`) and puts everything that waits into one
//! transaction, so that many publishers share one fsync.
//!
//! | module | knows |
//! |---|---|
//! | `file` | the file, its tables and its lock |
//! | `row` | a message as columns |
//! | `line` | who waits for what (no IO) |
//! | `batch` | one transaction |
//! | `jobs` | what the task is asked and remembers (no IO) |
//! | `writer` | the task |
//! | `archive` | the table of what was accepted |
//! | `consumer` | deliveries and how they are settled |
//! | `look` | depths, peeking |
//! | `onlooker` | the same from another process |
//! | `control` | a socket by which other processes of this machine take part |
//!
//! There is no exchange to bind to: payment events ([`Destination::Payments`]) are kept in a table,
//! the newest 10,000, where the shop reads them ([`Embedded::announced`]).

mod archive;
mod batch;
mod consumer;
mod control;
mod file;
mod jobs;
mod line;
mod look;
mod onlooker;
mod row;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::batch::{Place, Write};
use self::consumer::Bell;
use self::file::SteadyClock;
use self::jobs::Command;
use self::line::Subscription;
use self::look::Counts;
use self::row::Columns;
use self::writer::Writer;
use super::{
    Depth, Destination, PublishError, QueueError, QueueId, QueueNames, Range, Status, Subscribed,
};
use crate::claims::ClaimError;
use crate::claims::embedded::{Answer, Operation};
use crate::message::Message;

pub use self::consumer::{Acker, Consumer};
pub use self::control::client::{Acker as RemoteAcker, Consumer as RemoteConsumer, Remote};
pub use self::look::Announced;
pub use self::onlooker::Onlooker;

/// Commands that may wait for the writer; more publishers than these wait to be let in.
const COMMANDS: usize = 1024;

/// The most bytes of body and headers together, as much as `RabbitMQ` 4 takes.
const LARGEST: usize = 16 * 1024 * 1024;

/// The engine. Cheap to clone; it ends with [`Embedded::close`], or with its last clone, consumer
/// and acker.
#[derive(Debug, Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    names: QueueNames,
    commands: mpsc::Sender<Command>,
    readers: SqlitePool,
    clock: SteadyClock,
    status: watch::Receiver<Status>,
    consumer_dropped: Arc<Notify>,
    last_consumer: AtomicI64,
    subscriptions: Mutex<Vec<(QueueId, Subscribed)>>,
}

impl Embedded {
    /// Opens `{data_dir}/queue.sqlite`, making folder and file if need be. Messages that a former
    /// process had in hand are in line again.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when another process has the folder or it cannot be made, and
    /// [`QueueError::Store`] when the file is not a good database.
    pub async fn open(data_dir: &Path, names: QueueNames) -> Result<Self, QueueError> {
        let lock = file::lock(data_dir)?;
        let path = file::path(data_dir);
        let clock = SteadyClock::start();
        let mut connection = file::open_writer(&path).await?;
        file::prepare(&mut connection, clock.now()).await?;
        file::sync_folder(data_dir)?;
        let readers = file::open_readers(&path).await?;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (status_sender, status) = watch::channel(Status::Up);
        let consumer_dropped = Arc::new(Notify::new());
        let writer = Writer {
            connection,
            path,
            clock,
            commands: receiver,
            consumer_dropped: Arc::clone(&consumer_dropped),
            status: status_sender,
            lock,
            archive: names.archive(),
        };
        tokio::spawn(writer.run());
        Ok(Self {
            inner: Arc::new(Inner {
                names,
                commands,
                readers,
                clock,
                status,
                consumer_dropped,
                last_consumer: AtomicI64::new(0),
                subscriptions: Mutex::default(),
            }),
        })
    }

    /// Lets tools of the same user take part, by the control socket in `data_dir`, the folder that
    /// this engine was opened in. From then on the engine ends with [`Embedded::close`] only.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when the socket cannot be made.
    pub fn let_tools_in(&self, data_dir: &Path) -> Result<(), QueueError> {
        let (listener, owner) = control::server::bind(data_dir)?;
        tokio::spawn(control::server::serve(listener, owner, self.clone()));
        Ok(())
    }

    /// Stores a message; it is on the disk when this returns. A dropped future may or may not have
    /// stored it.
    ///
    /// # Errors
    /// [`PublishError::Unroutable`] for a queue that the topology does not have,
    /// [`PublishError::TooLarge`] above 16 MiB, [`PublishError::Unavailable`] when the file cannot
    /// be written or the engine is closed.
    pub async fn publish(&self, to: &Destination, message: Message) -> Result<(), PublishError> {
        let columns = Columns::of(message);
        let bytes = columns.size();
        if bytes > LARGEST {
            return Err(PublishError::TooLarge { bytes });
        }
        let (write, queue) = match to {
            Destination::Queue(queue) => {
                let place = self.place(*queue).ok_or(PublishError::Unroutable)?;
                (Write::Message { place, columns }, Some(*queue))
            }
            Destination::Archive => (Write::Archive(columns), None),
            Destination::Payments { routing_key } => {
                let routing_key = routing_key.clone();
                let write = Write::Announcement {
                    routing_key,
                    columns,
                };
                (write, None)
            }
        };
        let (reply, published) = oneshot::channel();
        let command = Command::Publish {
            write,
            queue,
            reply,
        };
        let closed = || PublishError::Unavailable {
            detail: "the embedded engine is closed".to_owned(),
        };
        self.inner
            .commands
            .send(command)
            .await
            .map_err(|_| closed())?;
        published.await.map_err(|_| closed())?
    }

    /// Subscribes with at most `prefetch` messages in hand (0 counts as 1). For a queue that the
    /// topology does not have, `next` ends at once.
    pub async fn consume(&self, queue: QueueId, prefetch: u16) -> Consumer {
        let inner = &self.inner;
        let number = inner
            .last_consumer
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let (sender, deliveries) = mpsc::unbounded_channel();
        let (subscribed_sender, subscribed) = watch::channel(false);
        self.subscriptions()
            .push((queue, Subscribed(subscribed.clone())));
        if let Some(place) = self.place(queue) {
            let subscription = Subscription {
                consumer: number,
                queue,
                place,
                prefetch: usize::from(prefetch.max(1)),
                deliveries: sender,
                subscribed: subscribed_sender,
            };
            // A closed engine ends the stream; there is nothing more to say.
            inner
                .commands
                .send(Command::Subscribe(subscription))
                .await
                .ok();
        }
        Consumer {
            number,
            deliveries,
            commands: inner.commands.clone(),
            subscribed,
            stopped: false,
            _bell: Bell(Arc::clone(&inner.consumer_dropped)),
        }
    }

    /// How full each queue is, in the topology's order.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file cannot be read.
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let inner = &self.inner;
        // One statement, so that no message is between ready and unacked in it.
        let counts = look::counts(&inner.readers, inner.clock.now()).await?;
        let subscribed: Vec<QueueId> = self
            .subscriptions()
            .iter()
            .filter(|(_, subscribed)| subscribed.is_subscribed())
            .map(|(queue, _)| *queue)
            .collect();
        Ok(listed(&inner.names, &counts, &subscribed))
    }

    /// How full one queue is; `None` when the topology does not have it.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file cannot be read.
    pub async fn depth(&self, queue: QueueId) -> Result<Option<Depth>, QueueError> {
        let name = self.inner.names.name(queue);
        let depths = self.depths().await?;
        Ok(depths.into_iter().find(|depth| depth.queue == name))
    }

    /// How many messages the archive has; `None` when it is switched off.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file cannot be read.
    pub async fn archive_depth(&self) -> Result<Option<Depth>, QueueError> {
        archive::depth(&self.inner.readers, &self.inner.names).await
    }

    /// The first `limit` messages of a queue that nobody has in hand, without taking any.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file cannot be read.
    pub async fn peek(&self, queue: QueueId, limit: u32) -> Result<Vec<Message>, QueueError> {
        let inner = &self.inner;
        let place = place(&inner.names, queue);
        Ok(look::peek(&inner.readers, &place, limit, inner.clock.now()).await?)
    }

    /// Payment events after `after` (0: from the oldest kept), oldest first. The newest 10,000 are
    /// kept, each id once.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file cannot be read.
    pub async fn announced(&self, after: i64, limit: u32) -> Result<Vec<Announced>, QueueError> {
        Ok(look::announced(&self.inner.readers, after, limit).await?)
    }

    /// Reads the archive into `found`; see [`super::Queues::archived`].
    pub(super) fn archived(&self, range: Range, found: mpsc::Sender<Result<Message, QueueError>>) {
        let readers = self.inner.readers.clone();
        tokio::spawn(async move { archive::read(&readers, range, &found).await });
    }

    /// Whether the file could be written last.
    pub fn status(&self) -> Status {
        self.inner.status.borrow().clone()
    }

    /// Stores what was asked before, ends all consumers and gives the file up.
    pub async fn close(&self, within: Duration) {
        let close = async {
            let (reply, closed) = oneshot::channel();
            if self
                .inner
                .commands
                .send(Command::Close(reply))
                .await
                .is_ok()
            {
                closed.await.ok();
            }
            self.inner.readers.close().await;
        };
        if tokio::time::timeout(within, close).await.is_err() {
            tracing::warn!(?within, "the queue file is not closed in time");
        }
    }

    /// Changes a claim, in the transaction that everybody shares.
    pub(crate) async fn claim(&self, operation: Operation) -> Result<Answer, ClaimError> {
        let closed = || ClaimError::Unavailable("the embedded engine is closed".to_owned());
        let (reply, answer) = oneshot::channel();
        self.inner
            .commands
            .send(Command::Claim { operation, reply })
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Connections that only look.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    /// Milliseconds since 1970, steady.
    pub(crate) fn now(&self) -> i64 {
        self.inner.clock.now()
    }

    /// The subscriptions of consumers that are still there.
    fn subscriptions(&self) -> MutexGuard<'_, Vec<(QueueId, Subscribed)>> {
        let list = &self.inner.subscriptions;
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        // The writer drops its end with the consumer.
        list.retain(|(_, subscribed)| subscribed.0.has_changed().is_ok());
        list
    }

    /// The columns of a queue that the topology has.
    fn place(&self, queue: QueueId) -> Option<Place> {
        let names = &self.inner.names;
        let known = match queue {
            QueueId::Retry(_, rung) => names.ladder().rungs().contains(&rung),
            QueueId::Work(_) | QueueId::Dead(_) | QueueId::Quarantine => true,
        };
        known.then(|| place(names, queue))
    }
}

fn listed(names: &QueueNames, counts: &Counts, subscribed: &[QueueId]) -> Vec<Depth> {
    let depth = |queue| {
        let consumers = subscribed.iter().filter(|of| **of == queue).count();
        let place = place(names, queue);
        let (ready, unacked) = counts
            .get(&(place.queue, place.rung))
            .copied()
            .unwrap_or_default();
        Depth {
            queue: names.name(queue),
            ready,
            unacked: Some(unacked),
            consumers: u64::try_from(consumers).unwrap_or(u64::MAX),
        }
    };
    names.all().into_iter().map(depth).collect()
}

fn place(names: &QueueNames, queue: QueueId) -> Place {
    match queue {
        QueueId::Retry(work, rung) => Place {
            queue: names.name(QueueId::Work(work)),
            rung: Some(i64::try_from(rung.millis()).unwrap_or(i64::MAX)),
        },
        QueueId::Work(_) | QueueId::Dead(_) | QueueId::Quarantine => Place {
            queue: names.name(queue),
            rung: None,
        },
    }
}
