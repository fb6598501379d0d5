//! Stories of an operator at the queues: look, drain, replay, move, purge; across engines, and with
//! the tools killed at every turn.

mod archive;
mod beside;
mod choosing;
mod golden;
mod kills;
mod listing;
mod moving;
mod pasted;
mod traps;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, ensure};
use base64::Engine as _;
use bytes::Bytes;
use quittance_common::claims::Fingerprint;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;
use quittance_tests::process::binary_path;
use serde_json::{Value, json};

use crate::pipeline::{PATIENCE, Pipeline};

/// How many of the cheap things there are.
const MANY: i64 = 10_000;

/// Runs `quittance queues ...` in the deployment's folder.
async fn tool(
    pipeline: &Pipeline,
    arguments: &[&str],
    failpoints: Option<&str>,
) -> anyhow::Result<Output> {
    let mut command = command(pipeline, arguments)?;
    if let Some(failpoints) = failpoints {
        command.env("FAILPOINTS", failpoints);
    }
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    Ok(output.with_context(|| format!("{arguments:?} does not end"))??)
}

fn command(pipeline: &Pipeline, arguments: &[&str]) -> anyhow::Result<tokio::process::Command> {
    let mut command = tokio::process::Command::new(binary_path("quittance")?);
    // The tests' own settings are none of the deployment's.
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("QUITTANCE_") {
            command.env_remove(key);
        }
    }
    command
        .arg("queues")
        .args(arguments)
        .args(["--json", "--config", "quittance.toml"])
        .args(if changes(arguments) {
            &["--audit", "audit.ndjson"][..]
        } else {
            &[]
        })
        .current_dir(pipeline.world.folder())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// Runs a replay and interrupts it by Ctrl-C after its first message; what it told.
async fn interrupted(
    pipeline: &Pipeline,
    mut command: tokio::process::Command,
) -> anyhow::Result<Value> {
    let child = command.spawn()?;
    let log = pipeline.world.folder().join("audit.ndjson");
    eventually("the first is replayed", PATIENCE, async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("\"replayed\"").then_some(())
    })
    .await?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid
        .and_then(rustix::process::Pid::from_raw)
        .context("pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await??;
    ensure!(output.status.code() == Some(3), "{}", output.status);
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["interrupted"] == true, "{told}");
    Ok(told)
}

fn changes(arguments: &[&str]) -> bool {
    !matches!(arguments.first(), Some(&"list" | &"peek"))
}

/// The same, and insists on success; its lines.
async fn done(pipeline: &Pipeline, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let output = tool(pipeline, arguments, None).await?;
    ensure!(
        output.status.success(),
        "{arguments:?}: {} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// A payment for something that the catalogue does not have.
fn unmatched(txn: &str) -> Ipn {
    Ipn::payment(txn, "NEWITEM", 1, "7.00")
}

/// Puts it into the catalogue.
async fn fix_catalogue(pipeline: &Pipeline) -> anyhow::Result<()> {
    let path = pipeline.world.folder().join("more.csv");
    std::fs::write(
        &path,
        "sku,name,price,currency,on_hand\nNEWITEM,New,7.00,EUR,10\n",
    )?;
    let path = path.to_string_lossy();
    pipeline.quittance(&["stock", "import", &path]).await?;
    Ok(())
}

/// A drain file of these bodies, as any program may write one.
fn drain_file(folder: &Path, bodies: &[Bytes]) -> anyhow::Result<PathBuf> {
    drain_file_as(folder, "made", bodies)
}

/// The same under a name.
fn drain_file_as(folder: &Path, name: &str, bodies: &[Bytes]) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{name}.ndjson"));
    let mut text = json!({
        "quittance": "drain", "version": 1, "queue": "ipn.quarantine",
        "begun_at": "2026-11-22T10:00:00Z", "written_by": "0.1.0",
    })
    .to_string();
    for body in bodies {
        // A hash as hex, the same as that of fingerprints.
        let hex = Fingerprint::of(body);
        let record = json!({
            "id": uuid::Uuid::now_v7().to_string(),
            "type": "ipn.notification.v1",
            "content_type": "application/x-www-form-urlencoded",
            "timestamp": "2026-11-22T10:00:00Z",
            "headers": {
                "gateway": "paypal", "account": "default", "attempt": "2",
                "received-at": "2026-11-22T10:00:00.000Z", "reason": "unmatched_item",
                "origin-queue": "ipn.verify",
            },
            "sha256": hex.as_str(),
            "body": base64::engine::general_purpose::STANDARD.encode(body),
        });
        text.push('\n');
        text.push_str(&record.to_string());
    }
    text.push('\n');
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The ids of the records of a drain file; an error when one is there twice.
fn records(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(path)?;
    let mut ids = BTreeSet::new();
    for line in text.lines().skip(1) {
        let record: Value = serde_json::from_str(line)?;
        let id = record["id"].as_str().context("an id")?.to_owned();
        ensure!(ids.insert(id), "twice in the file: {line}");
    }
    Ok(ids)
}

fn audit(pipeline: &Pipeline) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(pipeline.world.folder().join("audit.ndjson"))?;
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// What is parked in quarantine.
async fn pipeline_depth(pipeline: &Pipeline) -> anyhow::Result<u64> {
    pipeline.depth("quarantine").await
}

/// Many pieces of something cheap are in stock.
async fn stock_many(pipeline: &Pipeline) -> anyhow::Result<()> {
    let path = pipeline.world.folder().join("many.csv");
    let row = format!("MANY,Many,1.00,EUR,{MANY}\n");
    std::fs::write(&path, format!("sku,name,price,currency,on_hand\n{row}"))?;
    let path = path.to_string_lossy();
    pipeline.quittance(&["stock", "import", &path]).await?;
    Ok(())
}

/// A payment for one of them.
fn one_of_many(txn: &str) -> Ipn {
    Ipn::payment(txn, "MANY", 1, "1.00")
}

/// Waits until exactly `sold` payments for one of many are there, each applied once.
async fn each_applied_once(pipeline: &Pipeline, sold: usize) -> anyhow::Result<()> {
    let all = MANY.to_string();
    let list = ["payments", "list", "--limit", &all];
    eventually("every payment is there", PATIENCE, async || {
        let payments = pipeline.listing(&list).await.ok()?;
        (payments.len() >= sold).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    let payments = pipeline.listing(&list).await?;
    assert_eq!(payments.len(), sold);
    for payment in payments {
        assert_eq!(payment["events"], 1, "{payment}");
    }
    let left = MANY - i64::try_from(sold)?;
    assert_eq!(pipeline.stock("MANY").await?, (left, 0, 0));
    pipeline.mailed(sold).await?;
    Ok(())
}
