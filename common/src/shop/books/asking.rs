//! What a shop that counts its own stock was asked to hold for one payment: kept in the same rows as
//! what our own tables hold, under words of its own, so that neither is taken for the other.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::Books;
use crate::ids::Sku;
use crate::shop::ShopError;
use crate::shop::stock::Hold;

/// What the shop was asked to hold of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// In which way.
    pub hold: Hold,
    /// How many; 0 where nothing is held.
    pub quantity: i64,
}

/// The same of every item that it was asked about.
pub type AskedLines = BTreeMap<Sku, Asked>;

/// The word for a way of holding that was asked for.
const fn word(hold: Hold) -> &'static str {
    match hold {
        Hold::Nothing => "nothing",
        Hold::Reserved => "asked_reserved",
        Hold::Taken => "asked_taken",
    }
}

impl Books {
    /// What the shop was asked to hold and was not asked to give back.
    pub async fn asked(&mut self) -> Result<AskedLines, ShopError> {
        let doing = "reading what the shop was asked for";
        let rows = sqlx::query(
            "SELECT sku, hold, quantity FROM stock_line WHERE subject = $1 \
             AND hold IN ('asked_reserved', 'asked_taken')",
        )
        .bind(self.subject.as_str())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(ShopError::during(doing))?;
        rows.iter()
            .map(|row| {
                let (sku, asked) = read(row).map_err(ShopError::during(doing))?;
                let sku = sku.parse().map_err(ShopError::unreadable("sku"))?;
                Ok((sku, asked))
            })
            .collect()
    }

    /// Notes what the shop is asked to hold of one item from now on. What our own tables hold of it,
    /// from a time when they counted, stays noted beside it.
    pub async fn note_asked(&mut self, sku: &Sku, asked: Asked) -> Result<(), ShopError> {
        sqlx::query(
            "INSERT INTO stock_line (subject, sku, hold, quantity, known, reserved, taken, \
             backordered) VALUES ($1, $2, $3, $4, 1, 0, 0, 0) \
             ON CONFLICT (subject, sku) DO UPDATE SET hold = excluded.hold, \
             quantity = excluded.quantity",
        )
        .bind(self.subject.as_str())
        .bind(sku.as_str())
        .bind(word(asked.hold))
        .bind(asked.quantity)
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during("noting what the shop is asked for"))?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<(String, Asked), sqlx::Error> {
    let hold: String = row.try_get(1)?;
    let hold = if hold == word(Hold::Taken) {
        Hold::Taken
    } else {
        Hold::Reserved
    };
    let quantity = row.try_get(2)?;
    Ok((row.try_get(0)?, Asked { hold, quantity }))
}
