//! The tools killed at every turn: nothing is lost, nothing is there twice.
//!
//! Where a tool dies is drawn by lot. A failure tells the seed; `TOOLING_SEED` in the environment
//! draws the same lots again.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use quittance_deploy::sandbox::Outcome;
use quittance_tests::eventually;
use serde_json::Value;

use super::{
    command, done, drain_file_as, each_applied_once, one_of_many, records, stock_many, tool,
};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

/// How often the drain is killed, and the replay.
const KILLS: u32 = 100;

on_both_engines!(
    a_drain_killed_a_hundred_times_loses_nothing_and_writes_nothing_twice,
    a_replay_killed_a_hundred_times_loses_nothing_and_has_one_effect_each,
);

/// Lots (`splitmix64`): the same seed draws the same.
struct Lots(u64);

impl Lots {
    /// A seed that is told, and its lots.
    fn seeded() -> anyhow::Result<(String, Self)> {
        let seed = match std::env::var("TOOLING_SEED") {
            Ok(seed) => seed.parse().context("TOOLING_SEED is no number")?,
            Err(_) => uuid::Uuid::now_v7().as_u64_pair().1,
        };
        Ok((
            format!("TOOLING_SEED={seed} draws these lots again"),
            Self(seed),
        ))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Runs the tool once with a death in it: at one of `points`, at the pass that the lot says, or
/// from outside at whatever it does then.
async fn dying(
    pipeline: &Pipeline,
    arguments: &[&str],
    lots: &mut Lots,
    points: &[&str],
) -> anyhow::Result<ExitStatus> {
    let choice = lots.below(u64::try_from(points.len())? + 1);
    if let Some(point) = points.get(usize::try_from(choice)?) {
        let passes = lots.below(5);
        let failpoint = format!("{point}={passes}*off->return");
        return Ok(tool(pipeline, arguments, Some(&failpoint)).await?.status);
    }
    let mut child = command(pipeline, arguments)?.spawn()?;
    let moment = Duration::from_millis(lots.below(150));
    if let Ok(ended) = tokio::time::timeout(moment, child.wait()).await {
        return Ok(ended?);
    }
    child.start_kill()?;
    Ok(tokio::time::timeout(PATIENCE, child.wait()).await??)
}

/// Runs the tool until it has died `kills` times. Whenever it gets to its end alive, `more` gives it
/// something to do and says how it is called. In the end nothing is left on `source`.
async fn killed(
    kills: u32,
    source: Option<&str>,
    pipeline: &Pipeline,
    lots: &mut Lots,
    points: &[&str],
    mut more: impl AsyncFnMut() -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<()> {
    let mut arguments = more().await?;
    let mut killed = 0;
    for round in 0..kills * 6 {
        if killed == kills {
            break;
        }
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let status = dying(pipeline, &words, lots, points).await?;
        if status.signal() == Some(9) {
            killed += 1;
        } else {
            ensure!(status.success(), "round {round}: {status}");
            arguments = more().await?;
        }
    }
    ensure!(killed == kills, "only {killed} kills");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = done(pipeline, &words).await?;
    let Some(source) = source else { return Ok(()) };
    let queues = done(pipeline, &["list"]).await?;
    let of_source = |row: &&Value| {
        row["queue"]
            .as_str()
            .is_some_and(|name| name.ends_with(source))
    };
    let row = queues.iter().find(of_source).context("the source")?;
    // Null where the engine does not tell.
    let unacked = row["unacked"].as_u64().unwrap_or(0);
    ensure!(
        row["ready"] == 0 && unacked == 0,
        "after {told:?} something is left on {source}: {queues:#?}"
    );
    Ok(())
}

/// Drain files of further payments, each payment with a number of its own.
struct Payments<'a> {
    pipeline: &'a Pipeline,
    count: usize,
    files: usize,
    ids: BTreeSet<String>,
}

impl<'a> Payments<'a> {
    fn of(pipeline: &'a Pipeline) -> Self {
        let (count, files, ids) = (0, 0, BTreeSet::new());
        Self {
            pipeline,
            count,
            files,
            ids,
        }
    }

    /// A file of `more` genuine payments.
    fn file(&mut self, more: usize) -> anyhow::Result<String> {
        let bodies: Vec<Bytes> = (self.count..self.count + more)
            .map(|number| one_of_many(&format!("TXK{number}")).bytes())
            .collect();
        for body in &bodies {
            self.pipeline.sandbox.register(body);
        }
        self.count += more;
        self.files += 1;
        let name = format!("made-{}", self.files);
        let file = drain_file_as(self.pipeline.world.folder(), &name, &bodies)?;
        self.ids.extend(records(&file)?);
        Ok(file.to_string_lossy().into_owned())
    }

    /// The same, on a queue.
    async fn on(&mut self, queue: &str, more: usize) -> anyhow::Result<()> {
        let file = self.file(more)?;
        let fill = ["replay", &file, "--to", queue, "--rate", "unlimited"];
        done(self.pipeline, &fill).await?;
        Ok(())
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

async fn a_drain_killed_a_hundred_times_loses_nothing_and_writes_nothing_twice(
    engine: Engine,
) -> anyhow::Result<()> {
    let (seed, mut lots) = Lots::seeded()?;
    let mut pipeline = Pipeline::prepare(engine).await?;
    let points = ["tool.after_append", "tool.after_ack"];
    let drain = ["drain", "quarantine", "--to", "drained.ndjson"];
    let mut expected = BTreeSet::new();
    // Half of them as the owner of the embedded engine's file, half beside a running server.
    for is_served in [false, true] {
        if is_served {
            pipeline.start_all().await?;
        }
        let mut payments = Payments::of(&pipeline);
        // File names of its own: a journal lies beside each.
        payments.files = expected.len();
        let more = async || {
            payments.on("quarantine", 150).await?;
            Ok(owned(&drain))
        };
        let source = Some("quarantine");
        killed(KILLS / 2, source, &pipeline, &mut lots, &points, more)
            .await
            .with_context(|| seed.clone())?;
        expected.append(&mut payments.ids);
    }
    let drained = records(&pipeline.world.folder().join("drained.ndjson"));
    let drained = drained.with_context(|| seed.clone())?;
    assert_eq!(drained, expected, "every message, once; {seed}");
    assert_eq!(done(&pipeline, &["peek", "quarantine"]).await?.len(), 0);
    Ok(())
}

async fn a_replay_killed_a_hundred_times_loses_nothing_and_has_one_effect_each(
    engine: Engine,
) -> anyhow::Result<()> {
    let (seed, mut lots) = Lots::seeded()?;
    let pipeline = Pipeline::start(engine).await?;
    stock_many(&pipeline).await?;
    let mut payments = Payments::of(&pipeline);
    let fast = ["--rate", "unlimited"];
    // Once over a parking queue, so that both kinds of source are killed.
    let points = ["tool.after_publish", "tool.after_journal"];
    let more = async || {
        let file = payments.file(25)?;
        let replay = ["replay", &file, "--to", "verify.dead"];
        Ok(owned(&[&replay[..], &fast].concat()))
    };
    killed(KILLS / 2, None, &pipeline, &mut lots, &points, more)
        .await
        .with_context(|| seed.clone())?;
    // A kill sends one message twice at most.
    let kills = u64::from(KILLS / 2);
    let (of_files, parked) = (payments.count, pipeline.depth("verify.dead").await?);
    let sent = u64::try_from(of_files)?;
    assert!(
        (sent..=sent + kills).contains(&parked),
        "{parked} of {sent} are parked; {seed}"
    );
    let points = ["tool.after_publish", "tool.after_ack"];
    let more = async || {
        payments.on("verify.dead", 25).await?;
        let replay = ["replay", "verify.dead", "--to", "verify"];
        Ok(owned(&[&replay[..], &fast].concat()))
    };
    let source = Some("verify.dead");
    killed(KILLS / 2, source, &pipeline, &mut lots, &points, more)
        .await
        .with_context(|| seed.clone())?;
    let sold = payments.count;
    each_applied_once(&pipeline, sold)
        .await
        .with_context(|| seed.clone())?;
    // Each that arrived was verified again, copies too.
    let postbacks = pipeline.sandbox.postbacks();
    let verified = postbacks
        .iter()
        .filter(|postback| postback.outcome == Outcome::Verified)
        .count();
    let retries = pipeline.metric("quittance_retries_total", &[]).await;
    let most = parked + u64::try_from(sold - of_files)? + kills + retries;
    assert!(
        u64::try_from(verified)? <= most,
        "{verified} arrived of {most} at most; {seed}"
    );
    Ok(())
}

/// The server has heard of the tool's death, and what the tool had in hand is on its way back: a
/// queue without a consumer, and with nothing ready.
#[tokio::test]
async fn what_a_killed_tool_had_in_hand_is_waited_for_while_the_server_writes_it_back()
-> anyhow::Result<()> {
    const PARKED: u64 = 5;
    let mut pipeline = Pipeline::prepare(Engine::Embedded).await?;
    Payments::of(&pipeline)
        .on("quarantine", usize::try_from(PARKED)?)
        .await?;
    let slowly = [("FAILPOINTS", "queue.before_commit=sleep(700)")];
    pipeline
        .start_stage("quittance", "quittance", &slowly)
        .await?;
    let first = ["move", "quarantine", "--to", "verify.dead", "--rate", "1/s"];
    let mut child = command(&pipeline, &first)?.spawn()?;
    let log = pipeline.world.folder().join("audit.ndjson");
    eventually("the first is moved", PATIENCE, async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("\"moved\"").then_some(())
    })
    .await?;
    child.start_kill()?;
    tokio::time::timeout(PATIENCE, child.wait()).await??;
    let told = done(&pipeline, &["move", "quarantine", "--to", "verify.dead"]).await?;
    let queues = done(&pipeline, &["list"]).await?;
    assert_eq!(
        pipeline.depth("quarantine").await?,
        0,
        "{told:?} {queues:#?}"
    );
    // Between confirm and ack one was there twice at most.
    let moved = pipeline.depth("verify.dead").await?;
    assert!((PARKED..=PARKED + 1).contains(&moved), "{moved} were moved");
    Ok(())
}
