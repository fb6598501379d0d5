//! Which messages are meant, what would become of them, and what asks before it deletes.

use anyhow::Context as _;
use quittance_deploy::demo::body::Ipn;
use serde_json::json;

use super::{audit, done, fix_catalogue, pipeline_depth, records, tool, unmatched};
use crate::pipeline::{Engine, Pipeline, on_both_engines};

on_both_engines!(
    filters_take_what_matches_and_leave_the_rest,
    a_dry_run_tells_what_would_happen_and_changes_nothing,
    a_purge_asks_and_keeps_a_backup,
);

async fn filters_take_what_matches_and_leave_the_rest(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline.accept(&unmatched("TXNEW1")).await?;
    pipeline.accept(&unmatched("TXNEW2")).await?;
    pipeline
        .accept(&Ipn::payment("TXCHEAP", "MUG", 1, "0.05"))
        .await?;
    pipeline.parked("unmatched_item", 2).await?;
    pipeline.parked("amount_mismatch", 1).await?;
    for (filter, expected) in [
        (&["--reason", "unmatched_item"][..], 2),
        (&["--reason", "unmatched_item", "--txn", "TXNEW2"], 1),
        (&["--event", "payment.completed"], 3),
        (&["--field", "item_number=MUG"], 1),
        (&["--gateway", "paypal", "--account", "default"], 3),
        (&["--older-than", "1h"], 0),
        (&["--younger-than", "1h", "--attempt", "0"], 3),
        (&["--limit", "2"], 2),
    ] {
        let arguments = [&["peek", "quarantine"], filter].concat();
        let found = done(&pipeline, &arguments).await?.len();
        assert_eq!(found, expected, "{filter:?}");
    }
    assert_eq!(pipeline_depth(&pipeline).await?, 3, "looking takes nothing");
    let arguments = [
        "move",
        "quarantine",
        "--to",
        "verify.dead",
        "--txn",
        "TXNEW1",
    ];
    let told = done(&pipeline, &arguments).await?;
    assert_eq!(told[0]["done"], 1);
    assert_eq!(pipeline_depth(&pipeline).await?, 2);
    let moved = done(&pipeline, &["peek", "verify.dead"]).await?;
    assert_eq!(moved[0]["txns"], json!(["TXNEW1"]));
    assert_eq!(moved[0]["reason"], "unmatched_item", "moved as it was");

    fix_catalogue(&pipeline).await?;
    let arguments = [
        "replay",
        "quarantine",
        "--to",
        "verify",
        "--reason",
        "unmatched_item",
    ];
    done(&pipeline, &arguments).await?;
    pipeline.settled("TXNEW2", "completed").await?;
    assert_eq!(pipeline.stock("NEWITEM").await?, (9, 0, 0));
    assert_eq!(pipeline.stock("MUG").await?, (10, 0, 0));
    assert_eq!(pipeline_depth(&pipeline).await?, 1, "the rest stays");
    Ok(())
}

async fn a_dry_run_tells_what_would_happen_and_changes_nothing(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline.accept(&unmatched("TXDRY")).await?;
    pipeline.parked("unmatched_item", 1).await?;
    // Beside the running server, on both engines.
    for (arguments, would) in [
        (
            &["replay", "quarantine", "--to", "verify"][..],
            "not applied yet",
        ),
        (
            &["drain", "quarantine", "--to", "nowhere.ndjson"],
            "take out",
        ),
        (&["purge", "quarantine"], "delete"),
        (&["move", "quarantine", "--to", "verify.dead"], "move"),
        (&["replay", "quarantine", "--to", "notify"], "skip"),
    ] {
        let arguments = [arguments, &["--dry-run"]].concat();
        let plan = done(&pipeline, &arguments).await?;
        assert_eq!(plan.len(), 1, "{arguments:?}");
        let words = plan[0]["would"].as_str().context("words")?;
        assert!(words.contains(would), "{arguments:?}: {words}");
    }
    assert_eq!(pipeline_depth(&pipeline).await?, 1);
    let folder = pipeline.world.folder();
    assert!(!folder.join("nowhere.ndjson").exists() && !folder.join("audit.ndjson").exists());
    Ok(())
}

async fn a_purge_asks_and_keeps_a_backup(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline.accept(&unmatched("TXPURGE1")).await?;
    pipeline.accept(&unmatched("TXPURGE2")).await?;
    pipeline.parked("unmatched_item", 2).await?;
    for unsure in [&[][..], &["--yes", "quarantine.dead"]] {
        let arguments = [&["purge", "quarantine"], unsure].concat();
        let output = tool(&pipeline, &arguments, None).await?;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
    assert_eq!(pipeline_depth(&pipeline).await?, 2);
    let queues = done(&pipeline, &["list"]).await?;
    let name = queues
        .iter()
        .filter_map(|row| row["queue"].as_str())
        .find(|name| name.ends_with("quarantine"))
        .context("its name")?;
    let first = ["purge", "quarantine", "--yes", name, "--txn", "TXPURGE1"];
    let arguments = [&first[..], &["--backup", "kept.ndjson"]].concat();
    assert_eq!(done(&pipeline, &arguments).await?[0]["done"], 1);
    assert_eq!(pipeline_depth(&pipeline).await?, 1);
    let kept = pipeline.world.folder().join("kept.ndjson");
    assert_eq!(records(&kept)?.len(), 1);
    let told = done(&pipeline, &["purge", "quarantine", "--yes", name]).await?;
    assert_eq!(told[0]["done"], 1);
    assert_eq!(pipeline_depth(&pipeline).await?, 0);
    let purged = audit(&pipeline)?;
    let purged = purged.iter().filter(|line| line["outcome"] == "purged");
    assert_eq!(purged.count(), 2);
    Ok(())
}
