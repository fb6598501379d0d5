//! The one task that writes: it takes everything that waits, stores it in one transaction, hands
//! out messages in the same transaction, and answers only after the commit.
//!
//! Consumers are fed from here, so that nothing polls: a commit that makes a message visible leases
//! it at once, and a timer stands at the next moment when a delayed message is due.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::archive;
use super::batch::{Write, lease, next_due, store};
use super::file::{SteadyClock, open_writer};
use super::jobs::{Command, Job, Memory, Waiting};
use super::line::{Found, Wants};
use crate::claims::embedded::{Answer, purge};
use crate::queue::{ArchiveLimits, Status};

/// Commands that one transaction takes at most.
const BATCH: usize = 256;

/// How often claims that nobody needs to remember are deleted, in milliseconds.
const PURGE_EVERY: i64 = 3_600_000;

/// The task's state.
#[derive(Debug)]
pub(super) struct Writer {
    /// The connection that writes.
    pub(super) connection: SqliteConnection,
    /// Where to open another, should this one fail.
    pub(super) path: PathBuf,
    /// The engine's time.
    pub(super) clock: SteadyClock,
    /// What is asked.
    pub(super) commands: mpsc::Receiver<Command>,
    /// Rings when a consumer is dropped.
    pub(super) consumer_dropped: Arc<Notify>,
    /// What [`Status`] the engine shows.
    pub(super) status: watch::Sender<Status>,
    /// Given up last.
    pub(super) lock: File,
    /// How much of the archive is kept.
    pub(super) archive: Option<ArchiveLimits>,
}

impl Writer {
    /// Works until nobody can ask any more, or [`Command::Close`].
    pub(super) async fn run(mut self) {
        let mut memory = Memory::default();
        let mut batch = Vec::with_capacity(BATCH);
        let closed = loop {
            let open = self.wait(&memory, &mut batch).await;
            let mut jobs = Vec::with_capacity(batch.len());
            let dropped = memory.line.collect_dropped();
            memory.owed.extend(dropped);
            for returned in std::mem::take(&mut memory.owed) {
                jobs.push((Write::Free(returned.0), Waiting::Nobody(returned)));
            }
            let mut closing = None;
            for command in batch.drain(..) {
                match command {
                    Command::Close(reply) => closing = Some(reply),
                    other => jobs.extend(memory.plan(other)),
                }
            }
            let last = !open || closing.is_some();
            self.turn(&mut memory, jobs, !last).await;
            if last {
                break closing;
            }
        };
        self.finish(memory, closed).await;
    }

    /// Waits for something to do and takes all that is there. False when nobody can ask any more.
    async fn wait(&mut self, memory: &Memory, batch: &mut Vec<Command>) -> bool {
        tokio::select! {
            command = self.commands.recv() => match command {
                Some(command) => batch.push(command),
                None => return false,
            },
            () = self.consumer_dropped.notified() => {}
            () = tokio::time::sleep(memory.pause(self.clock.now())) => {}
        }
        // Those who were answered by the last commit get the chance to ask again: a fuller batch
        // for one fsync.
        tokio::task::yield_now().await;
        while batch.len() < BATCH {
            match self.commands.try_recv() {
                Ok(command) => batch.push(command),
                Err(_) => break,
            }
        }
        true
    }

    /// One transaction for all; if that fails, one for each, so that nobody fails for a neighbour.
    async fn turn(&mut self, memory: &mut Memory, jobs: Vec<Job>, hand_out: bool) {
        let now = self.clock.now();
        let wants = if hand_out {
            memory.note(&jobs, now);
            memory.line.wants(now)
        } else {
            Wants::default()
        };
        let purge = now >= memory.purge_at;
        if jobs.is_empty() && wants.is_empty() && !purge {
            return;
        }
        match self.transaction(&jobs, &wants, now, purge).await {
            Ok((answers, found)) => {
                if purge {
                    memory.purge_at = now.saturating_add(PURGE_EVERY);
                }
                memory.line.record(found);
                self.succeeded(memory, jobs, answers);
            }
            Err(error) if jobs.len() > 1 => {
                tracing::warn!(%error, jobs = jobs.len(), "a transaction failed, its parts are tried singly");
                self.recover(memory, &error).await;
                for job in jobs {
                    self.single(memory, job).await;
                }
            }
            Err(error) => {
                self.recover(memory, &error).await;
                for job in jobs {
                    memory.refuse(job, &error);
                }
            }
        }
    }

