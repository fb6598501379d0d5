//! `quittance demo`: a scripted day of notifications against the sandbox gateway, on the embedded
//! engine in a temporary folder, over real HTTP. What comes out is compared with what must.

pub mod body;
pub mod day;
pub mod mail;
pub mod play;
pub mod report;
pub mod scenario;
pub mod snapshot;
pub mod web;
pub mod world;

use std::io::{IsTerminal as _, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::output::Form;
use report::{Summary, Verdict};
use world::World;

/// Plays the day and reports it to `out`; true when all came out right.
///
/// # Errors
/// When the day cannot be played at all: no free port, no folder, a stage that does not start.
pub async fn run(out: &mut (dyn Write + Send), form: Form) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let folder = tempfile::tempdir()?;
    let scenarios = day::scenarios()?;
    let world = World::start(folder.path()).await?;
    let played = play_all(&world, &scenarios).await;
    let stopped = world.stop().await;
    let day = played?;
    stopped?;
    let summary = Summary::new(&day.verdicts, &day.evening, begun.elapsed());
    let stock = (&day.morning, &day.evening);
    report::write(out, form, &day.verdicts, stock, &summary)?;
    Ok(summary.failed == 0)
}

/// What a day leaves behind.
struct Day {
    morning: std::collections::BTreeMap<String, crate::wiring::StockRow>,
    evening: snapshot::Snapshot,
    verdicts: Vec<Verdict>,
}

/// Plays one scenario after the other and judges them all in the evening, so that an effect that
/// comes late is seen too.
async fn play_all(world: &World, scenarios: &[scenario::Scenario]) -> anyhow::Result<Day> {
    world.stock_up(scenarios).await?;
    let morning = world.snapshot().await?.stock;
    let progress = progress(scenarios.len());
    let mut all = Vec::with_capacity(scenarios.len());
    for scenario in scenarios {
        progress.set_message(scenario.name);
        all.push(play::play(world, scenario, &morning).await);
        progress.inc(1);
    }
    progress.finish_and_clear();
    world::eventually(async || world.is_idle().await).await?;
    let evening = world.snapshot().await?;
    let verdicts = scenarios
        .iter()
        .zip(all)
        .map(|(scenario, played)| {
            let observed = evening.outcome(scenario, played.http, &morning);
            Verdict::new(scenario, observed, played.problem)
        })
        .collect();
    Ok(Day {
        morning,
        evening,
        verdicts,
    })
}

/// A progress bar on a terminal; nothing in a pipe.
fn progress(steps: usize) -> ProgressBar {
    let steps = u64::try_from(steps).unwrap_or(u64::MAX);
    let target = if std::io::stdout().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    ProgressBar::with_draw_target(Some(steps), target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_day_comes_out_right() {
        let mut out = Vec::new();
        let all_right = run(&mut out, Form::JsonLines).await.unwrap();
        assert!(all_right, "{}", String::from_utf8_lossy(&out));
    }
}
