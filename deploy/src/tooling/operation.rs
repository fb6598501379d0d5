//! Drain, replay, move and purge: one loop over a queue, one over a file, and a dry run of both.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quittance_common::clock;
use quittance_common::failpoint;
use quittance_common::ids::MessageId;
use quittance_common::message::Message;
use quittance_common::queue::{Acker, Delivery, QueueId, Queues, Range};
use quittance_common::settings::Settings;
use quittance_common::shop::{NewDismissal, Shop};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::audit::{self, Audit};
use super::job::{Job, Sink, Source, Stretch};
use super::journal::{self, Journal};
use super::marking::{self, Marking};
use super::pace::Pace;
use super::sending::publish;
use super::store::{self, DrainFile, Place};
use super::subject::Subject;
use super::taking::{Pass, Taking};
use crate::operator;

/// Messages that share one fsync.
const BATCH: usize = 64;

/// How it went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Messages that were dealt with.
    pub(crate) done: u64,
    /// Messages that were in the file, or confirmed by the journal, already.
    pub(crate) before: u64,
    /// Messages that were meant and could not be dealt with; they are where they were.
    pub(crate) skipped: u64,
    /// Messages that were deleted without the books being told.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) untold: u64,
    /// Whether the command was told to stop before the end.
    pub(crate) interrupted: bool,
    /// The mark of a replay; of one that goes on, the first mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replay_id: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Tally {
    /// Whether something that was asked for is not done.
    pub(crate) const fn is_partial(&self) -> bool {
        self.interrupted || self.skipped > 0 || self.untold > 0
    }
}

/// A job at work.
struct Work<'a> {
    job: &'a Job,
    settings: &'a Settings,
    queues: &'a Queues,
    stop: &'a CancellationToken,
    audit: Audit,
    pace: Pace,
    bar: ProgressBar,
    tally: Tally,
    /// The books, where they are told that nobody need decide any more.
    told: Option<Shop>,
}

/// Does the job. What is done by the time of an error stays done, and the same command goes on
/// from there.
pub(crate) async fn run(
    job: &Job,
    settings: &Settings,
    queues: &Queues,
    stop: &CancellationToken,
) -> anyhow::Result<Tally> {
    let from = job.source.name();
    let to = match &job.sink {
        Sink::Queue(_, name) => name.clone(),
        Sink::File(path) => path.display().to_string(),
        Sink::Nothing => String::new(),
    };
    let mut job = job.clone();
    let mut journal = None;
    if let (Some(subject), Some(marking)) = (job.journal()?, &mut job.marking) {
        let opened = Journal::open(&subject, &marking.replay_id, job.again)?;
        marking.replay_id.clone_from(&opened.replay_id);
        if let Source::Archive(stretch) = &mut job.source {
            stretch.range = opened.range(stretch.range);
            if opened.goes_on {
                warn("a replay of this stretch was not finished and goes on; --again begins anew");
            }
        }
        journal = Some(opened);
    }
    let (edits, replay_id) = job
        .marking
        .as_ref()
        .map_or_else(Default::default, |marking| {
            let mut edits: Vec<String> = marking.edits.iter().map(|e| e.name.clone()).collect();
            edits.extend(marking.body.as_ref().map(|_| "body".to_owned()));
            (edits, marking.replay_id.clone())
        });
    let mut filter = job.selection.describe();
    if let Source::Archive(Stretch { range, .. }) = &job.source {
        let Range { since, until } = range;
        filter.extend(since.map(|since| format!("since={since}")));
        filter.extend(until.map(|until| format!("until={until}")));
    }
    let head = audit::Head::new(job.command, from, to).with(filter, edits, &replay_id);
    let told = job
        .dismisses
        .then(|| Shop::lazy(&settings.shop_database))
        .transpose()?;
    let mut work = Work {
        audit: Audit::begin(&job.audit, head)?,
        pace: Pace::new(job.rate),
        bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        tally: Tally {
            replay_id: Some(replay_id).filter(|id| !id.is_empty()),
            ..Tally::default()
        },
        told,
        job: &job,
        settings,
        queues,
        stop,
    };
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {per_sec} {eta}") {
        work.bar.set_style(style);
    }
    work.bar.set_message(job.command);
    let done = match (&job.source, journal) {
        (Source::Queue(queue, name), _) => work.queue(*queue, name).await,
        (Source::File(path), Some(journal)) => work.file(path.clone(), journal).await,
        (Source::Archive(stretch), Some(journal)) => work.archive(stretch.range, journal).await,
        (Source::File(_) | Source::Archive(_), None) => Err(anyhow::anyhow!(
            "what stays where it is can only be replayed"
        )),
    };
    work.bar.finish_and_clear();
    work.tally.interrupted = stop.is_cancelled();
    let outcome = match &done {
        Ok(()) if work.tally.interrupted => "interrupted",
        Ok(()) => "ended",
        Err(_) => "failed",
    };
    work.audit.end(outcome, work.tally.done)?;
    done.map(|()| work.tally)
}

