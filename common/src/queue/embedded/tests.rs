//! What only this engine promises; what both promise is in the contract suite.

mod crash;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::claims::embedded::EmbeddedClaims;
use crate::claims::{ClaimOutcome, ClaimTimes, Fingerprint, Owner};
use crate::ids::MessageId;
use crate::message::{Headers, MessageKind};
use crate::queue::{StaleDelivery, WorkQueue};
use crate::retry::{Ladder, Rung};

const VERIFY: QueueId = QueueId::Work(WorkQueue::Verify);
const SOON: Duration = Duration::from_secs(10);

fn names() -> QueueNames {
    let ladder = Ladder::new([50, 60_000].map(Rung::from_millis)).unwrap();
    QueueNames::new("t.", ladder)
}

async fn open(dir: &Path) -> Embedded {
    Embedded::open(dir, names()).await.unwrap()
}

fn message(body: &str) -> Message {
    Message {
        id: MessageId::new(),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".to_owned(),
        timestamp: crate::clock::now(),
        headers: Headers::default(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

async fn publish(engine: &Embedded, queue: QueueId, bodies: &[&str]) {
    for body in bodies {
        engine
            .publish(&Destination::Queue(queue), message(body))
            .await
            .unwrap();
    }
}

async fn next(consumer: &mut Consumer) -> super::super::Delivery {
    tokio::time::timeout(SOON, consumer.next())
        .await
        .expect("a delivery in time")
        .expect("an open engine")
}

/// The files as they are on the disk at this instant: what a `kill -9` would leave.
fn after_a_crash(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        // The index of the log is shared memory and made anew.
        if entry.file_name() != "queue.sqlite-shm" {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn a_crash_loses_no_publish_and_repeats_no_acked_message() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    publish(&engine, VERIFY, &["acked", "in hand", "never seen"]).await;
    let mut consumer = engine.consume(VERIFY, 2).await;
    next(&mut consumer).await.acker.ack().await.unwrap();
    let held = next(&mut consumer).await;
    assert_eq!(held.message.body, "in hand");
    assert!(!held.redelivered);

    let copy = after_a_crash(dir.path());
    let engine = open(copy.path()).await;
    let mut consumer = engine.consume(VERIFY, 10).await;
    let again = next(&mut consumer).await;
    assert_eq!(again.message.body, "in hand");
    assert!(again.redelivered);
    assert_eq!(next(&mut consumer).await.message.body, "never seen");
    let verify = &engine.depths().await.unwrap()[0];
    assert_eq!((verify.ready, verify.unacked), (0, Some(2)));
}

#[tokio::test]
async fn a_second_process_is_told_which_folder_is_taken() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    let refused = Embedded::open(dir.path(), names()).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    engine.close(SOON).await;
    open(dir.path()).await;
}

#[tokio::test]
async fn a_closed_engine_refuses_and_ends_its_consumers() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    let mut consumer = engine.consume(VERIFY, 1).await;
    publish(&engine, VERIFY, &["one"]).await;
    let held = next(&mut consumer).await;
    engine.close(SOON).await;
    assert!(matches!(engine.status(), Status::Down(_)));
    assert!(consumer.next().await.is_none());
    assert!(!consumer.subscribed().is_subscribed());
    assert_eq!(held.acker.ack().await, Err(StaleDelivery));
    let refused = engine
        .publish(&Destination::Queue(VERIFY), message("two"))
        .await;
    assert!(matches!(refused, Err(PublishError::Unavailable { .. })));
}

#[tokio::test]
async fn a_message_given_back_is_first_in_line_again() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    publish(&engine, VERIFY, &["one", "two", "three"]).await;
    let mut consumer = engine.consume(VERIFY, 1).await;
    next(&mut consumer).await.acker.requeue().await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!(again.message.body, "one");
    assert!(again.redelivered);
}

#[tokio::test]
async fn a_delivery_cannot_be_settled_after_its_consumer_is_dropped() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    publish(&engine, VERIFY, &["one"]).await;
    let mut first = engine.consume(VERIFY, 1).await;
    let held = next(&mut first).await;
    drop(first);
    assert_eq!(held.acker.ack().await, Err(StaleDelivery));
    let mut second = engine.consume(VERIFY, 1).await;
    assert!(next(&mut second).await.redelivered);
}

#[tokio::test]
async fn the_depths_count_the_consumers_that_are_subscribed() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    publish(&engine, VERIFY, &["one", "two"]).await;
    let mut stopped = engine.consume(VERIFY, 1).await;
    let mut stays = engine.consume(VERIFY, 1).await;
    let held = [next(&mut stopped).await, next(&mut stays).await];
    let count = async || engine.depths().await.unwrap()[0].consumers;
    assert_eq!(count().await, 2);
    stopped.stop().await;
    assert_eq!(count().await, 1);
    drop((stays, held));
    // The writer has seen the drop once it has stored something after it.
    publish(&engine, VERIFY, &["three"]).await;
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn a_waiting_message_counts_on_its_delay_queue_until_it_is_due() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    let long = QueueId::Retry(WorkQueue::Verify, Rung::from_millis(60_000));
    let short = QueueId::Retry(WorkQueue::Verify, Rung::from_millis(50));
    publish(&engine, long, &["waits"]).await;
    publish(&engine, short, &["comes"]).await;
    let mut consumer = engine.consume(VERIFY, 10).await;
    assert_eq!(next(&mut consumer).await.message.body, "comes");
    let depths = engine.depths().await.unwrap();
    let of = |queue| {
        let name = names().name(queue);
        let depth = depths.iter().find(|depth| depth.queue == name).unwrap();
        (depth.ready, depth.unacked)
    };
    assert_eq!(
        (of(VERIFY), of(long), of(short)),
        ((0, Some(1)), (1, Some(0)), (0, Some(0)))
    );
    assert_eq!(engine.peek(long, 9).await.unwrap()[0].body, "waits");
    // Tooling may take waiting messages from the delay queue itself.
    let mut early = engine.consume(long, 1).await;
    assert_eq!(next(&mut early).await.message.body, "waits");
}

