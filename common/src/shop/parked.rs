//! What stages have parked, and what has become of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{Shop, ShopError, millis, time_text};
use crate::ids::MessageId;

/// What has become of a parked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkedState {
    /// It waits for a person.
    Waiting,
    /// A person let it go on. The copy on its parking queue stays until somebody removes it.
    Released,
    /// It went its way after all: it was replayed, and accepted.
    Settled,
    /// A person has said that nothing more is to be done for it.
    Dismissed,
}

/// One line of `quittance payments quarantined`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParkedRow {
    /// The transaction that the message names.
    pub txn_id: String,
    /// Why it was parked.
    pub reason: String,
    /// What the check expected; empty when it compares no values.
    pub expected: String,
    /// What it found.
    pub found: String,
    /// The reason for people.
    pub detail: String,
    /// When.
    pub at: String,
    /// How many messages that mean the same were parked for this reason, this one included. Those
    /// that a server delivers twice may count twice.
    pub copies: i64,
    /// When the last of them was; blank where copies are not counted.
    pub last_at: String,
    /// `refused`, `invalid`, `unreadable`, `conflict`, `gave_up`.
    pub outcome: String,
    /// What it is about.
    pub subject: String,
    /// Whose account.
    pub account: String,
    /// The message.
    pub message_id: String,
    /// Who parked it: `verifier`, `fulfiller` or `notifier`.
    pub stage: String,
    /// Where, without the prefix: `quarantine`, `fulfil.dead` ...
    pub queue: String,
    /// What has become of it.
    pub state: ParkedState,
    /// Who released or dismissed it; blank when nobody did.
    pub decided_by: String,
    /// When.
    pub decided_at: String,
    /// Why.
    pub decided_because: String,
    /// When its bytes were removed because of their age; blank while they are there.
    pub details_removed_at: String,
    /// What became of the notice to the merchant: `sent`, `skipped`, `queued`; `no` when none was
    /// made.
    pub merchant_told: String,
}

impl ParkedRow {
    /// Whether a person's word is enough: a check refused it, and its bytes are there.
    pub fn can_be_released(&self) -> bool {
        self.outcome == "refused" && self.details_removed_at.is_empty()
    }
}

/// What is read of a parked message, with the newest word about its present reason.
macro_rules! parked_where {
    ($rest:literal) => {
        concat!(
            "SELECT p.txn_id, p.reason, p.expected, p.found, p.detail, p.at_ms, p.outcome, ",
            "p.subject, p.account, p.message_id, p.stage, p.lot, p.settled_at, ",
            "p.personal_removed_at, COALESCE(r.released_by, ''), COALESCE(r.at_ms, 0), ",
            "COALESCE(r.because, ''), p.dismissed_by, p.dismissed_at, p.dismissed_because, ",
            "COALESCE((SELECT a.outcome FROM announcement a ",
            "WHERE a.subject = p.notice AND p.notice <> '' ORDER BY a.at DESC LIMIT 1), ",
            "(SELECT 'queued' FROM outbox o WHERE o.subject = p.notice AND p.notice <> '' ",
            "AND o.destination = 'notify' LIMIT 1), 'no'), ",
            "COALESCE((SELECT MAX(c.copies) FROM parked_copy c ",
            "WHERE c.message_id = p.message_id AND c.reason = p.reason), 1), ",
            "COALESCE((SELECT MAX(c.last_at) FROM parked_copy c ",
            "WHERE c.message_id = p.message_id AND c.reason = p.reason), 0) ",
            "FROM parked_message p LEFT JOIN release_request r ",
            "ON r.message_id = p.message_id AND r.reason = p.reason WHERE ",
            $rest,
            " ORDER BY p.at_ms DESC, p.message_id"
        )
    };
}

const DOING: &str = "listing what is parked";

impl Shop {
    /// What waits for a person: parked, and neither released, settled nor dismissed since. Newest
    /// first.
    pub async fn quarantined(&self) -> Result<Vec<ParkedRow>, ShopError> {
        self.parked_rows(
            parked_where!("p.settled_at = 0 AND p.dismissed_at = 0 AND r.id IS NULL AND $1 = ''"),
            "",
        )
        .await
    }

    /// Everything that was ever parked, with what has become of it. Newest first.
    pub async fn ever_parked(&self) -> Result<Vec<ParkedRow>, ShopError> {
        self.parked_rows(parked_where!("$1 = ''"), "").await
    }

    /// The same of what names `id`, is about it, or belongs to it: the renewal of a subscription,
    /// the capture of an authorisation.
    pub async fn parked_about(&self, id: &str) -> Result<Vec<ParkedRow>, ShopError> {
        self.parked_rows(
            parked_where!(
                "p.txn_id = $1 OR p.subject = $1 OR p.message_id IN (SELECT d.message_id \
                 FROM decision d WHERE d.txn_id = $1 OR d.subject = $1)"
            ),
            id,
        )
        .await
    }

