//! Money that was paid and has had no effect yet. Written down in the transaction of the verifier's
//! decision, which comes before anything is published, and struck out in the transaction that
//! brings the event into the books: so it outlives every process, and every process tells the same.

use jiff::{SignedDuration, Timestamp};
use sqlx::{AnyConnection, Row as _};

use super::books::PaymentRecord;
use super::{Shop, ShopError, SubjectKey, millis, row};
use crate::event::{EventType, PaymentEvent};
use crate::ids::{EventKey, MessageId};
use crate::money::Money;
use crate::rules::{Facts, Rules, Ruling};

/// How long a payment may take from the verifier to the books: the objective. What is on its way
/// for less is not at risk.
pub const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);

/// A payment that a message tells, if it is one that must come into the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// The event that tells it.
    pub key: EventKey,
    /// The id of that event's message, on its way to the books.
    pub event_id: MessageId,
    /// What it is about.
    pub subject: SubjectKey,
    /// How much.
    pub gross: Money,
}

impl Paid {
    /// The payment that `event` tells. `None` of everything but a completed payment with an amount,
    /// and of one that a rule has ignored: that never comes into the books.
    pub fn of(event: &PaymentEvent, rules: &Rules) -> Option<Self> {
        let is_ignored = rules.decide(&Facts::of(event)).ruling == Ruling::Ignore;
        let is_paid = event.event_type == EventType::Completed && !is_ignored;
        let gross = event.data.gross.filter(|_| is_paid)?;
        Some(Self {
            key: event.key.clone(),
            event_id: event.message_id(),
            subject: SubjectKey::of(event),
            gross,
        })
    }
}

/// Why the money has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waits {
    /// On its way for longer than [`ON_ITS_WAY`].
    Verified,
    /// A person must decide.
    Quarantined,
}

impl Waits {
    /// The name in the database, and the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Quarantined => "quarantined",
        }
    }

    fn parse(stored: &str) -> Self {
        match stored {
            "verified" => Self::Verified,
            _ => Self::Quarantined,
        }
    }
}

impl Shop {
    /// What is at risk now: one sum for each state and currency that has any.
    pub async fn money_at_risk(&self, now: Timestamp) -> Result<Vec<(Waits, Money)>, ShopError> {
        let doing = "asking which money is at risk";
        let late = now.checked_sub(ON_ITS_WAY).unwrap_or(Timestamp::MIN);
        // Whether the books have it is asked as well: a decision may be written down while
        // another copy of the event comes into the books.
        // Each item of a multi-item auction tells the amount of the whole payment.
        let rows = sqlx::query(
            "SELECT state, CAST(SUM(most) AS BIGINT), currency FROM \
             (SELECT state, currency, subject, MAX(minor) AS most FROM money_waiting w \
             WHERE settled_at = 0 AND (state <> 'verified' OR since_ms <= $1) AND NOT EXISTS \
             (SELECT 1 FROM event e WHERE e.key = w.event_key) \
             GROUP BY state, currency, subject) AS payments GROUP BY state, currency",
        )
        .bind(millis(late))
        .fetch_all(self.pool().await?)
        .await
        .map_err(ShopError::during(doing))?;
        rows.iter()
            .map(|found| {
                let state: String = found.try_get(0).map_err(ShopError::during(doing))?;
                Ok((Waits::parse(&state), row::amount(found, 1, 2, doing)?))
            })
            .collect()
    }

    /// An event will never come into the books, and need not: a rule ignores it.
    pub async fn money_arrived(&self, key: &EventKey) -> Result<(), ShopError> {
        let mut connection = self
            .pool()
            .await?
            .acquire()
            .await
            .map_err(ShopError::during("striking out money that waited"))?;
        arrived(&mut connection, key).await
    }

    /// How many genuine parked messages wait for a person, by their queue without the prefix.
    pub async fn waiting_for_a_person(&self) -> Result<Vec<(String, i64)>, ShopError> {
        super::parked::counts(self).await
    }
}

