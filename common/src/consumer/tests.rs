//! The loop on the embedded engine, with a stage that does as it is told.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::admin::Readiness;
use crate::disposition::{Disposition, Lot, Wait};
use crate::ids::{MessageId, Reason};
use crate::message::{Headers, Message, MessageKind, RELEASE_HEADER};
use crate::metrics::Metrics;
use crate::queue::embedded::Embedded;
use crate::queue::{Destination, QueueNames, Queues};
use crate::retry::{Ladder, Rung};
use crate::stage::{self, StageName};

type Decide = Box<dyn Fn(Message) -> BoxFuture<'static, Disposition<()>> + Send + Sync>;

/// A stage whose decision is a closure of the test.
struct Scripted {
    decide: Decide,
    confirmed: mpsc::UnboundedSender<()>,
    parked: mpsc::UnboundedSender<String>,
}

impl Stage for Scripted {
    const NAME: StageName = StageName::Verifier;
    type Receipt = ();

    async fn ready(&self) {}

    async fn handle(&self, message: &Message) -> Disposition<()> {
        (self.decide)(message.clone()).await
    }

    async fn parked(&self, message: &Message, _: Lot, why: stage::Why<'_>) {
        let attempt = message.headers.attempt;
        self.parked.send(format!("{} {attempt}", why.reason)).ok();
    }

    async fn confirmed(&self, _receipt: ()) {
        self.confirmed.send(()).ok();
    }
}

/// A running loop on a fresh engine.
struct Bench {
    shell: Shell,
    confirmed: mpsc::UnboundedReceiver<()>,
    parked: mpsc::UnboundedReceiver<String>,
    running: tokio::task::JoinHandle<Result<(), ConsumerError>>,
    folder: tempfile::TempDir,
}

const SHORT: Rung = Rung::from_millis(20);

async fn bench(grace: Duration, decide: Decide) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let names = QueueNames::new("ipn.", Ladder::new([SHORT]).unwrap());
    let engine = Embedded::open(folder.path(), names.clone()).await.unwrap();
    let shell = Shell {
        queues: Queues::Embedded(engine),
        metrics: Metrics::new(&names).unwrap(),
        names,
        readiness: Readiness::new(),
        stop: CancellationToken::new(),
        grace,
    };
    let (sender, confirmed) = mpsc::unbounded_channel();
    let (parked_sender, parked) = mpsc::unbounded_channel();
    let stage = Arc::new(Scripted {
        decide,
        confirmed: sender,
        parked: parked_sender,
    });
    let running = tokio::spawn(run(shell.clone(), stage, WorkQueue::Verify, 4));
    Bench {
        shell,
        confirmed,
        parked,
        running,
        folder,
    }
}

impl Bench {
    async fn publish(&self, message: &Message) {
        let verify = Destination::Queue(QueueId::Work(WorkQueue::Verify));
        self.shell
            .queues
            .publish(&verify, message.clone())
            .await
            .unwrap();
    }

    /// The next message of another queue.
    async fn next(&self, queue: QueueId) -> Message {
        let mut consumer = self.shell.queues.consume(queue, 1).await;
        let delivery = tokio::time::timeout(Duration::from_secs(20), consumer.next());
        let delivery = delivery.await.unwrap().unwrap();
        delivery.acker.ack().await.unwrap();
        delivery.message
    }

    /// Stops the loop; what is left in the work queue afterwards.
    async fn stop(self) -> (Shell, u64, tempfile::TempDir) {
        self.shell.stop.cancel();
        self.running.await.unwrap().unwrap();
        let depths = self.shell.queues.depths().await.unwrap();
        let verify = depths.iter().find(|depth| depth.queue == "ipn.verify");
        let left = verify.map_or(0, |depth| depth.ready + depth.unacked.unwrap_or(0));
        (self.shell, left, self.folder)
    }
}

