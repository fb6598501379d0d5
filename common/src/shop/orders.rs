//! Orders that the shop has registered: what a payment that names one must be worth. A row that was
//! registered never (`registered_at` is 0) has no terms: it stands for an order that is signed at
//! most, and is there to be locked and cancelled.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{Shop, ShopError, millis, row, time_text};
use crate::ids::{OrderId, Sku};
use crate::order::{Order, Quantities};

/// One line of `quittance orders list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderRow {
    /// The shop's own number.
    pub id: String,
    /// What is to be paid, such as `19.80`; empty of an order that was cancelled and never registered.
    pub total: String,
    /// ISO 4217; empty likewise.
    pub currency: String,
    /// What was ordered, as `SKU=QTY`; empty when the shop did not say.
    pub lines: Vec<String>,
    /// When it was registered; empty likewise.
    pub registered_at: String,
    /// The payment that settles it, as the books name it; empty until then.
    pub settled_by: String,
    /// When it was cancelled; empty when it was not.
    pub cancelled_at: String,
    /// By whom.
    pub cancelled_by: String,
    /// Why, if that was said.
    pub cancelled_because: String,
}

impl Shop {
    /// Registers orders. One that is there with the same terms is left as it is, so that an import
    /// can be repeated; one that was cancelled before it was registered stays cancelled. All or none.
    ///
    /// # Errors
    /// [`ShopError::OrderDiffers`] when one is there with other terms.
    pub async fn add_orders(&self, orders: &[Order], now: Timestamp) -> Result<(), ShopError> {
        let doing = "registering orders";
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(doing))?;
        for order in orders {
            let is_new = insert(&mut tx, order, now)
                .await
                .map_err(ShopError::during(doing))?;
            if !is_new && read_order(&mut tx, order.id.as_str()).await?.as_ref() != Some(order) {
                return Err(ShopError::OrderDiffers(order.id.to_string()));
            }
        }
        tx.commit().await.map_err(ShopError::during(doing))
    }

    /// The orders among `ids` that are registered, by id.
    pub async fn orders(
        &self,
        ids: &BTreeSet<OrderId>,
    ) -> Result<HashMap<OrderId, Order>, ShopError> {
        let doing = "looking orders up";
        let mut found = HashMap::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let pool = self.pool().await?;
        let mut connection = pool.acquire().await.map_err(ShopError::during(doing))?;
        for id in ids {
            if let Some(order) = read_order(&mut connection, id.as_str()).await? {
                found.insert(order.id.clone(), order);
            }
        }
        Ok(found)
    }

    /// Whether the shop has cancelled the order of that id, registered or not.
    pub async fn is_cancelled(&self, id: &OrderId) -> Result<bool, ShopError> {
        let doing = "looking an order up";
        let row = sqlx::query("SELECT cancelled_at FROM shop_order WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(self.pool().await?)
            .await
            .map_err(ShopError::during(doing))?;
        let Some(row) = row else {
            return Ok(false);
        };
        let at: i64 = row.try_get(0).map_err(ShopError::during(doing))?;
        Ok(at != 0)
    }

    /// Every registered order, and every other one that is cancelled, by id.
    pub async fn order_list(&self) -> Result<Vec<OrderRow>, ShopError> {
        let doing = "listing orders";
        let pool = self.pool().await?;
        let lines = sqlx::query(
            "SELECT order_id, sku, quantity FROM shop_order_line ORDER BY order_id, sku",
        )
        .fetch_all(pool)
        .await
        .map_err(ShopError::during(doing))?;
        let mut by_order: HashMap<String, Vec<String>> = HashMap::new();
        for line in &lines {
            let (order, text) = read_line(line).map_err(ShopError::during(doing))?;
            by_order.entry(order).or_default().push(text);
        }
        let rows = sqlx::query(
            "SELECT id, total_minor, currency, registered_at, COALESCE((SELECT MIN(subject) FROM \
             settlement WHERE order_ref = id), ''), cancelled_at, cancelled_by, cancelled_because \
             FROM shop_order WHERE registered_at <> 0 OR cancelled_at <> 0 ORDER BY id",
        )
        .fetch_all(pool)
        .await
        .map_err(ShopError::during(doing))?;
        rows.iter()
            .map(|row| {
                let mut row = read_row(row).map_err(ShopError::during(doing))?;
                row.lines = by_order.remove(&row.id).unwrap_or_default();
                Ok(row)
            })
            .collect()
    }
}

