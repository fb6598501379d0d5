//! How often tokens were looked up, in a file of the embedded engine. No personal data: a token
//! names a payment, as the books do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::sync::OnceCell;

use crate::clock;
use crate::lookups::{LookupError, LookupKey};

/// How long a statement waits for a reader of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The tables; `forget_at` in milliseconds since 1970.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS lookup (
    name TEXT PRIMARY KEY,
    asked INTEGER NOT NULL,
    forget_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lookup_forget ON lookup (forget_at);
";

/// One token's count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counter {
    /// How often it was looked up.
    pub(super) asked: u32,
    /// For how long that matters from now.
    pub(super) remember: Duration,
}

/// The file. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    folder: PathBuf,
    pool: SqlitePool,
    /// Set once the tables are there.
    tables: Arc<OnceCell<()>>,
}

impl Counters {
    /// Opens nothing yet. Each commit is fsynced: a look-up that was made is never forgotten.
    pub(super) fn lazy(data_dir: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(data_dir.join("lookups.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        Self {
            folder: data_dir.to_owned(),
            pool: SqlitePoolOptions::new()
                .max_connections(1)
                .acquire_timeout(BUSY_TIMEOUT)
                .connect_lazy_with(options),
            tables: Arc::default(),
        }
    }

    async fn ready(&self) -> Result<&SqlitePool, sqlx::Error> {
        self.tables
            .get_or_try_init(|| async {
                crate::private_folder::make(&self.folder)?;
                sqlx::raw_sql(TABLES).execute(&self.pool).await.map(|_| ())
            })
            .await?;
        Ok(&self.pool)
    }

    /// The count of `key`; none when it was never made or is forgotten.
    pub(super) async fn read(&self, key: &LookupKey) -> Result<Counter, LookupError> {
        self.try_read(key).await.map_err(away)
    }

    async fn try_read(&self, key: &LookupKey) -> Result<Counter, sqlx::Error> {
        let now = clock::now().as_millisecond();
        let row =
            sqlx::query("SELECT asked, forget_at FROM lookup WHERE name = ? AND forget_at > ?")
                .bind(key.name())
                .bind(now)
                .fetch_optional(self.ready().await?)
                .await?;
        let Some(row) = row else {
            return Ok(Counter::default());
        };
        let forget_at: i64 = row.try_get(1)?;
        let remember = u64::try_from(forget_at.saturating_sub(now)).unwrap_or(0);
        Ok(Counter {
            asked: row.try_get(0)?,
            remember: Duration::from_millis(remember),
        })
    }

    /// Makes the count of `key` durable, and lets go of some that are over.
    pub(super) async fn write(&self, key: &LookupKey, counter: Counter) -> Result<(), LookupError> {
        self.try_write(key, counter).await.map_err(away)
    }

    async fn try_write(&self, key: &LookupKey, counter: Counter) -> Result<(), sqlx::Error> {
        let now = clock::now().as_millisecond();
        let remember = i64::try_from(counter.remember.as_millis()).unwrap_or(i64::MAX);
        let mut tx = self.ready().await?.begin().await?;
        sqlx::query(
            "INSERT INTO lookup (name, asked, forget_at) VALUES (?, ?, ?) ON CONFLICT (name) \
             DO UPDATE SET asked = excluded.asked, forget_at = excluded.forget_at",
        )
        .bind(key.name())
        .bind(counter.asked)
        .bind(now.saturating_add(remember))
        .execute(&mut *tx)
        .await?;
        // More than comes in at a time, so that they do not pile up.
        sqlx::query(
            "DELETE FROM lookup WHERE name IN \
             (SELECT name FROM lookup WHERE forget_at <= ? LIMIT 100)",
        )
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn away(error: sqlx::Error) -> LookupError {
    LookupError(format!("lookups.sqlite: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(token: &str) -> LookupKey {
        LookupKey {
            gateway: crate::ids::GatewayId::PayPal,
            account: "default".parse().unwrap(),
            token: token.parse().unwrap(),
        }
    }

    fn counter(asked: u32, minutes: u64) -> Counter {
        Counter {
            asked,
            remember: Duration::from_mins(minutes),
        }
    }

    #[tokio::test]
    async fn a_count_outlives_its_process_until_it_is_to_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("not there yet");
        let (kept, over) = (key("TXCOUNTER001"), key("TXCOUNTER002"));
        let former = Counters::lazy(&folder);
        assert_eq!(former.read(&kept).await.unwrap(), Counter::default());
        former.write(&over, counter(5, 0)).await.unwrap();
        former.write(&kept, counter(1, 5)).await.unwrap();
        former.write(&kept, counter(2, 5)).await.unwrap();
        drop(former);
        let next = Counters::lazy(&folder);
        let found = next.read(&kept).await.unwrap();
        assert_eq!(found.asked, 2);
        assert!(found.remember > Duration::from_mins(4), "{found:?}");
        assert_eq!(next.read(&over).await.unwrap(), Counter::default());
        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM lookup")
            .fetch_one(&next.pool)
            .await
            .unwrap();
        assert_eq!(left, 1, "what is over is deleted");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_an_error_and_never_a_count_of_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lookups.sqlite")).unwrap();
        let counters = Counters::lazy(folder.path());
        assert!(counters.read(&key("TXCOUNTER003")).await.is_err());
        let written = counters.write(&key("TXCOUNTER003"), counter(1, 5)).await;
        assert!(written.is_err());
    }
}