/// Writes down what a message tells that was verified or held back. What a person has dismissed
/// stays so, however often others send the same again; the dismissed message itself, sent once
/// more on purpose, waits again.
pub(super) async fn note(
    connection: &mut AnyConnection,
    message: MessageId,
    waits: Waits,
    paid: &[Paid],
    now: Timestamp,
) -> Result<(), ShopError> {
    let sql = match waits {
        Waits::Verified => {
            "INSERT INTO money_waiting (event_key, subject, about, message_id, event_id, state, \
             currency, minor, since_ms, settled_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0) \
             ON CONFLICT (event_key) DO UPDATE SET state = excluded.state, \
             currency = excluded.currency, minor = excluded.minor, settled_at = 0, \
             since_ms = CASE WHEN money_waiting.state = excluded.state \
             THEN money_waiting.since_ms ELSE excluded.since_ms END"
        }
        Waits::Quarantined => {
            "INSERT INTO money_waiting (event_key, subject, about, message_id, event_id, state, \
             currency, minor, since_ms, settled_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0) \
             ON CONFLICT (event_key) DO UPDATE SET settled_at = 0 \
             WHERE money_waiting.message_id = excluded.message_id"
        }
    };
    for paid in paid {
        sqlx::query(sql)
            .bind(paid.key.as_str())
            .bind(paid.subject.as_str())
            .bind(paid.subject.id())
            .bind(message.to_string())
            .bind(paid.event_id.to_string())
            .bind(waits.as_str())
            .bind(paid.gross.currency().as_str())
            .bind(paid.gross.minor())
            .bind(millis(now))
            .execute(&mut *connection)
            .await
            .map_err(ShopError::during("noting money that waits"))?;
    }
    if waits == Waits::Quarantined {
        gone_already(connection, message, now).await?;
    }
    Ok(())
}

/// Of what `message` tells, money that went back before: a refund or reversal may come first.
async fn gone_already(
    connection: &mut AnyConnection,
    message: MessageId,
    now: Timestamp,
) -> Result<(), ShopError> {
    sqlx::query(
        "UPDATE money_waiting SET settled_at = $1 WHERE message_id = $2 AND settled_at = 0 \
         AND EXISTS (SELECT 1 FROM payment p WHERE p.subject = money_waiting.subject \
         AND (p.status = 'reversed' OR (p.refunded_minor >= money_waiting.minor \
         AND p.currency = money_waiting.currency)))",
    )
    .bind(millis(now))
    .bind(message.to_string())
    .execute(connection)
    .await
    .map_err(ShopError::during("striking out money that went back"))?;
    Ok(())
}

/// The books have the event.
pub(super) async fn arrived(
    connection: &mut AnyConnection,
    key: &EventKey,
) -> Result<(), ShopError> {
    sqlx::query("DELETE FROM money_waiting WHERE event_key = $1")
        .bind(key.as_str())
        .execute(connection)
        .await
        .map_err(ShopError::during("striking out money that waited"))?;
    Ok(())
}

/// What the books say about `subject` has changed: money that was given back in full, or taken
/// back, waits for nobody, whatever has become of the message that told of it.
pub(super) async fn given_back(
    connection: &mut AnyConnection,
    subject: &SubjectKey,
    record: &PaymentRecord,
    now: Timestamp,
) -> Result<(), ShopError> {
    let is_reversed = record.status == "reversed";
    if !is_reversed && record.refunded.is_none() {
        return Ok(());
    }
    let currency = record.refunded.map(Money::currency);
    sqlx::query(
        "UPDATE money_waiting SET settled_at = $1 WHERE subject = $2 AND settled_at = 0 \
         AND ($3 = 1 OR (currency = $4 AND minor <= $5))",
    )
    .bind(millis(now))
    .bind(subject.as_str())
    .bind(i64::from(is_reversed))
    .bind(currency.as_ref().map_or("", |currency| currency.as_str()))
    .bind(record.refunded.map_or(0, Money::minor))
    .execute(connection)
    .await
    .map_err(ShopError::during("striking out money that went back"))?;
    Ok(())
}

/// A person has said the last word about a message: the money that it tells of waits no longer. Of a
/// notification that was held back, unless it was released since, when its money is on its way; of
/// an event on its way to the books, whose message has an id of its own, in any case.
pub(super) async fn dismissed(
    connection: &mut AnyConnection,
    message: &str,
    now: Timestamp,
) -> Result<(), ShopError> {
    sqlx::query(
        "UPDATE money_waiting SET settled_at = $1 WHERE settled_at = 0 AND (event_id = $2 \
         OR (message_id = $2 AND state = 'quarantined' AND NOT EXISTS \
         (SELECT 1 FROM release_request r WHERE r.message_id = $2)))",
    )
    .bind(millis(now))
    .bind(message)
    .execute(connection)
    .await
    .map_err(ShopError::during("dismissing money that waits"))?;
    Ok(())
}

/// The same of whatever waits and is about `id`, such as a transaction; how much that was.
pub(super) async fn dismissed_about(
    connection: &mut AnyConnection,
    id: &str,
    only_quarantined: bool,
    now: Timestamp,
) -> Result<u64, ShopError> {
    let done = sqlx::query(
        "UPDATE money_waiting SET settled_at = $1 WHERE settled_at = 0 AND about = $2 \
         AND ($3 = 0 OR state = 'quarantined')",
    )
    .bind(millis(now))
    .bind(id)
    .bind(i64::from(only_quarantined))
    .execute(connection)
    .await
    .map_err(ShopError::during("dismissing money that waits"))?;
    Ok(done.rows_affected())
}
