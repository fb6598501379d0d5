//! Stories of copies and of a claim store that forgets or is away.

use futures_util::future::try_join_all;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::{Postgres, RabbitMq, Redis, World, eventually};

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(ten_copies_at_once_have_one_effect);

async fn ten_copies_at_once_have_one_effect(engine: Engine) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
    if engine == Engine::Cluster {
        pipeline.start_stage("verifier", "verifier-2", &[]).await?;
        pipeline.start_stage("verifier", "verifier-3", &[]).await?;
        pipeline
            .start_stage("fulfiller", "fulfiller-2", &[])
            .await?;
    }
    let ipn = Ipn::payment("TXTEN", "MUG", 1, "9.90");
    let copies = (0..10).map(|copy| ipn.clone().with("ipn_track_id", &format!("track{copy}")));
    let copies: Vec<Ipn> = copies.collect();
    let answers = try_join_all(copies.iter().map(|copy| pipeline.send(copy))).await?;
    assert_eq!(answers, [200; 10]);
    let payment = pipeline.settled("TXTEN", "completed").await?;
    assert_eq!(payment["events"], 1);
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    Ok(())
}

/// A cluster whose Redis belongs to this test alone.
async fn with_own_redis() -> anyhow::Result<(Pipeline, Redis)> {
    let redis = Redis::start().await?;
    let amqp = RabbitMq::shared().await?.vhost("claims").await?;
    let shop = Postgres::shared().await?.database("claims").await?;
    let world = World::cluster_on(&amqp, &redis.url(), &shop)?;
    let mut pipeline = Pipeline::prepare_in(Engine::Cluster, world).await?;
    pipeline.start_all().await?;
    Ok((pipeline, redis))
}

#[tokio::test]
async fn a_redis_flushed_between_two_copies_does_not_bring_a_second_effect() -> anyhow::Result<()> {
    let (pipeline, redis) = with_own_redis().await?;
    let ipn = Ipn::payment("TXFLUSH", "MUG", 1, "9.90");
    pipeline.accept(&ipn).await?;
    pipeline.settled("TXFLUSH", "completed").await?;
    pipeline.drained().await?;
    redis.flush().await?;
    pipeline.accept(&ipn).await?;
    eventually("the books see the copy", PATIENCE, async || {
        let label = ["stage=\"fulfiller\""];
        (pipeline.metric("quittance_duplicates_total", &label).await == 1).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    assert_eq!(
        pipeline.sandbox.postbacks().len(),
        2,
        "it was verified again, and harmless"
    );
    Ok(())
}

#[tokio::test]
async fn while_redis_is_away_messages_wait_and_nothing_is_guessed() -> anyhow::Result<()> {
    let (pipeline, mut redis) = with_own_redis().await?;
    redis.kill().await?;
    pipeline
        .accept(&Ipn::payment("TXNOREDIS", "MUG", 1, "9.90"))
        .await?;
    eventually("the message waits", PATIENCE, async || {
        (pipeline.metric("quittance_retries_total", &[]).await > 0).then_some(())
    })
    .await?;
    let failed = pipeline.metric("quittance_claims_total", &["outcome=\"error\""]);
    assert!(failed.await > 0, "an alert asks for it");
    assert_eq!(pipeline.payment("TXNOREDIS").await?, None);
    redis.start_again().await?;
    pipeline.settled("TXNOREDIS", "completed").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    Ok(())
}