impl Work<'_> {
    /// Everything that is meant of one queue.
    async fn queue(&mut self, queue: QueueId, name: &str) -> anyhow::Result<()> {
        let mut file = match &self.job.sink {
            Sink::File(path) => Some(DrainFile::open(path, name, clock::now())?),
            Sink::Queue(..) | Sink::Nothing => None,
        };
        let pass = Pass {
            holds: !self.job.selection.is_everything() || matches!(self.job.sink, Sink::Queue(..)),
            bounded: file.is_none(),
            at_most: None,
        };
        let (mut taking, ready) = Taking::begin(self.queues, queue, name, pass).await?;
        self.bar.set_length(ready);
        let done = self.take(&mut taking, &mut file).await;
        taking.end().await;
        done
    }

    async fn take(
        &mut self,
        taking: &mut Taking,
        file: &mut Option<DrainFile>,
    ) -> anyhow::Result<()> {
        let largest = if matches!(self.job.sink, Sink::Queue(..)) {
            1
        } else {
            BATCH
        };
        while self.room() > 0 && !self.stop.is_cancelled() {
            let Some(first) = taking.next(self.stop).await? else {
                return Ok(());
            };
            let (mut next, mut batch, mut came_back) = (Some(first), Vec::new(), false);
            while let Some(Delivery { message, acker, .. }) = next {
                self.bar.inc(1);
                if self.is_ours(&message) {
                    // It has come back: whoever takes it on finds it where it is.
                    taking.hold(acker);
                    came_back = true;
                    break;
                }
                match self.means(&message) {
                    Ok(true) => batch.push((message, acker)),
                    Ok(false) => taking.hold(acker),
                    Err(refused) => {
                        taking.hold(acker);
                        return Err(refused);
                    }
                }
                let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
                if batch.len() >= largest.min(room) {
                    break;
                }
                next = taking.next_now();
            }
            self.settle(batch, taking, file).await?;
            if came_back {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes a batch safe elsewhere, then acks it.
    async fn settle(
        &mut self,
        batch: Vec<(Message, Acker)>,
        taking: &mut Taking,
        file: &mut Option<DrainFile>,
    ) -> anyhow::Result<()> {
        if let Some(file) = file.as_mut().filter(|_| !batch.is_empty()) {
            self.pace.turn().await;
            let new = file.append(batch.iter().map(|(message, _)| message))?;
            failpoint::hit("tool.after_append");
            let before = batch.len().saturating_sub(new);
            self.tally.before += u64::try_from(before).unwrap_or_default();
        }
        let mut safe = Vec::with_capacity(batch.len());
        let mut ids = Vec::with_capacity(batch.len());
        for (message, acker) in batch {
            let id = message.id.to_string();
            if let Sink::Queue(to, _) = &self.job.sink {
                let to = *to;
                let Some(next) = self.prepared(&message, to, &id)? else {
                    taking.hold(acker);
                    continue;
                };
                self.pace.turn().await;
                if !publish(self.queues, to, next, self.stop).await? {
                    taking.hold(acker);
                    continue;
                }
                failpoint::hit("tool.after_publish");
            }
            self.audit.message(&id, self.job.outcome)?;
            safe.push(acker);
            ids.push(message.id);
        }
        if safe.is_empty() {
            return Ok(());
        }
        // Noted first: nothing is gone of which nobody knows who took it.
        self.audit.sync()?;
        failpoint::hit("tool.after_audit");
        // Before they are gone: whoever is killed in between finds them where they are.
        self.dismiss(&ids).await;
        for acker in safe {
            // One that is no longer ours comes again and is known again.
            acker.ack().await.ok();
            failpoint::hit("tool.after_ack");
            self.tally.done += 1;
        }
        Ok(())
    }

    /// Notes in the books that nobody need decide about these any more. A database that is away
    /// keeps nothing from being deleted, and is not waited for a second time: what it was not told
    /// stays listed, is counted, and is dismissed by hand.
    async fn dismiss(&mut self, messages: &[MessageId]) {
        let untold = u64::try_from(messages.len()).unwrap_or(u64::MAX);
        let Some(shop) = &self.told else {
            if self.job.dismisses {
                self.tally.untold += untold;
            }
            return;
        };
        let word = NewDismissal {
            by: operator::person(),
            because: format!("{} from {}", self.job.outcome, self.job.source.name()),
            at: clock::now(),
        };
        if let Err(error) = shop.dismiss_messages(messages, &word).await {
            self.told = None;
            self.tally.untold += untold;
            warn(&format!(
                "the books were not told, so they still list what was {}: {error}; \
                 `quittance payments dismiss` tells them",
                self.job.outcome
            ));
        }
    }

    /// Everything that is meant of one file.
    async fn file(&mut self, path: PathBuf, mut journal: Journal) -> anyhow::Result<()> {
        let to = self.destination()?;
        // Whole, before anything is sent: a damaged file is a question for a person.
        let mut meant = 0_u64;
        store::read(&path, |_, message| {
            meant += u64::from(self.takes(&message));
            Ok(())
        })?;
        self.bar.set_length(meant);
        let (sender, mut messages) = tokio::sync::mpsc::channel(BATCH);
        let reading = tokio::task::spawn_blocking(move || {
            store::read(&path, |place, message| {
                let sent = sender.blocking_send((place, message));
                sent.context("nobody wants more of the file")
            })
        });
        while self.room() > 0 && !self.stop.is_cancelled() {
            let Some((place, message)) = messages.recv().await else {
                return reading.await?;
            };
            self.replay(&place, &message, to, &mut journal).await?;
        }
        Ok(())
    }

    /// Everything that is meant of a stretch of the archive.
    async fn archive(&mut self, range: Range, mut journal: Journal) -> anyhow::Result<()> {
        let to = self.destination()?;
        if range == Range::default()
            && self.job.selection.is_everything()
            && let Some(depth) = self.queues.archive_depth().await?
        {
            self.bar.set_length(depth.ready);
        }
        let (mut found, mut seen) = (self.queues.archived(range), HashSet::new());
        while self.room() > 0 {
            let message = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                message = found.recv() => message,
            };
            let Some(message) = message else {
                // Skipped ones are for the next run, which the journal spares the rest.
                return if self.tally.skipped == 0 {
                    journal.forget()
                } else {
                    Ok(())
                };
            };
            let message = message?;
            if seen.insert(message.id) {
                let place = journal::archived(seen.len(), message.id);
                self.replay(&place, &message, to, &mut journal).await?;
            }
        }
        Ok(())
    }

    /// Replays a message that stays where it is, if it is meant and not done yet.
    async fn replay(
        &mut self,
        place: &Place,
        message: &Message,
        to: QueueId,
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        if !self.means(message)? {
            return Ok(());
        }
        self.bar.inc(1);
        let id = message.id.to_string();
        if journal.has(place, &id) {
            self.tally.before += 1;
            return Ok(());
        }
        let Some(next) = self.prepared(message, to, &id)? else {
            return Ok(());
        };
        self.pace.turn().await;
        if !publish(self.queues, to, next, self.stop).await? {
            return Ok(());
        }
        failpoint::hit("tool.after_publish");
        // Before the journal, which would keep the message from being noted ever after.
        self.audit.message(&id, self.job.outcome)?;
        self.audit.sync()?;
        journal.note(place, &id, clock::now())?;
        failpoint::hit("tool.after_journal");
        self.tally.done += 1;
        Ok(())
    }

    fn destination(&self) -> anyhow::Result<QueueId> {
        match self.job.sink {
            Sink::Queue(to, _) => Ok(to),
            Sink::File(_) | Sink::Nothing => {
                anyhow::bail!("what stays where it is can only be replayed to a queue")
            }
        }
    }

    /// The message as it is published; `None`, noted, when it must not be.
    fn prepared(
        &mut self,
        message: &Message,
        to: QueueId,
        id: &str,
    ) -> anyhow::Result<Option<Message>> {
        match marking::prepared(message, to, self.job.marking.as_ref()) {
            Ok(next) => Ok(Some(next)),
            Err(why) => {
                self.tally.skipped += 1;
                warn(&format!("message {id} is skipped: {why}"));
                self.audit.message(id, &format!("skipped: {why}"))?;
                Ok(None)
            }
        }
    }

    fn takes(&self, message: &Message) -> bool {
        self.job.selection.is_everything() || {
            let subject = Subject::of(message, self.settings);
            self.job.selection.takes(message, &subject, clock::now())
        }
    }

    /// Whether the job is to deal with it.
    ///
    /// # Errors
    /// When an edited body is for one message, and this is another that came after the counting.
    fn means(&self, message: &Message) -> anyhow::Result<bool> {
        let takes = self.takes(message);
        let is_edited = |marking: &Marking| marking.body.is_some();
        let is_for_one = self.job.marking.as_ref().is_some_and(is_edited);
        anyhow::ensure!(
            !(takes && is_for_one && self.dealt_with() > 0),
            "--edit-body is for one message, which was dealt with; message {} has come since and is \
             left as it was",
            message.id
        );
        Ok(takes)
    }

    /// Whether this very replay has published it.
    fn is_ours(&self, message: &Message) -> bool {
        self.job.marking.as_ref().is_some_and(|marking| {
            message.headers.replay_id.as_deref() == Some(marking.replay_id.as_str())
        })
    }

    fn room(&self) -> u64 {
        self.job
            .limit
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.dealt_with()))
    }

    const fn dealt_with(&self) -> u64 {
        self.tally.done.saturating_add(self.tally.skipped)
    }
}

/// Tells the operator something that is no answer.
pub(crate) fn warn(text: &str) {
    // Nobody can be told that nobody can be told.
    writeln!(std::io::stderr(), "quittance: {text}").ok();
}
