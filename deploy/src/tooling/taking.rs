//! Taking what is in a queue now, each message once: what is not meant is held until the end and
//! then given back, so that it is not handed out again and again.

use std::time::Duration;

use futures_util::FutureExt as _;
use quittance_common::queue::{Acker, Consumer, Delivery, QueueId, Queues};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long nothing may come before the queue is asked whether anything is left.
const SILENCE: Duration = Duration::from_millis(300);

/// How long the queue may say that there is something and hand out nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a consumer that was killed may still be seen by the broker.
const LINGERING: Duration = Duration::from_secs(5);

/// How often the broker is asked about consumers.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// In hand at once when everything is meant.
const PREFETCH: u16 = 128;

/// A pass over one queue.
pub(crate) struct Taking {
    queues: Queues,
    queue: QueueId,
    consumer: Consumer,
    /// How many are still to come; `None` when the pass ends with an empty queue.
    left: Option<u64>,
    held: Vec<Acker>,
}

/// How a pass goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    /// Some messages will be held until the end.
    pub(crate) holds: bool,
    /// No more than were there at the beginning: what is taken may come back.
    pub(crate) bounded: bool,
}

impl Taking {
    /// Begins a pass, and how many messages are there.
    ///
    /// # Errors
    /// When somebody else consumes a parking queue: two tools would take each other's messages.
    pub(crate) async fn begin(
        queues: &Queues,
        queue: QueueId,
        name: &str,
        pass: Pass,
    ) -> anyhow::Result<(Self, u64)> {
        let is_parking = matches!(queue, QueueId::Dead(_) | QueueId::Quarantine);
        let ready = alone(queues, queue, name, is_parking).await?;
        let prefetch = if pass.holds {
            u16::try_from(ready.saturating_add(PREFETCH.into())).unwrap_or(u16::MAX)
        } else {
            PREFETCH
        };
        let consumer = queues.consume(queue, prefetch).await;
        let mut taking = Self {
            queues: queues.clone(),
            queue,
            consumer,
            left: pass.bounded.then_some(ready),
            held: Vec::new(),
        };
        if is_parking && let Err(refused) = taking.still_alone(name).await {
            taking.consumer.stop().await;
            return Err(refused);
        }
        Ok((taking, ready))
    }

    /// Of two tools that begin at the same moment each sees the other here.
    async fn still_alone(&self, name: &str) -> anyhow::Result<()> {
        let since = Instant::now();
        while !self.consumer.is_subscribed() {
            anyhow::ensure!(since.elapsed() < PATIENCE, "cannot subscribe to `{name}`");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let depth = self.queues.depth(self.queue).await?;
        anyhow::ensure!(
            depth.is_some_and(|depth| depth.consumers <= 1),
            "somebody else has begun to consume `{name}`: try again when that tool has ended"
        );
        Ok(())
    }

    /// The next message; `None` at the end of the pass or when told to stop.
    pub(crate) async fn next(
        &mut self,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Delivery>> {
        if self.left == Some(0) {
            return Ok(None);
        }
        let (since, mut was_empty) = (Instant::now(), false);
        loop {
            let came = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                came = timeout(SILENCE, self.consumer.next()) => came,
            };
            match came {
                Ok(Some(delivery)) => {
                    self.count();
                    return Ok(Some(delivery));
                }
                Ok(None) => anyhow::bail!("the engine has ended the subscription"),
                Err(_silence) => {}
            }
            let depth = self.queues.depth(self.queue).await?;
            let is_empty = depth.is_none_or(|depth| depth.ready == 0);
            // Asked twice: what has left the queue may still be on its way to us.
            if is_empty && was_empty {
                return Ok(None);
            }
            was_empty = is_empty;
            anyhow::ensure!(
                since.elapsed() < PATIENCE,
                "the queue has messages and hands out none; {} that are not meant are in the way",
                self.held.len()
            );
        }
    }

    /// One more, if it is here already.
    pub(crate) fn next_now(&mut self) -> Option<Delivery> {
        if self.left == Some(0) {
            return None;
        }
        let delivery = self.consumer.next().now_or_never()??;
        self.count();
        Some(delivery)
    }

    /// Keeps a message out of the way until the end.
    pub(crate) fn hold(&mut self, acker: Acker) {
        self.held.push(acker);
    }

    /// Ends the pass: everything that was held goes back.
    pub(crate) async fn end(mut self) {
        self.consumer.stop().await;
        for acker in self.held {
            // One that is no longer ours has gone back already.
            acker.requeue().await.ok();
        }
    }

    fn count(&mut self) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
    }
}

/// Waits until nobody else consumes a parking queue; how many messages it has.
async fn alone(
    queues: &Queues,
    queue: QueueId,
    name: &str,
    is_parking: bool,
) -> anyhow::Result<u64> {
    let since = Instant::now();
    loop {
        let Some(depth) = queues.depth(queue).await? else {
            anyhow::bail!("the broker has no queue `{name}`");
        };
        if !is_parking || depth.consumers == 0 {
            return Ok(depth.ready);
        }
        anyhow::ensure!(
            since.elapsed() < LINGERING,
            "somebody else consumes `{name}` ({} consumers): wait until that tool has ended",
            depth.consumers
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
