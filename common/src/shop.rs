//! The shop database: payments, events, effects, stock, and what is still to be announced.
//!
//! One implementation for `SQLite` and `PostgreSQL`: the same SQL text, sent through `sqlx`'s
//! `Any` driver. Hence plain columns only: `BIGINT` and `TEXT`, times as milliseconds since 1970,
//! truth as 0 and 1, money as minor units beside its currency, and 0 or `''` where nothing is set.
//!
//! This module keeps books; it decides nothing about payments (that is the fulfiller's).

pub mod announcement;
pub mod authorizations;
mod availability;
pub mod books;
pub mod cancellation;
pub mod catalogue;
mod copies;
pub mod decisions;
pub mod dismissal;
pub mod error;
mod family;
pub mod flags;
pub mod listing;
pub mod orders;
pub mod outbox;
pub mod parked;
pub mod releases;
pub mod reservation;
pub mod resolution;
pub mod retention;
pub mod risk;
mod row;
mod schema;
pub mod stock;
pub mod story;
pub mod subject;
mod subscriptions;
mod variants;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, Executor as _};
use tokio::sync::OnceCell;

use crate::settings::{Credential, ShopDatabase};
pub use authorizations::Authorization;
pub use availability::Availability;
pub use books::{Asked, AskedLines, Books, PaymentRecord, Recorded, Settlement};
pub use cancellation::{Cancelled, NewCancellation};
pub use catalogue::{ProductRow, StockRow};
pub use decisions::{DecisionRow, NewDecision, NewParked};
pub use dismissal::{Dismissed, NewDismissal};
pub use error::ShopError;
pub use family::Absorbed;
pub use listing::{PaymentFilter, PaymentRow};
pub use orders::OrderRow;
pub use outbox::{Outgoing, OutgoingTo};
pub use parked::{ParkedRow, ParkedState};
pub use releases::{NewRelease, ReleaseOutcome};
pub use resolution::{NewResolution, ResolutionRow, Verdict};
pub use retention::Removed;
pub use risk::{Paid, Waits};
pub use stock::{Hold, LineHold, Movement};
pub use story::PaymentStory;
pub use subject::SubjectKey;
pub use variants::VariantChanges;

/// Connections to `PostgreSQL` that one process holds at most.
const POSTGRES_CONNECTIONS: u32 = 10;

/// How long a caller waits for a connection before the database counts as down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// What differs between the two databases: how a connection is prepared, and how the schema is
/// guarded while it is applied. Nothing else may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `SQLite`.
    Sqlite,
    /// `PostgreSQL`.
    Postgres,
}

/// Sent on every new `SQLite` connection. `FULL`: acknowledged means fsynced, in WAL mode too.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
    PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

/// Sent on every new `PostgreSQL` connection: nothing waits for ever behind a stuck peer.
const POSTGRES_SESSION: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '60s'; SET synchronous_commit = on;";

/// The same of a connection that only looks.
const SQLITE_LOOK: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;";

/// The same of a connection that only looks.
const POSTGRES_LOOK: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
    SET default_transaction_read_only = on;";

/// The shop database. Cheap to clone; every clone is the same pool.
#[derive(Clone)]
pub struct Shop {
    inner: Arc<Inner>,
}

struct Inner {
    pool: AnyPool,
    dialect: Dialect,
    /// `PostgreSQL`'s URL.
    login: Option<Login>,
    /// Set once the schema is known to be there.
    schema: OnceCell<()>,
}

/// What new connections log in with.
struct Login {
    url: Credential,
    /// What the pool was told last.
    told: Mutex<SecretString>,
}

impl Login {
    fn of(url: &Credential) -> Self {
        Self {
            url: url.clone(),
            told: Mutex::new(url.now()),
        }
    }
}

impl Inner {
    /// Has new connections of the pool log in with what the credential says now.
    fn renew_login(&self) {
        let Some(login) = &self.login else {
            return;
        };
        let now = login.url.now();
        let mut told = login.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.expose_secret() == now.expose_secret() {
            return;
        }
        if let Ok(options) = now.expose_secret().parse::<AnyConnectOptions>() {
            self.pool.set_connect_options(options);
        } else {
            // The error's text may quote the URL.
            tracing::warn!("the changed URL of the shop database cannot be read");
        }
        *told = now;
    }
}

impl fmt::Debug for Shop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shop")
            .field("dialect", &self.inner.dialect)
            .finish_non_exhaustive()
    }
}

impl Shop {
    /// Connects and applies the schema.
    ///
    /// # Errors
    /// When the database cannot be reached now; see [`ShopError::is_transient`]. A process that
    /// must start without its database uses [`Self::lazy`].
    pub async fn open(database: &ShopDatabase) -> Result<Self, ShopError> {
        let shop = Self::lazy(database)?;
        shop.ready().await?;
        Ok(shop)
    }

