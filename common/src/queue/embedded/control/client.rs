//! The tool's side of the control socket: the queue port over a connection to the server.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::{BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use super::wire::{self, Answer, Ask, Envelope, Frame, Say, To};
use super::{VERSION, address};
use crate::message::Message;
use crate::queue::embedded::Onlooker;
use crate::queue::{
    self, Delivery, Depth, Destination, PublishError, QueueError, QueueId, QueueNames, Range,
    StaleDelivery, Status, Subscribed,
};

/// How long a server may take to answer the greeting.
const GREETING: Duration = Duration::from_secs(5);

/// What is said when the connection is over: nothing that was asked for afterwards was done.
const ENDED: &str = "the server that owns these queues has ended";

/// The queues of a server of this machine, by its control socket. Cheap to clone; the connection
/// ends with [`Remote::close`], with the last clone, consumer and acker, or with the server.
#[derive(Debug, Clone)]
pub struct Remote {
    link: Arc<Link>,
    names: QueueNames,
    onlooker: Onlooker,
}

#[derive(Debug)]
struct Link {
    asks: mpsc::UnboundedSender<Frame<Ask>>,
    waiting: Mutex<Waiting>,
    last: AtomicU64,
    status: watch::Receiver<Status>,
    talking: tokio::task::AbortHandle,
    listening: Mutex<Option<tokio::task::AbortHandle>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Waiting {
    over: bool,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    consumers: HashMap<u64, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    deliveries: mpsc::UnboundedSender<Handed>,
    subscribed: watch::Sender<bool>,
}

/// A delivery as it came.
#[derive(Debug)]
struct Handed {
    tag: u64,
    redelivered: bool,
    message: Message,
}

impl Remote {
    /// Connects to the server that owns the queues in `data_dir`; `None` when none runs there.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when a server is there and does not take us: it is another
    /// user's, or of another version.
    pub async fn connect(data_dir: &Path, names: QueueNames) -> Result<Option<Self>, QueueError> {
        let failed = |error: &dyn std::fmt::Display| {
            let folder = data_dir.display();
            QueueError::Unavailable(format!(
                "the server that owns {folder} does not answer: {error}"
            ))
        };
        let stream = match open(data_dir).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(&error)),
        };
        let (reader, writer) = stream.into_split();
        let (mut reader, mut writer) = (BufReader::new(reader), BufWriter::new(writer));
        match tokio::time::timeout(GREETING, greet(&mut reader, &mut writer)).await {
            Ok(Ok(Answer::Done)) => {}
            Ok(Ok(Answer::Failed { detail })) => return Err(failed(&detail)),
            Ok(Ok(other)) => return Err(failed(&format!("{other:?}"))),
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_elapsed) => return Err(failed(&"no greeting in time")),
        }
        let onlooker = Onlooker::open(data_dir, names.clone()).await?;
        let (asks, asked) = mpsc::unbounded_channel();
        let (status_sender, status) = watch::channel(Status::Up);
        let talking = tokio::spawn(talk(writer, asked)).abort_handle();
        let link = Arc::new(Link {
            asks,
            waiting: Mutex::default(),
            last: AtomicU64::new(0),
            status,
            talking,
            listening: Mutex::default(),
        });
        let listening = tokio::spawn(listen(reader, Arc::downgrade(&link), status_sender));
        *locked(&link.listening) = Some(listening.abort_handle());
        Ok(Some(Self {
            link,
            names,
            onlooker,
        }))
    }

    /// Stores a message by way of the server; it is on the disk when this returns.
    ///
    /// # Errors
    /// Those of the engine, and [`PublishError::Unavailable`] when the server has ended: then the
    /// outcome is unknown.
    pub async fn publish(&self, to: &Destination, message: Message) -> Result<(), PublishError> {
        let (to, envelope) = (To::of(to, &self.names), Envelope::of(&message));
        let ask = |number| Ask::Publish {
            number,
            to,
            envelope,
        };
        let answer = self.link.ask(ask, message.body).await;
        let Some(answer) = answer else {
            let detail = ENDED.to_owned();
            return Err(PublishError::Unavailable { detail });
        };
        answer.into_published()
    }

    /// Subscribes with at most `prefetch` messages in hand.
    pub async fn consume(&self, queue: QueueId, prefetch: u16) -> Consumer {
        let link = &self.link;
        let number = link.next();
        let (deliveries, receiver) = mpsc::unbounded_channel();
        let (subscribed_sender, subscribed) = watch::channel(false);
        {
            let mut waiting = locked(&link.waiting);
            if !waiting.over {
                let subscription = Subscription {
                    deliveries,
                    subscribed: subscribed_sender,
                };
                waiting.consumers.insert(number, subscription);
            }
        }
        let queue = self.names.name(queue);
        let ask = |ask| Ask::Consume {
            number: ask,
            consumer: number,
            queue,
            prefetch,
        };
        let answer = link.ask(ask, Bytes::new()).await;
        if matches!(answer, Some(Answer::Done))
            && let Some(subscription) = locked(&link.waiting).consumers.get(&number)
        {
            subscription.subscribed.send_replace(true);
        }
        Consumer {
            number,
            deliveries: receiver,
            subscribed,
            stopped: false,
            link: Arc::clone(link),
        }
    }

    /// How full each queue is, and who consumes it in the server and in other tools.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when the server cannot tell or has ended.
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let answer = self.link.ask(|number| Ask::Depths { number }, Bytes::new());
        match answer.await {
            Some(Answer::Depths { depths }) => Ok(depths),
            Some(Answer::Failed { detail }) => Err(QueueError::Unavailable(detail)),
            Some(other) => Err(QueueError::Unavailable(format!(
                "the server answered {other:?}"
            ))),
            None => Err(QueueError::Unavailable(ENDED.to_owned())),
        }
    }

    /// How full one queue is; `None` when the topology does not have it.
    ///
    /// # Errors
    /// As [`Self::depths`].
    pub async fn depth(&self, queue: QueueId) -> Result<Option<Depth>, QueueError> {
        let name = self.names.name(queue);
        let depths = self.depths().await?;
        Ok(depths.into_iter().find(|depth| depth.queue == name))
    }

    /// The file, looked at beside the server.
    pub const fn onlooker(&self) -> &Onlooker {
        &self.onlooker
    }

    /// Reads the archive beside the server; see [`queue::Queues::archived`].
    pub(in crate::queue) fn archived(
        &self,
        range: Range,
        found: mpsc::Sender<Result<Message, QueueError>>,
    ) {
        self.onlooker.archived_to(range, found);
    }

    /// Whether the server is there.
    pub fn status(&self) -> Status {
        self.link.status.borrow().clone()
    }

    /// Ends the connection: every consumer ends, and what it has in hand goes back.
    pub fn close(&self) {
        self.link.end();
        self.link.over();
    }
}

