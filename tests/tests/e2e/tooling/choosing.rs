//! Which messages are meant, what would become of them, and what asks before it deletes.

use anyhow::Context as _;
use bytes::Bytes;
use quittance_deploy::demo::body::Ipn;
use serde_json::{Value, json};

use super::{
    audit, done, drain_file, drain_file_as, fix_catalogue, pipeline_depth, records, tool, unmatched,
};
use crate::pipeline::{Engine, Pipeline, on_both_engines};

on_both_engines!(
    filters_take_what_matches_and_leave_the_rest,
    a_dry_run_tells_what_would_happen_and_changes_nothing,
    a_purge_asks_and_keeps_a_backup,
    a_dry_run_passes_over_what_was_done_and_shows_what_would_be_published,
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

async fn a_dry_run_passes_over_what_was_done_and_shows_what_would_be_published(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(engine).await?;
    let folder = pipeline.world.folder();
    let body = |number: usize| Ipn::payment(&format!("TXP{number}"), "MUG", 1, "9.90").bytes();
    let bodies: Vec<Bytes> = (0..3).map(body).collect();
    let file = drain_file(folder, &bodies)?;
    let file = file.to_string_lossy();
    let replay = ["replay", &file, "--to", "quarantine"];
    let planned = async |more: &[&str]| {
        let plan = [&replay[..], &["--dry-run"], more].concat();
        let rows = done(&pipeline, &plan).await?;
        anyhow::Ok(
            rows.iter()
                .map(|row| row["txns"][0].clone())
                .collect::<Vec<Value>>(),
        )
    };
    assert_eq!(planned(&[]).await?, ["TXP0", "TXP1", "TXP2"]);
    let journals = || folder.read_dir().map(|all| all.flatten().count());
    let (files, first) = (journals()?, [&replay[..], &["--limit", "1"]].concat());
    assert_eq!(planned(&["--limit", "1"]).await?, ["TXP0"]);
    assert_eq!(journals()?, files, "a dry run makes no journal");
    done(&pipeline, &first).await?;
    assert_eq!(planned(&[]).await?, ["TXP1", "TXP2"]);
    assert_eq!(planned(&["--limit", "1"]).await?, ["TXP1"]);
    done(&pipeline, &replay).await?;
    assert_eq!(planned(&[]).await?, [""; 0]);
    assert_eq!(planned(&["--again"]).await?.len(), 3);

    let another = folder.join("another");
    std::fs::write(&another, body(9))?;
    let another = another.to_string_lossy();
    let edit = ["--dry-run", "--edit-body", &another];
    let refused = tool(&pipeline, &[&replay[..], &edit].concat(), None).await?;
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("the filter takes 3"), "{words}");
    let one = drain_file_as(folder, "one", &[body(0)])?;
    let one = one.to_string_lossy();
    let replay = ["replay", &one, "--to", "verify"];
    let edited = done(&pipeline, &[&replay[..], &edit].concat()).await?;
    assert_eq!(edited[0]["txns"], json!(["TXP9"]));
    assert_eq!(edited[0]["events"], json!(["payment.completed"]));
    let edit = ["--dry-run", "--edit", "header:account=nobodys"];
    let edited = done(&pipeline, &[&replay[..], &edit].concat()).await?;
    assert_eq!(edited[0]["events"], json!([]), "no such account");
    Ok(())
}