fn message() -> Message {
    Message {
        id: MessageId::new(),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".into(),
        timestamp: Timestamp::UNIX_EPOCH,
        headers: Headers {
            received_at: Some(crate::clock::now()),
            ..Headers::default()
        },
        body: bytes::Bytes::from_static(b"txn_id=1"),
    }
}

fn retry() -> Disposition<()> {
    Disposition::Retry {
        wait: Wait::Counted {
            at_least: Duration::ZERO,
        },
        reason: Reason::of("gateway_timeout"),
        detail: "no answer".into(),
    }
}

fn forward() -> Disposition<()> {
    Disposition::Forward {
        publish: Vec::new(),
        receipt: (),
    }
}

fn always(decide: impl Fn(Message) -> Disposition<()> + Send + Sync + 'static) -> Decide {
    Box::new(move |message| {
        let decided = decide(message);
        Box::pin(async move { decided })
    })
}

const GRACE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_forwarded_is_published_then_confirmed_then_acked() {
    let mut bench = bench(
        GRACE,
        always(|message| Disposition::Forward {
            publish: vec![(
                Destination::Queue(QueueId::Work(WorkQueue::Fulfil)),
                Message {
                    id: message.id.derive("event/0"),
                    kind: MessageKind::PaymentV1,
                    ..message
                },
            )],
            receipt: (),
        }),
    )
    .await;
    let sent = message();
    bench.publish(&sent).await;
    let next = bench.next(QueueId::Work(WorkQueue::Fulfil)).await;
    assert_eq!(next.id, sent.id.derive("event/0"));
    bench.confirmed.recv().await.unwrap();
    let (shell, left, _folder) = bench.stop().await;
    assert_eq!(left, 0);
    let text = shell.metrics.render().unwrap();
    assert!(text.contains("quittance_event_age_seconds_count{stage=\"verifier\"} 1"));
    assert!(text.contains("quittance_in_flight{stage=\"verifier\"} 0"));
}

#[tokio::test]
async fn what_a_person_sends_again_says_nothing_about_how_long_the_stages_take() {
    let mut bench = bench(GRACE, always(|_| forward())).await;
    let mut replayed = message();
    replayed.headers.replay_id = Some("r1".into());
    let mut released = message();
    let release = (RELEASE_HEADER.to_owned(), "1".to_owned());
    released.headers.other.extend([release]);
    for sent in [replayed, released, message()] {
        bench.publish(&sent).await;
        bench.confirmed.recv().await.unwrap();
    }
    let (shell, left, _folder) = bench.stop().await;
    assert_eq!(left, 0);
    let text = shell.metrics.render().unwrap();
    assert!(text.contains("quittance_event_age_seconds_count{stage=\"verifier\"} 1"));
}

#[tokio::test]
async fn a_retried_message_comes_back_with_one_attempt_more() {
    let bench = bench(
        GRACE,
        always(|message| {
            if message.headers.attempt < 2 {
                retry()
            } else {
                Disposition::Park {
                    lot: Lot::Dead,
                    reason: Reason::of("gave_up"),
                    detail: "tried three times".into(),
                }
            }
        }),
    )
    .await;
    let sent = message();
    bench.publish(&sent).await;
    let dead = bench.next(QueueId::Dead(WorkQueue::Verify)).await;
    assert_eq!((dead.id, dead.body), (sent.id, sent.body));
    assert_eq!(dead.headers.attempt, 2);
    assert_eq!(dead.headers.reason, Some(Reason::of("gave_up")));
    assert!(dead.headers.first_failed_at.is_some());
    let (shell, left, _folder) = bench.stop().await;
    assert_eq!(left, 0);
    let text = shell.metrics.render().unwrap();
    assert!(text.contains("quittance_retries_total{queue=\"ipn.verify\"} 2"));
    assert!(
        text.contains(
            "quittance_dead_letters_total{queue=\"ipn.verify.dead\",reason=\"gave_up\"} 1"
        )
    );
}