async fn open(data_dir: &Path) -> io::Result<UnixStream> {
    let (path, _folder) = address(data_dir)?;
    UnixStream::connect(path).await
}

async fn greet(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut BufWriter<OwnedWriteHalf>,
) -> io::Result<Answer> {
    let hello = Ask::Hello { version: VERSION };
    wire::write(writer, &(hello, Bytes::new())).await?;
    match wire::read::<Say>(reader).await? {
        Some((Say::Answer { answer, .. }, _)) => Ok(answer),
        _ => Err(io::Error::other("it is no quittance server")),
    }
}

async fn talk(
    mut writer: BufWriter<OwnedWriteHalf>,
    mut asked: mpsc::UnboundedReceiver<Frame<Ask>>,
) {
    while let Some(frame) = asked.recv().await {
        if wire::write(&mut writer, &frame).await.is_err() {
            // The listening half sees the end too, and tells everybody.
            return;
        }
    }
}

async fn listen(
    mut reader: BufReader<OwnedReadHalf>,
    link: std::sync::Weak<Link>,
    status: watch::Sender<Status>,
) {
    while let Ok(Some((say, body))) = wire::read::<Say>(&mut reader).await {
        let Some(link) = link.upgrade() else { return };
        link.hear(say, body);
    }
    status.send_replace(Status::Down(ENDED.to_owned()));
    if let Some(link) = link.upgrade() {
        link.over();
    }
}

