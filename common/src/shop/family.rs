//! Which rows belong together: a capture's events stand in its authorisation's row, and a
//! subscription or case is told about by the events of payments.
//!
//! Rows are locked from the child to the parent, and a payment before what it is about; then
//! orders, then products; by everybody: nobody waits in a circle.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _};

use super::books::{Books, events_of};
use super::reservation::EXPIRED;
use super::stock::LineHold;
use super::{AskedLines, PaymentRecord, ShopError, SubjectKey, millis};
use crate::event::PaymentEvent;

/// How many authorisations may stand above each other: order, authorisation, reauthorisation.
pub(super) const GENERATIONS: usize = 8;

/// What moves when one row's story is found to be a part of another's.
const MOVES: [&str; 7] = [
    "UPDATE event SET subject = $1 WHERE subject = $2",
    "UPDATE stock_move SET subject = $1 WHERE subject = $2",
    "UPDATE outbox SET subject = $1 WHERE subject = $2",
    "UPDATE announcement SET subject = $1 WHERE subject = $2",
    // A payment settles one order: the authorisation's own stays.
    "UPDATE settlement SET subject = $1 WHERE subject = $2 \
     AND NOT EXISTS (SELECT 1 FROM settlement s WHERE s.subject = $1)",
    "UPDATE invoice_use SET subject = $1 WHERE subject = $2",
    "UPDATE resolution SET subject = $1 WHERE subject = $2 AND NOT EXISTS \
     (SELECT 1 FROM resolution r WHERE r.subject = $1 AND r.verdict = resolution.verdict)",
];

/// What is not moved but forgotten with the row itself.
const FORGOTTEN: [&str; 5] = [
    "DELETE FROM resolution WHERE subject = $1",
    "DELETE FROM settlement WHERE subject = $1",
    "DELETE FROM effect WHERE subject = $1",
    "DELETE FROM stock_line WHERE subject = $1",
    "DELETE FROM payment WHERE subject = $1",
];

/// A row that was found to be a part of another's, as it was.
#[derive(Debug, Clone)]
pub struct Absorbed {
    /// Its name.
    pub subject: SubjectKey,
    /// The effects that it had. Requests to a shop that counts its own stock are not the other
    /// row's: they named this one.
    pub effects: BTreeSet<String>,
    /// Its events.
    pub events: Vec<PaymentEvent>,
    /// What it held in our own tables: whoever takes the row gives it back, once orders are locked
    /// ([`Books::give_back`]).
    pub lines: BTreeMap<String, LineHold>,
    /// What the shop was asked to hold for it.
    pub asked: AskedLines,
    /// How many of each item it had sold.
    pub sold: BTreeMap<String, i64>,
}

const DOING: &str = "joining a capture to its authorisation";

/// Writes the row of `subject` unless it is there, and locks it until the transaction ends.
pub(super) async fn lock(
    connection: &mut AnyConnection,
    subject: &SubjectKey,
    event: &PaymentEvent,
) -> Result<(), ShopError> {
    sqlx::query(
        "INSERT INTO payment (subject, gateway, environment, account, kind, txn_id, status, \
         amount_minor, refunded_minor, currency, flags, first_at, last_at, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, 'noted', 0, 0, '', '[]', $7, $7, 1) \
         ON CONFLICT (subject) DO UPDATE SET revision = payment.revision + 1",
    )
    .bind(subject.as_str())
    .bind(event.gateway.as_str())
    .bind(event.data.environment.as_str())
    .bind(event.account.as_str())
    .bind(subject.kind())
    .bind(subject.id())
    .bind(millis(event.received_at))
    .execute(connection)
    .await
    .map_err(ShopError::during("locking the payment"))?;
    Ok(())
}

