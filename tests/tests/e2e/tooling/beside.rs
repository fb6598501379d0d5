//! Tools at work beside live traffic, and a server that dies under them.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use quittance_tests::eventually;
use std::os::unix::process::ExitStatusExt as _;

use super::{command, done, drain_file, each_applied_once, one_of_many, records, stock_many, tool};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(a_drain_and_a_replay_beside_live_traffic_lose_and_double_nothing,);

async fn a_drain_and_a_replay_beside_live_traffic_lose_and_double_nothing(
    engine: Engine,
) -> anyhow::Result<()> {
    const PARKED: usize = 80;
    let pipeline = Pipeline::start(engine).await?;
    stock_many(&pipeline).await?;
    let bodies: Vec<Bytes> = (0..PARKED)
        .map(|number| one_of_many(&format!("TXP{number}")).bytes())
        .collect();
    for body in &bodies {
        pipeline.sandbox.register(body);
    }
    let (tools_work, live) = (AtomicBool::new(true), async |stop: &AtomicBool| {
        let mut sent = 0_usize;
        while stop.load(Ordering::Relaxed) {
            pipeline.accept(&one_of_many(&format!("TXL{sent}"))).await?;
            sent += 1;
        }
        anyhow::Ok(sent)
    });
    let tools = async {
        let made = drain_file(pipeline.world.folder(), &bodies)?;
        let file = made.to_string_lossy();
        let fast = ["--rate", "unlimited"];
        let fill = [&["replay", &file, "--to", "quarantine"], &fast[..]].concat();
        done(&pipeline, &fill).await?;
        let drain = ["drain", "quarantine", "--to", "parked.ndjson"];
        let killed = tool(&pipeline, &drain, Some("tool.after_ack=9*off->return")).await?;
        ensure!(killed.status.signal() == Some(9), "{}", killed.status);
        done(&pipeline, &drain).await?;
        let drained = pipeline.world.folder().join("parked.ndjson");
        ensure!(records(&drained)? == records(&made)?, "every one, once");
        let replay = [&["replay", "parked.ndjson", "--to", "verify"], &fast[..]].concat();
        let killed = tool(
            &pipeline,
            &replay,
            Some("tool.after_publish=20*off->return"),
        )
        .await?;
        ensure!(killed.status.signal() == Some(9), "{}", killed.status);
        let rest = done(&pipeline, &replay).await?;
        ensure!(rest[0]["before"] == 20, "{rest:?}");
        anyhow::Ok(())
    };
    let tools = async {
        let worked = tools.await;
        tools_work.store(false, Ordering::Relaxed);
        worked
    };
    let (sent, ()) = tokio::try_join!(live(&tools_work), tools)?;
    ensure!(sent > 0, "there was live traffic");
    each_applied_once(&pipeline, PARKED + sent).await
}

#[tokio::test]
async fn an_embedded_server_killed_under_a_replay_is_told_of_and_the_replay_goes_on()
-> anyhow::Result<()> {
    const PAYMENTS: usize = 60;
    let mut pipeline = Pipeline::start(Engine::Embedded).await?;
    stock_many(&pipeline).await?;
    let bodies: Vec<Bytes> = (0..PAYMENTS)
        .map(|number| one_of_many(&format!("TXS{number}")).bytes())
        .collect();
    for body in &bodies {
        pipeline.sandbox.register(body);
    }
    let file = drain_file(pipeline.world.folder(), &bodies)?;
    let file = file.to_string_lossy();
    let replay = ["replay", &file, "--to", "verify", "--rate", "30/s"];
    let child = command(&pipeline, &replay)?.spawn()?;
    let log = pipeline.world.folder().join("audit.ndjson");
    eventually("the first is replayed", PATIENCE, async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("\"replayed\"").then_some(())
    })
    .await?;
    pipeline.take("quittance")?.kill().await?;
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await??;
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        words.contains("the server that owns these queues has ended"),
        "{words}"
    );
    pipeline.start_all().await?;
    let rest = done(&pipeline, &replay).await?;
    let before = rest[0]["before"].as_u64().context("a number")?;
    assert!((1..60).contains(&before), "{rest:?}");
    each_applied_once(&pipeline, PAYMENTS).await
}
