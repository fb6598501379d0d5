//! What is to be done: from where, to where, which messages, how.

use std::path::PathBuf;

use quittance_common::queue::{QueueId, Range};

use super::journal;
use super::marking::Marking;
use super::pace::Rate;
use super::selection::Selection;

/// Where messages come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A queue, and its name.
    Queue(QueueId, String),
    /// A drain file.
    File(PathBuf),
    /// A stretch of the archive, where everything stays.
    Archive(Stretch),
}

/// A stretch of the archive as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    /// The archive's name.
    pub(crate) archive: String,
    /// In the operator's words.
    pub(crate) asked: String,
    /// In moments.
    pub(crate) range: Range,
}

impl Source {
    /// In words.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Queue(_, name) => name.clone(),
            Self::File(path) => path.display().to_string(),
            Self::Archive(_) => "the archive".to_owned(),
        }
    }
}

/// Where they go.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    /// A queue, and its name.
    Queue(QueueId, String),
    /// A drain file.
    File(PathBuf),
    /// Nowhere: they are deleted.
    Nothing,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The command's name.
    pub(crate) command: &'static str,
    /// What becomes of a message, for the audit log.
    pub(crate) outcome: &'static str,
    pub(crate) source: Source,
    pub(crate) sink: Sink,
    pub(crate) selection: Selection,
    /// At most so many messages.
    pub(crate) limit: Option<u64>,
    pub(crate) rate: Rate,
    /// How a replay marks what it publishes; a move leaves it as it is.
    pub(crate) marking: Option<Marking>,
    /// Replay from the beginning, whatever the journal says.
    pub(crate) again: bool,
    /// Whether what is done with a message is a person's last word about it: it waits for nobody
    /// afterwards, and its money is not at risk any more.
    pub(crate) dismisses: bool,
    /// Where the audit log is; journals of the archive are beside it.
    pub(crate) audit: PathBuf,
}

impl Job {
    /// Which journal the job has, if it is a replay of what stays where it is.
    ///
    /// # Errors
    /// When the source is no drain file.
    pub(crate) fn journal(&self) -> anyhow::Result<Option<journal::Subject>> {
        let (Some(_), Sink::Queue(_, to)) = (&self.marking, &self.sink) else {
            return Ok(None);
        };
        Ok(match &self.source {
            Source::Queue(..) => None,
            Source::File(path) => Some(journal::Subject::file(path, to)?),
            Source::Archive(Stretch {
                archive,
                asked,
                range,
            }) => {
                let folder = self.audit.with_file_name("");
                Some(journal::Subject::archive(
                    &folder, archive, asked, to, *range,
                ))
            }
        })
    }
}
