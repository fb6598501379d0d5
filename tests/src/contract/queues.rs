//! What [`Queues`] promises.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use quittance_common::ids::{GatewayId, MessageId, Reason};
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::queue::{
    Consumer, Delivery, Destination, PublishError, QueueId, QueueNames, Queues, WorkQueue,
};
use quittance_common::retry::{Ladder, Rung};

use super::{PATIENCE, eventually, tell};

const VERIFY: QueueId = QueueId::Work(WorkQueue::Verify);
const SHORT: Rung = Rung::from_millis(200);
const LONG: Rung = Rung::from_millis(600_000);

/// Tells every story about queues. `make` gives an engine with the topology of these names, empty;
/// each story gets names of its own, so that all may share one server.
///
/// # Errors
/// The first promise that the engine does not keep.
pub async fn queues(
    make: impl AsyncFn(QueueNames) -> anyhow::Result<Queues>,
) -> anyhow::Result<()> {
    macro_rules! stories {
        ($($story:ident)*) => {
            vec![$((stringify!($story), async { $story(&make(names()?).await?).await }.boxed_local()),)*]
        };
    }
    let kept_names = async {
        let names = names()?;
        depths_follow_the_topology(&make(names.clone()).await?, &names).await
    };
    let mut all = stories! {
        a_message_comes_out_exactly_as_it_went_in
        an_acked_message_does_not_come_again
        messages_come_in_the_order_of_publishing
        a_requeued_message_comes_again_as_redelivered
        what_a_dropped_consumer_held_goes_to_another
        a_stopped_consumer_gives_back_what_it_has_not_handed_out
        a_released_consumer_gives_all_back_and_nobody_sees_a_part_of_it
        a_consumer_holds_no_more_than_its_prefetch
        a_delayed_message_comes_after_its_wait_and_not_before
        a_long_wait_does_not_hold_up_a_short_one
        a_queue_outside_the_topology_is_unroutable
        a_payment_event_needs_no_listener
        parking_queues_keep_what_they_get
        two_consumers_never_hold_the_same_message
        a_dropped_next_loses_nothing
        a_subscription_shows_whether_it_stands
    };
    all.push(("depths_follow_the_topology", kept_names.boxed_local()));
    tell(all).await
}

fn names() -> anyhow::Result<QueueNames> {
    let ladder = Ladder::new([SHORT, LONG]).context("a ladder has a rung")?;
    Ok(QueueNames::new(format!("{}.", MessageId::new()), ladder))
}

fn message(body: impl Into<Bytes>) -> Message {
    Message {
        id: MessageId::new(),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".to_owned(),
        timestamp: Timestamp::UNIX_EPOCH,
        headers: Headers::default(),
        body: body.into(),
    }
}

