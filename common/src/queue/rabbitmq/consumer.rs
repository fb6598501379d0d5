//! A subscription that outlives connections: a task subscribes, and again whenever it must.
//!
//! A stream that ends is a fault, whatever ended it: a lost connection, a deleted queue (which
//! says nothing at all) or a channel that the broker closed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backoff;
use super::declare::{bounded, short, soft_error};
use super::link::{Live, State};
use super::wire;
use crate::clock;
use crate::queue::{Delivery, StaleDelivery, Subscribed};

/// For the broker to agree to a cancel, or for a settlement to reach the socket.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a silent subscription is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Settles one delivery of `RabbitMQ`.
pub struct Acker {
    inner: lapin::Acker,
    /// Held, because a channel closes with its last handle, and a message in hand must be
    /// settled on the channel that it came by.
    _channel: Arc<Channel>,
}

impl std::fmt::Debug for Acker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Acker")
    }
}

impl Acker {
    /// `basic.ack`. The broker never answers it: a lost ack shows as a redelivery.
    ///
    /// # Errors
    /// [`StaleDelivery`] when the channel of the delivery is gone.
    pub async fn ack(self) -> Result<(), StaleDelivery> {
        settled(self.inner.ack(BasicAckOptions::default())).await
    }

    /// `basic.nack` with requeue.
    ///
    /// # Errors
    /// [`StaleDelivery`] when the channel of the delivery is gone.
    pub async fn requeue(self) -> Result<(), StaleDelivery> {
        let options = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        settled(self.inner.nack(options)).await
    }
}

/// `Ok(false)` is the client library's word for "that channel is gone".
async fn settled(sent: impl Future<Output = lapin::Result<bool>>) -> Result<(), StaleDelivery> {
    match timeout(SETTLE_TIMEOUT, sent).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false) | Err(_)) | Err(_) => Err(StaleDelivery),
    }
}

