//! Where RabbitMQ's archive ends: at the reader's own mark, and never at a silence.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use quittance_common::clock;
use quittance_common::ids::MessageId;
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::queue::rabbitmq::RabbitMq;
use quittance_common::queue::{ArchiveLimits, Destination, QueueError, QueueNames, Queues, Range};
use quittance_common::settings::ClusterSettings;
use quittance_tests::{ChaosProxy, Mode, RabbitMq as Broker, eventually};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_mins(1);

/// More than twice what a reader has unacked, and what is read ahead.
const MANY: usize = 600;

async fn engine(amqp_url: &str) -> anyhow::Result<Queues> {
    let settings = ClusterSettings {
        amqp_url: amqp_url.into(),
        redis_url: "redis://127.0.0.1:1".into(),
        management_url: None,
        publish_channels: 32,
        publish_timeout: Duration::from_secs(10),
        heartbeat: Duration::from_secs(5),
    };
    let names = QueueNames::default().with_archive(Some(ArchiveLimits::default()));
    let engine = RabbitMq::start(&settings, names)?;
    engine.ready(PATIENCE).await?;
    Ok(Queues::RabbitMq(engine))
}

fn received_at(at: Timestamp) -> Message {
    Message {
        id: MessageId::new(),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".into(),
        timestamp: at,
        headers: Headers {
            received_at: Some(at),
            ..Headers::default()
        },
        body: Bytes::from_static(b"txn_id=1"),
    }
}

/// Archives `count` messages received at that moment; their ids.
async fn archived(
    queues: &Queues,
    count: usize,
    at: Timestamp,
) -> anyhow::Result<BTreeSet<MessageId>> {
    let messages: Vec<Message> = (0..count).map(|_| received_at(at)).collect();
    let ids = messages.iter().map(|message| message.id).collect();
    let publishes = messages
        .into_iter()
        .map(|message| queues.publish(&Destination::Archive, message));
    try_join_all(publishes).await?;
    Ok(ids)
}

/// What comes until the end, and how it ended.
async fn rest(
    found: &mut mpsc::Receiver<Result<Message, QueueError>>,
) -> anyhow::Result<(BTreeSet<MessageId>, Option<QueueError>)> {
    let mut ids = BTreeSet::new();
    while let Some(message) = timeout(PATIENCE, found.recv()).await? {
        match message {
            Ok(message) => assert!(ids.insert(message.id), "each comes once"),
            Err(error) => return Ok((ids, Some(error))),
        }
    }
    Ok((ids, None))
}

#[tokio::test]
async fn a_reader_finds_all_that_was_there_whatever_the_clocks_say_and_nothing_later()
-> anyhow::Result<()> {
    let broker = Broker::shared().await?;
    let queues = engine(&broker.vhost("archive_end").await?).await?;
    let now = clock::now();
    // An ingest whose clock is an hour ahead of the operator's.
    let mut expected = archived(&queues, MANY / 2, now + Duration::from_hours(1)).await?;
    expected.append(&mut archived(&queues, MANY / 2, now).await?);
    let mut found = queues.archived(Range::default());
    let first = timeout(PATIENCE, found.recv()).await?;
    let first = first.transpose()?.map(|message| message.id);
    archived(&queues, 50, now).await?;
    let (mut read, ended) = rest(&mut found).await?;
    assert!(ended.is_none(), "{ended:?}");
    read.extend(first);
    assert_eq!(read, expected);

    // The marks of these readers are in nobody's way, nor is a beginning behind the end.
    let late = Range {
        since: Some(now + Duration::from_hours(48)),
        until: None,
    };
    let (read, ended) = rest(&mut queues.archived(late)).await?;
    assert!(read.is_empty() && ended.is_none(), "{read:?} {ended:?}");
    let (mut one, mut other) = (
        queues.archived(Range::default()),
        queues.archived(Range::default()),
    );
    let both = tokio::try_join!(rest(&mut one), rest(&mut other))?;
    for (read, ended) in [both.0, both.1] {
        assert_eq!((read.len(), ended.is_none()), (MANY + 50, true));
    }
    let head = queues.archive_head().await?;
    assert_eq!(head.map(|message| message.id), first);
    queues.close(PATIENCE).await;
    Ok(())
}

#[tokio::test]
async fn a_broker_that_stalls_under_a_reader_is_an_error_and_not_the_end() -> anyhow::Result<()> {
    let broker = Broker::shared().await?;
    let mut way = ChaosProxy::start(broker.amqp_address()).await?;
    let url = broker.vhost("archive_stall").await?;
    let (there, here) = (broker.amqp_address().to_string(), way.address().to_string());
    let queues = engine(&url.replace(&there, &here)).await?;
    let expected = archived(&queues, MANY, clock::now()).await?;
    let mut found = queues.archived(Range::default());
    assert!(matches!(
        timeout(PATIENCE, found.recv()).await?,
        Some(Ok(_))
    ));
    way.set(Mode::Stall).await?;
    let (read, ended) = rest(&mut found).await?;
    assert!(ended.is_some(), "the end after {} messages", read.len() + 1);
    assert!(read.len() + 1 < MANY);

    way.set(Mode::Pass).await?;
    let read = eventually("it is read again", PATIENCE, async || {
        let (read, ended) = rest(&mut queues.archived(Range::default())).await.ok()?;
        ended.is_none().then_some(read)
    })
    .await?;
    assert_eq!(read, expected);
    queues.close(PATIENCE).await;
    Ok(())
}
