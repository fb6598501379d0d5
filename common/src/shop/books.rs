//! One transaction on the books of one subject: record the event, see all of its events, move
//! stock, note effects, queue what is to be announced, and commit it all or nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{Any, AnyConnection, Row as _, Transaction};

use super::family::Absorbed;
use super::outbox::Outgoing;
use super::{NewDecision, Shop, ShopError, SubjectKey, decisions, family, millis, risk};
use crate::event::PaymentEvent;
use crate::money::Money;

mod asking;
mod holding;
mod settling;

pub use asking::{Asked, AskedLines};
pub use holding::StockChange;
pub use settling::Settlement;

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

/// An open transaction that holds the lock of one subject. Dropped without
/// [`Self::commit`], it leaves no trace.
#[derive(Debug)]
pub struct Books {
    pub(super) tx: Transaction<'static, Any>,
    pub(super) subject: SubjectKey,
    /// What changes are put down to: the event's key, or blank.
    pub(super) event: String,
    pub(super) now: Timestamp,
    /// Rows that were taken into the subject's.
    pub(super) absorbed: Vec<Absorbed>,
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
            absorbed: Vec::new(),
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
             received_at, applied_at, json, about, order_ref) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
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
        .bind(event.order_ref().unwrap_or(""))
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during(doing))?;
        if inserted.rows_affected() == 1 {
            risk::arrived(&mut self.tx, &event.key).await?;
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
        self.note(effect, "").await
    }

    /// Notes that `rule`, as its settings have it, withheld an effect.
    pub async fn note_withheld(&mut self, marker: &str, rule: &str) -> Result<bool, ShopError> {
        self.note(marker, rule).await
    }

    /// Writes a decision down, if the rest is.
    pub async fn note_decision(&mut self, decision: &NewDecision) -> Result<(), ShopError> {
        decisions::write(&mut self.tx, decision).await
    }

    async fn note(&mut self, effect: &str, rule: &str) -> Result<bool, ShopError> {
        let done = sqlx::query(
            "INSERT INTO effect (subject, effect, event_key, at, rule) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subject, effect) DO NOTHING",
        )
        .bind(self.subject.as_str())
        .bind(effect)
        .bind(self.event.as_str())
        .bind(millis(self.now))
        .bind(rule)
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during("noting an effect"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes what the books say about the subject now.
    pub async fn save(&mut self, record: &PaymentRecord) -> Result<(), ShopError> {
        save(&mut self.tx, &self.subject, record, self.now).await?;
        risk::given_back(&mut self.tx, &self.subject, record, self.now).await
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
