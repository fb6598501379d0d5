//! What `quittance queues list` and a dry run tell.

use anyhow::Context as _;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;
use serde_json::Value;

use super::{command, done, drain_file, one_of_many, unmatched};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    a_list_tells_the_age_of_what_is_parked_and_archived_and_who_consumes,
    a_dry_run_tells_what_a_person_has_released_already,
);

async fn row(pipeline: &Pipeline, name: &str) -> anyhow::Result<Value> {
    let rows = done(pipeline, &["list"]).await?;
    let is_it = |row: &&Value| {
        row["queue"]
            .as_str()
            .is_some_and(|queue| queue.ends_with(name))
    };
    rows.iter()
        .find(is_it)
        .cloned()
        .with_context(|| format!("no {name} in {rows:?}"))
}

async fn a_list_tells_the_age_of_what_is_parked_and_archived_and_who_consumes(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    // Received in the past, as the file says.
    let file = drain_file(pipeline.world.folder(), &[one_of_many("TXOLD").bytes()])?;
    let file = file.to_string_lossy();
    done(&pipeline, &["replay", &file, "--to", "quarantine"]).await?;
    pipeline.accept(&unmatched("TXNEW")).await?;
    pipeline.parked("unmatched_item", 1).await?;
    for _ in 0..2 {
        let parked = row(&pipeline, "quarantine").await?;
        assert_eq!(parked["ready"], 2, "looking takes nothing");
        assert_eq!(parked["consumers"], 0, "looking is not consuming");
        // Without the HTTP API a broker does not tell.
        let unacked = match engine {
            Engine::Embedded => Value::from(0),
            Engine::Cluster => Value::Null,
        };
        assert_eq!(parked["unacked"], unacked);
        let age = parked["oldest_seconds"].as_u64().context("an age")?;
        let since: jiff::Timestamp = "2026-11-22T10:00:00Z".parse()?;
        let expected = quittance_common::clock::now()
            .duration_since(since)
            .as_secs();
        assert!(
            age.abs_diff(u64::try_from(expected).unwrap_or(0)) <= 40,
            "{age} {expected}"
        );
    }
    let verify = row(&pipeline, "verify").await?;
    assert_eq!(
        (&verify["consumers"], &verify["oldest_seconds"]),
        (&1.into(), &Value::Null)
    );
    let archive = eventually("it is archived", PATIENCE, async || {
        let archive = row(&pipeline, "archive").await.ok()?;
        (archive["ready"] == 1).then_some(archive)
    })
    .await?;
    assert!(
        archive["oldest_seconds"]
            .as_u64()
            .is_some_and(|age| age < 40),
        "{archive}"
    );
    // A tool at work is seen.
    let slow = ["move", "quarantine", "--to", "verify.dead", "--rate", "1/s"];
    let mut child = command(&pipeline, &slow)?.spawn()?;
    eventually("the tool is seen", PATIENCE, async || {
        (row(&pipeline, "quarantine").await.ok()?["consumers"] == 1).then_some(())
    })
    .await?;
    child.kill().await?;
    Ok(())
}

async fn a_dry_run_tells_what_a_person_has_released_already(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::payment("TXREL", "MUG", 1, "0.05"))
        .await?;
    pipeline.parked("amount_mismatch", 1).await?;
    let plan = ["replay", "quarantine", "--to", "verify", "--dry-run"];
    let before = done(&pipeline, &plan).await?;
    assert_eq!(before[0]["released"], Value::Array(Vec::new()));
    pipeline
        .quittance(&[
            "payments",
            "release",
            "TXREL",
            "--because",
            "agreed by telephone",
        ])
        .await?;
    pipeline.settled("TXREL", "completed").await?;
    let after = done(&pipeline, &plan).await?;
    let released = after[0]["released"].to_string();
    assert!(released.contains("amount_mismatch by "), "{after:?}");
    let would = after[0]["would"].as_str().context("words")?;
    assert!(
        would.contains("nothing would change") && would.contains("released it already"),
        "{would}"
    );
    assert!(
        after[0]["effects"]
            .to_string()
            .contains("stock_decremented"),
        "{after:?}"
    );
    Ok(())
}
