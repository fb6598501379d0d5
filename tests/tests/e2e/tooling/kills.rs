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
/// something to do and says how it is called.
async fn killed(
    kills: u32,
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
    done(pipeline, &words).await?;
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
        killed(KILLS / 2, &pipeline, &mut lots, &points, more)
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
    killed(KILLS / 2, &pipeline, &mut lots, &points, more)
        .await
        .with_context(|| seed.clone())?;
    let points = ["tool.after_publish", "tool.after_ack"];
    let more = async || {
        payments.on("verify.dead", 25).await?;
        let replay = ["replay", "verify.dead", "--to", "verify"];
        Ok(owned(&[&replay[..], &fast].concat()))
    };
    killed(KILLS / 2, &pipeline, &mut lots, &points, more)
        .await
        .with_context(|| seed.clone())?;
    let sold = payments.count;
    each_applied_once(&pipeline, sold)
        .await
        .with_context(|| seed.clone())
}
