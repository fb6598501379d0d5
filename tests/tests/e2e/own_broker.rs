//! Stories of a broker that restarts, blocks or goes away: `503` while it cannot keep a message,
//! `200` again within five seconds of its return, and nothing acknowledged is lost.

mod tls;

use std::time::Duration;

use quittance_deploy::demo::body::Ipn;
use quittance_tests::{Postgres, RabbitMq, Redis, World, eventually};

use crate::pipeline::{Engine, PATIENCE, Pipeline};

/// The contract's limit for being of use again after the broker's return.
const BACK_IN_USE: Duration = Duration::from_secs(5);

/// A cluster whose broker belongs to this test alone.
async fn with_own_broker() -> anyhow::Result<(Pipeline, RabbitMq)> {
    let broker = RabbitMq::start().await?;
    let redis = Redis::shared().await?;
    let shop = Postgres::shared().await?.database("broker").await?;
    let world = World::cluster_on(&broker.amqp_url(), &redis, &shop)?;
    let mut pipeline = Pipeline::prepare_in(Engine::Cluster, world).await?;
    pipeline.start_all().await?;
    Ok((pipeline, broker))
}

#[tokio::test]
async fn a_broker_restarted_under_load_loses_nothing_that_was_acknowledged() -> anyhow::Result<()> {
    let (pipeline, mut broker) = with_own_broker().await?;
    pipeline.quittance(&["stock", "set", "MUG", "1000"]).await?;
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    broker.write_queue_names().await?;
    let restart = async {
        broker.kill().await?;
        broker.start_again().await
    };
    tokio::pin!(restart);
    let mut restarted = false;
    let mut number = 0;
    let mut after = 0;
    // Sends without a pause until the broker is back and twenty more have been taken.
    while after < 20 {
        let txn = format!("TXLOAD{number}");
        number += 1;
        let ipn = Ipn::payment(&txn, "MUG", 1, "9.90");
        let send = pipeline.send(&ipn);
        let status = if number < 20 || restarted {
            send.await?
        } else {
            tokio::select! {
                status = send => status?,
                result = &mut restart => { result?; restarted = true; continue }
            }
        };
        match status {
            200 => {
                acknowledged.push(txn);
                after += usize::from(restarted);
            }
            503 => {
                refused += 1;
                tokio::task::yield_now().await;
            }
            other => anyhow::bail!("ingest answered {other}"),
        }
    }
    assert!(refused > 0, "the broker was never away");
    pipeline.drained().await?;
    let payments = pipeline.listing(&["payments", "list"]).await?;
    let completed: std::collections::BTreeSet<&str> = payments
        .iter()
        .filter(|payment| payment["status"] == "completed")
        .filter_map(|payment| payment["txn_id"].as_str())
        .collect();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|txn| !completed.contains(txn.as_str()))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // What was refused or cut off may have been kept all the same; no more than once.
    let sold = i64::try_from(completed.len())?;
    assert_eq!(pipeline.stock("MUG").await?, (1000 - sold, 0, 0));
    Ok(())
}

#[tokio::test]
async fn while_the_broker_is_down_ingest_says_503_and_is_back_within_five_seconds()
-> anyhow::Result<()> {
    let (pipeline, mut broker) = with_own_broker().await?;
    broker.stop().await?;
    for number in 0..20 {
        let ipn = Ipn::payment(&format!("TXDOWN{number}"), "MUG", 1, "9.90");
        let status = pipeline.send(&ipn);
        assert_eq!(status.await?, 503);
    }
    broker.start_again().await?;
    eventually("200 after the broker's return", BACK_IN_USE, async || {
        let status = pipeline
            .send(&Ipn::payment("TXBACK", "MUG", 1, "9.90"))
            .await
            .ok()?;
        (status == 200).then_some(())
    })
    .await?;
    pipeline.settled("TXBACK", "completed").await?;
    Ok(())
}

#[tokio::test]
async fn while_the_broker_blocks_publishers_ingest_says_503_and_work_in_hand_goes_on()
-> anyhow::Result<()> {
    let (pipeline, broker) = with_own_broker().await?;
    pipeline
        .accept(&Ipn::payment("TXBEFORE", "MUG", 1, "9.90"))
        .await?;
    pipeline.settled("TXBEFORE", "completed").await?;
    broker
        .rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"])
        .await?;
    eventually("503 while blocked", PATIENCE, async || {
        let status = pipeline
            .send(&Ipn::payment("TXBLOCK", "MUG", 1, "9.90"))
            .await
            .ok()?;
        (status == 503).then_some(())
    })
    .await?;
    for number in 0..10 {
        let ipn = Ipn::payment(&format!("TXBLOCKED{number}"), "MUG", 1, "9.90");
        let status = pipeline.send(&ipn);
        assert_eq!(status.await?, 503, "nothing but 503 while blocked");
    }
    broker
        .rabbitmqctl(&["set_vm_memory_high_watermark", "0.6"])
        .await?;
    eventually("200 after the alarm", BACK_IN_USE, async || {
        let status = pipeline
            .send(&Ipn::payment("TXCLEAR", "MUG", 1, "9.90"))
            .await
            .ok()?;
        (status == 200).then_some(())
    })
    .await?;
    pipeline.settled("TXCLEAR", "completed").await?;
    Ok(())
}
