//! A look at the files of an engine that another process may be running: for `quittance queues
//! list` beside a server. Reads only, takes no lock, and so sees no consumers.

use std::path::Path;

use sqlx::SqlitePool;
use tokio::sync::mpsc;

use super::file::{self, SteadyClock};
use super::{archive, listed, look, place};
use crate::message::Message;
use crate::queue::{Depth, QueueError, QueueId, QueueNames, Range};

/// An embedded engine's file, looked at from outside.
#[derive(Debug, Clone)]
pub struct Onlooker {
    names: QueueNames,
    /// `None` while no engine has ever been opened there: every queue is empty.
    readers: Option<SqlitePool>,
    clock: SteadyClock,
}

impl Onlooker {
    /// Looks at the file in `data_dir`.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file is there and cannot be read.
    pub async fn open(data_dir: &Path, names: QueueNames) -> Result<Self, QueueError> {
        let path = file::path(data_dir);
        let readers = if path.is_file() {
            Some(file::open_readers(&path).await?)
        } else {
            None
        };
        Ok(Self {
            names,
            readers,
            clock: SteadyClock::start(),
        })
    }

    /// How full each queue is, in the topology's order. `consumers` is always 0.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file cannot be read.
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let counts = match &self.readers {
            Some(readers) => look::counts(readers, self.clock.now()).await?,
            None => look::Counts::new(),
        };
        Ok(listed(&self.names, &counts, &[]))
    }

    /// How many messages the archive has; `None` when it is switched off or nothing was ever
    /// opened there.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file cannot be read.
    pub async fn archive_depth(&self) -> Result<Option<Depth>, QueueError> {
        match &self.readers {
            Some(readers) => archive::depth(readers, &self.names).await,
            None => Ok(None),
        }
    }

    /// What the archive has of a time; see [`super::super::Queues::archived`].
    pub fn archived(&self, range: Range) -> mpsc::Receiver<Result<Message, QueueError>> {
        let (sender, found) = mpsc::channel(64);
        self.archived_to(range, sender);
        found
    }

    /// The same into a channel of the caller's.
    pub(super) fn archived_to(
        &self,
        range: Range,
        found: mpsc::Sender<Result<Message, QueueError>>,
    ) {
        if let Some(readers) = self.readers.clone() {
            tokio::spawn(async move { archive::read(&readers, range, &found).await });
        }
    }

    /// The first `limit` messages of a queue that nobody has in hand.
    ///
    /// # Errors
    /// [`QueueError::Store`] when the file cannot be read.
    pub async fn peek(&self, queue: QueueId, limit: u32) -> Result<Vec<Message>, QueueError> {
        let Some(readers) = &self.readers else {
            return Ok(Vec::new());
        };
        let place = place(&self.names, queue);
        Ok(look::peek(readers, &place, limit, self.clock.now()).await?)
    }
}
