//! The tables, and how they come to be there exactly once however many processes start together.

use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row as _};

use super::{Dialect, ShopError};

/// The steps: version N is reached by running step N. Only ever appended to.
const STEPS: [&str; 4] = [
    include_str!("schema/v1.sql"),
    include_str!("schema/v2.sql"),
    include_str!("schema/v3.sql"),
    include_str!("schema/v4.sql"),
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
        assert_eq!(version(&mut connection).await.unwrap(), 4);
    }
}