#[tokio::test]
async fn a_handler_that_panics_costs_an_attempt_and_harms_no_other_message() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let mut bench = bench(
        GRACE,
        always(move |_message| {
            assert!(counted.fetch_add(1, Ordering::AcqRel) > 0, "on purpose");
            forward()
        }),
    )
    .await;
    bench.publish(&message()).await;
    bench.confirmed.recv().await.unwrap();
    let (shell, left, _folder) = bench.stop().await;
    assert_eq!((calls.load(Ordering::Acquire), left), (2, 0));
    let text = shell.metrics.render().unwrap();
    assert!(text.contains("quittance_panics_total{stage=\"verifier\"} 1"));
}

#[tokio::test]
async fn the_stage_records_what_is_parked_also_after_a_panic() {
    let parks = always(|_message| Disposition::Park {
        lot: Lot::Quarantine,
        reason: Reason::of("conflict"),
        detail: String::new(),
    });
    let panics = always(|message: Message| {
        assert!(message.body.is_empty(), "on purpose");
        forward()
    });
    for (decide, queue, expected) in [
        (parks, QueueId::Quarantine, "conflict 0"),
        (panics, QueueId::Dead(WorkQueue::Verify), "panic 1"),
    ] {
        let mut bench = bench(GRACE, decide).await;
        bench.publish(&message()).await;
        assert_eq!(bench.parked.recv().await.unwrap(), expected);
        bench.next(queue).await;
        assert!(bench.parked.try_recv().is_err(), "recorded once");
        bench.stop().await;
    }
}

#[tokio::test]
async fn at_the_stop_what_is_held_is_finished() {
    let (go, entered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, enter) = (Arc::clone(&go), Arc::clone(&entered));
    let bench = bench(
        GRACE,
        Box::new(move |_message| {
            let (wait, enter) = (Arc::clone(&wait), Arc::clone(&enter));
            Box::pin(async move {
                enter.notify_one();
                wait.notified().await;
                forward()
            })
        }),
    )
    .await;
    bench.publish(&message()).await;
    entered.notified().await;
    bench.shell.stop.cancel();
    go.notify_one();
    let (_, left, _folder) = bench.stop().await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_is_not_finished_within_the_grace_is_delivered_again() {
    let entered = Arc::new(Notify::new());
    let enter = Arc::clone(&entered);
    let bench = bench(
        Duration::ZERO,
        Box::new(move |_message| {
            enter.notify_one();
            Box::pin(std::future::pending())
        }),
    )
    .await;
    let sent = message();
    bench.publish(&sent).await;
    entered.notified().await;
    let (shell, left, _folder) = bench.stop().await;
    assert_eq!(left, 1);
    let mut consumer = shell
        .queues
        .consume(QueueId::Work(WorkQueue::Verify), 1)
        .await;
    let again = consumer.next().await.unwrap();
    assert_eq!((again.message.id, again.redelivered), (sent.id, true));
}

#[tokio::test]
async fn while_it_consumes_the_process_is_ready() {
    let mut bench = bench(GRACE, always(|_message| forward())).await;
    bench.publish(&message()).await;
    bench.confirmed.recv().await.unwrap();
    assert!(bench.shell.readiness.missing().is_empty());
    let (shell, _, _folder) = bench.stop().await;
    assert_eq!(shell.readiness.missing(), ["consumer ipn.verify"]);
}

#[tokio::test]
async fn what_the_broker_does_not_take_is_tried_until_the_stop_and_then_left() {
    let nowhere = QueueId::Retry(WorkQueue::Fulfil, Rung::from_millis(7));
    let mut bench = bench(
        GRACE,
        always(move |message| Disposition::Forward {
            publish: vec![(Destination::Queue(nowhere), message)],
            receipt: (),
        }),
    )
    .await;
    bench.publish(&message()).await;
    let failures = bench.shell.metrics.publish_failures_total.clone();
    let failures = failures.with_label_values(&["unroutable"]);
    while failures.get() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(bench.confirmed.try_recv().is_err(), "confirmed too early");
    let (_, left, _folder) = bench.stop().await;
    assert_eq!(left, 1);
}
