//! Looking at queues and files without changing them: peek, dry run.
//!
//! The embedded engine's file is read beside whoever owns it. A broker shows a message only by
//! handing it out: it is held, unacked, until the look is over, and then given back.

use std::collections::HashSet;

use quittance_common::clock;
use quittance_common::message::Message;
use quittance_common::queue::embedded::Onlooker;
use quittance_common::queue::{QueueError, QueueId, Queues, Range};
use quittance_common::settings::{Engine, Settings};
use quittance_common::shop::Shop;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::{Context, Exit};
use super::arguments::{self, Peek};
use crate::output::{cut, write_rows};
use crate::tooling::job::{Job, Sink, Source};
use crate::tooling::journal::{self, Told};
use crate::tooling::marking;
use crate::tooling::operation::warn;
use crate::tooling::plan::{self, PEEK_COLUMNS, PLAN_COLUMNS, Past, Row};
use crate::tooling::selection::Selection;
use crate::tooling::store::{self, Place};
use crate::tooling::subject::Subject;
use crate::tooling::taking::{Pass, Taking};
use crate::wiring;

/// The most messages of an embedded queue that one look reads.
const LOOK: u32 = 100_000;

/// The first messages of a queue.
pub(super) async fn peek(
    peek: &Peek,
    settings: &Settings,
    context: Context<'_>,
) -> anyhow::Result<Exit> {
    let (queue, name) = arguments::queue(&peek.queue, settings)?;
    let limit = usize::try_from(peek.limit).unwrap_or(usize::MAX);
    let one_more = limit.saturating_add(1);
    let mut messages = look(queue, &name, &peek.selection, one_more, settings).await?;
    if let Some(left_out) = cut(&mut messages, peek.limit) {
        warn(&left_out);
    }
    let now = clock::now();
    let row = |message: &Message| {
        let row = Row::of(message, &Subject::of(message, settings), now);
        if peek.body {
            row.with_body(message)
        } else {
            row
        }
    };
    let rows: Vec<Row> = messages.iter().map(row).collect();
    let columns: Vec<&str> = PEEK_COLUMNS
        .into_iter()
        .chain(peek.body.then_some("body"))
        .collect();
    write_rows(context.out, context.form, &columns, &rows)?;
    Ok(Exit::Done)
}

/// Messages that a job takes, as they are.
#[derive(Debug, Default)]
struct Meant {
    messages: Vec<Message>,
    /// How many were replayed before, as the journal says: they are passed over.
    before: usize,
}