impl Books {
    /// Goes from the locked row of a capture up to the authorisation's, and takes everything
    /// along that has been recorded about the capture alone.
    pub(super) async fn go_to_authorization(
        &mut self,
        event: &PaymentEvent,
    ) -> Result<(), ShopError> {
        if let Some(parent) = SubjectKey::authorization_of(event) {
            self.note_capture(&parent).await?;
        }
        for _ in 0..GENERATIONS {
            let child = self.subject.clone();
            let Some(parent) = self.authorization(&child).await? else {
                break;
            };
            lock(&mut self.tx, &parent, event).await?;
            self.move_to(parent).await?;
        }
        Ok(())
    }

    /// The rows that were taken into the subject's by this transaction; each is told once.
    pub fn take_absorbed(&mut self) -> Vec<Absorbed> {
        std::mem::take(&mut self.absorbed)
    }

    /// Notes whose capture the locked row is, unless that is known or would make a circle.
    async fn note_capture(&mut self, parent: &SubjectKey) -> Result<(), ShopError> {
        let mut above = Some(parent.clone());
        for _ in 0..GENERATIONS {
            match above {
                Some(found) if found == self.subject => return Ok(()),
                Some(found) => above = self.authorization(&found).await?,
                None => break,
            }
        }
        sqlx::query(
            "INSERT INTO capture (subject, parent) VALUES ($1, $2) \
             ON CONFLICT (subject) DO NOTHING",
        )
        .bind(self.subject.as_str())
        .bind(parent.as_str())
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during(DOING))?;
        Ok(())
    }

    async fn authorization(
        &mut self,
        subject: &SubjectKey,
    ) -> Result<Option<SubjectKey>, ShopError> {
        let parent: Option<String> = sqlx::query("SELECT parent FROM capture WHERE subject = $1")
            .bind(subject.as_str())
            .fetch_optional(&mut *self.tx)
            .await
            .and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(ShopError::during(DOING))?;
        Ok(parent.as_deref().and_then(SubjectKey::parse))
    }

    async fn move_to(&mut self, parent: SubjectKey) -> Result<(), ShopError> {
        let absorbed = Absorbed {
            subject: self.subject.clone(),
            effects: self.effects().await?,
            events: self.events().await?,
            // What was set aside for the capture alone is set aside again for both, once.
            lines: self.lines().await?,
            asked: self.asked().await?,
            sold: self.sold().await?,
        };
        self.absorbed.push(absorbed);
        for sql in MOVES {
            sqlx::query(sql)
                .bind(parent.as_str())
                .bind(self.subject.as_str())
                .execute(&mut *self.tx)
                .await
                .map_err(ShopError::during(DOING))?;
        }
        sqlx::query(
            "INSERT INTO effect (subject, effect, event_key, at) \
             SELECT $1, effect, event_key, at FROM effect WHERE subject = $2 \
             AND effect NOT LIKE 'stock%:%' AND effect <> $3 \
             ON CONFLICT (subject, effect) DO NOTHING",
        )
        .bind(parent.as_str())
        .bind(self.subject.as_str())
        // What the parent has set aside has not grown too old with the child's.
        .bind(EXPIRED)
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during(DOING))?;
        for sql in FORGOTTEN {
            sqlx::query(sql)
                .bind(self.subject.as_str())
                .execute(&mut *self.tx)
                .await
                .map_err(ShopError::during(DOING))?;
        }
        self.subject = parent;
        Ok(())
    }

    /// Locks the row of `other`, which `event` tells about beside its payment; every event of it,
    /// those of payments included.
    pub async fn events_about(
        &mut self,
        other: &SubjectKey,
        event: &PaymentEvent,
    ) -> Result<Vec<PaymentEvent>, ShopError> {
        lock(&mut self.tx, other, event).await?;
        events_of(&mut self.tx, other).await
    }

    /// Writes what the books say about `subject`.
    pub async fn save_as(
        &mut self,
        subject: &SubjectKey,
        record: &PaymentRecord,
    ) -> Result<(), ShopError> {
        let now: Timestamp = self.now;
        super::books::save(&mut self.tx, subject, record, now).await
    }
}
