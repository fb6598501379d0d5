//! Files that an older version has written are read by this one: `tests/golden` holds them, frozen.
//! They are never written anew; a form that changes gets files of its own beside these.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value;

use super::{done, tool};
use crate::pipeline::{Engine, Pipeline, on_both_engines};

on_both_engines!(
    a_file_drained_by_version_0_1_0_is_replayed_and_fulfilled,
    a_replay_that_version_0_1_0_has_begun_is_gone_on_with,
    a_file_of_a_newer_form_is_refused_before_anything_is_sent,
);

fn frozen(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

/// A copy of a frozen file in the deployment's folder, where a journal may lie beside it. The
/// gateway knows its bodies.
fn laid_out(pipeline: &Pipeline, name: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(frozen(name))?;
    for line in text.lines().skip(1) {
        let record: Value = serde_json::from_str(line)?;
        let body = record["body"].as_str().context("a body")?;
        let body = base64::engine::general_purpose::STANDARD.decode(body)?;
        pipeline.sandbox.register(&Bytes::from(body));
    }
    let copy = pipeline.world.folder().join(name);
    std::fs::write(&copy, text)?;
    Ok(copy.to_string_lossy().into_owned())
}

async fn a_file_drained_by_version_0_1_0_is_replayed_and_fulfilled(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let parked = laid_out(&pipeline, "drain-v1-quarantine.ndjson")?;
    let told = done(&pipeline, &["replay", &parked, "--to", "verify"]).await?;
    assert_eq!(told[0]["done"], 2);
    for txn in ["TXGOLD1", "TXGOLD2"] {
        pipeline.settled(txn, "completed").await?;
    }
    let dead = laid_out(&pipeline, "drain-v1-fulfil-dead.ndjson")?;
    done(&pipeline, &["replay", &dead, "--to", "fulfil"]).await?;
    pipeline.settled("TXGOLD3", "completed").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (7, 0, 0));
    let mails = pipeline.mailed(3).await?;
    assert!(!mails.iter().any(String::is_empty));
    Ok(())
}

async fn a_replay_that_version_0_1_0_has_begun_is_gone_on_with(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let parked = laid_out(&pipeline, "drain-v1-quarantine.ndjson")?;
    let queues = done(&pipeline, &["list"]).await?;
    let verify = queues.iter().filter_map(|row| row["queue"].as_str());
    let verify = verify
        .into_iter()
        .find(|name| name.ends_with(".verify"))
        .context("its name")?;
    std::fs::copy(
        frozen("replay-v1.journal"),
        format!("{parked}.{verify}.journal"),
    )?;
    let told = done(&pipeline, &["replay", &parked, "--to", "verify"]).await?;
    assert_eq!(
        (&told[0]["done"], &told[0]["before"]),
        (&1.into(), &1.into())
    );
    assert_eq!(told[0]["replay_id"], "019ab000-0000-7000-8000-0000000000aa");
    pipeline.settled("TXGOLD2", "completed").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.payment("TXGOLD1").await?, None);
    Ok(())
}

async fn a_file_of_a_newer_form_is_refused_before_anything_is_sent(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let parked = laid_out(&pipeline, "drain-v1-quarantine.ndjson")?;
    let text = std::fs::read_to_string(&parked)?;
    std::fs::write(&parked, text.replace("\"version\":1", "\"version\":2"))?;
    let replay = ["replay", &parked, "--to", "quarantine"];
    let drain = ["drain", "quarantine", "--to", &parked];
    for arguments in [&replay[..], &[&replay[..], &["--dry-run"]].concat(), &drain] {
        let refused = tool(&pipeline, arguments, None).await?;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            words.contains("use a newer quittance"),
            "{arguments:?}: {words}"
        );
    }
    assert_eq!(pipeline.depth("quarantine").await?, 0);
    Ok(())
}