    /// Opens nothing yet: the first use connects and applies the schema, and so does every
    /// further use until that has succeeded once.
    ///
    /// # Errors
    /// When the settings cannot be a database at all: a URL that cannot be read, a folder that
    /// cannot be made.
    pub fn lazy(database: &ShopDatabase) -> Result<Self, ShopError> {
        let (url, dialect, login) = match database {
            ShopDatabase::Sqlite(path) => {
                make_folder(path)?;
                (sqlite_url(path, "rwc")?.into(), Dialect::Sqlite, None)
            }
            ShopDatabase::Postgres(url) => {
                let login = Login::of(url);
                (url.now(), Dialect::Postgres, Some(login))
            }
        };
        let (session, connections) = match dialect {
            // One writer at a time is all that SQLite has; a queue in the pool is fairer and
            // faster than its busy handler.
            Dialect::Sqlite => (SQLITE_SESSION, 1),
            Dialect::Postgres => (POSTGRES_SESSION, POSTGRES_CONNECTIONS),
        };
        Self::on(&url, dialect, login, session, connections)
    }

    /// Connects for looking only: nothing is made, and the database itself refuses to be changed.
    ///
    /// # Errors
    /// When there is no database, or not one of this build's schema.
    pub async fn look(database: &ShopDatabase) -> Result<Self, ShopError> {
        let (url, dialect, session) = match database {
            ShopDatabase::Sqlite(path) => {
                let url = sqlite_url(path, "ro")?.into();
                (url, Dialect::Sqlite, SQLITE_LOOK)
            }
            ShopDatabase::Postgres(url) => (url.now(), Dialect::Postgres, POSTGRES_LOOK),
        };
        let shop = Self::on(&url, dialect, None, session, 1)?;
        let inner = &shop.inner;
        inner
            .schema
            .get_or_try_init(|| schema::check(&inner.pool))
            .await?;
        Ok(shop)
    }

    fn on(
        url: &SecretString,
        dialect: Dialect,
        login: Option<Login>,
        session: &'static str,
        connections: u32,
    ) -> Result<Self, ShopError> {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    connection.execute(sqlx::raw_sql(session)).await?;
                    Ok(())
                })
            })
            .connect_lazy(url.expose_secret())
            .map_err(ShopError::during("reading the database's URL"))?;
        let schema = OnceCell::new();
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                dialect,
                login,
                schema,
            }),
        })
    }

    /// Connects and applies the schema unless that has been done; costs nothing afterwards.
    pub async fn ready(&self) -> Result<(), ShopError> {
        let inner = &self.inner;
        // Every use of the pool comes by here, and any of them may have to connect anew.
        inner.renew_login();
        inner
            .schema
            .get_or_try_init(|| schema::apply(&inner.pool, inner.dialect))
            .await
            .copied()
    }

    /// Whether the database answers now.
    pub async fn ping(&self) -> Result<(), ShopError> {
        let pool = self.pool().await?;
        sqlx::query("SELECT 1")
            .execute(pool)
            .await
            .map_err(ShopError::during("asking whether it is there"))?;
        Ok(())
    }

    /// Closes every connection; whoever still waits for one gets an error.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    /// The pool of a database whose schema is in place.
    pub(crate) async fn pool(&self) -> Result<&AnyPool, ShopError> {
        self.ready().await?;
        Ok(&self.inner.pool)
    }
}

/// Makes the folder of a database file.
fn make_folder(path: &Path) -> Result<(), ShopError> {
    let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) else {
        return Ok(());
    };
    crate::private_folder::make(folder).map_err(|source| ShopError::Folder {
        folder: folder.display().to_string(),
        source,
    })
}

/// The URL of a database file, whatever characters its path has. `mode` is SQLite's.
fn sqlite_url(path: &Path, mode: &str) -> Result<String, ShopError> {
    let absolute = std::path::absolute(path).map_err(|source| ShopError::Folder {
        folder: path.display().to_string(),
        source,
    })?;
    let encoded = percent_encoding::utf8_percent_encode(
        &absolute.to_string_lossy(),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string()
    .replace("%2F", "/");
    Ok(format!("sqlite://{encoded}?mode={mode}"))
}

/// Milliseconds since 1970, the form in which every time is stored.
pub(crate) fn millis(at: jiff::Timestamp) -> i64 {
    at.as_millisecond()
}

/// A stored time in the form in which it leaves the system; empty when it was never set.
pub(crate) fn time_text(millis: i64) -> String {
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(at) if millis != 0 => crate::clock::rfc3339_millis(at),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
