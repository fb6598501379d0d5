//! Stories of an operator at the queues: look, drain, replay, move, purge; across engines, and with
//! the tools killed at every turn.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;
use bytes::Bytes;
use quittance_common::claims::Fingerprint;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;
use quittance_tests::process::binary_path;
use serde_json::{Value, json};

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    what_one_engine_parked_is_drained_replayed_into_the_other_and_fulfilled,
    a_replay_of_what_was_fulfilled_has_no_second_effect,
    filters_take_what_matches_and_leave_the_rest,
    a_dry_run_tells_what_would_happen_and_changes_nothing,
    a_purge_asks_and_keeps_a_backup,
    an_edited_header_is_in_force_and_the_original_is_kept,
    a_drain_killed_again_and_again_loses_nothing_and_writes_nothing_twice,
    a_replay_killed_again_and_again_loses_nothing_and_has_one_effect_each,
    an_interrupted_replay_says_so_and_goes_on,
    a_second_tool_at_one_queue_is_refused,
    what_was_accepted_is_archived_and_replayed_without_a_second_effect,
);

/// How often a tool is killed.
const KILLS: u32 = 24;

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

/// Stops what must not run while the queues are changed: on the embedded engine everything.
async fn hand_over(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    if pipeline.engine == Engine::Embedded {
        pipeline.take("quittance")?.terminate(PATIENCE).await?;
    }
    Ok(())
}

