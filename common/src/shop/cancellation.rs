//! Orders that the shop has cancelled: money for one of them is for a person.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::any::AnyRow;
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
    /// The same of an order that is not registered: it may be a signed one, or a slip of the pen.
    Unregistered,
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
    /// Cancels an order that no payment has settled, registered or not. Repeating it changes nothing.
    /// What a payment in progress holds of it is the caller's to take back: see
    /// [`Self::payments_for_order`].
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
        let order = lock_or_make(&mut tx, id.as_str()).await?;
        if let Some((by, at)) = order.cancelled {
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
        Ok(if order.is_registered {
            Cancelled::Now
        } else {
            Cancelled::Unregistered
        })
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
        // Of an order that a check has bound, signed perhaps and not registered, there is a row to
        // be locked. Anybody can write an invoice, which makes none.
        let bound: BTreeSet<&str> = events
            .iter()
            .filter_map(|event| event.data.order.claimed())
            .map(OrderId::as_str)
            .collect();
        let named: BTreeSet<&str> = events.iter().filter_map(PaymentEvent::order_ref).collect();
        let mut cancelled = false;
        for order in named {
            let locked = if bound.contains(order) {
                Some(lock_or_make(&mut self.tx, order).await?)
            } else {
                lock(&mut self.tx, order).await?
            };
            cancelled |= locked.is_some_and(|order| order.cancelled.is_some());
        }
        Ok(cancelled)
    }
}

/// What the row of an order says that is locked now.
struct Locked {
    /// Whether the shop has registered it. A row without terms is there to be locked, and to be
    /// cancelled.
    is_registered: bool,
    /// Who cancelled it and when, if somebody did.
    cancelled: Option<(String, String)>,
}

const LOCKING: &str = "locking an order";

/// Locks the row of an order; `None` when there is none.
async fn lock(connection: &mut AnyConnection, id: &str) -> Result<Option<Locked>, ShopError> {
    sqlx::query(
        "UPDATE shop_order SET revision = revision + 1 WHERE id = $1 \
         RETURNING registered_at, cancelled_at, cancelled_by",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
    .and_then(|row| row.as_ref().map(read_locked).transpose())
    .map_err(ShopError::during(LOCKING))
}

/// The same, with a row that is made where there is none: without terms, registered never.
async fn lock_or_make(connection: &mut AnyConnection, id: &str) -> Result<Locked, ShopError> {
    sqlx::query(
        "INSERT INTO shop_order (id, total_minor, currency, registered_at) VALUES ($1, 0, '', 0) \
         ON CONFLICT (id) DO UPDATE SET revision = shop_order.revision + 1 \
         RETURNING registered_at, cancelled_at, cancelled_by",
    )
    .bind(id)
    .fetch_one(connection)
    .await
    .and_then(|row| read_locked(&row))
    .map_err(ShopError::during(LOCKING))
}

fn read_locked(row: &AnyRow) -> Result<Locked, sqlx::Error> {
    let (registered_at, cancelled_at): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let by: String = row.try_get(2)?;
    Ok(Locked {
        is_registered: registered_at != 0,
        cancelled: (cancelled_at != 0).then(|| (by, time_text(cancelled_at))),
    })
}
