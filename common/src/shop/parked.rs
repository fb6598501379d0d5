//! What stages have parked, and what has become of it.

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
    /// Who let it go on; blank when nobody did.
    pub released_by: String,
    /// When.
    pub released_at: String,
    /// Why.
    pub released_because: String,
    /// When its bytes were removed because of their age; blank while they are there.
    pub details_removed_at: String,
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
            "COALESCE(r.because, ''), ",
            "COALESCE((SELECT MAX(c.copies) FROM parked_copy c ",
            "WHERE c.message_id = p.message_id AND c.reason = p.reason), 1), ",
            "COALESCE((SELECT MAX(c.last_at) FROM parked_copy c ",
            "WHERE c.message_id = p.message_id AND c.reason = p.reason), 0) FROM parked_message p LEFT JOIN release_request r ",
            "ON r.message_id = p.message_id AND r.reason = p.reason WHERE ",
            $rest,
            " ORDER BY p.at_ms DESC, p.message_id"
        )
    };
}

const DOING: &str = "listing what is parked";

impl Shop {
    /// What waits for a person: parked, and neither released nor settled since. Newest first.
    pub async fn quarantined(&self) -> Result<Vec<ParkedRow>, ShopError> {
        self.parked_rows(
            parked_where!("p.settled_at = 0 AND r.id IS NULL AND $1 = ''"),
            "",
        )
        .await
    }

    /// Everything that was ever parked, with what has become of it. Newest first.
    pub async fn ever_parked(&self) -> Result<Vec<ParkedRow>, ShopError> {
        self.parked_rows(parked_where!("$1 = ''"), "").await
    }

    /// The same of what names `id`, or is about it.
    pub async fn parked_about(&self, id: &str) -> Result<Vec<ParkedRow>, ShopError> {
        self.parked_rows(parked_where!("p.txn_id = $1 OR p.subject = $1"), id)
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
    let (settled_at, released_at): (i64, i64) = (row.try_get(12)?, row.try_get(15)?);
    Ok(ParkedRow {
        txn_id: row.try_get(0)?,
        reason: row.try_get(1)?,
        expected: row.try_get(2)?,
        found: row.try_get(3)?,
        detail: row.try_get(4)?,
        at: time_text(row.try_get(5)?),
        copies: row.try_get(17)?,
        last_at: time_text(row.try_get(18)?),
        outcome: row.try_get(6)?,
        subject: row.try_get(7)?,
        account: row.try_get(8)?,
        message_id: row.try_get(9)?,
        queue: queue_of(&stage, &lot).to_owned(),
        stage,
        state: match (released_at, settled_at) {
            (0, 0) => ParkedState::Waiting,
            (0, _) => ParkedState::Settled,
            _ => ParkedState::Released,
        },
        released_by: row.try_get(14)?,
        released_at: time_text(released_at),
        released_because: row.try_get(16)?,
        details_removed_at: time_text(row.try_get(13)?),
    })
}

/// Where a stage parks what.
pub(crate) fn queue_of(stage: &str, lot: &str) -> &'static str {
    match (lot, stage) {
        ("quarantine", _) => "quarantine",
        (_, "fulfiller") => "fulfil.dead",
        (_, "notifier") => "notify.dead",
        _ => "verify.dead",
    }
}
