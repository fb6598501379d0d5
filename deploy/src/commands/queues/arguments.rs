//! The command lines of `quittance queues`, read into a job.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use quittance_common::clock;
use quittance_common::ids::MessageId;
use quittance_common::queue::{QueueId, QueueNames, Range};
use quittance_common::settings::Settings;

use super::Confirm;
use crate::tooling::audit;
use crate::tooling::job::{Job, Sink, Source, Stretch};
use crate::tooling::marking::{HeaderEdit, Marking};
use crate::tooling::pace::Rate;
use crate::tooling::selection::Selection;

/// What can be asked of the queues.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How many messages wait where, and how long the first of each has waited.
    List(List),
    /// Show the first messages of a queue; they stay where they are.
    Peek(Peek),
    /// Take messages out of a queue into a file.
    Drain(Drain),
    /// Put messages of a file or a queue back into the flow: verified again, never twice applied.
    Replay(Replay),
    /// Move messages to another queue as they are.
    Move(Move),
    /// Delete messages for good; asks first.
    Purge(Purge),
}

/// `quittance queues list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// On a broker, look at the heads of the work queues too: each look counts as a delivery of
    /// the message before RabbitMQ 4.3.
    #[arg(long)]
    pub(crate) heads: bool,
}

/// `quittance queues peek`.
#[derive(Debug, Args)]
pub(crate) struct Peek {
    /// The queue, with or without the prefix.
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
    /// The bodies too. They hold personal data.
    #[arg(long)]
    pub(crate) body: bool,
}

/// What all changing commands have in common.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    selection: Selection,
    /// At most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only say what would be done with each message.
    #[arg(long)]
    dry_run: bool,
    /// Where to note who did what; default `audit.ndjson` in the data folder, in a cluster
    /// `quittance-audit.ndjson` in the current one.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
}

/// `quittance queues drain`.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The queue, with or without the prefix.
    queue: String,
    /// The file; an existing one is gone on with.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Batches of up to 64 messages a second.
    #[arg(long, value_name = "N/s", default_value = "unlimited")]
    rate: Rate,
    #[command(flatten)]
    common: Common,
}

/// `quittance queues replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// A drain file, or a queue.
    #[arg(value_name = "FILE|QUEUE", required_unless_present = "archive")]
    from: Option<String>,
    /// From the archive of everything that was accepted, which keeps it all the same.
    #[arg(long, conflicts_with = "from")]
    archive: bool,
    /// Of the archive only what was received from then on: `2026-11-22T10:00:00Z`, or `2h` ago.
    #[arg(long, value_name = "TIME|AGE", requires = "archive")]
    since: Option<Moment>,
    /// Of the archive only what was received until then.
    #[arg(long, value_name = "TIME|AGE", requires = "archive")]
    until: Option<Moment>,
    /// The queue that gets the messages.
    #[arg(long, value_name = "QUEUE")]
    to: String,
    /// Messages a second: live notifications share the stages with a replay.
    #[arg(long, value_name = "N/s", default_value = "20/s")]
    rate: Rate,
    /// Change a header; the original is kept as `original-NAME`.
    #[arg(long = "edit", value_name = "header:NAME=VALUE")]
    edits: Vec<HeaderEdit>,
    /// Another body for the one message that the filter takes; the original is kept in a header.
    #[arg(long, value_name = "FILE")]
    edit_body: Option<PathBuf>,
    /// From the beginning: a file that was replayed before, or a stretch of the archive whose replay
    /// was not finished.
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    common: Common,
}

/// `quittance queues move`.
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// The queue, with or without the prefix.
    queue: String,
    /// The queue that gets the messages.
    #[arg(long, value_name = "QUEUE")]
    to: String,
    /// Messages a second; default 20/s to a work queue, whose stage live notifications share, and
    /// unlimited to any other.
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    #[command(flatten)]
    common: Common,
}

/// `quittance queues purge`.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// The queue, with or without the prefix.
    queue: String,
    /// Keep the messages in this drain file.
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,
    /// The queue's full name, for scripts: nothing is asked then.
    #[arg(long, value_name = "NAME")]
    yes: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// A job, and what stands before it.
pub(crate) struct Request {
    pub(super) job: Job,
    pub(super) dry_run: bool,
    pub(super) confirm: Option<Confirm>,
    pub(super) only_one: bool,
}

impl Common {
    fn job(
        self,
        (command, outcome): (&'static str, &'static str),
        source: Source,
        sink: Sink,
        rate: Rate,
        settings: &Settings,
    ) -> Request {
        let audit = self.audit;
        Request {
            dry_run: self.dry_run,
            confirm: None,
            only_one: false,
            job: Job {
                command,
                outcome,
                source,
                sink,
                selection: self.selection,
                limit: self.limit,
                rate,
                marking: None,
                again: false,
                dismisses: false,
                audit: audit.unwrap_or_else(|| audit::default_path(settings)),
            },
        }
    }
}

impl Drain {
    pub(super) fn request(self, settings: &Settings) -> anyhow::Result<Request> {
        let (queue, name) = queue(&self.queue, settings)?;
        let words = ("drain", "drained");
        let source = Source::Queue(queue, name);
        let sink = Sink::File(self.to);
        Ok(self.common.job(words, source, sink, self.rate, settings))
    }
}

