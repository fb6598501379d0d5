//! What can go wrong with the shop database, and the one question that matters: does waiting help?

use sqlx::Error as SqlxError;

use crate::variant::Ambiguous;

/// Why an operation on the shop database failed. Never shows values of rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShopError {
    /// The database refused, failed or is not there.
    #[error("the shop database failed while {doing}: {source}")]
    Database {
        /// What was being done, as a participle.
        doing: &'static str,
        /// The driver's error.
        source: SqlxError,
    },
    /// The folder of the `SQLite` file cannot be made or named.
    #[error("the folder `{folder}` of the shop database cannot be used: {source}")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// A row holds something that this build cannot read.
    #[error("a stored {what} cannot be read: {detail}")]
    Unreadable {
        /// What was read.
        what: &'static str,
        /// Why, without the value.
        detail: String,
    },
    /// A newer build has changed the schema.
    #[error(
        "the shop database has schema version {found} and this build knows up to {known}: run a newer build"
    )]
    NewerSchema {
        /// The version found.
        found: i64,
        /// The newest version that this build knows.
        known: i64,
    },
    /// An older build's schema, in a database that is only looked at.
    #[error(
        "the shop database has schema version {found} and this build needs {known}: the next start of a stage brings it there"
    )]
    OlderSchema {
        /// The version found.
        found: i64,
        /// The version that this build needs.
        known: i64,
    },
    /// No product of that sku.
    #[error("there is no product `{0}`: import it first")]
    UnknownSku(String),
    /// An order of that id is there, with other terms.
    #[error("order `{0}` is registered with another total or other items: it stays as it is")]
    OrderDiffers(String),
    /// With these products an item would have variants between which options leave it open.
    #[error(transparent)]
    Variants(#[from] Ambiguous),
    /// A product cannot be a variant of one item and have variants itself.
    #[error("`{0}` is a variant and an item with variants: give the variant a sku of its own")]
    VariantOfVariant(String),
}

impl ShopError {
    /// For `map_err`: names what was being done.
    pub(crate) fn during(doing: &'static str) -> impl FnOnce(SqlxError) -> Self {
        move |source| Self::Database { doing, source }
    }

    /// For `map_err`: a row that does not parse.
    pub(crate) fn unreadable<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Unreadable {
            what,
            detail: error.to_string(),
        }
    }

    /// Whether the same operation may succeed later with nobody's help but the database's:
    /// it is down, busy, full, or chose us as the victim of a deadlock.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database { source, .. } => sql_is_transient(source),
            Self::Folder { .. }
            | Self::Unreadable { .. }
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::UnknownSku(_)
            | Self::OrderDiffers(_)
            | Self::Variants(_)
            | Self::VariantOfVariant(_) => false,
        }
    }
}

fn sql_is_transient(error: &SqlxError) -> bool {
    match error {
        SqlxError::Database(database) => database
            .code()
            .is_some_and(|code| code_is_transient(code.as_ref())),
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed
        | SqlxError::BeginFailed => true,
        _ => false,
    }
}

/// `PostgreSQL` codes have five characters; `SQLite`'s are numbers whose last byte is the class.
fn code_is_transient(code: &str) -> bool {
    /// Connection, authorisation (a password being rotated), missing database, rollback by
    /// deadlock or serialisation, resources, operator's intervention, system error, read-only
    /// (a failover in progress).
    const POSTGRES_CLASSES: [&str; 9] =
        ["08", "28", "3D", "40", "53", "57", "58", "55P03", "25006"];
    /// `BUSY`, `LOCKED`, `NOMEM`, `READONLY`, `IOERR`, `FULL`, `CANTOPEN`, `PROTOCOL`.
    const SQLITE_CLASSES: [u32; 8] = [5, 6, 7, 8, 10, 13, 14, 15];
    if code.len() == 5 {
        return POSTGRES_CLASSES.iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>()
        .is_ok_and(|number| SQLITE_CLASSES.contains(&(number & 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadlock_a_busy_file_and_a_full_disk_pass_and_a_unique_violation_does_not() {
        for code in [
            "40P01", "40001", "57P01", "53100", "5", "517", "13", "25006",
        ] {
            assert!(code_is_transient(code), "{code}");
        }
        for code in ["23505", "42P01", "2067", "1555", "1"] {
            assert!(!code_is_transient(code), "{code}");
        }
    }
}