/// False when an order of that id is there.
async fn insert(
    connection: &mut AnyConnection,
    order: &Order,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "INSERT INTO shop_order (id, total_minor, currency, registered_at) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET \
         total_minor = excluded.total_minor, currency = excluded.currency, \
         registered_at = excluded.registered_at WHERE shop_order.registered_at = 0",
    )
    .bind(order.id.as_str())
    .bind(order.total.minor())
    .bind(order.total.currency().as_str())
    .bind(millis(now))
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    for (sku, quantity) in &order.lines {
        sqlx::query("INSERT INTO shop_order_line (order_id, sku, quantity) VALUES ($1, $2, $3)")
            .bind(order.id.as_str())
            .bind(sku.as_str())
            .bind(i64::try_from(*quantity).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
}

async fn read_order(connection: &mut AnyConnection, id: &str) -> Result<Option<Order>, ShopError> {
    let doing = "reading an order";
    let row = sqlx::query(
        "SELECT total_minor, currency FROM shop_order WHERE id = $1 AND registered_at <> 0",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(ShopError::during(doing))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let total = row::amount(&row, 0, 1, doing)?;
    let rows = sqlx::query("SELECT sku, quantity FROM shop_order_line WHERE order_id = $1")
        .bind(id)
        .fetch_all(&mut *connection)
        .await
        .map_err(ShopError::during(doing))?;
    let mut lines = Quantities::new();
    for row in &rows {
        let sku: String = row.try_get(0).map_err(ShopError::during(doing))?;
        let quantity: i64 = row.try_get(1).map_err(ShopError::during(doing))?;
        let sku: Sku = sku.parse().map_err(ShopError::unreadable("sku"))?;
        let quantity = u64::try_from(quantity).map_err(ShopError::unreadable("quantity"))?;
        lines.insert(sku, quantity);
    }
    Ok(Some(Order {
        id: id.parse().map_err(ShopError::unreadable("order"))?,
        total,
        lines,
    }))
}

fn read_line(row: &AnyRow) -> Result<(String, String), sqlx::Error> {
    let (sku, quantity): (String, i64) = (row.try_get(1)?, row.try_get(2)?);
    Ok((row.try_get(0)?, format!("{sku}={quantity}")))
}

fn read_row(row: &AnyRow) -> Result<OrderRow, sqlx::Error> {
    Ok(OrderRow {
        id: row.try_get(0)?,
        total: row::value(row::told_amount(row, 1, 2)?),
        currency: row.try_get(2)?,
        lines: Vec::new(),
        registered_at: time_text(row.try_get(3)?),
        settled_by: row.try_get(4)?,
        cancelled_at: time_text(row.try_get(5)?),
        cancelled_by: row.try_get(6)?,
        cancelled_because: row.try_get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;
    use crate::money::Money;
    use crate::settings::ShopDatabase;

    fn order(id: &str, minor: i64, lines: &[(&str, u64)]) -> Order {
        Order {
            id: id.parse().unwrap(),
            total: Money::from_minor(minor, "EUR".parse().unwrap()),
            lines: lines
                .iter()
                .map(|(s, n)| (s.parse().unwrap(), *n))
                .collect(),
        }
    }

    fn ids(ids: &[&str]) -> BTreeSet<OrderId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    async fn shop(folder: &tempfile::TempDir) -> Shop {
        let database = ShopDatabase::Sqlite(folder.path().join("shop.sqlite"));
        Shop::open(&database).await.unwrap()
    }

    #[tokio::test]
    async fn an_order_is_found_again_with_its_lines_and_an_unknown_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder).await;
        let order = order("1001", 1980, &[("MUG", 2)]);
        shop.add_orders(std::slice::from_ref(&order), now())
            .await
            .unwrap();
        let found = shop.orders(&ids(&["1001", "1002"])).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[&order.id], order);
        let listed = shop.order_list().await.unwrap().remove(0);
        assert_eq!(
            (listed.total.as_str(), listed.lines),
            ("19.80", vec!["MUG=2".to_owned()])
        );
    }

    #[tokio::test]
    async fn an_import_is_repeated_without_harm_and_never_changes_an_order() {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder).await;
        let first = order("1001", 1980, &[("MUG", 2)]);
        for _ in 0..2 {
            shop.add_orders(std::slice::from_ref(&first), now())
                .await
                .unwrap();
        }
        for other in [
            order("1001", 1, &[("MUG", 2)]),
            order("1001", 1980, &[("MUG", 3)]),
        ] {
            let both = [order("1002", 500, &[]), other];
            let error = shop.add_orders(&both, now()).await.unwrap_err();
            assert!(matches!(error, ShopError::OrderDiffers(id) if id == "1001"));
        }
        let found = shop.orders(&ids(&["1001", "1002"])).await.unwrap();
        assert_eq!(found.values().collect::<Vec<_>>(), [&first], "all or none");
    }
}
