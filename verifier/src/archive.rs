//! Keeping every accepted notification: the exact bytes go to the archive when the verifier sees
//! them first, beside the verification and never in its way.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use prometheus::{IntCounterVec, Opts, Registry};
use quittance_common::disposition::Disposition;
use quittance_common::ids::MessageId;
use quittance_common::message::{Message, MessageKind};
use quittance_common::queue::{Destination, Queues};
use quittance_common::stage::{Stage, StageName};
use tracing::warn;

/// How long a verification waits for the archive at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many are remembered that were not archived and come again.
const MISSED: usize = 10_000;

/// A stage whose messages are archived when they are seen first.
#[derive(Debug)]
pub struct Archiving<S> {
    stage: S,
    queues: Queues,
    /// Whether there is an archive.
    on: bool,
    archived: IntCounterVec,
    /// Seen first, not archived, and coming again as a retry.
    missed: Mutex<HashSet<MessageId>>,
}

impl<S> Archiving<S> {
    /// Archives on `queues` what `stage` sees first, if `on`.
    ///
    /// # Errors
    /// When the metric's name is taken in the registry.
    pub fn new(
        stage: S,
        queues: Queues,
        on: bool,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let archived = IntCounterVec::new(
            Opts::new(
                "quittance_archived_total",
                "Notifications handed to the archive, by outcome",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(archived.clone()))?;
        for outcome in ["kept", "failed"] {
            archived.with_label_values(&[outcome]);
        }
        Ok(Self {
            stage,
            queues,
            on,
            archived,
            missed: Mutex::default(),
        })
    }

    /// Archives what is to be archived; false when that has failed. A failure is counted and costs
    /// the message nothing: the archive is for looking back.
    async fn keep(&self, message: &Message) -> bool {
        if !self.is_due(message) {
            return true;
        }
        let publish = self.queues.publish(&Destination::Archive, message.clone());
        let failure = match tokio::time::timeout(PATIENCE, publish).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_elapsed) => Some(format!("no confirm within {PATIENCE:?}")),
        };
        let outcome = match &failure {
            None => "kept",
            Some(error) => {
                warn!(message.id = %message.id, error, "not archived");
                "failed"
            }
        };
        self.archived.with_label_values(&[outcome]).inc();
        failure.is_none()
    }

    fn is_due(&self, message: &Message) -> bool {
        self.on && (is_first_sight(message) || self.missed().contains(&message.id))
    }

    /// Remembers a message that was not archived and comes again, and forgets every other.
    fn remember(&self, id: MessageId, is_missed: bool) {
        let mut missed = self.missed();
        if is_missed {
            if missed.len() >= MISSED {
                // Others have had them since, or nobody asks for them any more.
                missed.clear();
            }
            missed.insert(id);
        } else {
            missed.remove(&id);
        }
    }

    fn missed(&self) -> MutexGuard<'_, HashSet<MessageId>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the message comes straight from ingest: neither a retry, nor a replay, nor released by
/// a person.
fn is_first_sight(message: &Message) -> bool {
    let headers = &message.headers;
    headers.attempt == 0
        && headers.reason.is_none()
        && !headers.was_sent_again()
        && matches!(
            message.kind,
            MessageKind::NotificationV1 | MessageKind::EvidenceV1
        )
}

impl<S: Stage> Stage for Archiving<S> {
    const NAME: StageName = S::NAME;
    type Receipt = S::Receipt;

    async fn ready(&self) {
        self.stage.ready().await;
    }

    async fn handle(&self, message: &Message) -> Disposition<Self::Receipt> {
        // A panic is the loop's to deal with. It must not take the archiving with it: the message
        // comes again as a retry.
        let handled = AssertUnwindSafe(self.stage.handle(message)).catch_unwind();
        let (handled, kept) = tokio::join!(handled, self.keep(message));
        let comes_again = !matches!(
            handled,
            Ok(Disposition::Forward { .. } | Disposition::Park { .. })
        );
        self.remember(message.id, !kept && comes_again);
        handled.unwrap_or_else(|panic| resume_unwind(panic))
    }