/// Publishes; while the engine is still connecting, again.
async fn publish(queues: &Queues, queue: QueueId, message: &Message) -> anyhow::Result<()> {
    let to = Destination::Queue(queue);
    eventually("a publish", async || {
        match queues.publish(&to, message.clone()).await {
            Ok(()) => Ok(Some(())),
            Err(PublishError::Unavailable { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

async fn publish_bodies(
    queues: &Queues,
    queue: QueueId,
    bodies: &[&'static str],
) -> anyhow::Result<()> {
    for body in bodies {
        publish(queues, queue, &message(*body)).await?;
    }
    Ok(())
}

async fn next(consumer: &mut Consumer) -> anyhow::Result<Delivery> {
    tokio::time::timeout(PATIENCE, consumer.next())
        .await
        .context("no delivery came")?
        .context("the consumer ended by itself")
}

/// The next delivery, which must have this body; acked.
async fn expect(consumer: &mut Consumer, body: &str) -> anyhow::Result<()> {
    let delivery = next(consumer).await?;
    ensure!(
        delivery.message.body == body,
        "expected {body:?}, got {:?}",
        delivery.message.body
    );
    Ok(delivery.acker.ack().await?)
}

async fn a_message_comes_out_exactly_as_it_went_in(queues: &Queues) -> anyhow::Result<()> {
    let mut sent = message((0..=255).collect::<Vec<u8>>());
    sent.kind = MessageKind::Unknown("ipn.notification.v9".to_owned());
    sent.content_type.push_str("; charset=windows-1252");
    sent.timestamp = "2026-11-22T10:00:00Z".parse()?;
    sent.headers = Headers {
        gateway: Some(GatewayId::PayPal),
        account: Some("shop-1".parse()?),
        received_at: Some("2026-11-22T10:00:00.125Z".parse()?),
        remote_addr: Some("127.0.0.1".parse()?),
        attempt: 4,
        reason: Some(Reason::of("gateway_timeout")),
        reason_detail: Some("keine Antwort, größer als 30 s".to_owned()),
        first_failed_at: Some("2026-11-22T10:00:01.000Z".parse()?),
        origin_queue: Some("ipn.verify".to_owned()),
        replay_id: Some("r-1".to_owned()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        other: [("colour".to_owned(), "blue".to_owned())].into(),
    };
    publish(queues, VERIFY, &sent).await?;
    let empty = message("");
    publish(queues, VERIFY, &empty).await?;
    let mut consumer = queues.consume(VERIFY, 2).await;
    for sent in [sent, empty] {
        let delivery = next(&mut consumer).await?;
        ensure!(!delivery.redelivered, "it is new, and called redelivered");
        let came = delivery.message;
        ensure!(came.body == sent.body, "the body changed");
        ensure!(came == sent, "sent {sent:?}, got {came:?}");
        delivery.acker.ack().await?;
    }
    Ok(())
}

async fn an_acked_message_does_not_come_again(queues: &Queues) -> anyhow::Result<()> {
    publish_bodies(queues, VERIFY, &["done"]).await?;
    let mut consumer = queues.consume(VERIFY, 1).await;
    expect(&mut consumer, "done").await?;
    consumer.stop().await;
    drop(consumer);
    publish_bodies(queues, VERIFY, &["next"]).await?;
    expect(&mut queues.consume(VERIFY, 1).await, "next").await
}

async fn messages_come_in_the_order_of_publishing(queues: &Queues) -> anyhow::Result<()> {
    let bodies: Vec<String> = (0..40).map(|n| format!("n={n}")).collect();
    let mut consumer = queues.consume(VERIFY, 5).await;
    for body in &bodies {
        publish(queues, VERIFY, &message(body.clone())).await?;
    }
    for body in &bodies {
        expect(&mut consumer, body).await?;
    }
    Ok(())
}

async fn a_requeued_message_comes_again_as_redelivered(queues: &Queues) -> anyhow::Result<()> {
    publish_bodies(queues, VERIFY, &["again"]).await?;
    let mut consumer = queues.consume(VERIFY, 1).await;
    let first = next(&mut consumer).await?;
    let sent = first.message;
    first.acker.requeue().await?;
    let second = next(&mut consumer).await?;
    ensure!(second.message == sent, "it came back changed");
    ensure!(second.redelivered, "it is not marked as redelivered");
    Ok(second.acker.ack().await?)
}

async fn what_a_dropped_consumer_held_goes_to_another(queues: &Queues) -> anyhow::Result<()> {
    publish_bodies(queues, VERIFY, &["held", "dropped"]).await?;
    let mut first = queues.consume(VERIFY, 2).await;
    let held = next(&mut first).await?;
    drop(next(&mut first).await?);
    drop(first);
    // Whether `held` could still be settled is the engine's affair.
    drop(held);
    let mut second = queues.consume(VERIFY, 2).await;
    let mut bodies = HashSet::new();
    for _ in 0..2 {
        let delivery = next(&mut second).await?;
        ensure!(delivery.redelivered, "it is not marked as redelivered");
        bodies.insert(delivery.message.body.clone());
        delivery.acker.ack().await?;
    }
    ensure!(bodies.len() == 2, "the same message came twice");
    Ok(())
}

async fn a_stopped_consumer_gives_back_what_it_has_not_handed_out(
    queues: &Queues,
) -> anyhow::Result<()> {
    publish_bodies(queues, VERIFY, &["taken", "left", "left too"]).await?;
    let mut first = queues.consume(VERIFY, 3).await;
    let taken = next(&mut first).await?;
    first.stop().await;
    while let Some(left) = tokio::time::timeout(PATIENCE, first.next())
        .await
        .context("next does not end after stop")?
    {
        left.acker.requeue().await?;
    }
    let mut second = queues.consume(VERIFY, 3).await;
    for _ in 0..2 {
        let delivery = next(&mut second).await?;
        let left = delivery.message.body.starts_with(b"left");
        ensure!(left, "what is in hand was given to another");
        delivery.acker.ack().await?;
    }
    taken
        .acker
        .ack()
        .await
        .context("what was taken before the stop cannot be settled")?;
    drop(first);
    publish_bodies(queues, VERIFY, &["last"]).await?;
    expect(&mut second, "last").await
}

async fn a_released_consumer_gives_all_back_and_nobody_sees_a_part_of_it(
    queues: &Queues,
) -> anyhow::Result<()> {
    publish_bodies(queues, QueueId::Quarantine, &["1", "2", "3", "4", "5"]).await?;
    let mut consumer = queues.consume(QueueId::Quarantine, 3).await;
    expect(&mut consumer, "1").await?;
    // Of what is in its hands only this one was handed out.
    let held = vec![next(&mut consumer).await?.acker];
    consumer.release(held).await;
    eventually("the consumer is gone", async || {
        let depth = queues.depth(QueueId::Quarantine).await?;
        let depth = depth.context("the queue")?;
        if depth.consumers > 0 {
            return Ok(None);
        }
        ensure!(
            depth.ready == 4 && depth.unacked.unwrap_or(0) == 0,
            "a part: {depth:?}"
        );
        Ok(Some(()))
    })
    .await?;
    let mut next_one = queues.consume(QueueId::Quarantine, 9).await;
    let mut bodies = HashSet::new();
    for _ in 0..4 {
        let delivery = next(&mut next_one).await?;
        bodies.insert(delivery.message.body.clone());
        delivery.acker.ack().await?;
    }
    let expected = ["2", "3", "4", "5"].map(|body| Bytes::from_static(body.as_bytes()));
    ensure!(bodies == HashSet::from(expected), "back are {bodies:?}");
    Ok(())
}

async fn a_consumer_holds_no_more_than_its_prefetch(queues: &Queues) -> anyhow::Result<()> {
    publish_bodies(queues, VERIFY, &["1", "2", "3", "4", "5"]).await?;
    let mut first = queues.consume(VERIFY, 2).await;
    let one = next(&mut first).await?;
    let two = next(&mut first).await?;
    // All others reach somebody else, so the first has no more than it may.
    let mut second = queues.consume(VERIFY, 10).await;
    for body in ["3", "4", "5"] {
        expect(&mut second, body).await?;
    }
    second.stop().await;
    drop(second);
    one.acker.ack().await?;
    publish_bodies(queues, VERIFY, &["6"]).await?;
    expect(&mut first, "6").await?;
    Ok(two.acker.ack().await?)
}

async fn a_delayed_message_comes_after_its_wait_and_not_before(
    queues: &Queues,
) -> anyhow::Result<()> {
    let mut consumer = queues.consume(VERIFY, 2).await;
    publish_bodies(queues, VERIFY, &["warm up"]).await?;
    expect(&mut consumer, "warm up").await?;
    let sent = message("later");
    let started = Instant::now();
    queues
        .publish_delayed(WorkQueue::Verify, SHORT, sent.clone())
        .await?;
    publish_bodies(queues, VERIFY, &["at once"]).await?;
    expect(&mut consumer, "at once").await?;
    let delivery = next(&mut consumer).await?;
    let waited = started.elapsed();
    ensure!(waited >= SHORT.duration(), "it came after {waited:?}");
    ensure!(delivery.message == sent, "it came back changed");
    Ok(delivery.acker.ack().await?)
}

async fn a_long_wait_does_not_hold_up_a_short_one(queues: &Queues) -> anyhow::Result<()> {
    let waiting = |rung| QueueId::Retry(WorkQueue::Fulfil, rung);
    publish_bodies(queues, waiting(LONG), &["long"]).await?;
    publish_bodies(queues, waiting(SHORT), &["short"]).await?;
    let fulfil = QueueId::Work(WorkQueue::Fulfil);
    expect(&mut queues.consume(fulfil, 1).await, "short").await
}

async fn a_queue_outside_the_topology_is_unroutable(queues: &Queues) -> anyhow::Result<()> {
    publish_bodies(queues, VERIFY, &["warm up"]).await?;
    let nowhere = Rung::from_millis(7_000);
    let refused = queues
        .publish_delayed(WorkQueue::Verify, nowhere, message("lost"))
        .await;
    ensure!(
        refused == Err(PublishError::Unroutable),
        "the answer was {refused:?}"
    );
    Ok(())
}

async fn a_payment_event_needs_no_listener(queues: &Queues) -> anyhow::Result<()> {
    publish_bodies(queues, VERIFY, &["warm up"]).await?;
    let to = Destination::Payments {
        routing_key: "paypal.payment.completed".to_owned(),
    };
    Ok(queues.publish(&to, message("{}")).await?)
}

async fn parking_queues_keep_what_they_get(queues: &Queues) -> anyhow::Result<()> {
    for queue in [QueueId::Dead(WorkQueue::Notify), QueueId::Quarantine] {
        publish_bodies(queues, queue, &["parked"]).await?;
        expect(&mut queues.consume(queue, 1).await, "parked").await?;
    }
    Ok(())
}

async fn two_consumers_never_hold_the_same_message(queues: &Queues) -> anyhow::Result<()> {
    const COUNT: usize = 200;
    let mut consumers = [
        queues.consume(VERIFY, 7).await,
        queues.consume(VERIFY, 7).await,
    ];
    let mut sent = HashSet::new();
    for _ in 0..COUNT {
        let message = message("x");
        publish(queues, VERIFY, &message).await?;
        sent.insert(message.id);
    }
    let mut came = HashSet::new();
    let [first, second] = &mut consumers;
    let mut held = Vec::new();
    while came.len() < COUNT {
        let delivery = tokio::select! {
            delivery = first.next() => delivery,
            delivery = second.next() => delivery,
            () = tokio::time::sleep(PATIENCE) => bail!("only {} came", came.len()),
        };
        let delivery = delivery.context("a consumer ended by itself")?;
        ensure!(came.insert(delivery.message.id), "a message came twice");
        held.push(delivery.acker);
        // Several are in hand at any time, of both consumers.
        if held.len() > 10 || came.len() == COUNT {
            for acker in held.drain(..) {
                acker.ack().await?;
            }
        }
    }
    ensure!(came == sent, "others came than were sent");
    Ok(())
}

async fn a_dropped_next_loses_nothing(queues: &Queues) -> anyhow::Result<()> {
    let bodies: Vec<String> = (0..50).map(|n| format!("n={n}")).collect();
    let mut consumer = queues.consume(VERIFY, 3).await;
    let mut came = Vec::new();
    let started = Instant::now();
    for body in &bodies {
        publish(queues, VERIFY, &message(body.clone())).await?;
        if let Some(Some(delivery)) = consumer.next().now_or_never() {
            came.push(delivery.message.body.clone());
            delivery.acker.ack().await?;
        }
    }
    while came.len() < bodies.len() {
        ensure!(started.elapsed() < PATIENCE, "only {} came", came.len());
        let glance = Duration::from_micros(200);
        if let Ok(Some(delivery)) = tokio::time::timeout(glance, consumer.next()).await {
            came.push(delivery.message.body.clone());
            delivery.acker.ack().await?;
        }
    }
    ensure!(came == bodies, "they came as {came:?}");
    Ok(())
}

async fn a_subscription_shows_whether_it_stands(queues: &Queues) -> anyhow::Result<()> {
    let mut consumer = queues.consume(VERIFY, 1).await;
    let subscribed = consumer.subscribed();
    eventually("the subscription", async || {
        Ok(subscribed.is_subscribed().then_some(()))
    })
    .await?;
    consumer.stop().await;
    eventually("the end of the subscription", async || {
        Ok((!subscribed.is_subscribed()).then_some(()))
    })
    .await
}

async fn depths_follow_the_topology(queues: &Queues, names: &QueueNames) -> anyhow::Result<()> {
    publish_bodies(queues, VERIFY, &["1", "2"]).await?;
    publish_bodies(queues, QueueId::Quarantine, &["3"]).await?;
    publish_bodies(queues, QueueId::Retry(WorkQueue::Verify, LONG), &["4"]).await?;
    eventually("the depths", async || {
        let depths = queues.depths().await?;
        let listed: Vec<&str> = depths.iter().map(|depth| depth.queue.as_str()).collect();
        let all: Vec<String> = names.all().into_iter().map(|q| names.name(q)).collect();
        ensure!(listed == all, "listed are {listed:?}");
        let filled: Vec<(QueueId, u64)> = depths
            .iter()
            .filter(|depth| depth.ready > 0)
            .filter_map(|depth| Some((names.parse(&depth.queue)?, depth.ready)))
            .collect();
        let expected = [
            (VERIFY, 2),
            (QueueId::Retry(WorkQueue::Verify, LONG), 1),
            (QueueId::Quarantine, 1),
        ];
        Ok((filled == expected).then_some(()))
    })
    .await
}
