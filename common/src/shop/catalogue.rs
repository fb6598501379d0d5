//! Products: what they cost, how many there are, and the operator's changes to both.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::variants::{self, VariantChanges};
use super::{Shop, ShopError, millis, row};
use crate::ids::Sku;
use crate::money::Money;
use crate::order::link::{Offer, Offers};

/// One line of `quittance stock list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StockRow {
    /// The shop's name for it.
    pub sku: String,
    /// On the shelf.
    pub on_hand: i64,
    /// Of those, held by pending payments.
    pub reserved: i64,
    /// Paid for and not there.
    pub backordered: i64,
    /// For people.
    pub name: String,
    /// What one costs, such as `19.95`.
    pub price: String,
    /// ISO 4217.
    pub currency: String,
    /// The item that it is a variant of; blank when it is none.
    pub item_number: String,
    /// The options that select it, in canonical form: `colour=red;size=l`.
    pub options: String,
}

/// A product to be imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductRow {
    /// The shop's name for it: `item_number` at the gateway.
    pub sku: Sku,
    /// For people.
    pub name: String,
    /// What one costs.
    pub price: Money,
    /// How many there are.
    pub on_hand: u32,
}

impl Shop {
    /// Every product, by sku.
    pub async fn stock(&self) -> Result<Vec<StockRow>, ShopError> {
        let rows = sqlx::query(
            "SELECT p.sku, p.on_hand, p.reserved, p.backordered, p.name, p.price_minor, p.currency, \
             COALESCE(v.item, ''), COALESCE(v.options, '') \
             FROM product p LEFT JOIN product_variant v ON v.sku = p.sku ORDER BY p.sku",
        )
        .fetch_all(self.pool().await?)
        .await
        .map_err(ShopError::during("listing the stock"))?;
        rows.iter()
            .map(|row| read_stock(row).map_err(ShopError::during("listing the stock")))
            .collect()
    }

    /// Sets how many of a product are on the shelf; what is reserved and owed stays.
    ///
    /// # Errors
    /// [`ShopError::UnknownSku`] when there is no such product.
    pub async fn set_stock(
        &self,
        sku: &Sku,
        on_hand: u32,
        now: Timestamp,
    ) -> Result<(), ShopError> {
        let doing = "setting the stock";
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(doing))?;
        let changed =
            sqlx::query("UPDATE product SET on_hand = $1, revision = revision + 1 WHERE sku = $2")
                .bind(i64::from(on_hand))
                .bind(sku.as_str())
                .execute(&mut *tx)
                .await
                .map_err(ShopError::during(doing))?;
        if changed.rows_affected() == 0 {
            return Err(ShopError::UnknownSku(sku.to_string()));
        }
        write_operator_move(&mut tx, sku, on_hand, now)
            .await
            .map_err(ShopError::during(doing))?;
        tx.commit().await.map_err(ShopError::during(doing))
    }

    /// Adds or replaces products: name, price and number on the shelf. What is reserved and owed
    /// stays, and so does what they are variants of. All rows or none.
    pub async fn import_products(
        &self,
        rows: &[ProductRow],
        now: Timestamp,
    ) -> Result<(), ShopError> {
        self.import_catalogue(rows, &VariantChanges::new(), now)
            .await
    }

    /// The same, with what products among `rows` are variants of. All of it or nothing.
    ///
    /// # Errors
    /// [`ShopError::Variants`] and [`ShopError::VariantOfVariant`] when options would no longer say
    /// which product is meant.
    pub async fn import_catalogue(
        &self,
        rows: &[ProductRow],
        variants: &VariantChanges,
        now: Timestamp,
    ) -> Result<(), ShopError> {
        let doing = "importing products";
        let mut sorted: Vec<&ProductRow> = rows.iter().collect();
        // The order in which payments lock products, so that an import waits instead of deadlocking.
        sorted.sort_by(|a, b| a.sku.cmp(&b.sku));
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(doing))?;
        for row in sorted {
            upsert(&mut tx, row)
                .await
                .map_err(ShopError::during(doing))?;
            write_operator_move(&mut tx, &row.sku, row.on_hand, now)
                .await
                .map_err(ShopError::during(doing))?;
        }
        variants::write(&mut tx, variants).await?;
        tx.commit().await.map_err(ShopError::during(doing))
    }

    /// What each of `skus` costs; a product that is not there is missing from the answer.
    pub async fn prices(&self, skus: &[Sku]) -> Result<HashMap<Sku, Money>, ShopError> {
        let offers = self.offers(skus.iter()).await?;
        let prices = offers.into_iter().map(|(sku, offer)| (sku, offer.price));
        Ok(prices.collect())
    }

    /// Name and price of each of `skus`; a product that is not there is missing from the answer.
    pub async fn offers(&self, skus: impl Iterator<Item = &Sku>) -> Result<Offers, ShopError> {
        let doing = "looking products up";
        let pool = self.pool().await?;
        let mut offers = Offers::new();
        for sku in skus {
            let row = sqlx::query("SELECT name, price_minor, currency FROM product WHERE sku = $1")
                .bind(sku.as_str())
                .fetch_optional(pool)
                .await
                .map_err(ShopError::during(doing))?;
            if let Some(row) = row {
                let offer = Offer {
                    name: row.try_get(0).map_err(ShopError::during(doing))?,
                    price: row::amount(&row, 1, 2, doing)?,
                };
                offers.insert(sku.clone(), offer);
            }
        }
        Ok(offers)
    }
}

async fn upsert(connection: &mut AnyConnection, row: &ProductRow) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO product (sku, name, price_minor, currency, on_hand, reserved, backordered, \
         revision) VALUES ($1, $2, $3, $4, $5, 0, 0, 1) \
         ON CONFLICT (sku) DO UPDATE SET name = excluded.name, \
         price_minor = excluded.price_minor, currency = excluded.currency, \
         on_hand = excluded.on_hand, revision = product.revision + 1",
    )
    .bind(row.sku.as_str())
    .bind(row.name.as_str())
    .bind(row.price.minor())
    .bind(row.price.currency().as_str())
    .bind(i64::from(row.on_hand))
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_operator_move(
    connection: &mut AnyConnection,
    sku: &Sku,
    on_hand: u32,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO stock_move (subject, event_key, sku, movement, quantity, at) \
         VALUES ('', '', $1, 'stock_set', $2, $3)",
    )
    .bind(sku.as_str())
    .bind(i64::from(on_hand))
    .bind(millis(now))
    .execute(connection)
    .await?;
    Ok(())
}

fn read_stock(row: &AnyRow) -> Result<StockRow, sqlx::Error> {
    Ok(StockRow {
        sku: row.try_get(0)?,
        on_hand: row.try_get(1)?,
        reserved: row.try_get(2)?,
        backordered: row.try_get(3)?,
        name: row.try_get(4)?,
        price: row::value(row::told_amount(row, 5, 6)?),
        currency: row.try_get(6)?,
        item_number: row.try_get(7)?,
        options: row.try_get(8)?,
    })
}