impl Link {
    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Asks and waits; `None` when the connection is over.
    async fn ask(&self, ask: impl FnOnce(u64) -> Ask, body: Bytes) -> Option<Answer> {
        let number = self.next();
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = locked(&self.waiting);
            if waiting.over {
                return None;
            }
            waiting.answers.insert(number, sender);
        }
        self.asks.send((ask(number), body)).ok()?;
        answer.await.ok()
    }

    fn hear(&self, say: Say, body: Bytes) {
        let mut waiting = locked(&self.waiting);
        match say {
            Say::Answer { number, answer } => {
                if let Some(asker) = waiting.answers.remove(&number) {
                    asker.send(answer).ok();
                }
            }
            Say::Delivery {
                consumer,
                tag,
                redelivered,
                envelope,
            } => {
                if let Some(subscription) = waiting.consumers.get(&consumer) {
                    let handed = Handed {
                        tag,
                        redelivered,
                        message: envelope.message(body),
                    };
                    // A consumer that was dropped meanwhile has been forgotten: it goes back.
                    subscription.deliveries.send(handed).ok();
                }
            }
            Say::Over { consumer } => {
                if let Some(ended) = waiting.consumers.remove(&consumer) {
                    ended.subscribed.send_replace(false);
                }
            }
        }
    }

    /// Nobody is answered any more.
    fn over(&self) {
        let mut waiting = locked(&self.waiting);
        waiting.over = true;
        waiting.answers.clear();
        for (_, ended) in waiting.consumers.drain() {
            ended.subscribed.send_replace(false);
        }
    }

    fn end(&self) {
        self.talking.abort();
        if let Some(listening) = locked(&self.listening).take() {
            listening.abort();
        }
    }
}

/// A subscription to a queue of the server.
#[derive(Debug)]
pub struct Consumer {
    number: u64,
    deliveries: mpsc::UnboundedReceiver<Handed>,
    subscribed: watch::Receiver<bool>,
    stopped: bool,
    link: Arc<Link>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        locked(&self.link.waiting).consumers.remove(&self.number);
        let forget = Ask::Forget {
            consumer: self.number,
        };
        // With the connection over the server has forgotten it anyway.
        self.link.asks.send((forget, Bytes::new())).ok();
    }
}

impl Consumer {
    /// The next delivery; `None` after [`Self::stop`] or when the server has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        if self.stopped {
            return None;
        }
        let handed = self.deliveries.recv().await?;
        Some(Delivery {
            acker: queue::Acker::Remote(self.acker(handed.tag)),
            redelivered: handed.redelivered,
            message: handed.message,
        })
    }

    /// Takes no more; what `next` has not handed out goes back before this returns. What is in
    /// hand can still be settled.
    pub async fn stop(&mut self) {
        self.stopped = true;
        let consumer = self.number;
        let ask = |number| Ask::Stop { number, consumer };
        self.link.ask(ask, Bytes::new()).await;
        if let Some(stopped) = locked(&self.link.waiting).consumers.get(&consumer) {
            stopped.subscribed.send_replace(false);
        }
        // What was said before the answer is here by now.
        let mut unseen = Vec::new();
        while let Ok(handed) = self.deliveries.try_recv() {
            unseen.push(self.acker(handed.tag).requeue());
        }
        // A stale one has gone back already.
        join_all(unseen).await;
    }

    /// Whether the subscription stands.
    pub fn subscribed(&self) -> Subscribed {
        Subscribed(self.subscribed.clone())
    }

    fn acker(&self, tag: u64) -> Acker {
        Acker {
            consumer: self.number,
            tag,
            link: Arc::clone(&self.link),
        }
    }
}

/// Settles one delivery of the server.
#[derive(Debug)]
pub struct Acker {
    consumer: u64,
    tag: u64,
    link: Arc<Link>,
}

impl Acker {
    /// The message is done; durable when this returns.
    ///
    /// # Errors
    /// [`StaleDelivery`] when it is no longer ours; it is delivered again.
    pub async fn ack(self) -> Result<(), StaleDelivery> {
        self.settle(true).await
    }

    /// Gives the message back to its place in line.
    ///
    /// # Errors
    /// [`StaleDelivery`] when it went back already.
    pub async fn requeue(self) -> Result<(), StaleDelivery> {
        self.settle(false).await
    }

    async fn settle(self, done: bool) -> Result<(), StaleDelivery> {
        let (consumer, tag) = (self.consumer, self.tag);
        let ask = |number| Ask::Settle {
            number,
            consumer,
            tag,
            done,
        };
        match self.link.ask(ask, Bytes::new()).await {
            Some(Answer::Done) => Ok(()),
            _ => Err(StaleDelivery),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