async fn take_back(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    if pipeline.engine == Engine::Embedded {
        pipeline.start_all().await?;
    }
    Ok(())
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
    let path = folder.join("made.ndjson");
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

fn other(engine: Engine) -> Engine {
    match engine {
        Engine::Embedded => Engine::Cluster,
        Engine::Cluster => Engine::Embedded,
    }
}

async fn what_one_engine_parked_is_drained_replayed_into_the_other_and_fulfilled(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut from = Pipeline::start(engine).await?;
    let ipn = unmatched("TXCROSS").with("first_name", "Jürgen");
    from.accept(&ipn).await?;
    from.parked("unmatched_item", 1).await?;
    hand_over(&mut from).await?;
    let file = from.world.folder().join("parked.ndjson");
    let file = file.to_string_lossy();
    let told = done(&from, &["drain", "quarantine", "--to", &file]).await?;
    assert_eq!(
        (&told[0]["done"], &told[0]["before"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(from.depth("quarantine").await?, 0);

    let mut to = Pipeline::prepare(other(engine)).await?;
    to.sandbox.register(&ipn.bytes());
    fix_catalogue(&to).await?;
    if to.engine == Engine::Cluster {
        to.start_all().await?;
    }
    done(&to, &["replay", &file, "--to", "verify"]).await?;
    if to.engine == Engine::Embedded {
        to.start_all().await?;
    }
    let payment = to.settled("TXCROSS", "completed").await?;
    assert_eq!(payment["events"], 1);
    assert_eq!(to.stock("NEWITEM").await?, (9, 0, 0));
    let postbacks = to.sandbox.postbacks();
    assert_eq!(postbacks.len(), 1, "verified again, byte for byte");
    to.mailed(1).await?;

    let lines = audit(&from)?;
    let outcomes: Vec<&str> = lines.iter().filter_map(|l| l["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["begun", "drained", "ended"]);
    assert_eq!(lines[1]["command"], "drain");
    assert!(lines[1]["message_id"].is_string() && lines[1]["who"].is_string());
    assert_eq!(lines[2]["count"], 1);
    Ok(())
}

async fn a_replay_of_what_was_fulfilled_has_no_second_effect(engine: Engine) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
    let ipn = Ipn::payment("TXONCE", "MUG", 1, "9.90");
    pipeline.accept(&ipn).await?;
    pipeline.settled("TXONCE", "completed").await?;
    pipeline.mailed(1).await?;
    pipeline.drained().await?;
    hand_over(&mut pipeline).await?;
    let file = drain_file(pipeline.world.folder(), &[ipn.bytes()])?;
    let file = file.to_string_lossy();
    let plan = done(&pipeline, &["replay", &file, "--to", "verify", "--dry-run"]).await?;
    assert!(
        plan[0]["would"]
            .as_str()
            .is_some_and(|would| would.contains("nothing would change")),
        "{plan:?}"
    );
    assert!(
        plan[0]["effects"].to_string().contains("stock_decremented"),
        "{plan:?}"
    );
    assert_eq!(pipeline.sandbox.postbacks().len(), 1);
    done(&pipeline, &["replay", &file, "--to", "verify"]).await?;
    take_back(&mut pipeline).await?;
    eventually("the replay is verified again", PATIENCE, async || {
        (pipeline.sandbox.postbacks().len() == 2).then_some(())
    })
    .await?;
    let fulfiller = "stage=\"fulfiller\"";
    eventually("the books know it", PATIENCE, async || {
        let known = pipeline
            .metric("quittance_duplicates_total", &[fulfiller])
            .await;
        (known == 1).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    Ok(())
}

async fn filters_take_what_matches_and_leave_the_rest(engine: Engine) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
    pipeline.accept(&unmatched("TXNEW1")).await?;
    pipeline.accept(&unmatched("TXNEW2")).await?;
    pipeline
        .accept(&Ipn::payment("TXCHEAP", "MUG", 1, "0.05"))
        .await?;
    pipeline.parked("unmatched_item", 2).await?;
    pipeline.parked("amount_mismatch", 1).await?;
    hand_over(&mut pipeline).await?;
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
    take_back(&mut pipeline).await?;
    pipeline.settled("TXNEW2", "completed").await?;
    assert_eq!(pipeline.stock("NEWITEM").await?, (9, 0, 0));
    assert_eq!(pipeline.stock("MUG").await?, (10, 0, 0));
    assert_eq!(pipeline_depth(&pipeline).await?, 1, "the rest stays");
    Ok(())
}

/// What is parked in quarantine.
async fn pipeline_depth(pipeline: &Pipeline) -> anyhow::Result<u64> {
    pipeline.depth("quarantine").await
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
    if engine == Engine::Embedded {
        let refused = tool(&pipeline, &["replay", "quarantine", "--to", "verify"], None).await?;
        assert_eq!(refused.status.code(), Some(1));
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            words.contains("a server or another tool owns these queues"),
            "{words}"
        );
        assert_eq!(pipeline_depth(&pipeline).await?, 1);
    }
    Ok(())
}

async fn a_purge_asks_and_keeps_a_backup(engine: Engine) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
    pipeline.accept(&unmatched("TXPURGE1")).await?;
    pipeline.accept(&unmatched("TXPURGE2")).await?;
    pipeline.parked("unmatched_item", 2).await?;
    hand_over(&mut pipeline).await?;
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

async fn an_edited_header_is_in_force_and_the_original_is_kept(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(engine).await?;
    let body = Ipn::payment("TXEDIT", "MUG", 1, "9.90").bytes();
    let file = drain_file(pipeline.world.folder(), std::slice::from_ref(&body))?;
    let file = file.to_string_lossy();
    let another = pipeline.world.folder().join("another");
    std::fs::write(&another, "txn_id=TXOTHER")?;
    let another = another.to_string_lossy();
    let edits = ["--edit", "header:account=shop2", "--edit-body", &another];
    let arguments = [&["replay", &file, "--to", "quarantine"], &edits[..]].concat();
    done(&pipeline, &arguments).await?;
    done(&pipeline, &["drain", "quarantine", "--to", "edited.ndjson"]).await?;
    let edited = pipeline.world.folder().join("edited.ndjson");
    let text = std::fs::read_to_string(edited)?;
    let record: Value = serde_json::from_str(text.lines().nth(1).context("a record")?)?;
    let headers = &record["headers"];
    assert_eq!(headers["account"], "shop2");
    assert_eq!(headers["original-account"], "default");
    assert_eq!(headers["replayed-reason"], "unmatched_item");
    assert!(headers["replay-id"].is_string());
    let base64 = base64::engine::general_purpose::STANDARD;
    let decoded = |text: &Value| base64.decode(text.as_str().unwrap_or_default());
    assert_eq!(decoded(&headers["original-body"])?, body);
    assert_eq!(decoded(&record["body"])?, b"txn_id=TXOTHER");
    Ok(())
}

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

/// What a second drain still finds.
async fn pipeline_depth_now(pipeline: &Pipeline) -> anyhow::Result<usize> {
    Ok(done(pipeline, &["peek", "quarantine"]).await?.len())
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

async fn a_second_tool_at_one_queue_is_refused(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(engine).await?;
    let bodies: Vec<Bytes> = (0..40)
        .map(|number| Ipn::payment(&format!("TXS{number}"), "MUG", 1, "9.90").bytes())
        .collect();
    let file = drain_file(pipeline.world.folder(), &bodies)?;
    let text = file.to_string_lossy();
    let fill = ["replay", &text, "--to", "quarantine", "--rate", "unlimited"];
    done(&pipeline, &fill).await?;
    let slow = ["move", "quarantine", "--to", "verify.dead", "--rate", "2/s"];
    let mut first = command(&pipeline, &slow)?.spawn()?;
    let log = pipeline.world.folder().join("audit.ndjson");
    eventually("the first is moved", PATIENCE, async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("\"moved\"").then_some(())
    })
    .await?;
    let second = tool(
        &pipeline,
        &["drain", "quarantine", "--to", "second.ndjson"],
        None,
    )
    .await?;
    assert_eq!(second.status.code(), Some(1));
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        words.contains("somebody else") || words.contains("another tool"),
        "{words}"
    );
    first.kill().await?;
    done(&pipeline, &["drain", "quarantine", "--to", "second.ndjson"]).await?;
    done(&pipeline, &["drain", "verify.dead", "--to", "moved.ndjson"]).await?;
    let folder = pipeline.world.folder();
    let mut all = records(&folder.join("second.ndjson"))?;
    all.extend(records(&folder.join("moved.ndjson"))?);
    assert_eq!(all, records(&file)?, "nothing is lost between the two");
    Ok(())
}

async fn what_was_accepted_is_archived_and_replayed_without_a_second_effect(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
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
    hand_over(&mut pipeline).await?;
    let told = done(&pipeline, &archive).await?;
    assert_eq!(told[0]["done"], 2);
    take_back(&mut pipeline).await?;
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

async fn an_interrupted_replay_says_so_and_goes_on(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(engine).await?;
    let bodies: Vec<Bytes> = (0..30)
        .map(|number| Ipn::payment(&format!("TXI{number}"), "MUG", 1, "9.90").bytes())
        .collect();
    let file = drain_file(pipeline.world.folder(), &bodies)?;
    let text = file.to_string_lossy();
    let slow = ["replay", &text, "--to", "quarantine", "--rate", "5/s"];
    let child = command(&pipeline, &slow)?.spawn()?;
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
    assert_eq!(output.status.code(), Some(3), "partial");
    let told: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(told["interrupted"], true);
    let fast = ["replay", &text, "--to", "quarantine", "--rate", "unlimited"];
    let rest = done(&pipeline, &fast).await?;
    assert_eq!(rest[0]["before"], told["done"]);
    assert_eq!(rest[0]["replay_id"], told["replay_id"]);
    let all = [&told, &rest[0]].map(|tally| tally["done"].as_u64().unwrap_or_default());
    assert_eq!(all.iter().sum::<u64>(), 30);
    done(&pipeline, &["drain", "quarantine", "--to", "all.ndjson"]).await?;
    let drained = records(&pipeline.world.folder().join("all.ndjson"))?;
    assert_eq!(drained, records(&file)?);
    Ok(())
}
