//! Which payment settles which order, and which has named an invoice first.

use sqlx::Row as _;

use super::Books;
use crate::ids::AccountId;
use crate::shop::subject::bounded;
use crate::shop::{ShopError, SubjectKey, millis};

/// The answer to [`Books::settle_order`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The subject settles the order, now or since before.
    Settled,
    /// Another payment of the subject's series has settled the order: it is a renewal.
    Renewed,
    /// Another payment has settled the order.
    AlreadyPaid,
    /// The subject has settled another order.
    AnotherOrder,
}

impl Settlement {
    /// What a person should see; `None` when all is well.
    pub const fn flag(self) -> Option<&'static str> {
        match self {
            Self::Settled | Self::Renewed => None,
            Self::AlreadyPaid => Some("order_already_paid"),
            Self::AnotherOrder => Some("settles_another_order"),
        }
    }
}

const DOING: &str = "settling an order";

impl Books {
    /// Notes that the subject settles an order. Unique both ways, over all accounts (they share
    /// orders, products and stock): an order is settled by one subject, and a subject settles one
    /// order. The payments of one `series` (a subscription's row) count as one: whichever comes
    /// first settles the order for all of them. Called before stock is moved, by everybody, so that
    /// locks are taken in one order.
    pub async fn settle_order(
        &mut self,
        order: &str,
        series: Option<&SubjectKey>,
    ) -> Result<Settlement, ShopError> {
        sqlx::query(
            "INSERT INTO settlement (order_ref, subject, at_ms) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING",
        )
        .bind(order)
        .bind(self.subject.as_str())
        .bind(millis(self.now))
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during(DOING))?;
        match self.settled_by(order).await? {
            Some(subject) if subject == self.subject.as_str() => Ok(Settlement::Settled),
            Some(other) if self.is_of_series(&other, series).await? => Ok(Settlement::Renewed),
            Some(_) => Ok(Settlement::AlreadyPaid),
            None => Ok(Settlement::AnotherOrder),
        }
    }

    /// Whether another payment than the subject, and than those of its `series`, has settled an
    /// order. Changes nothing.
    pub async fn is_settled_by_another(
        &mut self,
        order: &str,
        series: Option<&SubjectKey>,
    ) -> Result<bool, ShopError> {
        match self.settled_by(order).await? {
            Some(subject) if subject != self.subject.as_str() => {
                Ok(!self.is_of_series(&subject, series).await?)
            }
            _ => Ok(false),
        }
    }

    /// The order that the subject has settled can be settled by another payment again.
    pub async fn free_order(&mut self) -> Result<(), ShopError> {
        sqlx::query("DELETE FROM settlement WHERE subject = $1")
            .bind(self.subject.as_str())
            .execute(&mut *self.tx)
            .await
            .map_err(ShopError::during("freeing an order"))?;
        Ok(())
    }

    /// Notes that the subject names an invoice which no check has bound to an order; false when
    /// another payment of that account has named it before. Invoices and orders are two name
    /// spaces: anybody can write an invoice.
    pub async fn use_invoice(
        &mut self,
        account: &AccountId,
        invoice: &str,
    ) -> Result<bool, ShopError> {
        let doing = "noting an invoice";
        // PostgreSQL stores no text with a zero character, and a stranger may send one.
        let invoice = invoice.replace('\0', "\u{fffd}");
        let invoice = &*bounded(&invoice);
        sqlx::query(
            "INSERT INTO invoice_use (account, invoice, subject, at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(account.as_str())
        .bind(invoice)
        .bind(self.subject.as_str())
        .bind(millis(self.now))
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during(doing))?;
        let used_by: String =
            sqlx::query("SELECT subject FROM invoice_use WHERE account = $1 AND invoice = $2")
                .bind(account.as_str())
                .bind(invoice)
                .fetch_one(&mut *self.tx)
                .await
                .and_then(|row| row.try_get(0))
                .map_err(ShopError::during(doing))?;
        Ok(used_by == self.subject.as_str())
    }

    /// Whether the payment `subject` belongs to that series.
    async fn is_of_series(
        &mut self,
        subject: &str,
        series: Option<&SubjectKey>,
    ) -> Result<bool, ShopError> {
        let Some(series) = series else {
            return Ok(false);
        };
        let found = sqlx::query("SELECT 1 FROM event WHERE subject = $1 AND about = $2 LIMIT 1")
            .bind(subject)
            .bind(series.as_str())
            .fetch_optional(&mut *self.tx)
            .await
            .map_err(ShopError::during(DOING))?;
        Ok(found.is_some())
    }

    async fn settled_by(&mut self, order: &str) -> Result<Option<String>, ShopError> {
        sqlx::query("SELECT subject FROM settlement WHERE order_ref = $1")
            .bind(order)
            .fetch_optional(&mut *self.tx)
            .await
            .and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(ShopError::during(DOING))
    }
}
