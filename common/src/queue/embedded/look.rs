//! Looking without taking: depths, peeking, and the payment events kept for the shop.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Row as _, SqlitePool};

use super::batch::Place;
use super::row::{COLUMNS, message};
use crate::message::Message;

/// A payment event that the fulfiller announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Rises with every event; where to go on reading.
    pub seq: i64,
    /// `{gateway}.{event type}`.
    pub routing_key: String,
    /// The event.
    pub message: Message,
}

/// Messages ready and unacked by queue name and rung.
pub(super) type Counts = BTreeMap<(String, Option<i64>), (u64, u64)>;

/// Counts every queue. A delayed message counts on its delay queue until it is due.
pub(super) async fn counts(readers: &SqlitePool, now: i64) -> Result<Counts, sqlx::Error> {
    // One half for each of the two partial indexes, so that no body is read.
    let rows = sqlx::query(
        "SELECT queue, CASE WHEN visible_at > ?1 THEN rung END AS wait, 0 AS held, COUNT(*) AS n \
         FROM message WHERE lease = 0 GROUP BY 1, 2 UNION ALL \
         SELECT queue, CASE WHEN visible_at > ?1 THEN rung END AS wait, 1 AS held, COUNT(*) AS n \
         FROM message WHERE lease <> 0 GROUP BY 1, 2",
    )
    .bind(now)
    .fetch_all(readers)
    .await?;
    let mut counts = Counts::new();
    for row in rows {
        let place = (row.try_get("queue")?, row.try_get("wait")?);
        let count = u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or(0);
        let (ready, unacked) = counts.entry(place).or_default();
        if row.try_get::<i64, _>("held")? == 0 {
            *ready = count;
        } else {
            *unacked = count;
        }
    }
    Ok(counts)
}

/// The first messages of a queue that nobody holds, in the order of the line.
pub(super) async fn peek(
    readers: &SqlitePool,
    place: &Place,
    limit: u32,
    now: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    let which = if place.rung.is_some() {
        "visible_at > ?2 AND rung = ?3"
    } else {
        "visible_at <= ?2 AND ?3 IS NULL"
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM message WHERE lease = 0 AND queue = ?1 AND {which} \
         ORDER BY visible_at, seq LIMIT ?4"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(place.queue.clone())
        .bind(now)
        .bind(place.rung)
        .bind(i64::from(limit))
        .fetch_all(readers)
        .await?;
    rows.iter().map(message).collect()
}

/// Payment events after `seq`, oldest first.
pub(super) async fn announced(
    readers: &SqlitePool,
    after: i64,
    limit: u32,
) -> Result<Vec<Announced>, sqlx::Error> {
    let sql = format!(
        "SELECT seq, routing_key, {COLUMNS} FROM announced WHERE seq > ? ORDER BY seq LIMIT ?"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(readers)
        .await?;
    let read = |row| -> Result<Announced, sqlx::Error> {
        Ok(Announced {
            seq: sqlx::Row::try_get(row, "seq")?,
            routing_key: sqlx::Row::try_get(row, "routing_key")?,
            message: message(row)?,
        })
    };
    rows.iter().map(read).collect()
}
