//! Who did what to the queues, when: appended, one JSON object a line. Never a body, never the
//! value of a field.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use quittance_common::clock;
use quittance_common::settings::{Engine, Settings};
use serde::Serialize;

use crate::operator;

/// The head of a command: the same on each of its lines.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Head {
    who: String,
    command: &'static str,
    from: String,
    to: String,
    filter: Vec<String>,
    edits: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    replay_id: String,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    at: jiff::Timestamp,
    #[serde(flatten)]
    head: &'a Head,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// The log of one command.
#[derive(Debug)]
pub(crate) struct Audit {
    file: File,
    path: PathBuf,
    head: Head,
}

impl Audit {
    /// Opens the log and notes that the command begins.
    ///
    /// # Errors
    /// When the log cannot be written: then nothing is done.
    pub(crate) fn begin(path: &Path, head: Head) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot open the audit log {}", path.display()))?;
        let mut audit = Self {
            file,
            path: path.to_owned(),
            head,
        };
        audit.write(None, "begun", None)?;
        Ok(audit)
    }

    /// Notes what becomes of one message; safe from a kill when this returns, and on the disk after
    /// [`Self::sync`].
    pub(crate) fn message(&mut self, id: &str, outcome: &str) -> anyhow::Result<()> {
        self.write(Some(id), outcome, None)
    }

    /// Everything that was noted is on the disk when this returns.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        self.file
            .sync_data()
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Notes how the command ended; on the disk when this returns.
    pub(crate) fn end(&mut self, outcome: &str, count: u64) -> anyhow::Result<()> {
        self.write(None, outcome, Some(count))?;
        self.sync()
    }

    fn write(
        &mut self,
        message_id: Option<&str>,
        outcome: &str,
        count: Option<u64>,
    ) -> anyhow::Result<()> {
        let line = Line {
            at: clock::now(),
            head: &self.head,
            message_id,
            outcome,
            count,
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        // One write a line: several tools may append to one log.
        self.file
            .write_all(&bytes)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Head {
    /// A command by the user of this process.
    pub(crate) fn new(command: &'static str, from: String, to: String) -> Self {
        Self {
            who: operator::person(),
            command,
            from,
            to,
            filter: Vec::new(),
            edits: Vec::new(),
            replay_id: String::new(),
        }
    }

    /// With the conditions, the edited headers and the mark of a replay.
    #[must_use]
    pub(crate) fn with(mut self, filter: Vec<String>, edits: Vec<String>, replay_id: &str) -> Self {
        self.filter = filter;
        self.edits = edits;
        replay_id.clone_into(&mut self.replay_id);
        self
    }
}

/// Where the log is unless told: in the data folder, or else in the current one.
pub(crate) fn default_path(settings: &Settings) -> PathBuf {
    match &settings.engine {
        Engine::Embedded { data_dir } => data_dir.join("audit.ndjson"),
        Engine::Cluster(_) => PathBuf::from("quittance-audit.ndjson"),
    }
}
