//! Publishes what a person has released to the verifier's own queue, where it is verified again.
//! The person's word waits in the shop database, so that the command works beside running stages on
//! either engine and never touches a queue itself.

use std::convert::Infallible;
use std::time::Duration;

use quittance_common::clock;
use quittance_common::queue::{Destination, QueueId, WorkQueue};
use quittance_common::runtime::Shell;
use quittance_common::shop::{Shop, ShopError};
use tracing::{info, warn};

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Publishes releases until it is dropped. A database or a broker that is away is tried again.
pub async fn publish(shell: Shell, shop: Shop) -> Infallible {
    let mut was_away = false;
    loop {
        match publish_next(&shell, &shop).await {
            Ok(true) => continue,
            Ok(false) => was_away = false,
            Err(error) => {
                if !was_away {
                    warn!(%error, "releases cannot be looked for");
                }
                was_away = true;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// One release; false when there is none. A crash after the publish repeats it, and the copy is a
/// duplicate.
async fn publish_next(shell: &Shell, shop: &Shop) -> Result<bool, ShopError> {
    let Some((id, message)) = shop.next_release(clock::now()).await? else {
        return Ok(false);
    };
    let message_id = message.id;
    let to = Destination::Queue(QueueId::Work(WorkQueue::Verify));
    match shell.queues.publish(&to, message).await {
        Ok(()) => {
            shop.release_published(&id, clock::now()).await?;
            info!(message.id = %message_id, release = id, "released by a person");
            Ok(true)
        }
        Err(error) => {
            // Its lease ends, and it is tried again.
            warn!(%error, message.id = %message_id, "a released message is not published");
            Ok(false)
        }
    }
}
