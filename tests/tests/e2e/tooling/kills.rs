//! The tools killed at every turn: nothing is lost, nothing is there twice.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;

use super::{command, done, drain_file, records, tool};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

/// How often a tool is killed.
const KILLS: u32 = 24;

on_both_engines!(
    a_drain_killed_again_and_again_loses_nothing_and_writes_nothing_twice,
    a_replay_killed_again_and_again_loses_nothing_and_has_one_effect_each,
);

/// Runs the tool again and again, each time with a crash in it somewhere; how often it died.
async fn killed_again_and_again(
    pipeline: &Pipeline,
    arguments: &[&str],
    failpoints: &str,
) -> anyhow::Result<u32> {
    let mut kills = 0;
    for turn in 0..KILLS {
        let status = if turn % 3 == 2 {
            // From outside, at whatever it does then.
            let mut child = command(pipeline, arguments)?.spawn()?;
            let moment = Duration::from_millis(u64::from(turn) * 7);
            tokio::time::timeout(moment, child.wait()).await.ok();
            child.kill().await?;
            child.wait().await?
        } else {
            tool(pipeline, arguments, Some(failpoints)).await?.status
        };
        match status.signal() {
            Some(9) => kills += 1,
            _ => ensure!(status.success(), "turn {turn}: {status}"),
        }
    }
    Ok(kills)
}

/// What a second drain still finds.
async fn pipeline_depth_now(pipeline: &Pipeline) -> anyhow::Result<usize> {
    Ok(done(pipeline, &["peek", "quarantine"]).await?.len())
}

async fn a_drain_killed_again_and_again_loses_nothing_and_writes_nothing_twice(
    engine: Engine,
) -> anyhow::Result<()> {
    const MESSAGES: usize = 300;
    let pipeline = Pipeline::prepare(engine).await?;
    let bodies: Vec<Bytes> = (0..MESSAGES)
        .map(|number| Ipn::payment(&format!("TXD{number}"), "MUG", 1, "9.90").bytes())
        .collect();
    let file = drain_file(pipeline.world.folder(), &bodies)?;
    let text = file.to_string_lossy();
    let fill = ["replay", &text, "--to", "quarantine", "--rate", "unlimited"];
    done(&pipeline, &fill).await?;

    let drain = ["drain", "quarantine", "--to", "drained.ndjson"];
    let failpoints = "tool.after_append=75%return;tool.after_ack=1%return";
    let kills = killed_again_and_again(&pipeline, &drain, failpoints).await?;
    assert!(kills >= 8, "only {kills} kills");
    done(&pipeline, &drain).await?;
    let drained = records(&pipeline.world.folder().join("drained.ndjson"))?;
    assert_eq!(drained, records(&file)?, "every message, once");
    assert_eq!(pipeline_depth_now(&pipeline).await?, 0);
    Ok(())
}

async fn a_replay_killed_again_and_again_loses_nothing_and_has_one_effect_each(
    engine: Engine,
) -> anyhow::Result<()> {
    const PAYMENTS: usize = 40;
    let mut pipeline = Pipeline::prepare(engine).await?;
    let path = pipeline.world.folder().join("many.csv");
    std::fs::write(
        &path,
        "sku,name,price,currency,on_hand\nMANY,Many,1.00,EUR,100\n",
    )?;
    let path = path.to_string_lossy();
    pipeline.quittance(&["stock", "import", &path]).await?;
    let bodies: Vec<Bytes> = (0..PAYMENTS)
        .map(|number| Ipn::payment(&format!("TXR{number}"), "MANY", 1, "1.00").bytes())
        .collect();
    for body in &bodies {
        pipeline.sandbox.register(body);
    }
    if engine == Engine::Cluster {
        pipeline.start_all().await?;
    }
    let file = drain_file(pipeline.world.folder(), &bodies)?;
    let file = file.to_string_lossy();
    // Once over a parking queue, so that both kinds of source are killed.
    let failpoints =
        "tool.after_publish=20%return;tool.after_journal=10%return;tool.after_ack=10%return";
    let to_parking = [
        "replay",
        &file,
        "--to",
        "verify.dead",
        "--rate",
        "unlimited",
    ];
    let mut kills = killed_again_and_again(&pipeline, &to_parking, failpoints).await?;
    done(&pipeline, &to_parking).await?;
    let to_work = [
        "replay",
        "verify.dead",
        "--to",
        "verify",
        "--rate",
        "unlimited",
    ];
    kills += killed_again_and_again(&pipeline, &to_work, failpoints).await?;
    done(&pipeline, &to_work).await?;
    assert!(kills >= 10, "only {kills} kills");
    if engine == Engine::Embedded {
        pipeline.start_all().await?;
    }
    eventually("every payment is there", PATIENCE, async || {
        let payments = pipeline.listing(&["payments", "list"]).await.ok()?;
        (payments.len() == PAYMENTS).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    let sold = i64::try_from(PAYMENTS)?;
    assert_eq!(pipeline.stock("MANY").await?, (100 - sold, 0, 0));
    for payment in pipeline.listing(&["payments", "list"]).await? {
        assert_eq!(payment["events"], 1, "{payment}");
    }
    pipeline.mailed(PAYMENTS).await?;
    Ok(())
}