/// A subscription to one queue; see [`crate::queue::Consumer`].
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
    subscribed: watch::Receiver<bool>,
    stop: CancellationToken,
    release: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Consumer {
    /// Starts the task that keeps the subscription.
    pub(super) fn start(queue: String, prefetch: u16, link: watch::Receiver<State>) -> Self {
        // `basic.qos` with 0 would mean no limit at all.
        let prefetch = prefetch.max(1);
        let (sender, deliveries) = mpsc::channel(usize::from(prefetch));
        let (subscribed_sender, subscribed) = watch::channel(false);
        let (stop, release) = (CancellationToken::new(), CancellationToken::new());
        let subscription = Subscription {
            queue,
            prefetch,
            link,
            deliveries: sender,
            subscribed: subscribed_sender,
            stop: stop.clone(),
            release: release.clone(),
        };
        Self {
            deliveries,
            subscribed,
            stop,
            release,
            task: Some(tokio::spawn(subscription.run())),
        }
    }

    /// The next delivery; `None` after [`Self::stop`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.deliveries.recv().await?;
            // What waited here while its channel went away comes again on the next one.
            if is_usable(&delivery) {
                return Some(delivery);
            }
        }
    }

    /// Cancels at the broker and gives back what `next` has not seen. What it has seen can still
    /// be settled.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.ok();
        }
        self.deliveries.close();
        while let Ok(delivery) = self.deliveries.try_recv() {
            give_back(delivery).await;
        }
    }

    /// Ends the channel: the broker takes back at one stroke whatever came by it and is not
    /// settled, `held` and what `next` has not seen. An end of the consumer alone, and a refusal of
    /// each message, would show others a queue without a consumer and with a part of its messages.
    pub async fn release(mut self, held: Vec<crate::queue::Acker>) {
        self.release.cancel();
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.ok();
        }
        // They hold the channel, and are of no use any more.
        drop(held);
    }

    /// A handle that tells whether the subscription stands.
    pub fn subscribed(&self) -> Subscribed {
        Subscribed(self.subscribed.clone())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn is_usable(delivery: &Delivery) -> bool {
    match &delivery.acker {
        crate::queue::Acker::RabbitMq(acker) => acker.inner.usable(),
        crate::queue::Acker::Embedded(_) | crate::queue::Acker::Remote(_) => true,
    }
}

async fn give_back(delivery: Delivery) {
    // When it is not ours any more the broker has it back already.
    delivery.acker.requeue().await.ok();
}

struct Subscription {
    queue: String,
    prefetch: u16,
    link: watch::Receiver<State>,
    deliveries: mpsc::Sender<Delivery>,
    subscribed: watch::Sender<bool>,
    stop: CancellationToken,
    /// Set before `stop`: the channel is to be closed.
    release: CancellationToken,
}

/// Why a subscription is over.
enum Over {
    /// We were told to stop, or nobody listens any more.
    Stopped,
    /// It must be made again.
    Lost(String),
}

impl Subscription {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let Some(live) = self.connected().await else {
                break;
            };
            let over = match self.subscribe(&live).await {
                Ok((channel, stream)) => {
                    failures = 0;
                    self.subscribed.send_replace(true);
                    info!(queue = self.queue, prefetch = self.prefetch, "subscribed");
                    let over = self.forward(&live, &channel, stream).await;
                    self.subscribed.send_replace(false);
                    over
                }
                Err(error) => {
                    if let Some((AMQPSoftError::NOTFOUND, _)) = soft_error(&error) {
                        live.redeclare();
                    }
                    Over::Lost(error.to_string())
                }
            };
            let Over::Lost(detail) = over else { break };
            warn!(queue = self.queue, detail, "the subscription is lost");
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = sleep(backoff::wait(failures)) => {}
            }
            failures = failures.saturating_add(1);
        }
    }

    /// Waits for a connection; `None` when told to stop, or when there will be none any more.
    async fn connected(&mut self) -> Option<Arc<Live>> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = self.deliveries.closed() => None,
            found = self.link.wait_for(|state| matches!(state, State::Up(_))) => match &*found.ok()? {
                State::Up(live) => Some(Arc::clone(live)),
                State::Down(_) => None,
            },
        }
    }

    async fn subscribe(&self, live: &Live) -> lapin::Result<(Arc<Channel>, lapin::Consumer)> {
        let channel = bounded(live.connection().create_channel()).await?;
        // Before the consume: it is the only bound on what the broker pushes.
        bounded(channel.basic_qos(self.prefetch, BasicQosOptions::default())).await?;
        let stream = bounded(channel.basic_consume(
            short(&self.queue)?,
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        ))
        .await?;
        Ok((Arc::new(channel), stream))
    }

    /// Hands deliveries on until the stream ends or we are told to stop.
    async fn forward(
        &self,
        live: &Live,
        channel: &Arc<Channel>,
        mut stream: lapin::Consumer,
    ) -> Over {
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return self.cancel(channel, stream).await,
                () = self.deliveries.closed() => return self.cancel(channel, stream).await,
                () = live.ended() => return Over::Lost("the connection is over".to_owned()),
                _ = look.tick() => if !channel.status().connected() {
                    return Over::Lost("the channel is closed".to_owned());
                },
                next = stream.next() => match next {
                    Some(Ok(delivery)) => {
                        let delivery = read(delivery, channel);
                        // There is room for the prefetch, unless stale ones still wait there.
                        let room = tokio::select! {
                            room = self.deliveries.reserve() => room.ok(),
                            () = self.stop.cancelled() => None,
                            () = live.ended() => {
                                return Over::Lost("the connection is over".to_owned());
                            }
                        };
                        let Some(room) = room else {
                            if !self.release.is_cancelled() {
                                give_back(delivery).await;
                            }
                            return self.cancel(channel, stream).await;
                        };
                        room.send(delivery);
                    }
                    Some(Err(error)) => return Over::Lost(error.to_string()),
                    None => {
                        live.redeclare();
                        return Over::Lost("the stream ended (was the queue deleted?)".to_owned());
                    }
                },
            }
        }
    }

    /// `basic.cancel`, then gives back what the client library still holds; or the end of the
    /// channel, which does both.
    async fn cancel(&self, channel: &Arc<Channel>, mut stream: lapin::Consumer) -> Over {
        if self.release.is_cancelled() {
            let closed = timeout(SETTLE_TIMEOUT, channel.close(200, "".into())).await;
            if !matches!(closed, Ok(Ok(()))) {
                warn!(queue = self.queue, "the channel did not close in time");
            }
            return Over::Stopped;
        }
        let cancelled = timeout(
            SETTLE_TIMEOUT,
            channel.basic_cancel(stream.tag(), BasicCancelOptions::default()),
        )
        .await;
        if matches!(cancelled, Ok(Ok(()))) {
            // Ends after what was buffered.
            while let Ok(Some(Ok(delivery))) = timeout(SETTLE_TIMEOUT, stream.next()).await {
                give_back(read(delivery, channel)).await;
            }
        }
        Over::Stopped
    }
}

fn read(delivery: lapin::message::Delivery, channel: &Arc<Channel>) -> Delivery {
    Delivery {
        message: wire::decode(&delivery.properties, delivery.data, clock::now()),
        redelivered: delivery.redelivered,
        acker: crate::queue::Acker::RabbitMq(Acker {
            inner: delivery.acker,
            _channel: Arc::clone(channel),
        }),
    }
}
