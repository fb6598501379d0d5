//! Orders that the shop has cancelled: money for one of them is for a person.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _};

use super::books::Books;
use super::{Shop, ShopError, SubjectKey, millis, time_text};
use crate::event::PaymentEvent;
use crate::ids::OrderId;

/// A person's word that an order is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCancellation {
    /// Who.
    pub by: String,
    /// Why; may be blank.
    pub because: String,
    /// When.
    pub at: Timestamp,
}

/// The answer to [`Shop::cancel_order`]. Every arm must be matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled from now on.
    Now,
    /// It was cancelled before: who, when and why stay as they were.
    Before {
        /// Who.
        by: String,
        /// When, RFC 3339.
        at: String,
    },
    /// A payment has settled it; nothing was changed.
    Paid {
        /// The payment's transaction id.
        txn_id: String,
        /// What became of the payment: `completed`, `refunded` ...
        status: String,
    },
}

const DOING: &str = "cancelling an order";

impl Shop {
    /// Cancels a registered order that no payment has settled. Repeating it changes nothing. What
    /// a payment in progress holds of it is the caller's to take back: see
    /// [`Self::payments_for_order`].
    ///
    /// # Errors
    /// [`ShopError::UnknownOrder`] when no order of that id is registered.
    pub async fn cancel_order(
        &self,
        id: &OrderId,
        word: &NewCancellation,
    ) -> Result<Cancelled, ShopError> {
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(DOING))?;
        // Whoever settles the order locks it first, so that one of both sees the other.
        let Some(before) = lock(&mut tx, id.as_str()).await? else {
            return Err(ShopError::UnknownOrder(id.to_string()));
        };
        if let Some((by, at)) = before {
            return Ok(Cancelled::Before { by, at });
        }
        let settled = sqlx::query(
            "SELECT p.txn_id, p.status FROM settlement s JOIN payment p ON p.subject = s.subject \
             WHERE s.order_ref = $1 ORDER BY s.at_ms, p.subject LIMIT 1",
        )
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(ShopError::during(DOING))?;
        if let Some(row) = settled {
            return Ok(Cancelled::Paid {
                txn_id: row.try_get(0).map_err(ShopError::during(DOING))?,
                status: row.try_get(1).map_err(ShopError::during(DOING))?,
            });
        }
        sqlx::query(
            "UPDATE shop_order SET cancelled_at = $1, cancelled_by = $2, cancelled_because = $3 \
             WHERE id = $4",
        )
        .bind(millis(word.at))
        .bind(word.by.as_str())
        .bind(word.because.as_str())
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .map_err(ShopError::during(DOING))?;
        tx.commit().await.map_err(ShopError::during(DOING))?;
        Ok(Cancelled::Now)
    }

    /// The payments that name this order, in the order of their names.
    pub async fn payments_for_order(&self, id: &str) -> Result<Vec<SubjectKey>, ShopError> {
        let doing = "looking for an order's payments";
        let rows =
            sqlx::query("SELECT DISTINCT subject FROM event WHERE order_ref = $1 ORDER BY subject")
                .bind(id)
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
}

impl Books {
    /// Whether an order that one of `events` names is cancelled. Locks those orders until the
    /// transaction ends; called before one is settled and before stock is moved, by everybody, so
    /// that locks are taken in one order.
    pub async fn order_is_cancelled(&mut self, events: &[PaymentEvent]) -> Result<bool, ShopError> {
        let named: BTreeSet<&str> = events.iter().filter_map(PaymentEvent::order_ref).collect();
        let mut cancelled = false;
        for order in named {
            cancelled |= matches!(lock(&mut self.tx, order).await?, Some(Some(_)));
        }
        Ok(cancelled)
    }
}

/// Locks an order. `None` when it is not registered; then who cancelled it and when, if somebody
/// did.
async fn lock(
    connection: &mut AnyConnection,
    id: &str,
) -> Result<Option<Option<(String, String)>>, ShopError> {
    let doing = "locking an order";
    let row = sqlx::query(
        "UPDATE shop_order SET revision = revision + 1 WHERE id = $1 \
         RETURNING cancelled_at, cancelled_by",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(ShopError::during(doing))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let at: i64 = row.try_get(0).map_err(ShopError::during(doing))?;
    let by: String = row.try_get(1).map_err(ShopError::during(doing))?;
    Ok(Some((at != 0).then(|| (by, time_text(at)))))
}
