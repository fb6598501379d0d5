//! The consumer's side: a stream of leased messages, and the handle that settles one.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::batch::Leased;
use super::writer::Command;
use crate::queue::{self, Delivery, StaleDelivery, Subscribed};

/// A subscription to one queue of this process.
#[derive(Debug)]
pub struct Consumer {
    pub(super) number: i64,
    pub(super) deliveries: mpsc::UnboundedReceiver<Leased>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) subscribed: watch::Receiver<bool>,
    pub(super) stopped: bool,
    /// Dropped after `deliveries`, whose end is how the writer knows us gone.
    pub(super) _bell: Bell,
}

/// Wakes the writer when a consumer is dropped.
#[derive(Debug)]
pub(super) struct Bell(pub(super) Arc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Consumer {
    /// The next delivery; `None` after [`Self::stop`] or when the engine is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        if self.stopped {
            return None;
        }
        let leased = self.deliveries.recv().await?;
        Some(Delivery {
            acker: queue::Acker::Embedded(self.acker(leased.seq)),
            redelivered: leased.redelivered,
            message: leased.message,
        })
    }

    /// Takes no more; what `next` has not handed out goes back to its place in line before this
    /// returns. What is in hand can still be settled.
    pub async fn stop(&mut self) {
        self.stopped = true;
        let (reply, stopped) = oneshot::channel();
        let command = Command::Unsubscribe {
            consumer: self.number,
            reply,
        };
        if self.commands.send(command).await.is_ok() {
            stopped.await.ok();
        }
        let mut unseen = Vec::new();
        while let Ok(leased) = self.deliveries.try_recv() {
            unseen.push(self.acker(leased.seq).settle(false).await);
        }
        for settled in unseen.into_iter().flatten() {
            // A stale one has gone back already.
            settled.await.ok();
        }
    }

    /// Whether the subscription stands, for readiness.
    pub fn subscribed(&self) -> Subscribed {
        Subscribed(self.subscribed.clone())
    }

    fn acker(&self, seq: i64) -> Acker {
        Acker {
            consumer: self.number,
            seq,
            commands: self.commands.clone(),
        }
    }
}

/// Settles one delivery.
#[derive(Debug)]
pub struct Acker {
    consumer: i64,
    seq: i64,
    commands: mpsc::Sender<Command>,
}

impl Acker {
    /// The message is done; durable when this returns.
    ///
    /// # Errors
    /// [`StaleDelivery`] when its consumer is gone or the engine could not store it; the message
    /// is delivered again.
    pub async fn ack(self) -> Result<(), StaleDelivery> {
        self.settle(true).await?.await.map_err(|_| StaleDelivery)?
    }

    /// Gives the message back to its place in line.
    ///
    /// # Errors
    /// [`StaleDelivery`] when it went back already.
    pub async fn requeue(self) -> Result<(), StaleDelivery> {
        self.settle(false).await?.await.map_err(|_| StaleDelivery)?
    }

    /// Asks for the settlement; the answer comes after the commit.
    async fn settle(
        self,
        done: bool,
    ) -> Result<oneshot::Receiver<Result<(), StaleDelivery>>, StaleDelivery> {
        let (reply, settled) = oneshot::channel();
        let command = Command::Settle {
            consumer: self.consumer,
            seq: self.seq,
            done,
            reply,
        };
        self.commands
            .send(command)
            .await
            .map_err(|_| StaleDelivery)?;
        Ok(settled)
    }
}
