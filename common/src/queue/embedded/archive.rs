//! The archive of the embedded engine: a table of what was accepted, kept by age and size.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, SqlitePool};
use tokio::sync::mpsc;

use super::batch::Write;
use super::file::millis;
use super::row::{COLUMNS, message};
use crate::message::Message;
use crate::queue::{ArchiveLimits, Depth, QueueError, QueueNames, Range};

/// Rows of one read.
const PAGE: i64 = 256;

/// Stores what is to be archived; a message that is seen again is kept once.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    writes: &[&Write],
    now: i64,
) -> Result<(), sqlx::Error> {
    for write in writes {
        let Write::Archive(columns) = write else {
            continue;
        };
        let sql = format!(
            "INSERT INTO archive (at, bytes, {COLUMNS}) VALUES (?,?,?,?,?,?,?,?) \
             ON CONFLICT (id) DO NOTHING"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(now)
            .bind(i64::try_from(columns.size()).unwrap_or(i64::MAX));
        columns.bind(query).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Deletes what is older than it is kept, and the oldest beyond the size. Without an archive
/// everything goes.
pub(super) async fn purge(
    connection: &mut SqliteConnection,
    limits: Option<ArchiveLimits>,
    now: i64,
) -> Result<(), sqlx::Error> {
    let (oldest, most) = limits.map_or((i64::MAX, 0), |limits| {
        let most = i64::try_from(limits.max_bytes).unwrap_or(i64::MAX);
        (now.saturating_sub(millis(limits.keep)), most)
    });
    sqlx::query("DELETE FROM archive WHERE at < ?")
        .bind(oldest)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "DELETE FROM archive WHERE seq IN (SELECT seq FROM (SELECT seq, \
         SUM(bytes) OVER (ORDER BY at DESC, seq DESC) AS newer FROM archive) WHERE newer > ?)",
    )
    .bind(most)
    .execute(connection)
    .await?;
    Ok(())
}

/// How many messages there are; `None` when nothing is archived.
pub(super) async fn depth(
    readers: &SqlitePool,
    names: &QueueNames,
) -> Result<Option<Depth>, QueueError> {
    if names.archive().is_none() {
        return Ok(None);
    }
    let count: i64 = sqlx::query("SELECT COUNT(*) FROM archive")
        .fetch_one(readers)
        .await?
        .try_get(0)?;
    Ok(Some(Depth {
        queue: names.archive_name(),
        ready: u64::try_from(count).unwrap_or_default(),
        unacked: Some(0),
        consumers: 0,
    }))
}

/// Sends what falls into `range` to `found`, oldest first, up to what is there now.
pub(super) async fn read(
    readers: &SqlitePool,
    range: Range,
    found: &mpsc::Sender<Result<Message, QueueError>>,
) {
    if let Err(error) = pages(readers, range, found).await {
        // Nobody may be waiting any more.
        found.send(Err(error.into())).await.ok();
    }
}

async fn pages(
    readers: &SqlitePool,
    range: Range,
    found: &mpsc::Sender<Result<Message, QueueError>>,
) -> Result<(), sqlx::Error> {
    let last: i64 = sqlx::query("SELECT IFNULL(MAX(seq), 0) FROM archive")
        .fetch_one(readers)
        .await?
        .try_get(0)?;
    let mut after = 0_i64;
    loop {
        // Not narrowed by `at`: that clock stands still while the machine sleeps, and may be behind
        // the one that ingest wrote into the message.
        let sql = format!(
            "SELECT seq, {COLUMNS} FROM archive WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(after)
            .bind(last)
            .bind(PAGE)
            .fetch_all(readers)
            .await?;
        let Some(newest) = rows.last() else {
            return Ok(());
        };
        after = newest.try_get("seq")?;
        for row in &rows {
            let message = message(row)?;
            if range.contains(&message) && found.send(Ok(message)).await.is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::ids::MessageId;
    use crate::message::{Headers, MessageKind};
    use crate::queue::embedded::file::{open_writer, path, prepare};
    use crate::queue::embedded::row::Columns;

    fn archived(received_at: i64) -> Message {
        Message {
            id: MessageId::new(),
            kind: MessageKind::NotificationV1,
            content_type: "application/x-www-form-urlencoded".into(),
            timestamp: Timestamp::UNIX_EPOCH,
            headers: Headers {
                received_at: Timestamp::from_millisecond(received_at).ok(),
                ..Headers::default()
            },
            body: Bytes::from(vec![b'a'; 1000]),
        }
    }

    async fn kept(limits: Option<ArchiveLimits>) -> Vec<Message> {
        kept_of(limits, Range::default()).await
    }

    /// Each message is received when it is archived by the engine's clock, but for the last, whose
    /// archiving is written down a second too early.
    async fn kept_of(limits: Option<ArchiveLimits>, range: Range) -> Vec<Message> {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        let mut connection = open_writer(&path).await.unwrap();
        prepare(&mut connection, 0).await.unwrap();
        for (at, received) in [(1_000, 1_000), (2_000, 2_000), (3_000, 4_000)] {
            let message = archived(received);
            let write = Write::Archive(Columns::of(message));
            // The second of each is a redelivery.
            insert(&mut connection, &[&write, &write], at)
                .await
                .unwrap();
        }
        purge(&mut connection, limits, 4_000).await.unwrap();
        let url = format!("sqlite://{}", path.display());
        let readers = SqlitePool::connect(&url).await.unwrap();
        let (sender, mut found) = mpsc::channel(16);
        read(&readers, range, &sender).await;
        drop(sender);
        let mut all = Vec::new();
        while let Some(message) = found.recv().await {
            all.push(message.unwrap());
        }
        all
    }

    fn times(messages: &[Message]) -> Vec<i64> {
        let time = |message: &Message| message.headers.received_at.map(Timestamp::as_millisecond);
        messages.iter().filter_map(time).collect()
    }

    #[tokio::test]
    async fn the_archive_keeps_each_message_once_for_its_time_and_no_more_than_its_size() {
        let limits = |keep, max_bytes| {
            Some(ArchiveLimits {
                keep: Duration::from_millis(keep),
                max_bytes,
            })
        };
        let times_of = async |limits| times(&kept(limits).await);
        assert_eq!(times_of(limits(9_000, 9_000)).await, [1_000, 2_000, 4_000]);
        assert_eq!(times_of(limits(1_500, 9_000)).await, [4_000]);
        assert_eq!(times_of(limits(9_000, 2_500)).await, [2_000, 4_000]);
        assert_eq!(times_of(None).await, [0_i64; 0]);
    }

    #[tokio::test]
    async fn a_stretch_is_told_by_when_ingest_had_the_messages_whatever_the_engines_clock_said() {
        let all = Some(ArchiveLimits {
            keep: Duration::from_secs(9),
            max_bytes: 9_000,
        });
        let range = Range {
            since: Timestamp::from_millisecond(3_500).ok(),
            until: None,
        };
        assert_eq!(times(&kept_of(all, range).await), [4_000]);
    }
}
