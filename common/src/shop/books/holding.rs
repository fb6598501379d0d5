//! What one payment holds of each product, and the numbers and the ledger that go with it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::Books;
use crate::ids::Sku;
use crate::shop::stock::{self, Hold, Level, LineHold, Movement};
use crate::shop::{ShopError, millis};

/// What [`Books::hold`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StockChange {
    /// How many items each kind of movement moved; empty when nothing had to be done.
    pub moved: BTreeMap<Movement, i64>,
}

impl Books {
    /// Brings what the subject holds of each of `lines` to `target`, and of everything else that
    /// it held to nothing. Products are locked in the order of their sku, so that two carts
    /// never wait for each other.
    pub async fn hold(
        &mut self,
        lines: &BTreeMap<Sku, i64>,
        target: Hold,
    ) -> Result<StockChange, ShopError> {
        let held = self.lines().await?;
        let skus: BTreeSet<&str> = lines
            .keys()
            .map(Sku::as_str)
            .chain(held.keys().map(String::as_str))
            .collect();
        let wanted: BTreeMap<&str, i64> = lines.iter().map(|(s, n)| (s.as_str(), *n)).collect();
        let mut change = StockChange::default();
        for sku in skus {
            let line = held.get(sku).copied().unwrap_or(LineHold::NOTHING);
            let (target, quantity) = wanted
                .get(sku)
                .map_or((Hold::Nothing, 0), |quantity| (target, *quantity));
            for (movement, count) in self.hold_one(sku, line, target, quantity).await? {
                let total = change.moved.entry(movement).or_default();
                *total = total.saturating_add(count);
            }
        }
        Ok(change)
    }

    /// How many of each item are sold: taken from our own tables, or asked of a shop that counts its
    /// own stock.
    pub async fn sold(&mut self) -> Result<BTreeMap<String, i64>, ShopError> {
        let doing = "reading what is sold";
        sqlx::query(
            "SELECT sku, quantity FROM stock_line WHERE subject = $1 \
             AND hold IN ('taken', 'asked_taken')",
        )
        .bind(self.subject.as_str())
        .fetch_all(&mut *self.tx)
        .await
        .and_then(|rows| {
            let pair = |row: &AnyRow| Ok((row.try_get(0)?, row.try_get(1)?));
            rows.iter().map(pair).collect()
        })
        .map_err(ShopError::during(doing))
    }

    /// Puts back what `lines` hold, which no row of the subject's remembers any more: see
    /// [`crate::shop::Absorbed`]. Products are locked in the order of their sku.
    pub async fn give_back(&mut self, lines: &BTreeMap<String, LineHold>) -> Result<(), ShopError> {
        for (sku, line) in lines.iter().filter(|(_, line)| line.counts_something()) {
            let Some(level) = self.lock_product(sku).await? else {
                continue;
            };
            let (after, _, moves) = stock::settle(level, *line, Hold::Nothing, 0);
            self.write_level(sku, after).await?;
            for (movement, count) in moves {
                self.write_move(sku, movement, count).await?;
            }
        }
        Ok(())
    }

    /// What the state of the lines wants a person to see: `backorder`, `unknown_item`,
    /// `reservation_short`.
    pub async fn stock_flags(&mut self) -> Result<BTreeSet<String>, ShopError> {
        let doing = "reading what the payment holds";
        let rows = sqlx::query(
            "SELECT hold, quantity, known, reserved, backordered FROM stock_line \
             WHERE subject = $1",
        )
        .bind(self.subject.as_str())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(ShopError::during(doing))?;
        let mut flags = BTreeSet::new();
        for row in &rows {
            line_flags(row, &mut flags).map_err(ShopError::during(doing))?;
        }
        Ok(flags)
    }

    /// Whether all of `lines` is set aside for the subject.
    pub async fn reserves(&mut self, lines: &BTreeMap<Sku, i64>) -> Result<bool, ShopError> {
        let held = self.lines().await?;
        let is_reserved = |(sku, quantity): (&Sku, &i64)| {
            held.get(sku.as_str())
                .is_some_and(|line| line.hold == Hold::Reserved && line.reserved >= *quantity)
        };
        Ok(!lines.is_empty() && lines.iter().all(is_reserved))
    }

    pub(in crate::shop) async fn lines(&mut self) -> Result<BTreeMap<String, LineHold>, ShopError> {
        let doing = "reading what the payment holds";
        sqlx::query(
            "SELECT sku, hold, quantity, reserved, taken, backordered FROM stock_line \
             WHERE subject = $1",
        )
        .bind(self.subject.as_str())
        .fetch_all(&mut *self.tx)
        .await
        .and_then(|rows| rows.iter().map(read_line).collect())
        .map_err(ShopError::during(doing))
    }