/// What the job would do with each message.
pub(super) async fn plan(
    job: &Job,
    only_one: bool,
    settings: &Settings,
    context: Context<'_>,
) -> anyhow::Result<Exit> {
    let limit = limit(job);
    let told = match job.journal()? {
        Some(subject) => Told::look(&subject, job.again)?,
        None => Told::default(),
    };
    let meant = match &job.source {
        Source::Queue(queue, name) => Meant {
            messages: look(*queue, name, &job.selection, limit, settings).await?,
            before: 0,
        },
        Source::File(path) => in_file(path, &told, &job.selection, limit, settings)?,
        Source::Archive(stretch) => {
            let (found, opened) = archive(told.range(stretch.range), settings).await?;
            let found = in_archive(found, &told, &job.selection, limit, settings).await;
            if let Some(queues) = opened {
                wiring::close_tool_queues(&queues).await;
            }
            found?
        }
    };
    if only_one {
        ensure_one(meant.count(limit))?;
    }
    let shop = Shop::open(&settings.shop_database).await?;
    let (now, mut rows, mut skipped) = (clock::now(), Vec::new(), 0);
    for message in &meant.messages {
        // As it would be published: an edit changes what it is about.
        let prepared = match job.sink {
            Sink::Queue(to, _) => marking::prepared(message, to, job.marking.as_ref()),
            Sink::File(_) | Sink::Nothing => Ok(message.clone()),
        };
        skipped += usize::from(prepared.is_err());
        let next = prepared.as_ref().unwrap_or(message);
        let subject = Subject::of(next, settings);
        let past = Past::of(next, &subject, &shop).await?;
        let would = match (&job.sink, &prepared) {
            (_, Err(why)) => format!("skip: {why}"),
            (Sink::Queue(to, name), Ok(_)) if job.marking.is_some() => {
                plan::would_replay(*to, name, &past)
            }
            (Sink::Queue(_, name), Ok(_)) => format!("move to {name} as it is"),
            (Sink::File(path), Ok(_)) => format!("take out of the queue into {}", path.display()),
            (Sink::Nothing, Ok(_)) => "delete for good".to_owned(),
        };
        rows.push(Row::of(message, &subject, now).with_plan(would, &past));
    }
    write_rows(context.out, context.form, &PLAN_COLUMNS, &rows)?;
    let done = rows.len().saturating_sub(skipped);
    let done = format!("dry run: {done} messages would be {}", job.outcome);
    let words = [(skipped, "skipped"), (meant.before, "were done before")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .fold(done, |words, (count, what)| {
            format!("{words}, {count} {what}")
        });
    warn(&format!("{words}; nothing was changed"));
    Ok(Exit::Done)
}

/// How many messages the job takes, those that were done before among them.
pub(super) async fn count(
    job: &Job,
    settings: &Settings,
    queues: &Queues,
    stop: &CancellationToken,
) -> anyhow::Result<usize> {
    let (limit, told) = (limit(job), Told::default());
    let selection = &job.selection;
    Ok(match &job.source {
        Source::Queue(queue, name) => {
            let source = (*queue, name.as_str());
            let found = handed_out(source, selection, limit, settings, (queues, stop)).await?;
            found.len()
        }
        Source::File(path) => in_file(path, &told, selection, limit, settings)?.count(limit),
        Source::Archive(stretch) => {
            let found = queues.archived(stretch.range);
            let found = in_archive(found, &told, selection, limit, settings).await?;
            found.count(limit)
        }
    })
}

/// An edited body is for one message.
pub(super) fn ensure_one(count: usize) -> anyhow::Result<()> {
    anyhow::ensure!(
        count == 1,
        "--edit-body is for one message; the filter takes {count}"
    );
    Ok(())
}

fn limit(job: &Job) -> usize {
    let limit = job.limit.and_then(|limit| usize::try_from(limit).ok());
    limit.unwrap_or(usize::MAX)
}

impl Meant {
    /// Takes a message, unless it was done before.
    fn hear(&mut self, place: &Place, message: Message, told: &Told) {
        if told.has(place, &message.id.to_string()) {
            self.before += 1;
        } else {
            self.messages.push(message);
        }
    }

    /// How many there are, done or not, up to `limit`.
    fn count(&self, limit: usize) -> usize {
        self.messages.len().saturating_add(self.before).min(limit)
    }
}

type Archived = mpsc::Receiver<Result<Message, QueueError>>;

/// The archive, beside whoever owns it, and what must be closed after the reading.
async fn archive(range: Range, settings: &Settings) -> anyhow::Result<(Archived, Option<Queues>)> {
    match &settings.engine {
        Engine::Embedded { data_dir } => {
            let onlooker = Onlooker::open(data_dir, settings.queue_names()).await?;
            Ok((onlooker.archived(range), None))
        }
        Engine::Cluster(_) => {
            let queues = wiring::tool_queues(settings).await?;
            Ok((queues.archived(range), Some(queues)))
        }
    }
}

async fn in_archive(
    mut archived: Archived,
    told: &Told,
    selection: &Selection,
    limit: usize,
    settings: &Settings,
) -> anyhow::Result<Meant> {
    let (now, mut meant, mut seen) = (clock::now(), Meant::default(), HashSet::new());
    while meant.messages.len() < limit
        && let Some(message) = archived.recv().await
    {
        let message = message?;
        if seen.insert(message.id)
            && selection.takes(&message, &Subject::of(&message, settings), now)
        {
            let place = journal::archived(seen.len(), message.id);
            meant.hear(&place, message, told);
        }
    }
    Ok(meant)
}

fn in_file(
    path: &std::path::Path,
    told: &Told,
    selection: &Selection,
    limit: usize,
    settings: &Settings,
) -> anyhow::Result<Meant> {
    let (now, mut meant) = (clock::now(), Meant::default());
    store::read(path, |place, message| {
        if meant.messages.len() < limit
            && selection.takes(&message, &Subject::of(&message, settings), now)
        {
            meant.hear(&place, message, told);
        }
        Ok(())
    })?;
    Ok(meant)
}

async fn look(
    queue: QueueId,
    name: &str,
    selection: &Selection,
    limit: usize,
    settings: &Settings,
) -> anyhow::Result<Vec<Message>> {
    let now = clock::now();
    match &settings.engine {
        Engine::Embedded { data_dir } => {
            let onlooker = Onlooker::open(data_dir, settings.queue_names()).await?;
            let mut messages = onlooker.peek(queue, LOOK).await?;
            messages.retain(|m| selection.takes(m, &Subject::of(m, settings), now));
            messages.truncate(limit);
            Ok(messages)
        }
        Engine::Cluster(_) => {
            if !matches!(queue, QueueId::Dead(_) | QueueId::Quarantine) {
                warn(&format!(
                    "looking into {name} counts as a delivery of each message before RabbitMQ 4.3, \
                     and keeps them from the stage meanwhile"
                ));
            }
            let (queues, stop) = (
                wiring::tool_queues(settings).await?,
                CancellationToken::new(),
            );
            let found =
                handed_out((queue, name), selection, limit, settings, (&queues, &stop)).await;
            wiring::close_tool_queues(&queues).await;
            found
        }
    }
}

/// Takes messages in hand and gives every one back.
async fn handed_out(
    (queue, name): (QueueId, &str),
    selection: &Selection,
    limit: usize,
    settings: &Settings,
    (queues, stop): (&Queues, &CancellationToken),
) -> anyhow::Result<Vec<Message>> {
    let pass = Pass {
        holds: true,
        bounded: true,
        // With conditions, what is wanted may be behind what is not.
        at_most: u16::try_from(limit)
            .ok()
            .filter(|_| selection.is_everything()),
    };
    let (mut taking, _) = Taking::begin(queues, queue, name, pass).await?;
    let (now, mut found) = (clock::now(), Vec::new());
    let looked = async {
        while found.len() < limit {
            let Some(delivery) = taking.next(stop).await? else {
                break;
            };
            let message = delivery.message;
            taking.hold(delivery.acker);
            if selection.takes(&message, &Subject::of(&message, settings), now) {
                found.push(message);
            }
        }
        anyhow::Ok(())
    }
    .await;
    taking.end().await;
    looked.map(|()| found)
}
