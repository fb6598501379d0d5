//! What was accepted is kept and can be played again.

use std::os::unix::process::ExitStatusExt as _;

use anyhow::Context as _;
use bytes::Bytes;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::{Postgres, RabbitMq, Redis, World, eventually};
use serde_json::Value;

use sqlx::Connection as _;

use super::{command, done, fix_catalogue, interrupted, one_of_many, stock_many, tool, unmatched};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    what_was_accepted_is_archived_and_replayed_without_a_second_effect,
    an_archive_replayed_after_every_claim_is_lost_repeats_no_effect,
    an_archive_that_is_switched_off_keeps_nothing_and_says_so,
    a_replay_of_the_archive_goes_on_where_it_was_interrupted_and_killed,
);

async fn what_was_accepted_is_archived_and_replayed_without_a_second_effect(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let body = Ipn::payment("TXARCH1", "MUG", 1, "9.90").bytes();
    let body: Bytes = [&body[..], b"&memo=caf\xe9"].concat().into();
    assert_eq!(pipeline.send_bytes(body.clone()).await?, 200);
    pipeline.settled("TXARCH1", "completed").await?;
    // Parked here, to be fulfilled from the archive.
    let new = unmatched("TXARCH2");
    pipeline.accept(&new).await?;
    pipeline.parked("unmatched_item", 1).await?;
    pipeline.drained().await?;
    let kept = pipeline
        .metric("quittance_archived_total", &["outcome=\"kept\""])
        .await;
    assert_eq!(kept, 2);

    let archive = ["replay", "--archive", "--to", "verify"];
    let early = [&archive[..], &["--dry-run", "--until", "1h"]].concat();
    assert_eq!(done(&pipeline, &early).await?, Vec::<Value>::new());
    let plan = [&archive[..], &["--dry-run", "--since", "1h"]].concat();
    assert_eq!(done(&pipeline, &plan).await?.len(), 2);

    fix_catalogue(&pipeline).await?;
    let told = done(&pipeline, &archive).await?;
    assert_eq!(told[0]["done"], 2);
    pipeline.settled("TXARCH2", "completed").await?;
    eventually("all are verified again", PATIENCE, async || {
        (pipeline.sandbox.postbacks().len() == 4).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    pipeline.mailed(2).await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert_eq!(pipeline.stock("NEWITEM").await?, (9, 0, 0));
    Ok(())
}

/// A filtered stretch of the archive, after Redis was flushed (or the table of claims emptied): the
/// books alone know what was done.
async fn an_archive_replayed_after_every_claim_is_lost_repeats_no_effect(
    engine: Engine,
) -> anyhow::Result<()> {
    // A Redis of its own: flushing the shared one would disturb the neighbours.
    let redis = Redis::start().await?;
    let world = match engine {
        Engine::Embedded => World::embedded()?,
        Engine::Cluster => {
            let amqp = RabbitMq::shared().await?.vhost("flushed").await?;
            let shop = Postgres::shared().await?.database("flushed").await?;
            World::cluster_on(&amqp, &redis.url(), &shop)?
        }
    };
    let mut pipeline = Pipeline::prepare_in(engine, world).await?;
    pipeline.start_all().await?;
    for number in 0..3 {
        let txn = format!("TXFLUSH{number}");
        pipeline
            .accept(&Ipn::payment(&txn, "MUG", 1, "9.90"))
            .await?;
        pipeline.settled(&txn, "completed").await?;
    }
    pipeline.mailed(3).await?;
    pipeline.drained().await?;
    match engine {
        Engine::Cluster => redis.flush().await?,
        Engine::Embedded => {
            let file = pipeline.world.folder().join("data/queue.sqlite");
            let mut claims =
                sqlx::SqliteConnection::connect(&format!("sqlite:{}", file.display())).await?;
            let forgotten = sqlx::query("DELETE FROM claim")
                .execute(&mut claims)
                .await?;
            assert!(forgotten.rows_affected() > 0);
            claims.close().await?;
        }
    }
    let some = ["--since", "1h", "--txn", "TXFLUSH0", "--txn", "TXFLUSH2"];
    let replay = [&["replay", "--archive", "--to", "verify"], &some[..]].concat();
    let told = done(&pipeline, &replay).await?;
    assert_eq!(told[0]["done"], 2);
    eventually("both are verified again", PATIENCE, async || {
        (pipeline.sandbox.postbacks().len() == 5).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (7, 0, 0));
    pipeline.mailed(3).await?;
    for payment in pipeline.listing(&["payments", "list"]).await? {
        assert_eq!(payment["events"], 1, "{payment}");
    }
    Ok(())
}

async fn an_archive_that_is_switched_off_keeps_nothing_and_says_so(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    let settings = pipeline.world.folder().join("quittance.toml");
    let text = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, format!("{text}[archive]\nkeep = \"off\"\n"))?;
    pipeline.start_all().await?;
    pipeline
        .accept(&Ipn::payment("TXOFF", "MUG", 1, "9.90"))
        .await?;
    pipeline.settled("TXOFF", "completed").await?;
    pipeline.drained().await?;
    let kept = pipeline.metric("quittance_archived_total", &[]).await;
    assert_eq!(kept, 0);
    let replay = ["replay", "--archive", "--to", "verify"];
    for arguments in [&replay[..], &[&replay[..], &["--dry-run"]].concat()] {
        let refused = tool(&pipeline, arguments, None).await?;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(words.contains("the archive is switched off"), "{words}");
    }
    Ok(())
}

async fn a_replay_of_the_archive_goes_on_where_it_was_interrupted_and_killed(
    engine: Engine,
) -> anyhow::Result<()> {
    const KEPT: u64 = 40;
    const KILLS: u64 = 3;
    const EACH: u64 = 5;
    let pipeline = Pipeline::start(engine).await?;
    stock_many(&pipeline).await?;
    for number in 0..KEPT {
        pipeline
            .accept(&one_of_many(&format!("TXGO{number}")))
            .await?;
    }
    eventually("all are archived", PATIENCE, async || {
        let kept = ["outcome=\"kept\""];
        let kept = pipeline.metric("quittance_archived_total", &kept).await;
        (kept == KEPT).then_some(())
    })
    .await?;
    // An age: another moment at each run, and the same stretch.
    let replay = [
        "replay",
        "--archive",
        "--to",
        "verify.dead",
        "--since",
        "1h",
    ];
    let slow = [&replay[..], &["--rate", "5/s"]].concat();
    let told = interrupted(&pipeline, command(&pipeline, &slow)?).await?;
    let first = told["done"].as_u64().context("a number")?;
    let fast = [&replay[..], &["--rate", "unlimited"]].concat();
    for _ in 0..KILLS {
        let failpoint = format!("tool.after_publish={EACH}*off->return");
        let killed = tool(&pipeline, &fast, Some(&failpoint)).await?;
        assert_eq!(killed.status.signal(), Some(9), "{}", killed.status);
    }
    let before = first + KILLS * EACH;
    let plan = [&fast[..], &["--dry-run"]].concat();
    let planned = u64::try_from(done(&pipeline, &plan).await?.len())?;
    assert_eq!(planned, KEPT - before);
    let rest = done(&pipeline, &fast).await?;
    assert_eq!(
        (&rest[0]["before"], &rest[0]["done"]),
        (&before.into(), &planned.into())
    );
    assert_eq!(rest[0]["replay_id"], told["replay_id"]);
    let parked = pipeline.depth("verify.dead").await?;
    assert_eq!(parked, KEPT + KILLS, "a kill sends one message twice");

    // Finished: who asks again means it.
    let anew = done(&pipeline, &fast).await?;
    assert_eq!(
        (&anew[0]["before"], &anew[0]["done"]),
        (&0.into(), &KEPT.into())
    );
    assert_ne!(anew[0]["replay_id"], told["replay_id"]);
    Ok(())
}
