//! `quittance queues list`: how full each queue is, and how long its head has waited.
//!
//! A broker tells the age of a message only by handing it out. That counts as a delivery (before
//! `RabbitMQ` 4.3), which is of no matter on parking queues; on work queues it is done only when
//! asked for.

use jiff::Timestamp;
use quittance_common::clock;
use quittance_common::queue::embedded::Onlooker;
use quittance_common::queue::{Depth, QueueId, Queues, Range};
use quittance_common::settings::{Engine, Settings};
use serde::Serialize;

use super::super::{Context, Exit};
use super::arguments::List;
use crate::output::write_rows;
use crate::tooling::selection::age;
use crate::wiring;

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    depth: Depth,
    /// Seconds since ingest had the message at the head; `None` when there is none or it was not
    /// looked at.
    oldest_seconds: Option<u64>,
}

/// How many messages wait where, and for how long.
pub(super) async fn list(
    list: &List,
    settings: &Settings,
    context: Context<'_>,
) -> anyhow::Result<Exit> {
    let now = clock::now();
    let rows = match &settings.engine {
        Engine::Embedded { data_dir } => {
            let onlooker = Onlooker::open(data_dir, settings.queue_names()).await?;
            let depths = wiring::depths(settings).await?;
            beside(depths, &onlooker, settings, now).await?
        }
        Engine::Cluster(_) => {
            let queues = wiring::tool_queues(settings).await?;
            let rows = at_broker(&queues, list.heads, settings, now).await;
            wiring::close_tool_queues(&queues).await;
            rows?
        }
    };
    let columns = ["queue", "ready", "unacked", "consumers", "oldest_seconds"];
    write_rows(context.out, context.form, &columns, &rows)?;
    Ok(Exit::Done)
}

/// The embedded engine's file is read, which disturbs nobody.
async fn beside(
    depths: Vec<Depth>,
    onlooker: &Onlooker,
    settings: &Settings,
    now: Timestamp,
) -> anyhow::Result<Vec<Listed>> {
    let (names, mut rows) = (settings.queue_names(), Vec::new());
    for depth in depths {
        let mut head = None;
        if let Some(queue) = names.parse(&depth.queue)
            && depth.ready > 0
        {
            head = onlooker.peek(queue, 1).await?.pop();
        }
        rows.push(Listed {
            depth,
            oldest_seconds: head.map(|message| age(&message, now).as_secs()),
        });
    }
    if let Some(depth) = onlooker.archive_depth().await? {
        let oldest = onlooker
            .archived(Range::default())
            .recv()
            .await
            .transpose()?;
        rows.push(Listed {
            depth,
            oldest_seconds: oldest.map(|message| age(&message, now).as_secs()),
        });
    }
    Ok(rows)
}

/// A broker is asked for the message at the head where that does no harm.
async fn at_broker(
    queues: &Queues,
    heads: bool,
    settings: &Settings,
    now: Timestamp,
) -> anyhow::Result<Vec<Listed>> {
    let (names, mut rows) = (settings.queue_names(), Vec::new());
    for depth in queues.depths().await? {
        let looked_at = match names.parse(&depth.queue) {
            Some(queue @ (QueueId::Dead(_) | QueueId::Quarantine)) => Some(queue),
            Some(queue @ QueueId::Work(_)) if heads => Some(queue),
            // Taken from a delay queue, a message would begin its wait anew.
            Some(QueueId::Work(_) | QueueId::Retry(..)) | None => None,
        };
        let mut head = None;
        if let Some(queue) = looked_at
            && depth.ready > 0
        {
            head = queues.head(queue).await?;
        }
        rows.push(Listed {
            depth,
            oldest_seconds: head.map(|message| age(&message, now).as_secs()),
        });
    }
    if let Some(depth) = queues.archive_depth().await? {
        let oldest = if depth.ready > 0 {
            queues.archive_head().await?
        } else {
            None
        };
        rows.push(Listed {
            depth,
            oldest_seconds: oldest.map(|message| age(&message, now).as_secs()),
        });
    }
    Ok(rows)
}
