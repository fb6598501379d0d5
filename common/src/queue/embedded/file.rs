//! The embedded engine's files: `queue.sqlite` with its tables, and the lock that keeps a second
//! process out.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::queue::QueueError;

/// How long a statement waits for another process that looks into the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// One connection for listings, one so that a slow listing does not hold up a claim's look-up.
const READERS: u32 = 2;

/// The tables. A message has a place in line (`visible_at`, `seq`): fresh ones stand behind what is
/// there, delayed ones join when their wait is over, and one given back is at its old place again.
/// `rung` is the wait in milliseconds; a row with a rung and a `visible_at` still to come is on the
/// delay queue, every other on `queue` itself. `lease` is the consumer that has it, 0 for none.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    rung INTEGER,
    visible_at INTEGER NOT NULL,
    lease INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    content_type TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS message_line ON message (queue, visible_at, seq, rung) WHERE lease = 0;
CREATE INDEX IF NOT EXISTS message_held ON message (lease, queue, visible_at, rung) WHERE lease <> 0;
CREATE TABLE IF NOT EXISTS announced (
    seq INTEGER PRIMARY KEY,
    routing_key TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    content_type TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS archive (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    content_type TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS archive_at ON archive (at, seq, bytes);
CREATE TABLE IF NOT EXISTS claim (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    forget_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claim_forget ON claim (forget_at);
";

/// Milliseconds since 1970, from the wall clock once and a steady clock from then on: setting the
/// wall clock back must not make a waiting message wait longer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SteadyClock {
    opened_at: i64,
    opened: Instant,
}

impl SteadyClock {
    /// Reads the wall clock, for the only time.
    pub(crate) fn start() -> Self {
        Self {
            opened_at: crate::clock::now().as_millisecond(),
            opened: Instant::now(),
        }
    }

    /// Milliseconds since 1970 now.
    pub(crate) fn now(&self) -> i64 {
        self.opened_at.saturating_add(millis(self.opened.elapsed()))
    }
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Makes the folder and takes its lock. The lock ends with the process, however that ends.
pub(super) fn lock(data_dir: &Path) -> Result<File, QueueError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        QueueError::Unavailable(format!("{what} {}: {error}", data_dir.display()))
    };
    crate::private_folder::make(data_dir).map_err(|e| failed("cannot make the folder", &e))?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data_dir.join("queue.lock"))
        .map_err(|e| failed("cannot open queue.lock in", &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(QueueError::Unavailable(format!(
            "another process uses {}: stop it, or give this one another `data_dir`",
            data_dir.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed("cannot lock queue.lock in", &error)),
    }
}

/// Opens the only connection that writes. Each commit is fsynced: the write-ahead log with
/// `synchronous = FULL`.
pub(super) async fn open_writer(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(64)
        .disable_statement_logging()
        .connect()
        .await
}

/// Makes the tables and ends what a former process left: its consumers and claimants are gone, and
/// a clock set back since then must not hide messages.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(&mut *connection).await?;
    sqlx::query("UPDATE message SET lease = 0 WHERE lease <> 0")
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE message SET visible_at = MIN(visible_at, ?1 + IFNULL(rung, 0)) \
         WHERE lease = 0 AND visible_at > ?1",
    )
    .bind(now)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE claim SET lease_until = 0 WHERE state = 'claimed'")
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// Connections that only look, beside the writer and without holding it up.
pub(super) async fn open_readers(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_with(options)
        .await
}

/// Where the file is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("queue.sqlite")
}

/// Makes the new files' names durable too, which an fsync of the files alone does not.
pub(super) fn sync_folder(data_dir: &Path) -> Result<(), QueueError> {
    File::open(data_dir)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| {
            QueueError::Unavailable(format!("cannot sync {}: {error}", data_dir.display()))
        })
}
