//! Reservations that nothing has become of: which are too old, and a transaction to release one.

use jiff::Timestamp;
use sqlx::Row as _;

use super::books::Books;
use super::{Shop, ShopError, SubjectKey, millis};

/// The effect that notes that a payment's reservation was released because it had grown too old.
pub const EXPIRED: &str = "reservation_expired";

impl Shop {
    /// At most `limit` payments that have reserved before `before`, still hold something, and have
    /// not been released for their age; by name, those behind `after`.
    pub async fn stale_reservations(
        &self,
        before: Timestamp,
        after: Option<&SubjectKey>,
        limit: u32,
    ) -> Result<Vec<SubjectKey>, ShopError> {
        let doing = "looking for old reservations";
        let rows = sqlx::query(
            "SELECT e.subject FROM effect e WHERE e.effect = 'stock_reserved' AND e.at < $1 \
             AND EXISTS (SELECT 1 FROM stock_line l WHERE l.subject = e.subject \
             AND l.hold = 'reserved') \
             AND NOT EXISTS (SELECT 1 FROM effect x WHERE x.subject = e.subject \
             AND x.effect = $2) AND e.subject > $3 ORDER BY e.subject LIMIT $4",
        )
        .bind(millis(before))
        .bind(EXPIRED)
        .bind(after.map_or("", SubjectKey::as_str))
        .bind(i64::from(limit))
        .fetch_all(self.pool().await?)
        .await
        .map_err(ShopError::during(doing))?;
        rows.iter()
            .map(|row| {
                let full: String = row.try_get(0).map_err(ShopError::during(doing))?;
                SubjectKey::stored(&full)
            })
            .collect()
    }

    /// Starts a transaction on a row that is there, without an event, and locks it; `None` when
    /// it is gone.
    pub async fn begin_again(
        &self,
        subject: &SubjectKey,
        now: Timestamp,
    ) -> Result<Option<Books>, ShopError> {
        let doing = "locking the payment";
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(doing))?;
        let locked = sqlx::query("UPDATE payment SET revision = revision + 1 WHERE subject = $1")
            .bind(subject.as_str())
            .execute(&mut *tx)
            .await
            .map_err(ShopError::during(doing))?;
        Ok((locked.rows_affected() == 1).then(|| Books {
            tx,
            subject: subject.clone(),
            event: String::new(),
            now,
            absorbed: Vec::new(),
        }))
    }
}