    async fn parked_rows(&self, sql: &'static str, id: &str) -> Result<Vec<ParkedRow>, ShopError> {
        let rows = sqlx::query(sql)
            .bind(id)
            .fetch_all(self.pool().await?)
            .await
            .map_err(ShopError::during(DOING))?;
        rows.iter()
            .map(|row| read_parked(row).map_err(ShopError::during(DOING)))
            .collect()
    }

    /// Notes that a message went its way, in case that it was parked before.
    pub async fn settle_parked(&self, id: MessageId, now: Timestamp) -> Result<(), ShopError> {
        let mut connection = self
            .pool()
            .await?
            .acquire()
            .await
            .map_err(ShopError::during(DOING))?;
        settle(&mut connection, id, now).await
    }
}

/// How many genuine messages wait for a person, by queue; each queue that can have any is named.
/// What the gateway denies having sent does not count: anybody can send that, and it costs nobody.
pub(super) async fn counts(shop: &Shop) -> Result<Vec<(String, i64)>, ShopError> {
    let rows = sqlx::query(
        "SELECT p.stage, p.lot, COUNT(*) FROM parked_message p WHERE p.settled_at = 0 \
         AND p.dismissed_at = 0 AND p.outcome <> 'invalid' AND NOT EXISTS (SELECT 1 FROM release_request r \
         WHERE r.message_id = p.message_id AND r.reason = p.reason) GROUP BY p.stage, p.lot",
    )
    .fetch_all(shop.pool().await?)
    .await
    .map_err(ShopError::during(DOING))?;
    let mut counts: BTreeMap<&'static str, i64> = PARKING.into_iter().map(|q| (q, 0)).collect();
    for row in &rows {
        let (stage, lot, count) = read_count(row).map_err(ShopError::during(DOING))?;
        *counts.entry(queue_of(&stage, &lot)).or_default() += count;
    }
    Ok(counts
        .into_iter()
        .map(|(queue, n)| (queue.to_owned(), n))
        .collect())
}

fn read_count(row: &AnyRow) -> Result<(String, String, i64), sqlx::Error> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

/// The same within a transaction.
pub(super) async fn settle(
    connection: &mut AnyConnection,
    id: MessageId,
    now: Timestamp,
) -> Result<(), ShopError> {
    sqlx::query(
        "UPDATE parked_message SET settled_at = $1 WHERE message_id = $2 AND settled_at = 0",
    )
    .bind(millis(now))
    .bind(id.to_string())
    .execute(connection)
    .await
    .map_err(ShopError::during("settling what was parked"))?;
    Ok(())
}

fn read_parked(row: &AnyRow) -> Result<ParkedRow, sqlx::Error> {
    let stage: String = row.try_get(10)?;
    let lot: String = row.try_get(11)?;
    let settled_at: i64 = row.try_get(12)?;
    let [released, dismissed] = [word(row, 14)?, word(row, 17)?];
    let state = match (&released, &dismissed) {
        (Some(_), _) => ParkedState::Released,
        (None, _) if settled_at != 0 => ParkedState::Settled,
        (None, Some(_)) => ParkedState::Dismissed,
        (None, None) => ParkedState::Waiting,
    };
    let (decided_by, decided_at, decided_because) = released.or(dismissed).unwrap_or_default();
    Ok(ParkedRow {
        txn_id: row.try_get(0)?,
        reason: row.try_get(1)?,
        expected: row.try_get(2)?,
        found: row.try_get(3)?,
        detail: row.try_get(4)?,
        at: time_text(row.try_get(5)?),
        copies: row.try_get(21)?,
        last_at: time_text(row.try_get(22)?),
        outcome: row.try_get(6)?,
        subject: row.try_get(7)?,
        account: row.try_get(8)?,
        message_id: row.try_get(9)?,
        queue: queue_of(&stage, &lot).to_owned(),
        stage,
        state,
        decided_by,
        decided_at,
        decided_because,
        details_removed_at: time_text(row.try_get(13)?),
        merchant_told: row.try_get(20)?,
    })
}

/// A person's word, from column `from` on: who, when, why. `None` when nobody has said any.
fn word(row: &AnyRow, from: usize) -> Result<Option<(String, String, String)>, sqlx::Error> {
    let at: i64 = row.try_get(from + 1)?;
    let word = (row.try_get(from)?, time_text(at), row.try_get(from + 2)?);
    Ok((at != 0).then_some(word))
}

/// Where stages park, without the prefix.
pub const PARKING: [&str; 4] = ["quarantine", "verify.dead", "fulfil.dead", "notify.dead"];

/// Where a stage parks what.
pub(crate) fn queue_of(stage: &str, lot: &str) -> &'static str {
    match (lot, stage) {
        ("quarantine", _) => "quarantine",
        (_, "fulfiller") => "fulfil.dead",
        (_, "notifier") => "notify.dead",
        _ => "verify.dead",
    }
}