    async fn hold_one(
        &mut self,
        sku: &str,
        line: LineHold,
        target: Hold,
        quantity: i64,
    ) -> Result<Vec<(Movement, i64)>, ShopError> {
        let Some(level) = self.lock_product(sku).await? else {
            // Nothing to count; the line remembers that it was asked for.
            let (_, next, _) = stock::settle(Level::default(), line, target, quantity);
            let uncounted = LineHold {
                hold: next.hold,
                quantity: next.quantity,
                ..LineHold::NOTHING
            };
            self.write_line(sku, uncounted, false).await?;
            return Ok(Vec::new());
        };
        let (after, next, moves) = stock::settle(level, line, target, quantity);
        if next != line {
            self.write_level(sku, after).await?;
            self.write_line(sku, next, true).await?;
            for (movement, count) in &moves {
                self.write_move(sku, *movement, *count).await?;
            }
        }
        Ok(moves)
    }

    /// The product's numbers, locked; `None` when the catalogue does not have it.
    async fn lock_product(&mut self, sku: &str) -> Result<Option<Level>, ShopError> {
        sqlx::query(
            "UPDATE product SET revision = revision + 1 WHERE sku = $1 \
             RETURNING on_hand, reserved, backordered",
        )
        .bind(sku)
        .fetch_optional(&mut *self.tx)
        .await
        .and_then(|row| row.as_ref().map(read_level).transpose())
        .map_err(ShopError::during("locking a product"))
    }

    async fn write_level(&mut self, sku: &str, level: Level) -> Result<(), ShopError> {
        sqlx::query(
            "UPDATE product SET on_hand = $1, reserved = $2, backordered = $3 WHERE sku = $4",
        )
        .bind(level.on_hand)
        .bind(level.reserved)
        .bind(level.backordered)
        .bind(sku)
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during("writing a product"))?;
        Ok(())
    }

    async fn write_line(
        &mut self,
        sku: &str,
        line: LineHold,
        known: bool,
    ) -> Result<(), ShopError> {
        sqlx::query(
            "INSERT INTO stock_line (subject, sku, hold, quantity, known, reserved, taken, \
             backordered) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (subject, sku) DO UPDATE SET hold = excluded.hold, \
             quantity = excluded.quantity, known = excluded.known, reserved = excluded.reserved, \
             taken = excluded.taken, backordered = excluded.backordered",
        )
        .bind(self.subject.as_str())
        .bind(sku)
        .bind(line.hold.as_str())
        .bind(line.quantity)
        .bind(i64::from(known))
        .bind(line.reserved)
        .bind(line.taken)
        .bind(line.backordered)
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during("writing what the payment holds"))?;
        Ok(())
    }

    async fn write_move(
        &mut self,
        sku: &str,
        movement: Movement,
        count: i64,
    ) -> Result<(), ShopError> {
        sqlx::query(
            "INSERT INTO stock_move (subject, event_key, sku, movement, quantity, at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(self.subject.as_str())
        .bind(self.event.as_str())
        .bind(sku)
        .bind(movement.as_str())
        .bind(count)
        .bind(millis(self.now))
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during("writing the ledger"))?;
        Ok(())
    }
}

fn read_line(row: &AnyRow) -> Result<(String, LineHold), sqlx::Error> {
    let hold: String = row.try_get(1)?;
    let line = LineHold {
        hold: Hold::parse(&hold),
        quantity: row.try_get(2)?,
        reserved: row.try_get(3)?,
        taken: row.try_get(4)?,
        backordered: row.try_get(5)?,
    };
    Ok((row.try_get(0)?, line))
}

fn read_level(row: &AnyRow) -> Result<Level, sqlx::Error> {
    Ok(Level {
        on_hand: row.try_get(0)?,
        reserved: row.try_get(1)?,
        backordered: row.try_get(2)?,
    })
}

fn line_flags(row: &AnyRow, flags: &mut BTreeSet<String>) -> Result<(), sqlx::Error> {
    let hold: String = row.try_get(0)?;
    let quantity: i64 = row.try_get(1)?;
    let known: i64 = row.try_get(2)?;
    let reserved: i64 = row.try_get(3)?;
    let backordered: i64 = row.try_get(4)?;
    if known == 0 {
        flags.insert("unknown_item".to_owned());
    } else if Hold::parse(&hold) == Hold::Reserved && reserved < quantity {
        flags.insert("reservation_short".to_owned());
    }
    if backordered > 0 {
        flags.insert("backorder".to_owned());
    }
    Ok(())
}