    async fn single(&mut self, memory: &mut Memory, job: Job) {
        let jobs = vec![job];
        let now = self.clock.now();
        match self.transaction(&jobs, &Wants::default(), now, false).await {
            Ok((answers, _)) => self.succeeded(memory, jobs, answers),
            Err(error) => {
                self.recover(memory, &error).await;
                for job in jobs {
                    memory.refuse(job, &error);
                }
            }
        }
    }

    async fn transaction(
        &mut self,
        jobs: &[Job],
        wants: &Wants,
        now: i64,
        purging: bool,
    ) -> Result<(Vec<Answer>, Found), sqlx::Error> {
        let connection = &mut self.connection;
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut *connection)
            .await?;
        let writes: Vec<&Write> = jobs.iter().map(|(write, _)| write).collect();
        let answers = store(connection, &writes, now).await?;
        let mut found = Found::default();
        for (queue, name) in &wants.due {
            let due = next_due(connection, name, now).await?;
            found.due.push((*queue, due.unwrap_or(i64::MAX)));
        }
        for (queue, want) in &wants.consumers {
            if found.exhausted.contains(queue) {
                continue;
            }
            let leased = lease(connection, want, now).await?;
            if i64::try_from(leased.len()).is_ok_and(|count| count < want.limit) {
                found.exhausted.insert(*queue);
            }
            found.leased.push((want.consumer, leased));
        }
        if purging {
            purge(connection, now).await?;
            archive::purge(connection, self.archive, now).await?;
        }
        crate::failpoint::hit("queue.before_commit");
        sqlx::query("COMMIT").execute(connection).await?;
        Ok((answers, found))
    }

    fn succeeded(&self, memory: &mut Memory, jobs: Vec<Job>, answers: Vec<Answer>) {
        if std::mem::take(&mut memory.failing) {
            self.status.send_replace(Status::Up);
            tracing::info!("the queue file is written again");
        }
        let mut answers = answers.into_iter();
        for (_, waiting) in jobs {
            // Who has gone away needs no answer.
            match waiting {
                Waiting::Publisher(_, reply) => {
                    reply.send(Ok(())).ok();
                }
                Waiting::Claimant(reply) => {
                    if let Some(answer) = answers.next() {
                        reply.send(Ok(answer)).ok();
                    }
                }
                Waiting::Settler(_, reply) => {
                    reply.send(Ok(())).ok();
                }
                Waiting::Nobody(_) => {}
            }
        }
    }

    /// Ends a failed transaction. A new connection rather than a rollback alone: after an error of
    /// the disk nobody knows what state the old one is in.
    async fn recover(&mut self, memory: &mut Memory, error: &sqlx::Error) {
        memory.failing = true;
        self.status.send_replace(Status::Down(error.to_string()));
        // SQLite may have rolled back by itself; then this says so, and all is well.
        sqlx::query("ROLLBACK")
            .execute(&mut self.connection)
            .await
            .ok();
        match open_writer(&self.path).await {
            Ok(fresh) => {
                let old = std::mem::replace(&mut self.connection, fresh);
                old.close().await.ok();
            }
            Err(error) => tracing::warn!(%error, "cannot open the queue file anew"),
        }
    }

    async fn finish(self, mut memory: Memory, closed: Option<oneshot::Sender<()>>) {
        memory.line.close();
        let down = Status::Down("the embedded engine is closed".to_owned());
        self.status.send_replace(down);
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "cannot close the queue file");
        }
        drop(self.commands);
        drop(self.lock);
        if let Some(reply) = closed {
            reply.send(()).ok();
        }
    }
}
