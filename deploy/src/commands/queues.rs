//! `quittance queues`: how full they are, what is in them, and moving messages out and back in.

mod arguments;
mod list;
mod look;

use std::io::{BufRead as _, Write as _};

use anyhow::Context as _;
use quittance_common::settings::Settings;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub(crate) use arguments::Command;

use super::{Context, Exit};
use crate::output::{Form, write_json};
use crate::tooling::job::{Job, Sink, Source};
use crate::tooling::operation::{self, Tally};
use crate::wiring;
use arguments::Request;

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let settings = context.settings.load()?;
    match command {
        Command::List(list) => list::list(&list, &settings, context).await,
        Command::Peek(peek) => look::peek(&peek, &settings, context).await,
        Command::Drain(drain) => change(drain.request(&settings)?, &settings, context).await,
        Command::Replay(replay) => change(replay.request(&settings)?, &settings, context).await,
        Command::Move(moving) => change(moving.request(&settings)?, &settings, context).await,
        Command::Purge(purge) => change(purge.request(&settings)?, &settings, context).await,
    }
}

/// A dry run, or the job itself.
async fn change(
    request: Request,
    settings: &Settings,
    context: Context<'_>,
) -> anyhow::Result<Exit> {
    let Request {
        job,
        dry_run,
        confirm,
        only_one,
    } = request;
    if dry_run {
        return look::plan(&job, only_one, settings, context).await;
    }
    if let Some(confirm) = confirm
        && !confirm.is_given()?
    {
        operation::warn("nothing was purged: the queue's name was not given");
        return Ok(Exit::Failed);
    }
    let (asked, stop) = (wiring::stop_signal()?, CancellationToken::new());
    let asked_to_stop = stop.clone();
    tokio::spawn(async move {
        asked.await;
        asked_to_stop.cancel();
    });
    let queues = wiring::tool_queues(settings).await?;
    let tally = async {
        if only_one {
            look::ensure_one(look::count(&job, settings, &queues, &stop).await?)?;
        }
        operation::run(&job, settings, &queues, &stop).await
    };
    let tally = tally.await;
    wiring::close_tool_queues(&queues).await;
    tell(&job, &tally?, context)
}

#[derive(Serialize)]
struct Told<'a> {
    command: &'a str,
    #[serde(flatten)]
    tally: &'a Tally,
}

/// What was done, and the exit code of it.
fn tell(job: &Job, tally: &Tally, context: Context<'_>) -> anyhow::Result<Exit> {
    let out = context.out;
    match context.form {
        Form::JsonLines => write_json(
            out,
            &Told {
                command: job.command,
                tally,
            },
        )?,
        Form::Table => {
            let from = job.source.name();
            let to = match &job.sink {
                Sink::Queue(_, name) => format!(" to {name}"),
                Sink::File(path) => format!(" to {}", path.display()),
                Sink::Nothing => String::new(),
            };
            writeln!(out, "{} {} from {from}{to}", tally.done, job.outcome)?;
            if tally.before > 0 {
                let stays = !matches!(job.source, Source::Queue(..));
                let hint = if stays {
                    " (--again replays them once more)"
                } else {
                    ""
                };
                writeln!(out, "{} were done before{hint}", tally.before)?;
            }
            if tally.skipped > 0 {
                writeln!(out, "{} skipped", tally.skipped)?;
            }
            if tally.interrupted {
                writeln!(out, "interrupted: the same command goes on from here")?;
            }
        }
    }
    Ok(if tally.is_partial() {
        Exit::Partial
    } else {
        Exit::Done
    })
}

/// What must be typed before something is deleted.
#[derive(Debug, Clone)]
pub(crate) struct Confirm {
    name: String,
    given: Option<String>,
}

impl Confirm {
    /// Whether the queue's name was given, on the command line or now.
    fn is_given(&self) -> anyhow::Result<bool> {
        if let Some(given) = &self.given {
            return Ok(*given == self.name);
        }
        let mut errors = std::io::stderr();
        write!(
            errors,
            "This deletes messages of {} for good. Type the queue's name: ",
            self.name
        )
        .and_then(|()| errors.flush())
        .context("cannot ask")?;
        let mut line = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut line)
            .context("cannot read the answer")?;
        Ok(line.trim() == self.name)
    }
}
