//! The RabbitMQ engine against a real broker, while that broker is restarted, blocked, cut off
//! and robbed of its queues.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quittance_common::clock;
use quittance_common::ids::MessageId;
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::queue::rabbitmq::{Consumer, RabbitMq};
use quittance_common::queue::{
    Acker, Destination, PublishError, QueueError, QueueId, QueueNames, Status, WorkQueue,
};
use quittance_common::retry::{Ladder, Rung};
use quittance_common::settings::ClusterSettings;
use quittance_tests::eventually::eventually;
use quittance_tests::servers;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// The time in which a broker that is back must be of use again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

const VERIFY: QueueId = QueueId::Work(WorkQueue::Verify);

fn names() -> QueueNames {
    let rungs = [200, 1_000].map(Rung::from_millis);
    QueueNames::new("ipn.", Ladder::new(rungs).unwrap())
}

fn settings(amqp_url: &str, publish_channels: u16) -> ClusterSettings {
    ClusterSettings {
        amqp_url: amqp_url.into(),
        redis_url: "redis://127.0.0.1:1".into(),
        management_url: None,
        publish_channels,
        publish_timeout: Duration::from_secs(10),
        heartbeat: Duration::from_secs(5),
    }
}

async fn engine(amqp_url: &str) -> RabbitMq {
    let engine = RabbitMq::start(&settings(amqp_url, 32), names()).unwrap();
    engine.ready(PATIENCE).await.unwrap();
    engine
}

fn message() -> Message {
    Message {
        id: MessageId::new(),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".into(),
        timestamp: "2026-11-22T10:00:00Z".parse().unwrap(),
        headers: Headers {
            received_at: Some(clock::now().round(jiff::Unit::Millisecond).unwrap()),
            ..Headers::default()
        },
        body: Bytes::from_static(b"txn_id=1&payer=M%FCller"),
    }
}

const fn to(queue: QueueId) -> Destination {
    Destination::Queue(queue)
}

async fn next(consumer: &mut Consumer) -> (Message, Acker) {
    let delivery = timeout(PATIENCE, consumer.next())
        .await
        .expect("a delivery in time")
        .expect("the subscription goes on");
    (delivery.message, delivery.acker)
}

async fn consume(engine: &RabbitMq, queue: QueueId, prefetch: u16) -> Consumer {
    let consumer = engine.consume(queue, prefetch).await;
    eventually("the subscription", PATIENCE, async || {
        consumer.subscribed().is_subscribed().then_some(())
    })
    .await
    .unwrap();
    consumer
}

/// Publishes until it works; gives how long that took.
async fn published_again(engine: &RabbitMq) -> Duration {
    let since = Instant::now();
    eventually("a publish that works", PATIENCE, async || {
        engine.publish(&to(VERIFY), message()).await.ok()
    })
    .await
    .unwrap();
    since.elapsed()
}

#[tokio::test]
async fn a_message_comes_out_as_it_went_in_and_is_gone_after_the_ack() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let engine = engine(&broker.vhost("round-trip").await.unwrap()).await;
    let sent = message();
    engine.publish(&to(VERIFY), sent.clone()).await.unwrap();
    let mut consumer = consume(&engine, VERIFY, 4).await;
    let (received, acker) = next(&mut consumer).await;
    assert_eq!(received, sent);
    acker.ack().await.unwrap();
    consumer.stop().await;
    assert!(consumer.next().await.is_none());
    engine.close(PATIENCE).await;
    assert!(matches!(engine.status(), Status::Down(_)));
}

#[tokio::test]
async fn a_delayed_message_comes_back_to_its_work_queue() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let engine = engine(&broker.vhost("delay").await.unwrap()).await;
    let sent = message();
    let rung = QueueId::Retry(WorkQueue::Verify, Rung::from_millis(200));
    engine.publish(&to(rung), sent.clone()).await.unwrap();
    let mut consumer = consume(&engine, VERIFY, 1).await;
    let (received, acker) = next(&mut consumer).await;
    assert_eq!(
        received, sent,
        "without a trace of the broker's own headers"
    );
    acker.ack().await.unwrap();
}

