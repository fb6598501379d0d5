//! The harness itself: each private server starts, answers, is killed, comes back with its data,
//! and leaves nothing behind.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use quittance_tests::{Postgres, RabbitMq, Redis, eventually};
use sqlx::{Connection as _, PgConnection, Row};

const QUEUE: &str = "harness";

async fn channel(url: &str) -> Result<(Connection, lapin::Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(QUEUE.into(), options, arguments)
        .await?;
    Ok((connection, channel))
}

async fn publish(url: &str, body: &[u8]) -> Result<()> {
    let (_connection, channel) = channel(url).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let confirm = channel
        .basic_publish(
            "".into(),
            QUEUE.into(),
            BasicPublishOptions::default(),
            body,
            BasicProperties::default().with_delivery_mode(2),
        )
        .await?
        .await?;
    ensure!(confirm.is_ack(), "not confirmed: {confirm:?}");
    Ok(())
}

async fn take(url: &str) -> Result<Vec<u8>> {
    let patience = Duration::from_secs(30);
    eventually("the message is there", patience, async || {
        // A queue that has no leader yet does not answer: ask again on a new connection.
        let answer = tokio::time::timeout(Duration::from_secs(3), take_once(url)).await;
        answer.ok()?.ok()?
    })
    .await
}

async fn take_once(url: &str) -> Result<Option<Vec<u8>>> {
    let (_connection, channel) = channel(url).await?;
    let options = BasicGetOptions { no_ack: true };
    let message = channel.basic_get(QUEUE.into(), options).await?;
    Ok(message.map(|message| message.delivery.data.clone()))
}

/// No process names this folder any more.
async fn nothing_runs_in(folder: &str) -> Result<()> {
    eventually(
        "all processes are gone",
        Duration::from_secs(20),
        async || {
            let mut processes = fs::read_dir("/proc").ok()?.flatten();
            let left = processes.any(|process| {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(folder)
            });
            (!left).then_some(())
        },
    )
    .await
}

#[tokio::test]
async fn an_own_broker_survives_a_kill_with_its_confirmed_messages() -> Result<()> {
    let mut broker = RabbitMq::start().await?;
    let folder = broker.folder().to_string_lossy().into_owned();
    publish(&broker.amqp_url(), b"kept").await?;
    let nodes = broker.rabbitmqctl(&["list_queues", "name"]).await?;
    ensure!(
        nodes.contains(QUEUE),
        "rabbitmqctl does not see it: {nodes}"
    );
    broker.write_queue_names().await?;

    broker.kill().await?;
    assert!(channel(&broker.amqp_url()).await.is_err());
    broker.start_again().await?;
    assert_eq!(take(&broker.amqp_url()).await?, b"kept");

    publish(&broker.amqp_url(), b"kept again").await?;
    broker.restart().await?;
    assert_eq!(take(&broker.amqp_url()).await?, b"kept again");

    drop(broker);
    assert!(!fs::exists(&folder)?, "its folder is still there");
    nothing_runs_in(&folder).await
}

#[tokio::test]
async fn two_virtual_hosts_of_the_shared_broker_do_not_see_each_other() -> Result<()> {
    let broker = RabbitMq::shared().await?;
    let one = broker.vhost("one").await?;
    let other = broker.vhost("other").await?;
    publish(&one, b"for one").await?;
    let (_connection, channel) = channel(&other).await?;
    let options = BasicGetOptions { no_ack: true };
    assert!(channel.basic_get(QUEUE.into(), options).await?.is_none());
    assert_eq!(take(&one).await?, b"for one");
    Ok(())
}

#[tokio::test]
async fn redis_keeps_its_keys_over_a_kill_and_forgets_them_when_flushed() -> Result<()> {
    let mut redis = Redis::start().await?;
    redis.command(&["SET", "key", "value"]).await?;
    redis.kill().await?;
    assert!(redis.command(&["PING"]).await.is_err());
    redis.start_again().await?;
    let value = redis.command(&["GET", "key"]).await?;
    assert_eq!(value, redis::Value::BulkString(b"value".to_vec()));
    redis.flush().await?;
    assert_eq!(redis.command(&["GET", "key"]).await?, redis::Value::Nil);

    let port = redis.address().port();
    drop(redis);
    nothing_runs_in(&format!("127.0.0.1:{port}")).await
}

#[tokio::test]
async fn postgres_keeps_what_was_committed_over_a_kill() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.database("shop").await?;
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::query("CREATE TABLE kept (id bigint)")
        .execute(&mut connection)
        .await?;
    sqlx::query("INSERT INTO kept VALUES (7)")
        .execute(&mut connection)
        .await?;

    postgres.kill().await?;
    assert!(PgConnection::connect(&url).await.is_err());
    postgres.start_again().await?;
    let mut connection = PgConnection::connect(&url).await?;
    let row = sqlx::query("SELECT id FROM kept")
        .fetch_one(&mut connection)
        .await?;
    assert_eq!(row.get::<i64, _>("id"), 7);

    drop(connection);
    let port = postgres.databases().address().port();
    drop(postgres);
    nothing_runs_in(&format!("port={port}")).await
}

#[tokio::test]
async fn the_shared_servers_answer() -> Result<()> {
    let databases = Postgres::shared().await?;
    let mut connection = PgConnection::connect(&databases.database("shared").await?).await?;
    connection.ping().await?;
    let client = redis::Client::open(Redis::shared().await?)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let pong: String = redis::cmd("PING").query_async(&mut connection).await?;
    assert_eq!(pong, "PONG");
    Ok(())
}

#[tokio::test]
async fn every_binary_of_the_workspace_is_found() -> Result<()> {
    for name in ["ingest", "verifier", "fulfiller", "quittance"] {
        quittance_tests::process::binary_path(name).with_context(|| name.to_owned())?;
    }
    Ok(())
}
