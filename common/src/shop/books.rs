//! One transaction on the books of one subject: record the event, see all of its events, move
//! stock, note effects, queue what is to be announced, and commit it all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Row as _, Transaction};

use super::outbox::Outgoing;
use super::stock::{self, Hold, Level, LineHold, Movement};
use super::{Shop, ShopError, SubjectKey, family, millis};
use crate::event::PaymentEvent;
use crate::ids::{AccountId, Sku};
use crate::money::Money;

/// The answer to [`Books::record`]. Every arm must be matched: a duplicate cannot be overlooked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It was not there; now it is, once this transaction is committed.
    New,
    /// The same event, with the same meaning, was recorded before.
    Duplicate,
    /// An event of that key was recorded before, with another meaning.
    Conflict,
}

/// The answer to [`Books::settle_order`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The subject settles the order, now or since before.
    Settled,
    /// Another payment has settled the order.
    AlreadyPaid,
    /// The subject has settled another order.
    AnotherOrder,
}

impl Settlement {
    /// What a person should see; `None` when all is well.
    pub const fn flag(self) -> Option<&'static str> {
        match self {
            Self::Settled => None,
            Self::AlreadyPaid => Some("order_already_paid"),
            Self::AnotherOrder => Some("settles_another_order"),
        }
    }
}

/// What the books say about a payment after all of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentRecord {
    /// The status in words, lower case.
    pub status: &'static str,
    /// What was paid, or is to be.
    pub amount: Option<Money>,
    /// How much of it was given back, in the same currency.
    pub refunded: Option<Money>,
    /// What a person should see, as reason codes.
    pub flags: BTreeSet<String>,
}

/// What [`Books::hold`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StockChange {
    /// How many items each kind of movement moved; empty when nothing had to be done.
    pub moved: BTreeMap<Movement, i64>,
}

/// An open transaction that holds the lock of one subject. Dropped without
/// [`Self::commit`], it leaves no trace.
#[derive(Debug)]
pub struct Books {
    pub(super) tx: Transaction<'static, Any>,
    pub(super) subject: SubjectKey,
    /// What changes are put down to: the event's key, or blank.
    pub(super) event: String,
    pub(super) now: Timestamp,
}

impl Shop {
    /// Starts a transaction for `event` and takes the lock of its subject: until it ends, nobody
    /// else changes that subject. The subject of a capture is its authorisation, so that goods
    /// which the one reserved are not taken a second time by the other. The first statement writes, so that `SQLite` takes its write
    /// lock before anything is read, and `PostgreSQL` the row's.
    pub async fn begin(&self, event: &PaymentEvent, now: Timestamp) -> Result<Books, ShopError> {
        let doing = "locking the payment";
        let subject = SubjectKey::of(event);
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(doing))?;
        family::lock(&mut tx, &subject, event).await?;
        let mut books = Books {
            tx,
            subject,
            event: event.key.to_string(),
            now,
        };
        books.go_to_authorization(event).await?;
        Ok(books)
    }
}

impl Books {
    /// The subject that is locked.
    pub const fn subject(&self) -> &SubjectKey {
        &self.subject
    }