#[tokio::test]
async fn stop_gives_back_what_was_not_seen_and_leaves_what_was_seen_to_be_acked() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let engine = engine(&broker.vhost("stop").await.unwrap()).await;
    for _ in 0..5 {
        engine.publish(&to(VERIFY), message()).await.unwrap();
    }
    let mut consumer = consume(&engine, VERIFY, 5).await;
    let (_, acker) = next(&mut consumer).await;
    consumer.stop().await;
    assert!(consumer.next().await.is_none());
    acker.ack().await.unwrap();
    eventually("four messages ready", PATIENCE, async || {
        let depths = engine.depths().await.ok()?;
        depths
            .iter()
            .any(|depth| depth.queue == "ipn.verify" && depth.ready == 4 && depth.consumers == 0)
            .then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn nobody_listening_is_a_success_for_announced_payments_only() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let engine = engine(&broker.vhost("payments").await.unwrap()).await;
    let payments = Destination::Payments {
        routing_key: "paypal.payment.completed".into(),
    };
    engine.publish(&payments, message()).await.unwrap();
    let missing = QueueId::Retry(WorkQueue::Verify, Rung::from_millis(77));
    assert_eq!(
        engine.publish(&to(missing), message()).await,
        Err(PublishError::Unroutable)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unroutable_message_is_never_reported_as_done_among_two_thousand() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let engine = engine(&broker.vhost("mixed").await.unwrap()).await;
    let missing = QueueId::Retry(WorkQueue::Verify, Rung::from_millis(77));
    let publishes = (0..2_000).map(|i| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let routable = i % 10 != 0;
            let queue = if routable { VERIFY } else { missing };
            (routable, engine.publish(&to(queue), message()).await)
        })
    });
    for outcome in join_all(publishes).await {
        match outcome.unwrap() {
            (true, outcome) => assert_eq!(outcome, Ok(())),
            (false, outcome) => assert_eq!(outcome, Err(PublishError::Unroutable)),
        }
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_costs_nobody_else_a_wrong_answer() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let url = broker.vhost("cancelled").await.unwrap();
    let engine = RabbitMq::start(&settings(&url, 1), names()).unwrap();
    engine.ready(PATIENCE).await.unwrap();
    let missing = to(QueueId::Retry(WorkQueue::Verify, Rung::from_millis(77)));
    for _ in 0..50 {
        let abandoned = engine.publish(&missing, message());
        timeout(Duration::from_micros(300), abandoned).await.ok();
        engine.publish(&to(VERIFY), message()).await.unwrap();
    }
}

#[tokio::test]
async fn headers_beyond_a_frame_are_refused_and_leave_the_connection_alone() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let engine = engine(&broker.vhost("headers").await.unwrap()).await;
    let mut huge = message();
    huge.headers
        .other
        .insert("stack".into(), "x".repeat(200_000));
    assert!(matches!(
        engine.publish(&to(VERIFY), huge).await,
        Err(PublishError::TooLarge { .. })
    ));
    engine.publish(&to(VERIFY), message()).await.unwrap();
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_told_as_fatal() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let url = broker.vhost("mismatch").await.unwrap();
    let vhost = url.rsplit('/').next().unwrap();
    broker
        .api(
            "PUT",
            &format!("/api/queues/{vhost}/ipn.fulfil"),
            r#"{"durable":true,"arguments":{"x-queue-type":"classic"}}"#,
        )
        .await
        .unwrap();
    let engine = RabbitMq::start(&settings(&url, 1), names()).unwrap();
    let error = engine.ready(PATIENCE).await.unwrap_err();
    assert!(matches!(&error, QueueError::Mismatch { queue, .. } if queue == "ipn.fulfil"));
    let fatal = timeout(PATIENCE, engine.fatal()).await.unwrap();
    assert_eq!(fatal.to_string(), error.to_string());
}