    async fn confirmed(&self, receipt: Self::Receipt) {
        self.stage.confirmed(receipt).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::ids::{MessageId, Reason};
    use quittance_common::message::{Headers, RELEASE_HEADER};
    use quittance_common::queue::embedded::Embedded;
    use quittance_common::queue::{ArchiveLimits, QueueNames};

    fn message(headers: Headers) -> Message {
        Message {
            id: MessageId::new(),
            kind: MessageKind::NotificationV1,
            content_type: "application/x-www-form-urlencoded".into(),
            timestamp: "2026-11-22T10:00:00Z".parse().unwrap(),
            headers,
            body: bytes::Bytes::from_static(b"txn_id=T1"),
        }
    }

    #[derive(Debug)]
    struct Done;

    impl Stage for Done {
        const NAME: StageName = StageName::Verifier;
        type Receipt = ();

        async fn ready(&self) {}

        async fn handle(&self, _message: &Message) -> Disposition<()> {
            Disposition::Forward {
                publish: Vec::new(),
                receipt: (),
            }
        }

        async fn confirmed(&self, (): ()) {}
    }

    #[tokio::test]
    async fn an_archive_that_cannot_be_written_is_counted_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let names = QueueNames::default();
        let engine = Embedded::open(folder.path(), names).await.unwrap();
        let queues = Queues::Embedded(engine);
        let archiving = Archiving::new(Done, queues.clone(), true, &Registry::new()).unwrap();
        let count = |outcome| archiving.archived.with_label_values(&[outcome]).get();
        let message = message(Headers::default());
        archiving.handle(&message).await;
        assert_eq!((count("kept"), count("failed")), (1, 0));
        queues.close(PATIENCE).await;
        let decided = archiving.handle(&message).await;
        assert!(matches!(decided, Disposition::Forward { .. }));
        assert_eq!((count("kept"), count("failed")), (1, 1));
    }

    #[tokio::test]
    async fn what_could_not_be_archived_is_tried_again_when_it_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let names = QueueNames::default();
        let engine = Embedded::open(folder.path(), names).await.unwrap();
        let queues = Queues::Embedded(engine);
        queues.close(PATIENCE).await;
        let again = |message: &Message| {
            let mut again = message.clone();
            again.headers.attempt = 1;
            again
        };
        let first = message(Headers::default());
        let archiving = Archiving::new(Panicking, queues.clone(), true, &Registry::new()).unwrap();
        let handled = AssertUnwindSafe(archiving.handle(&first)).catch_unwind();
        assert!(handled.await.is_err());
        assert!(archiving.is_due(&again(&first)));
        archiving.remember(first.id, false);
        assert!(!archiving.is_due(&again(&first)));

        let archiving = Archiving::new(Done, queues, true, &Registry::new()).unwrap();
        archiving.handle(&first).await;
        assert!(!archiving.is_due(&again(&first)), "it does not come again");
    }

    #[derive(Debug)]
    struct Panicking;

    impl Stage for Panicking {
        const NAME: StageName = StageName::Verifier;
        type Receipt = ();

        async fn ready(&self) {}

        async fn handle(&self, _message: &Message) -> Disposition<()> {
            panic!("what no handler should do")
        }

        async fn confirmed(&self, (): ()) {}
    }

    #[tokio::test]
    async fn a_message_that_panics_the_handler_is_archived_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let names = QueueNames::default().with_archive(Some(ArchiveLimits::default()));
        let engine = Embedded::open(folder.path(), names).await.unwrap();
        let queues = Queues::Embedded(engine);
        let archiving = Archiving::new(Panicking, queues.clone(), true, &Registry::new()).unwrap();
        let message = message(Headers::default());
        let handled = AssertUnwindSafe(archiving.handle(&message)).catch_unwind();
        assert!(handled.await.is_err(), "the loop hears of it");
        let found = queues.archive_head().await.unwrap();
        assert_eq!(found.map(|message| message.id), Some(message.id));
    }

    #[test]
    fn only_what_comes_straight_from_ingest_is_archived() {
        let headers = Headers::default;
        assert!(is_first_sight(&message(headers())));
        let retried = Headers {
            attempt: 1,
            ..headers()
        };
        let waited = Headers {
            reason: Some(Reason::of("gateway_down")),
            ..headers()
        };
        let replayed = Headers {
            replay_id: Some("r".into()),
            ..headers()
        };
        let released = Headers {
            other: [(RELEASE_HEADER.to_owned(), "r".to_owned())].into(),
            ..headers()
        };
        for headers in [retried, waited, replayed, released] {
            assert!(!is_first_sight(&message(headers)));
        }
        let mut event = message(headers());
        event.kind = MessageKind::PaymentV1;
        assert!(!is_first_sight(&event));
    }
}