impl Replay {
    pub(super) fn request(self, settings: &Settings) -> anyhow::Result<Request> {
        let source = match &self.from {
            None => {
                anyhow::ensure!(
                    settings.archive.is_some(),
                    "the archive is switched off (archive.keep is `off`): nothing is kept"
                );
                let now = clock::now();
                let at = |moment: Option<Moment>| moment.map(|moment| moment.at(now)).transpose();
                Source::Archive(Stretch {
                    archive: settings.queue_names().archive_name(),
                    asked: format!("{:?} {:?}", self.since, self.until),
                    range: Range {
                        since: at(self.since)?,
                        until: at(self.until)?,
                    },
                })
            }
            Some(from) => file_or_queue(from, settings)?,
        };
        let (to, name) = queue(&self.to, settings)?;
        not_itself(&source, to)?;
        let body = match &self.edit_body {
            Some(path) => {
                let body = std::fs::read(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Some(body.into())
            }
            None => None,
        };
        let only_one = body.is_some();
        let sink = Sink::Queue(to, name);
        let words = ("replay", "replayed");
        let mut request = self.common.job(words, source, sink, self.rate, settings);
        request.only_one = only_one;
        request.job.again = self.again;
        request.job.marking = Some(Marking {
            replay_id: MessageId::new().to_string(),
            edits: self.edits,
            body,
        });
        Ok(request)
    }
}

impl Move {
    pub(super) fn request(self, settings: &Settings) -> anyhow::Result<Request> {
        let (from, name) = queue(&self.queue, settings)?;
        let (to, to_name) = queue(&self.to, settings)?;
        let source = Source::Queue(from, name);
        not_itself(&source, to)?;
        let sink = Sink::Queue(to, to_name);
        let words = ("move", "moved");
        let rate = self.rate.unwrap_or_else(|| Rate::towards(to));
        Ok(self.common.job(words, source, sink, rate, settings))
    }
}

impl Purge {
    pub(super) fn request(self, settings: &Settings) -> anyhow::Result<Request> {
        let (queue, name) = queue(&self.queue, settings)?;
        let confirm = Confirm {
            name: name.clone(),
            given: self.yes,
        };
        let sink = self.backup.map_or(Sink::Nothing, Sink::File);
        let source = Source::Queue(queue, name);
        let words = ("purge", "purged");
        let mut request = self
            .common
            .job(words, source, sink, Rate::UNLIMITED, settings);
        request.confirm = Some(confirm);
        request.job.dismisses = true;
        Ok(request)
    }
}

/// A moment on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// That one.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        humantime::parse_duration(text)
            .map(Self::Ago)
            .map_err(|_| "a time such as `2026-11-22T10:00:00Z`, or an age such as `2h`".to_owned())
    }
}

impl Moment {
    fn at(self, now: Timestamp) -> anyhow::Result<Timestamp> {
        match self {
            Self::At(at) => Ok(at),
            Self::Ago(age) => now.checked_sub(age).context("that is before time began"),
        }
    }
}

fn file_or_queue(text: &str, settings: &Settings) -> anyhow::Result<Source> {
    match queue(text, settings) {
        Ok((queue, name)) => Ok(Source::Queue(queue, name)),
        Err(unknown) => {
            let path = PathBuf::from(text);
            if path.is_file() {
                Ok(Source::File(path))
            } else {
                Err(unknown.context(format!("there is no file {text}")))
            }
        }
    }
}

fn not_itself(source: &Source, to: QueueId) -> anyhow::Result<()> {
    let same = matches!(source, Source::Queue(from, _) if *from == to);
    anyhow::ensure!(!same, "the messages are on that queue already");
    Ok(())
}

/// The queue of that name, with or without the prefix, and its full name.
pub(super) fn queue(text: &str, settings: &Settings) -> anyhow::Result<(QueueId, String)> {
    let names = settings.queue_names();
    find(text, &names, &settings.queue_prefix).with_context(|| {
        let all: Vec<String> = names.all().into_iter().map(|id| names.name(id)).collect();
        format!("there is no queue `{text}`; there are {}", all.join(", "))
    })
}

fn find(text: &str, names: &QueueNames, prefix: &str) -> Option<(QueueId, String)> {
    let queue = names
        .parse(text)
        .or_else(|| names.parse(&format!("{prefix}{text}")))?;
    Some((queue, names.name(queue)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_an_age() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Moment>().unwrap().at(now).unwrap().to_string();
        assert_eq!(at("2h"), "2026-11-22T10:00:00Z");
        assert_eq!(at("2026-11-01T00:00:00Z"), "2026-11-01T00:00:00Z");
        assert!("yesterday".parse::<Moment>().is_err());
    }

    #[test]
    fn a_queue_is_found_with_and_without_the_prefix() {
        let names = QueueNames::default();
        for text in ["ipn.quarantine", "quarantine"] {
            let (queue, name) = find(text, &names, "ipn.").unwrap();
            assert_eq!(
                (queue, name.as_str()),
                (QueueId::Quarantine, "ipn.quarantine")
            );
        }
        assert!(find("ipn.nowhere", &names, "ipn.").is_none());
    }
}