#[tokio::test]
async fn a_deleted_queue_is_unroutable_at_first_and_then_made_anew() {
    let broker = servers::RabbitMq::shared().await.unwrap();
    let url = broker.vhost("deleted").await.unwrap();
    let vhost = url.rsplit('/').next().unwrap();
    let engine = engine(&url).await;
    let mut consumer = consume(&engine, VERIFY, 4).await;
    let delete = async |queue: &str| {
        let path = format!("/api/queues/{vhost}/{queue}");
        broker.api("DELETE", &path, "").await.unwrap();
    };
    delete("ipn.notify").await;
    let notify = to(QueueId::Work(WorkQueue::Notify));
    assert_eq!(
        engine.publish(&notify, message()).await,
        Err(PublishError::Unroutable)
    );
    eventually("the queue is made anew", PATIENCE, async || {
        engine.publish(&notify, message()).await.ok()
    })
    .await
    .unwrap();
    delete("ipn.verify").await;
    published_again(&engine).await;
    let (_, acker) = next(&mut consumer).await;
    acker.ack().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_is_down_at_the_start_is_used_when_it_comes() {
    let mut broker = servers::RabbitMq::start().await.unwrap();
    broker.stop().await.unwrap();
    let engine = RabbitMq::start(&settings(&broker.amqp_url(), 4), names()).unwrap();
    let mut consumer = engine.consume(VERIFY, 4).await;
    let since = Instant::now();
    assert!(matches!(
        engine.publish(&to(VERIFY), message()).await,
        Err(PublishError::Unavailable { .. })
    ));
    assert!(since.elapsed() < Duration::from_secs(1));
    broker.start_again().await.unwrap();
    assert!(published_again(&engine).await < BACK_WITHIN);
    next(&mut consumer).await.1.ack().await.unwrap();
}

#[tokio::test]
async fn a_restart_of_the_broker_loses_nothing_and_is_over_in_five_seconds() {
    let mut broker = servers::RabbitMq::start().await.unwrap();
    let engine = engine(&broker.amqp_url()).await;
    let first = message();
    engine.publish(&to(VERIFY), first.clone()).await.unwrap();
    let mut consumer = consume(&engine, VERIFY, 4).await;
    let (_, stale) = next(&mut consumer).await;

    broker.kill().await.unwrap();
    eventually("the loss is noticed", PATIENCE, async || {
        matches!(engine.status(), Status::Down(_)).then_some(())
    })
    .await
    .unwrap();
    let since = Instant::now();
    assert!(engine.publish(&to(VERIFY), message()).await.is_err());
    assert!(since.elapsed() < Duration::from_secs(1));
    assert!(stale.ack().await.is_err(), "the ack of a lost channel");

    broker.start_again().await.unwrap();
    assert!(published_again(&engine).await < BACK_WITHIN);
    let mut seen = BTreeSet::new();
    while !seen.contains(&first.id) {
        let (received, acker) = next(&mut consumer).await;
        seen.insert(received.id);
        acker.ack().await.unwrap();
    }
}

#[tokio::test]
async fn connections_that_the_broker_closes_are_made_again() {
    let broker = servers::RabbitMq::start().await.unwrap();
    let engine = engine(&broker.amqp_url()).await;
    let mut consumer = consume(&engine, VERIFY, 4).await;
    for _ in 0..3 {
        broker
            .rabbitmqctl(&["close_all_connections", "on purpose"])
            .await
            .unwrap();
        assert!(published_again(&engine).await < BACK_WITHIN);
        next(&mut consumer).await.1.ack().await.unwrap();
    }
}

#[tokio::test]
async fn an_alarm_blocks_fast_lets_acks_through_and_is_over_when_it_is_over() {
    let broker = servers::RabbitMq::start().await.unwrap();
    let engine = engine(&broker.amqp_url()).await;
    engine.publish(&to(VERIFY), message()).await.unwrap();
    let mut consumer = consume(&engine, VERIFY, 1).await;
    let (_, acker) = next(&mut consumer).await;

    let watermark = ["set_vm_memory_high_watermark", "0.00001"];
    broker.rabbitmqctl(&watermark).await.unwrap();
    let since = Instant::now();
    let blocked = eventually("a blocked publish", PATIENCE, async || {
        engine.publish(&to(VERIFY), message()).await.err()
    })
    .await
    .unwrap();
    assert!(matches!(blocked, PublishError::Blocked { .. }), "{blocked}");
    assert!(since.elapsed() < BACK_WITHIN);
    assert!(matches!(engine.status(), Status::Blocked(_)));
    let since = Instant::now();
    assert!(engine.publish(&to(VERIFY), message()).await.is_err());
    assert!(since.elapsed() < Duration::from_millis(200));
    acker.ack().await.unwrap();

    let watermark = ["set_vm_memory_high_watermark", "0.6"];
    broker.rabbitmqctl(&watermark).await.unwrap();
    assert!(published_again(&engine).await < BACK_WITHIN);
    next(&mut consumer).await.1.ack().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_freezes_is_noticed_and_used_again_when_it_thaws() {
    let broker = servers::RabbitMq::start().await.unwrap();
    let mut settings = settings(&broker.amqp_url(), 4);
    settings.publish_timeout = Duration::from_secs(3);
    settings.heartbeat = Duration::from_secs(1);
    let engine = RabbitMq::start(&settings, names()).unwrap();
    engine.ready(PATIENCE).await.unwrap();
    let mut consumer = consume(&engine, VERIFY, 4).await;
    let pid = broker.rabbitmqctl(&["eval", "os:getpid()."]).await.unwrap();
    let pid: String = pid.chars().filter(char::is_ascii_digit).collect();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();

    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let since = Instant::now();
    assert!(engine.publish(&to(VERIFY), message()).await.is_err());
    assert!(since.elapsed() < BACK_WITHIN);
    eventually("the loss is noticed", PATIENCE, async || {
        matches!(engine.status(), Status::Down(_)).then_some(())
    })
    .await
    .unwrap();

    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert!(published_again(&engine).await < BACK_WITHIN);
    next(&mut consumer).await.1.ack().await.unwrap();
}
