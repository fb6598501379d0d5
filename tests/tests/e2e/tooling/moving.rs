//! Messages taken out, moved, replayed and edited, also across engines.

use anyhow::Context as _;
use base64::Engine as _;
use bytes::Bytes;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;
use serde_json::{Value, json};

use super::{
    audit, command, done, drain_file, fix_catalogue, interrupted, records, tool, unmatched,
};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    what_one_engine_parked_is_drained_replayed_into_the_other_and_fulfilled,
    a_replay_of_what_was_fulfilled_has_no_second_effect,
    an_edited_header_is_in_force_and_the_original_is_kept,
    an_interrupted_replay_says_so_and_goes_on,
    a_second_tool_at_one_queue_is_refused,
    a_message_parked_again_is_replayed_again_from_a_new_file_of_the_same_name,
    a_message_is_noted_before_it_is_deleted,
    a_message_of_a_file_is_noted_before_the_journal_passes_it_over,
);

fn other(engine: Engine) -> Engine {
    match engine {
        Engine::Embedded => Engine::Cluster,
        Engine::Cluster => Engine::Embedded,
    }
}

async fn what_one_engine_parked_is_drained_replayed_into_the_other_and_fulfilled(
    engine: Engine,
) -> anyhow::Result<()> {
    let from = Pipeline::start(engine).await?;
    let ipn = unmatched("TXCROSS").with("first_name", "Jürgen");
    from.accept(&ipn).await?;
    from.parked("unmatched_item", 1).await?;
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
    let pipeline = Pipeline::start(engine).await?;
    let ipn = Ipn::payment("TXONCE", "MUG", 1, "9.90");
    pipeline.accept(&ipn).await?;
    pipeline.settled("TXONCE", "completed").await?;
    pipeline.mailed(1).await?;
    pipeline.drained().await?;
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

async fn an_interrupted_replay_says_so_and_goes_on(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(engine).await?;
    let bodies: Vec<Bytes> = (0..30)
        .map(|number| Ipn::payment(&format!("TXI{number}"), "MUG", 1, "9.90").bytes())
        .collect();
    let file = drain_file(pipeline.world.folder(), &bodies)?;
    let text = file.to_string_lossy();
    let slow = ["replay", &text, "--to", "quarantine", "--rate", "5/s"];
    let told = interrupted(&pipeline, command(&pipeline, &slow)?).await?;
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

/// The journal of the first file outlives it and tells of a line with the same number and id.
async fn a_message_parked_again_is_replayed_again_from_a_new_file_of_the_same_name(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(engine).await?;
    let body = Ipn::payment("TXAGAIN", "MUG", 1, "9.90").bytes();
    let made = drain_file(pipeline.world.folder(), std::slice::from_ref(&body))?;
    let made = made.to_string_lossy();
    let mut marks = Vec::new();
    for _ in 0..2 {
        let park = ["replay", &made, "--to", "quarantine", "--again"];
        done(&pipeline, &park).await?;
        done(&pipeline, &["drain", "quarantine", "--to", "d.ndjson"]).await?;
        let told = done(&pipeline, &["replay", "d.ndjson", "--to", "verify.dead"]).await?;
        assert_eq!(
            (&told[0]["done"], &told[0]["before"]),
            (&json!(1), &json!(0))
        );
        marks.push(told[0]["replay_id"].clone());
        let more = done(&pipeline, &["replay", "d.ndjson", "--to", "verify.dead"]).await?;
        assert_eq!(
            (&more[0]["done"], &more[0]["before"]),
            (&json!(0), &json!(1))
        );
        std::fs::remove_file(pipeline.world.folder().join("d.ndjson"))?;
    }
    assert_eq!(pipeline.depth("verify.dead").await?, 2);
    assert_ne!(marks[0], marks[1]);
    Ok(())
}

async fn a_message_is_noted_before_it_is_deleted(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(engine).await?;
    let body = Ipn::payment("TXPURGE", "MUG", 1, "9.90").bytes();
    let made = drain_file(pipeline.world.folder(), std::slice::from_ref(&body))?;
    done(
        &pipeline,
        &["replay", &made.to_string_lossy(), "--to", "quarantine"],
    )
    .await?;
    let names = done(&pipeline, &["list"]).await?;
    let mut names = names.iter().filter_map(|row| row["queue"].as_str());
    let name = names.find(|name| name.ends_with(".quarantine"));
    let purge = ["purge", "quarantine", "--yes", name.context("its name")?];
    tool(&pipeline, &purge, Some("tool.after_audit=return")).await?;
    let purged = |lines: &[Value]| lines.iter().filter(|l| l["outcome"] == "purged").count();
    assert_eq!(purged(&audit(&pipeline)?), 1);
    let told = done(&pipeline, &purge).await?;
    assert_eq!(told[0]["done"], 1, "it was noted and still there");
    assert_eq!(purged(&audit(&pipeline)?), 2);
    Ok(())
}

async fn a_message_of_a_file_is_noted_before_the_journal_passes_it_over(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(engine).await?;
    let body = Ipn::payment("TXNOTED", "MUG", 1, "9.90").bytes();
    let made = drain_file(pipeline.world.folder(), std::slice::from_ref(&body))?;
    let made = made.to_string_lossy();
    let replay = ["replay", &made, "--to", "quarantine"];
    tool(&pipeline, &replay, Some("tool.after_journal=return")).await?;
    let replayed = |lines: &[Value]| lines.iter().filter(|l| l["outcome"] == "replayed").count();
    assert_eq!(replayed(&audit(&pipeline)?), 1);
    assert_eq!(done(&pipeline, &replay).await?[0]["before"], 1);
    assert_eq!(replayed(&audit(&pipeline)?), 1, "once, and not never");
    Ok(())
}
