//! The only consume loop: takes deliveries, asks the stage, performs what it decides.
//!
//! The order is always the same: publish onward, wait for the confirm, then ack. A crash anywhere
//! repeats a message and never loses one.

mod next;
mod perform;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::queue::{Consumer, Delivery, QueueId, WorkQueue};
use crate::runtime::Shell;
use crate::stage::Stage;
use perform::Performer;

/// How long the broker may take to agree that we take no more.
const CANCEL: Duration = Duration::from_secs(2);

/// Why a loop ended without being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The subscription is gone for good.
    #[error("the subscription to `{queue}` ended")]
    Ended {
        /// The queue.
        queue: String,
    },
    /// The loop's own code panicked while it held a message; the message is delivered again.
    #[error("a task that held a message of `{queue}` panicked")]
    Panicked {
        /// The queue.
        queue: String,
    },
}

/// Consumes `work` with at most `concurrency` messages in hand until `shell.stop`, then finishes
/// what is held within `shell.grace` and leaves the rest for redelivery.
pub async fn run<S: Stage>(
    shell: Shell,
    stage: Arc<S>,
    work: WorkQueue,
    concurrency: u16,
) -> Result<(), ConsumerError> {
    let queue = shell.names.name(QueueId::Work(work));
    let mut consumer = shell.queues.consume(QueueId::Work(work), concurrency).await;
    let subscribed = consumer.subscribed();
    shell
        .readiness
        .require(format!("consumer {queue}"), move || {
            subscribed.is_subscribed()
        });
    let performer = Arc::new(Performer::new(shell.clone(), Arc::clone(&stage), work));
    let mut held = JoinSet::new();
    let result = take(&shell, &performer, &mut consumer, &mut held, concurrency).await;
    // One deadline for everything that follows. The consumer lives on until what it delivered is
    // settled.
    let deadline = tokio::time::Instant::now() + shell.grace;
    tokio::time::timeout(CANCEL, consumer.stop()).await.ok();
    let finished = tokio::time::timeout_at(deadline, async {
        while held.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(
            queue,
            held = held.len(),
            "stopped with messages in hand; they will be delivered again"
        );
        held.shutdown().await;
    }
    result.map_err(|end| match end {
        End::Subscription => ConsumerError::Ended { queue },
        End::Panic => ConsumerError::Panicked { queue },
    })
}

/// Why [`take`] stopped taking before it was told to.
enum End {
    Subscription,
    Panic,
}

/// Takes deliveries and hands each to a task, until the stop.
async fn take<S: Stage>(
    shell: &Shell,
    performer: &Arc<Performer<S>>,
    consumer: &mut Consumer,
    held: &mut JoinSet<()>,
    concurrency: u16,
) -> Result<(), End> {
    loop {
        tokio::select! {
            biased;
            () = shell.stop.cancelled() => return Ok(()),
            Some(ended) = held.join_next(), if !held.is_empty() => {
                if ended.is_err() {
                    return Err(End::Panic);
                }
            }
            // Asked anew after every end of a handler, so that a stage whose server has just gone
            // down takes nothing more.
            delivery = next_when_ready(performer, consumer), if held.len() < usize::from(concurrency) => {
                let Some(delivery) = delivery else {
                    return Err(End::Subscription);
                };
                let performer = Arc::clone(performer);
                held.spawn(async move { performer.perform(delivery).await });
            }
        }
    }
}

async fn next_when_ready<S: Stage>(
    performer: &Performer<S>,
    consumer: &mut Consumer,
) -> Option<Delivery> {
    performer.stage().ready().await;
    consumer.next().await
}
