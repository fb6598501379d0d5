//! One transaction: everything that waited while the one before it was written.
//!
//! Statements take many rows at once, in a few fixed sizes, so that each is prepared once.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::archive;
use super::row::{COLUMNS, Columns, message};
use crate::claims::embedded::{Answer, Operation, apply};
use crate::message::Message;

/// Rows a statement takes at once, from most to least.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// How many payment events are kept for the shop to read; older ones go.
pub(super) const ANNOUNCED_KEPT: i64 = 10_000;

/// The columns that say where a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The name of the work or parking queue.
    pub(super) queue: String,
    /// The wait in milliseconds, on a delay queue.
    pub(super) rung: Option<i64>,
}

impl Place {
    /// When a message published here at `now` joins the line: one millisecond late rather than a
    /// fraction early.
    pub(super) fn visible_at(&self, now: i64) -> i64 {
        self.rung
            .map_or(now, |wait| now.saturating_add(wait).saturating_add(1))
    }
}

/// Something to store.
#[derive(Debug)]
pub(super) enum Write {
    /// A message for a queue.
    Message { place: Place, columns: Columns },
    /// A payment event for the shop.
    Announcement {
        routing_key: String,
        columns: Columns,
    },
    /// A message for the archive.
    Archive(Columns),
    /// A message is done.
    Delete(i64),
    /// A message goes back to its place in line.
    Free(i64),
    /// A claim.
    Claim(Operation),
}

/// A consumer that could take more.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) consumer: i64,
    pub(super) place: Place,
    pub(super) limit: i64,
}

/// A message that a consumer has now.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) seq: i64,
    pub(super) redelivered: bool,
    pub(super) message: Message,
}

/// Runs `writes` in one transaction. The answers of claims come in the order of the claims.
/// After an error nothing of it is stored.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    writes: &[&Write],
    now: i64,
) -> Result<Vec<Answer>, sqlx::Error> {
    insert_messages(connection, writes, now).await?;
    insert_announcements(connection, writes).await?;
    archive::insert(connection, writes, now).await?;
    let deletes = writes.iter().filter_map(|write| match write {
        Write::Delete(seq) => Some(*seq),
        _ => None,
    });
    by_seq(connection, "DELETE FROM message WHERE seq IN", deletes).await?;
    let frees = writes.iter().filter_map(|write| match write {
        Write::Free(seq) => Some(*seq),
        _ => None,
    });
    by_seq(
        connection,
        "UPDATE message SET lease = 0 WHERE seq IN",
        frees,
    )
    .await?;
    let mut answers = Vec::new();
    for write in writes {
        if let Write::Claim(operation) = write {
            answers.push(apply(connection, operation, now).await?);
        }
    }
    Ok(answers)
}

/// Gives the consumer the first in line. Fewer than asked for means that no more are there.
pub(super) async fn lease(
    connection: &mut SqliteConnection,
    want: &Want,
    now: i64,
) -> Result<Vec<Leased>, sqlx::Error> {
    let which = if want.place.rung.is_some() {
        "visible_at > ?3 AND rung = ?5"
    } else {
        "visible_at <= ?3 AND ?5 IS NULL"
    };
    let sql = format!(
        "UPDATE message SET lease = ?1, deliveries = deliveries + 1 WHERE seq IN (\
         SELECT seq FROM message WHERE lease = 0 AND queue = ?2 AND {which} \
         ORDER BY visible_at, seq LIMIT ?4) RETURNING seq, visible_at, deliveries, {COLUMNS}"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(want.consumer)
        .bind(want.place.queue.clone())
        .bind(now)
        .bind(want.limit)
        .bind(want.place.rung)
        .fetch_all(connection)
        .await?;
    let mut line = Vec::with_capacity(rows.len());
    for row in &rows {
        let leased = Leased {
            seq: row.try_get("seq")?,
            redelivered: row.try_get::<i64, _>("deliveries")? > 1,
            message: message(row)?,
        };
        line.push((row.try_get::<i64, _>("visible_at")?, leased));
    }
    // RETURNING promises no order.
    line.sort_by_key(|(visible_at, leased)| (*visible_at, leased.seq));
    Ok(line.into_iter().map(|(_, leased)| leased).collect())
}

/// When the next waiting message of a work queue joins the line.
pub(super) async fn next_due(
    connection: &mut SqliteConnection,
    queue: &str,
    now: i64,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT MIN(visible_at) FROM message WHERE lease = 0 AND queue = ? AND visible_at > ?",
    )
    .bind(queue.to_owned())
    .bind(now)
    .fetch_one(connection)
    .await
}

async fn insert_messages(
    connection: &mut SqliteConnection,
    writes: &[&Write],
    now: i64,
) -> Result<(), sqlx::Error> {
    let messages: Vec<(&Place, &Columns)> = writes
        .iter()
        .filter_map(|write| match write {
            Write::Message { place, columns } => Some((place, columns)),
            _ => None,
        })
        .collect();
    for chunk in chunks(&messages) {
        let values = vec!["(?,?,?,?,?,?,?,?,?)"; chunk.len()].join(",");
        let sql =
            format!("INSERT INTO message (queue, rung, visible_at, {COLUMNS}) VALUES {values}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (place, columns) in chunk {
            query = query
                .bind(place.queue.clone())
                .bind(place.rung)
                .bind(place.visible_at(now));
            query = columns.bind(query);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Stores payment events; one that was published twice is kept once.
async fn insert_announcements(
    connection: &mut SqliteConnection,
    writes: &[&Write],
) -> Result<(), sqlx::Error> {
    let mut any = false;
    for write in writes {
        let Write::Announcement {
            routing_key,
            columns,
        } = write
        else {
            continue;
        };
        any = true;
        let sql = format!(
            "INSERT INTO announced (routing_key, {COLUMNS}) VALUES (?,?,?,?,?,?,?) \
             ON CONFLICT (id) DO NOTHING"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(routing_key.clone());
        columns.bind(query).execute(&mut *connection).await?;
    }
    if any {
        sqlx::query("DELETE FROM announced WHERE seq <= (SELECT MAX(seq) FROM announced) - ?")
            .bind(ANNOUNCED_KEPT)
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn by_seq(
    connection: &mut SqliteConnection,
    what: &'static str,
    seqs: impl Iterator<Item = i64>,
) -> Result<(), sqlx::Error> {
    let seqs: Vec<i64> = seqs.collect();
    for chunk in chunks(&seqs) {
        let marks = vec!["?"; chunk.len()].join(",");
        let mut query = sqlx::query(AssertSqlSafe(format!("{what} ({marks})")));
        for seq in chunk {
            query = query.bind(*seq);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Cuts a list into pieces of the fixed sizes, largest first.
fn chunks<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (chunk, after) = rest.split_at_checked(size)?;
        rest = after;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_into_the_fixed_sizes_without_loss() {
        let items: Vec<usize> = (0..151).collect();
        let sizes: Vec<usize> = chunks(&items).map(<[usize]>::len).collect();
        assert_eq!(sizes, [64, 64, 16, 4, 1, 1, 1]);
        assert_eq!(chunks(&items).flatten().copied().collect::<Vec<_>>(), items);
    }

    #[test]
    fn a_delayed_message_is_due_after_its_wait_and_a_fresh_one_now() {
        let place = |rung| Place {
            queue: "ipn.verify".to_owned(),
            rung,
        };
        assert_eq!(place(None).visible_at(1_000), 1_000);
        assert_eq!(place(Some(200)).visible_at(1_000), 1_201);
    }
}
