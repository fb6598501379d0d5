//! The tables, and how they come to be there exactly once however many processes start together.

use std::cmp::Ordering;

use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row as _};

use super::{Dialect, ShopError};

/// The steps: version N is reached by running step N. Only ever appended to.
const STEPS: [&str; 9] = [
    include_str!("schema/v1.sql"),
    include_str!("schema/v2.sql"),
    include_str!("schema/v3.sql"),
    include_str!("schema/v4.sql"),
    include_str!("schema/v5.sql"),
    include_str!("schema/v6.sql"),
    include_str!("schema/v7.sql"),
    include_str!("schema/v8.sql"),
    include_str!("schema/v9.sql"),
];

/// Any number; the same in every process that guards this schema.
const ADVISORY_LOCK: &str = "SELECT pg_advisory_xact_lock(7307199623458)";

/// Brings the schema to the newest version. Idempotent; concurrent callers wait for each other.
pub(super) async fn apply(pool: &AnyPool, dialect: Dialect) -> Result<(), ShopError> {
    let doing = "applying the schema";
    // The write lock comes first, so that two processes do not both see an empty database.
    let begin = match dialect {
        Dialect::Sqlite => "BEGIN IMMEDIATE",
        Dialect::Postgres => "BEGIN",
    };
    let mut tx = pool
        .begin_with(begin)
        .await
        .map_err(ShopError::during(doing))?;
    if dialect == Dialect::Postgres {
        sqlx::query(ADVISORY_LOCK)
            .execute(&mut *tx)
            .await
            .map_err(ShopError::during(doing))?;
    }
    let found = version(&mut tx).await.map_err(ShopError::during(doing))?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(ShopError::NewerSchema { found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        run(&mut tx, step).await.map_err(ShopError::during(doing))?;
    }
    if found < known {
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(known)
            .execute(&mut *tx)
            .await
            .map_err(ShopError::during(doing))?;
    }
    tx.commit().await.map_err(ShopError::during(doing))
}

/// Whether the schema is this build's; nothing is changed.
///
/// # Errors
/// When it is another one, or none.
pub(super) async fn check(pool: &AnyPool) -> Result<(), ShopError> {
    let found: i64 =
        sqlx::query("SELECT version FROM schema_version ORDER BY version DESC LIMIT 1")
            .fetch_optional(pool)
            .await
            .and_then(|row| row.map_or(Ok(0), |row| row.try_get(0)))
            .map_err(ShopError::during("looking at its schema"))?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    match found.cmp(&known) {
        Ordering::Less => Err(ShopError::OlderSchema { found, known }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(ShopError::NewerSchema { found, known }),
    }
}

async fn version(tx: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)")
        .execute(&mut *tx)
        .await?;
    sqlx::query("SELECT version FROM schema_version ORDER BY version DESC LIMIT 1")
        .fetch_optional(&mut *tx)
        .await?
        .map_or(Ok(0), |row| row.try_get(0))
}

async fn run(tx: &mut AnyConnection, step: &'static str) -> Result<(), sqlx::Error> {
    for statement in step.split(';').map(str::trim).filter(|s| !s.is_empty()) {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_version_1_knew_is_kept_by_the_steps_after_it() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.sqlite");
        let pool = AnyPool::connect(&format!("sqlite://{}?mode=rwc", file.display()))
            .await
            .unwrap();
        let mut connection = pool.acquire().await.unwrap();
        version(&mut connection).await.unwrap();
        run(&mut connection, STEPS[0]).await.unwrap();
        for statement in [
            "INSERT INTO schema_version (version) VALUES (1)",
            "INSERT INTO payment VALUES ('p:T1', 'paypal', 'live', 'default', 'payment', 'T1', \
             'completed', 1, 0, 'EUR', '[]', 0, 0, 1)",
            "INSERT INTO event VALUES ('k', 'f', 'p:T1', 'completed', 'T1', 'ipn', 'm', 0, 0, \
             '{\"order\":{\"bound\":\"1001\"}}')",
            "INSERT INTO settled_order VALUES ('default', '1001', 'p:T1')",
        ] {
            sqlx::query(statement)
                .execute(&mut *connection)
                .await
                .unwrap();
        }
        drop(connection);
        apply(&pool, Dialect::Sqlite).await.unwrap();
        apply(&pool, Dialect::Sqlite).await.unwrap();
        let row = sqlx::query("SELECT subject FROM settlement WHERE order_ref = '1001'")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(row.get::<String, _>(0), "p:T1");
        let row = sqlx::query("SELECT COUNT(*) FROM capture, event WHERE about = ''")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(row.get::<i64, _>(0), 0);
        let mut connection = pool.acquire().await.unwrap();
        assert_eq!(
            version(&mut connection).await.unwrap(),
            i64::try_from(STEPS.len()).unwrap()
        );
    }
    #[tokio::test]
    async fn of_the_settlements_of_version_4_those_of_bound_orders_stay_one_an_order() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.sqlite");
        let pool = AnyPool::connect(&format!("sqlite://{}?mode=rwc", file.display()))
            .await
            .unwrap();
        let mut connection = pool.acquire().await.unwrap();
        version(&mut connection).await.unwrap();
        for step in &STEPS[..4] {
            run(&mut connection, step).await.unwrap();
        }
        sqlx::query("INSERT INTO schema_version (version) VALUES (4)")
            .execute(&mut *connection)
            .await
            .unwrap();
        for (nth, (txn, account, order, json)) in [
            ("T1", "eu", "1001", r#"{"order":{"bound":"1001"}}"#),
            ("T2", "us", "1001", r#"{"order":{"bound":"1001"}}"#),
            (
                "T3",
                "eu",
                "1002",
                r#"{"order":{"invoice":"1002","custom":"\"bound\":"}}"#,
            ),
        ]
        .into_iter()
        .enumerate()
        {
            for statement in [
                format!(
                    "INSERT INTO payment VALUES ('{txn}', 'paypal', 'live', '{account}', \
                     'payment', '{txn}', 'completed', 1, 0, 'EUR', '[]', 0, 0, 1)"
                ),
                format!(
                    "INSERT INTO event (key, fingerprint, subject, type, txn_id, source, \
                     message_id, received_at, applied_at, json) VALUES ('{txn}', 'f', '{txn}', \
                     'completed', '{txn}', 'ipn', 'm', 0, 0, '{json}')"
                ),
                format!("INSERT INTO settlement VALUES ('{account}', '{order}', '{txn}', {nth})"),
            ] {
                sqlx::query(AssertSqlSafe(statement))
                    .execute(&mut *connection)
                    .await
                    .unwrap();
            }
        }
        drop(connection);
        apply(&pool, Dialect::Sqlite).await.unwrap();
        let read = async |sql: &'static str| -> Vec<(String, String)> {
            let rows = sqlx::query(sql).fetch_all(&pool).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        };
        let settled = read("SELECT order_ref, subject FROM settlement").await;
        assert_eq!(settled, [("1001".to_owned(), "T1".to_owned())]);
        let named = read("SELECT invoice, subject FROM invoice_use").await;
        assert_eq!(named, [("1002".to_owned(), "T3".to_owned())]);
    }
}
