//! Both engines keep the same promises.

use std::time::Duration;

use anyhow::Context as _;
use quittance_common::claims::Claims;
use quittance_common::claims::embedded::EmbeddedClaims;
use quittance_common::claims::redis::RedisClaims;
use quittance_common::lookups::Lookups;
use quittance_common::lookups::embedded::EmbeddedLookups;
use quittance_common::lookups::redis::RedisLookups;
use quittance_common::queue::embedded::{Embedded, Remote};
use quittance_common::queue::rabbitmq::RabbitMq;
use quittance_common::queue::{QueueId, QueueNames, Queues};
use quittance_common::settings::ClusterSettings;
use quittance_tests::{contract, servers};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_queues_keep_the_contract() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    contract::queues(async |names: QueueNames| {
        let own = dir.path().join(names.name(QueueId::Quarantine));
        Ok(Queues::Embedded(Embedded::open(&own, names).await?))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_at_the_control_socket_keeps_the_contract() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    contract::queues(async |names: QueueNames| {
        let own = dir.path().join(names.name(QueueId::Quarantine));
        // The socket's task keeps the engine.
        let server = Embedded::open(&own, names.clone()).await?;
        server.let_tools_in(&own)?;
        let tool = Remote::connect(&own, names).await?;
        Ok(Queues::Remote(tool.context("no server answers")?))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_claims_keep_the_contract() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let engine = Embedded::open(dir.path(), QueueNames::default()).await?;
    contract::claims(async |times| Ok(Claims::Embedded(EmbeddedClaims::open(&engine, times)))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_keeps_the_contract() -> anyhow::Result<()> {
    let url = servers::RabbitMq::shared().await?.vhost("contract").await?;
    let settings = ClusterSettings {
        amqp_url: url.into(),
        redis_url: String::new().into(),
        management_url: None,
        publish_channels: 4,
        publish_timeout: Duration::from_secs(10),
        heartbeat: Duration::from_secs(10),
    };
    contract::queues(async |names| {
        let broker = RabbitMq::start(&settings, names)?;
        broker.ready(Duration::from_secs(30)).await?;
        Ok(Queues::RabbitMq(broker))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_claims_keep_the_contract() -> anyhow::Result<()> {
    let url = servers::Redis::shared().await?.into();
    contract::claims(async |times| Ok(Claims::Redis(RedisClaims::connect(&url, "ipn.", times))))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_look_ups_keep_the_contract() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let open = |times| Lookups::Embedded(EmbeddedLookups::open(dir.path(), times));
    contract::lookups(async |times| Ok(open(times))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_look_ups_keep_the_contract() -> anyhow::Result<()> {
    let url = servers::Redis::shared().await?.into();
    let connect = |times| Lookups::Redis(RedisLookups::connect(&url, "ipn.", times));
    contract::lookups(async |times| Ok(connect(times))).await
}