#[tokio::test]
async fn a_waiting_message_survives_a_restart_and_a_clock_set_back() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    let short = QueueId::Retry(WorkQueue::Verify, Rung::from_millis(50));
    publish(&engine, short, &["comes"]).await;
    publish(&engine, VERIFY, &["fresh"]).await;
    engine.close(SOON).await;
    // As if the clock had been an hour ahead when they were stored.
    let mut raw = file::open_writer(&file::path(dir.path())).await.unwrap();
    sqlx::query("UPDATE message SET visible_at = visible_at + 3600000")
        .execute(&mut raw)
        .await
        .unwrap();
    sqlx::Connection::close(raw).await.unwrap();
    let engine = open(dir.path()).await;
    let mut consumer = engine.consume(VERIFY, 10).await;
    assert_eq!(next(&mut consumer).await.message.body, "fresh");
    assert_eq!(next(&mut consumer).await.message.body, "comes");
}

#[tokio::test]
async fn a_payment_event_is_kept_once_for_the_shop_to_read() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    let to = Destination::Payments {
        routing_key: "paypal.payment.completed".to_owned(),
    };
    let event = message("{}");
    engine.publish(&to, event.clone()).await.unwrap();
    engine.publish(&to, event.clone()).await.unwrap();
    engine.publish(&to, message("later")).await.unwrap();
    let events = engine.announced(0, 10).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].message, event);
    assert_eq!(events[0].routing_key, "paypal.payment.completed");
    let later = engine.announced(events[0].seq, 10).await.unwrap();
    assert_eq!(later, events[1..]);
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_does_not_fail_its_neighbours() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    publish(&engine, VERIFY, &["first"]).await;
    // A trigger stands for whatever the file may object to in one message.
    let mut raw = file::open_writer(&file::path(dir.path())).await.unwrap();
    sqlx::raw_sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON message WHEN NEW.body = CAST('bad' AS BLOB) \
         BEGIN SELECT RAISE(ABORT, 'refused'); END",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let to = Destination::Queue(VERIFY);
    let all = futures_util::future::join_all(
        ["a", "bad", "b"].map(|body| engine.publish(&to, message(body))),
    )
    .await;
    assert!(all[0].is_ok() && all[2].is_ok());
    assert!(matches!(all[1], Err(PublishError::Unavailable { .. })));
    let mut consumer = engine.consume(VERIFY, 10).await;
    for body in ["first", "a", "b"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.message.body, body);
        delivery.acker.ack().await.unwrap();
    }
    assert_eq!(engine.status(), Status::Up);
}

#[tokio::test]
async fn an_ack_that_the_disk_refuses_brings_the_message_back() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    publish(&engine, VERIFY, &["stays"]).await;
    let mut raw = file::open_writer(&file::path(dir.path())).await.unwrap();
    sqlx::raw_sql(
        "CREATE TRIGGER refuse BEFORE DELETE ON message \
         BEGIN SELECT RAISE(ABORT, 'refused'); END",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let mut consumer = engine.consume(VERIFY, 1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.acker.ack().await, Err(StaleDelivery));
    assert!(matches!(engine.status(), Status::Down(_)));
    let again = next(&mut consumer).await;
    assert_eq!(again.message.body, "stays");
    assert!(again.redelivered);
}

#[tokio::test]
async fn a_claim_of_a_former_process_is_taken_over_without_waiting() {
    let times = ClaimTimes {
        lease: Duration::from_hours(1),
        done_ttl: Duration::from_hours(1),
    };
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    let (key, mark) = ("k/1".parse().unwrap(), Fingerprint::of(b"meaning"));
    let claims = EmbeddedClaims::open(&engine, times);
    claims.claim(&key, &Owner::new(), &mark).await.unwrap();
    engine.close(SOON).await;

    let engine = open(dir.path()).await;
    let claims = EmbeddedClaims::open(&engine, times);
    let outcome = claims.claim(&key, &Owner::new(), &mark).await.unwrap();
    let ClaimOutcome::Mine { claim, takeover } = outcome else {
        panic!("not ours: {outcome:?}");
    };
    assert_eq!((claim.fence, takeover), (2, true));
}

#[tokio::test]
async fn a_key_is_forgotten_when_its_time_is_over() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).await;
    let times = ClaimTimes {
        lease: Duration::from_hours(1),
        done_ttl: Duration::ZERO,
    };
    let claims = EmbeddedClaims::open(&engine, times);
    let (key, mark) = ("k/1".parse().unwrap(), Fingerprint::of(b"meaning"));
    let owner = Owner::new();
    let Ok(ClaimOutcome::Mine { claim, .. }) = claims.claim(&key, &owner, &mark).await else {
        panic!("not ours");
    };
    claims.done(&claim, &owner).await.unwrap();
    assert_eq!(claims.finished(&key).await.unwrap(), None);
    let mut raw = file::open_writer(&file::path(dir.path())).await.unwrap();
    crate::claims::embedded::purge(&mut raw, engine.now())
        .await
        .unwrap();
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM claim")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    assert_eq!(left, 0);
}