    /// Writes the event down unless its key is there.
    pub async fn record(&mut self, event: &PaymentEvent) -> Result<Recorded, ShopError> {
        let doing = "recording the event";
        let json = event
            .to_json()
            .map_err(ShopError::unreadable("payment event"))?;
        let json = String::from_utf8(json).map_err(ShopError::unreadable("payment event"))?;
        let about = SubjectKey::about(event);
        let inserted = sqlx::query(
            "INSERT INTO event (key, fingerprint, subject, type, txn_id, source, message_id, \
             received_at, applied_at, json, about) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (key) DO NOTHING",
        )
        .bind(event.key.as_str())
        .bind(event.fingerprint.as_str())
        .bind(self.subject.as_str())
        .bind(event.event_type.as_str())
        .bind(event.data.txn_id.as_ref().map_or("", |txn| txn.as_str()))
        .bind(event.data.source.as_str())
        .bind(event.data.message_id.to_string())
        .bind(millis(event.received_at))
        .bind(millis(self.now))
        .bind(json)
        .bind(about.as_ref().map_or("", SubjectKey::as_str))
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during(doing))?;
        if inserted.rows_affected() == 1 {
            return Ok(Recorded::New);
        }
        let stored: String = sqlx::query("SELECT fingerprint FROM event WHERE key = $1")
            .bind(event.key.as_str())
            .fetch_one(&mut *self.tx)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(ShopError::during(doing))?;
        Ok(if stored == event.fingerprint.as_str() {
            Recorded::Duplicate
        } else {
            Recorded::Conflict
        })
    }

    /// Every event of the subject, this one included, in no particular order.
    pub async fn events(&mut self) -> Result<Vec<PaymentEvent>, ShopError> {
        events_of(&mut self.tx, &self.subject).await
    }

    /// The names of the effects that the subject has had.
    pub async fn effects(&mut self) -> Result<BTreeSet<String>, ShopError> {
        let doing = "reading the effects";
        sqlx::query("SELECT effect FROM effect WHERE subject = $1")
            .bind(self.subject.as_str())
            .fetch_all(&mut *self.tx)
            .await
            .and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect())
            .map_err(ShopError::during(doing))
    }

    /// Notes an effect; false when the subject has had it before, and then nothing may be done.
    pub async fn note_effect(&mut self, effect: &str) -> Result<bool, ShopError> {
        let done = sqlx::query(
            "INSERT INTO effect (subject, effect, event_key, at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (subject, effect) DO NOTHING",
        )
        .bind(self.subject.as_str())
        .bind(effect)
        .bind(self.event.as_str())
        .bind(millis(self.now))
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during("noting an effect"))?;
        Ok(done.rows_affected() == 1)
    }

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

    /// Notes that the subject settles an order of `account`. Unique both ways: an order is settled
    /// by one subject, and a subject settles one order. Called before stock is moved, by everybody,
    /// so that locks are taken in one order.
    pub async fn settle_order(
        &mut self,
        account: &AccountId,
        order: &str,
    ) -> Result<Settlement, ShopError> {
        let doing = "settling an order";
        sqlx::query(
            "INSERT INTO settlement (account, order_ref, subject, at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(account.as_str())
        .bind(order)
        .bind(self.subject.as_str())
        .bind(millis(self.now))
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during(doing))?;
        let settled_by: Option<String> =
            sqlx::query("SELECT subject FROM settlement WHERE account = $1 AND order_ref = $2")
                .bind(account.as_str())
                .bind(order)
                .fetch_optional(&mut *self.tx)
                .await
                .and_then(|row| row.map(|row| row.try_get(0)).transpose())
                .map_err(ShopError::during(doing))?;
        Ok(match settled_by {
            Some(subject) if subject == self.subject.as_str() => Settlement::Settled,
            Some(_) => Settlement::AlreadyPaid,
            None => Settlement::AnotherOrder,
        })
    }

    /// Writes what the books say about the subject now.
    pub async fn save(&mut self, record: &PaymentRecord) -> Result<(), ShopError> {
        save(&mut self.tx, &self.subject, record, self.now).await
    }

    /// Queues something to be published once this transaction is committed. Its id makes it
    /// unique: queued twice, it is published once.
    pub async fn enqueue(&mut self, outgoing: &Outgoing) -> Result<(), ShopError> {
        outgoing
            .insert(&mut self.tx, self.subject.as_str(), self.now)
            .await
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// After an error the outcome may be unknown (a lost reply): repeat from [`Shop::begin`],
    /// and [`Self::record`] tells.
    pub async fn commit(self) -> Result<(), ShopError> {
        self.tx
            .commit()
            .await
            .map_err(ShopError::during("committing"))
    }

    /// Forgets everything.
    pub async fn roll_back(self) -> Result<(), ShopError> {
        self.tx
            .rollback()
            .await
            .map_err(ShopError::during("rolling back"))
    }

    async fn lines(&mut self) -> Result<BTreeMap<String, LineHold>, ShopError> {
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

/// Every event of `subject`, and every event of others that tells about it, in no particular
/// order.
pub(super) async fn events_of(
    connection: &mut AnyConnection,
    subject: &SubjectKey,
) -> Result<Vec<PaymentEvent>, ShopError> {
    let doing = "reading the events";
    let rows = sqlx::query("SELECT json FROM event WHERE subject = $1 OR about = $1")
        .bind(subject.as_str())
        .fetch_all(connection)
        .await
        .map_err(ShopError::during(doing))?;
    rows.iter()
        .map(|row| {
            let json: String = row.try_get(0).map_err(ShopError::during(doing))?;
            PaymentEvent::from_json(json.as_bytes()).map_err(ShopError::unreadable("payment event"))
        })
        .collect()
}

/// Writes what the books say about `subject` now.
pub(super) async fn save(
    connection: &mut AnyConnection,
    subject: &SubjectKey,
    record: &PaymentRecord,
    now: Timestamp,
) -> Result<(), ShopError> {
    let flags =
        serde_json::to_string(&record.flags).map_err(ShopError::unreadable("list of flags"))?;
    let currency = record.amount.or(record.refunded).map(Money::currency);
    sqlx::query(
        "UPDATE payment SET status = $1, amount_minor = $2, refunded_minor = $3, \
         currency = $4, flags = $5, last_at = $6 WHERE subject = $7",
    )
    .bind(record.status)
    .bind(record.amount.map_or(0, Money::minor))
    .bind(record.refunded.map_or(0, Money::minor))
    .bind(currency.as_ref().map_or("", |currency| currency.as_str()))
    .bind(flags)
    .bind(millis(now))
    .bind(subject.as_str())
    .execute(connection)
    .await
    .map_err(ShopError::during("writing the payment"))?;
    Ok(())
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
