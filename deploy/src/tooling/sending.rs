//! Publishing one message until it is confirmed.

use std::time::Duration;

use anyhow::Context as _;
use quittance_common::message::Message;
use quittance_common::queue::{Destination, PublishError, QueueId, Queues, Status};
use tokio_util::sync::CancellationToken;

/// Publishes of one message before the command gives up; what is confirmed by then is done.
const PUBLISHES: u32 = 8;

/// The waits between them: doubling, within these.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Publishes until it is confirmed, under the same id, for a while. False when told to stop before:
/// then it may have arrived or not.
///
/// # Errors
/// When it is not confirmed after some attempts, or can never be.
pub(crate) async fn publish(
    queues: &Queues,
    to: QueueId,
    message: Message,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let (mut wait, longest) = BACKOFF;
    let to = Destination::Queue(to);
    let mut attempt = 0;
    loop {
        attempt += 1;
        // The attempt itself is not cut off: it ends by itself, and what it came to is then known.
        let error = match queues.publish(&to, message.clone()).await {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        // A connection to a server that has ended is not made again.
        let over = matches!(
            (queues, queues.status()),
            (Queues::Remote(_), Status::Down(_))
        );
        let hopeless = over || matches!(error, PublishError::TooLarge { .. });
        if hopeless || attempt == PUBLISHES {
            let what = format!("message {} could not be published", message.id);
            return Err(error).context(what);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(wait) => {}
        }
        wait = wait.saturating_mul(2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::ids::MessageId;
    use quittance_common::message::{Headers, MessageKind};
    use quittance_common::queue::QueueNames;
    use quittance_common::queue::embedded::Embedded;

    #[tokio::test]
    async fn a_stop_is_heard_while_a_message_cannot_be_published() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Embedded::open(folder.path(), QueueNames::default()).await;
        let queues = Queues::Embedded(engine.unwrap());
        queues.close(Duration::from_secs(5)).await;
        let message = Message {
            id: MessageId::new(),
            kind: MessageKind::NotificationV1,
            content_type: String::new(),
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            headers: Headers::default(),
            body: bytes::Bytes::new(),
        };
        let stop = CancellationToken::new();
        stop.cancel();
        let sent = publish(&queues, QueueId::Quarantine, message, &stop).await;
        assert!(!sent.unwrap());
    }
}
