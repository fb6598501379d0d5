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
use crate::tooling::operation::{Job, Sink, Source, warn};
use crate::tooling::plan::{self, PEEK_COLUMNS, PLAN_COLUMNS, Past, Row};
use crate::tooling::selection::Selection;
use crate::tooling::store;
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

/// What the job would do with each message.
pub(super) async fn plan(
    job: &Job,
    settings: &Settings,
    context: Context<'_>,
) -> anyhow::Result<Exit> {
    let limit = job.limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(usize::MAX);
    let messages = match &job.source {
        Source::Queue(queue, name) => look(*queue, name, &job.selection, limit, settings).await?,
        Source::File(path) => in_file(path, &job.selection, limit, settings)?,
        Source::Archive(range) => {
            let (found, opened) = archive(*range, settings).await?;
            let found = in_archive(found, &job.selection, limit, settings).await;
            if let Some(queues) = opened {
                wiring::close_tool_queues(&queues).await;
            }
            found?
        }
    };
    let shop = Shop::open(&settings.shop_database).await?;
    let (now, mut rows) = (clock::now(), Vec::new());
    for message in &messages {
        let subject = Subject::of(message, settings);
        let past = Past::of(message.id, &subject, &shop).await?;
        let would = match (&job.sink, &job.marking) {
            (Sink::Queue(to, name), Some(_)) => plan::would_replay(message, *to, name, &past),
            (Sink::Queue(to, name), None) => match plan::would_replay(message, *to, name, &past) {
                skip if skip.starts_with("skip") => skip,
                _ => format!("move to {name} as it is"),
            },
            (Sink::File(path), _) => format!("take out of the queue into {}", path.display()),
            (Sink::Nothing, _) => "delete for good".to_owned(),
        };
        rows.push(Row::of(message, &subject, now).with_plan(would, &past));
    }
    write_rows(context.out, context.form, &PLAN_COLUMNS, &rows)?;
    warn(&format!(
        "dry run: {} messages would be {}; nothing was changed",
        rows.len(),
        job.outcome
    ));
    Ok(Exit::Done)
}

/// How many messages the job takes.
pub(super) async fn count(
    job: &Job,
    settings: &Settings,
    queues: &Queues,
    stop: &CancellationToken,
) -> anyhow::Result<usize> {
    let limit = job.limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(usize::MAX);
    let found = match &job.source {
        Source::Queue(queue, name) => {
            let selection = &job.selection;
            handed_out((*queue, name), selection, limit, settings, (queues, stop)).await?
        }
        Source::File(path) => in_file(path, &job.selection, limit, settings)?,
        Source::Archive(range) => {
            in_archive(queues.archived(*range), &job.selection, limit, settings).await?
        }
    };
    Ok(found.len())
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
    selection: &Selection,
    limit: usize,
    settings: &Settings,
) -> anyhow::Result<Vec<Message>> {
    let (now, mut found, mut seen) = (clock::now(), Vec::new(), HashSet::new());
    while found.len() < limit
        && let Some(message) = archived.recv().await
    {
        let message = message?;
        if seen.insert(message.id)
            && selection.takes(&message, &Subject::of(&message, settings), now)
        {
            found.push(message);
        }
    }
    Ok(found)
}

fn in_file(
    path: &std::path::Path,
    selection: &Selection,
    limit: usize,
    settings: &Settings,
) -> anyhow::Result<Vec<Message>> {
    let now = clock::now();
    let mut found = Vec::new();
    store::read(path, |_, message| {
        if found.len() < limit && selection.takes(&message, &Subject::of(&message, settings), now) {
            found.push(message);
        }
        Ok(())
    })?;
    Ok(found)
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
