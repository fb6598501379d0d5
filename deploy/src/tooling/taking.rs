//! Taking what is in a queue now, each message once: what is not meant is held until the end and
//! then given back, so that it is not handed out again and again.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use quittance_common::ids::MessageId;
use quittance_common::queue::{Acker, Consumer, Delivery, Depth, QueueId, Queues};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long nothing may come before the queue is asked whether anything is left.
const SILENCE: Duration = Duration::from_millis(300);

/// How long the queue may say that there is something and hand out nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a consumer that was killed may still be seen by the broker.
const LINGERING: Duration = Duration::from_secs(5);

/// How long a broker may take to forget a consumer that has ended.
const PARTING: Duration = Duration::from_secs(2);

/// How often it is asked about that.
const PARTING_LOOK: Duration = Duration::from_millis(20);

/// How often the broker is asked about consumers.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// In hand at once when everything is meant.
const PREFETCH: u16 = 128;

/// A pass over one queue.
pub(crate) struct Taking {
    queues: Queues,
    queue: QueueId,
    is_parking: bool,
    consumer: Consumer,
    left: Left,
    held: Vec<Acker>,
}

/// How a pass goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    /// Some messages will be held until the end.
    pub(crate) holds: bool,
    /// No more than were there at the beginning: what is taken may come back.
    pub(crate) bounded: bool,
    /// No more than so many are wanted, so no more are taken in hand.
    pub(crate) at_most: Option<u16>,
}

impl Pass {
    /// How many are in hand at once when so many are ready. Pure.
    fn prefetch(self, ready: u64) -> u16 {
        let wanted = if self.holds {
            u16::try_from(ready.saturating_add(PREFETCH.into())).unwrap_or(u16::MAX)
        } else {
            PREFETCH
        };
        // None at all would be no limit at all.
        self.at_most
            .map_or(wanted, |at_most| wanted.min(at_most.max(1)))
    }
}

/// How many messages are still to come, by their ids: what comes again after a reconnect does not
/// count again.
#[derive(Debug)]
struct Left {
    /// `None` when the pass ends with an empty queue.
    left: Option<u64>,
    seen: HashSet<MessageId>,
}

impl Left {
    fn new(left: Option<u64>) -> Self {
        let seen = HashSet::new();
        Self { left, seen }
    }

    fn is_none(&self) -> bool {
        self.left == Some(0)
    }

    fn count(&mut self, id: MessageId) {
        if let Some(left) = &mut self.left
            && self.seen.insert(id)
        {
            *left = left.saturating_sub(1);
        }
    }
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
        let prefetch = pass.prefetch(ready);
        let consumer = queues.consume(queue, prefetch).await;
        let taking = Self {
            queues: queues.clone(),
            queue,
            is_parking,
            consumer,
            left: Left::new(pass.bounded.then_some(ready)),
            held: Vec::new(),
        };
        if is_parking && let Err(refused) = taking.still_alone(name).await {
            taking.consumer.release(taking.held).await;
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
        if self.left.is_none() {
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
                    self.left.count(delivery.message.id);
                    return Ok(Some(delivery));
                }
                Ok(None) => anyhow::bail!("the engine has ended the subscription"),
                Err(_silence) => {}
            }
            let depth = self.queues.depth(self.queue).await?;
            let is_empty = depth.is_none_or(|depth| depth.ready == 0 && !self.others_hold(&depth));
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

    /// Whether somebody else has messages of a parking queue in hand, such as a tool that is about
    /// to be refused: they come back. What a stage has of its work queue does not.
    fn others_hold(&self, depth: &Depth) -> bool {
        let ours = u64::try_from(self.held.len()).unwrap_or(u64::MAX);
        self.is_parking && depth.unacked.is_some_and(|unacked| unacked > ours)
    }

    /// One more, if it is here already.
    pub(crate) fn next_now(&mut self) -> Option<Delivery> {
        if self.left.is_none() {
            return None;
        }
        let delivery = self.consumer.next().now_or_never()??;
        self.left.count(delivery.message.id);
        Some(delivery)
    }

    /// Keeps a message out of the way until the end.
    pub(crate) fn hold(&mut self, acker: Acker) {
        self.held.push(acker);
    }

    /// Ends the pass: everything that was held goes back, all of it at once.
    pub(crate) async fn end(self) {
        self.consumer.release(self.held).await;
        if !self.is_parking {
            return;
        }
        // A broker takes back after it has agreed to; whoever looks after us is to see everything.
        let since = Instant::now();
        while since.elapsed() < PARTING {
            match self.queues.depth(self.queue).await {
                Ok(Some(depth)) if !is_left_alone(&depth) => {}
                // Not our concern any more.
                Ok(_) | Err(_) => return,
            }
            tokio::time::sleep(PARTING_LOOK).await;
        }
    }
}

/// Whether nobody consumes the queue and nobody has anything of it in hand, so that what is ready is
/// all there is. Where unacked messages are not told (a broker by AMQP), they go back together with
/// their consumer.
fn is_left_alone(depth: &Depth) -> bool {
    depth.consumers == 0 && depth.unacked.unwrap_or(0) == 0
}

/// Waits until nobody else has anything to do with a parking queue; how many messages it has.
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
        if !is_parking || is_left_alone(&depth) {
            return Ok(depth.ready);
        }
        anyhow::ensure!(
            since.elapsed() < LINGERING,
            "somebody else consumes `{name}` ({} consumers) or has messages of it in hand: wait until \
             that tool has ended",
            depth.consumers
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_after_a_reconnect_does_not_end_the_pass_early() {
        let (one, other) = (MessageId::new(), MessageId::new());
        let mut left = Left::new(Some(2));
        left.count(one);
        left.count(one);
        assert!(!left.is_none());
        left.count(other);
        assert!(left.is_none());
    }

    #[test]
    fn a_queue_without_a_consumer_is_not_alone_while_messages_are_still_in_hand() {
        let depth = |consumers, unacked| Depth {
            queue: "ipn.quarantine".to_owned(),
            ready: 0,
            unacked,
            consumers,
        };
        assert!(!is_left_alone(&depth(0, Some(4))));
        assert!(!is_left_alone(&depth(1, Some(0))));
        assert!(is_left_alone(&depth(0, Some(0))));
        assert!(is_left_alone(&depth(0, None)));
    }

    #[test]
    fn no_more_are_taken_in_hand_than_are_wanted() {
        let pass = |holds, at_most| Pass {
            holds,
            bounded: true,
            at_most,
        };
        assert_eq!(pass(true, Some(5)).prefetch(10_000), 5);
        assert_eq!(pass(true, Some(0)).prefetch(10_000), 1);
        assert_eq!(pass(true, None).prefetch(10_000), 10_128);
        assert_eq!(pass(false, None).prefetch(10_000), PREFETCH);
    }
}
