//! What a stage decided about a message, and the exact bytes of what it parked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::risk::{self, Paid, Waits};
use super::subject::bounded;
use super::{Shop, ShopError, copies, millis, time_text};
use crate::claims::Fingerprint;
use crate::disposition::Lot;
use crate::event::Source;
use crate::ids::{AccountId, GatewayId, MessageId, Reason};
use crate::message::{Message, capped_detail};
use crate::stage::StageName;

/// A decision to be written down.
#[derive(Debug, Clone)]
pub struct NewDecision {
    /// The message that was decided about.
    pub message_id: MessageId,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub stage: StageName,
    /// What the message is about: `(txn_id, subject)` of each thing that it tells, blank where it
    /// has none, and after them of what these belong to. Empty when it could not be read.
    pub about: Vec<(String, String)>,
    /// What was decided: `verified`, `duplicate`, `refused`, `invalid` ...; by a rule `recorded` or
    /// `ignored`. A closed set.
    pub outcome: &'static str,
    /// Why, where there is a reason.
    pub reason: Option<Reason>,
    /// The same for people. Never personal data.
    pub detail: String,
    /// By which way the message came.
    pub source: Option<Source>,
    /// How many attempts had been spent.
    pub attempt: u32,
    /// The replay by which the message came again: decided anew, it is told anew.
    pub replay_id: Option<String>,
    /// Who sent it.
    pub gateway: Option<GatewayId>,
    /// Whose account.
    pub account: Option<AccountId>,
    /// What the message means: the same for every copy, by whichever way it came. `None` where
    /// copies do not matter.
    pub meaning: Option<Fingerprint>,
    /// What was parked, if it was.
    pub parked: Option<NewParked>,
    /// The payments that the message tells and that must come into the books: on their way from
    /// now on, or held back with what was parked.
    pub paid: Vec<Paid>,
}

/// A message that was parked, with what was expected and found.
#[derive(Debug, Clone)]
pub struct NewParked {
    /// The message as it came. Where it cannot be released, without its body: the parking queue
    /// has that.
    pub message: Message,
    /// On which kind of parking queue.
    pub lot: Lot,
    /// What the check expected, where it compares two values.
    pub expected: Option<String>,
    /// What it found instead.
    pub found: Option<String>,
}

/// One decision as `payments show` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionRow {
    /// When.
    pub at: String,
    /// By whom.
    pub stage: String,
    /// What was decided.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// By which way the message came.
    pub source: String,
    /// The attempts spent before.
    pub attempt: i64,
    /// The transaction that the message names.
    pub txn_id: String,
    /// What it is about: a payment's transaction, a case, a subscription.
    pub subject: String,
    /// The message.
    pub message_id: String,
    /// Who sent it.
    pub gateway: String,
    /// Whose account.
    pub account: String,
}

/// The outcome of a message that goes its way.
const VERIFIED: &str = "verified";

/// The outcome of one whose events are known.
const DUPLICATE: &str = "duplicate";

impl Shop {
    /// Writes a decision down, with what was parked. The same decision about the same message
    /// again (a redelivery) changes nothing; of another message that means the same and is parked
    /// for the same reason only the number is kept.
    pub async fn record_decision(&self, decision: &NewDecision) -> Result<(), ShopError> {
        let doing = "writing a decision";
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(doing))?;
        write(&mut tx, decision).await?;
        tx.commit().await.map_err(ShopError::during(doing))
    }

    /// Every decision about messages that name `txn`, or are about it, oldest first.
    pub async fn decisions(&self, txn: &str) -> Result<Vec<DecisionRow>, ShopError> {
        let doing = "reading decisions";
        sqlx::query(
            "SELECT at_ms, stage, outcome, reason, detail, source, attempt, txn_id, subject, \
             message_id, gateway, account FROM decision WHERE txn_id = $1 OR subject = $1 \
             ORDER BY at_ms, id",
        )
        .bind(txn)
        .fetch_all(self.pool().await?)
        .await
        .and_then(|rows| rows.iter().map(read_decision).collect())
        .map_err(ShopError::during(doing))
    }
}

/// The same within a transaction.
pub(super) async fn write(
    connection: &mut AnyConnection,
    decision: &NewDecision,
) -> Result<(), ShopError> {
    if let (Some(_), Some(meaning), Some(reason)) =
        (&decision.parked, &decision.meaning, &decision.reason)
    {
        let (message, at) = (decision.message_id, decision.at);
        if copies::is_copy(connection, meaning, reason, message, at).await? {
            return Ok(());
        }
    }
    let blank = [(String::new(), String::new())];
    let about = if decision.about.is_empty() {
        &blank[..]
    } else {
        &decision.about
    };
    for (txn_id, subject) in about {
        insert(connection, decision, &bounded(txn_id), &bounded(subject))
            .await
            .map_err(ShopError::during("writing a decision"))?;
    }
    if let Some(parked) = &decision.parked {
        let (txn_id, subject) = about.first().unwrap_or(&blank[0]);
        let (txn_id, subject) = (bounded(txn_id), bounded(subject));
        upsert_parked(connection, decision, parked, &txn_id, &subject).await?;
    } else if matches!(decision.outcome, VERIFIED | DUPLICATE) {
        // Parked once, it has gone its way after all: a replay.
        super::parked::settle(connection, decision.message_id, decision.at).await?;
        if let Some(meaning) = &decision.meaning {
            copies::settle(connection, meaning, decision.at).await?;
        }
    }
    let waits = match decision.parked {
        Some(_) => Waits::Quarantined,
        None => Waits::Verified,
    };
    let (message, paid) = (decision.message_id, &decision.paid);
    risk::note(connection, message, waits, paid, decision.at).await
}

async fn insert(
    connection: &mut AnyConnection,
    decision: &NewDecision,
    txn_id: &str,
    subject: &str,
) -> Result<(), sqlx::Error> {
    let reason = decision.reason.as_ref().map_or("", Reason::as_str);
    let mut what = format!(
        "decision/{}/{}/{reason}/{}/{txn_id}/{subject}",
        decision.stage, decision.outcome, decision.attempt
    );
    if let Some(replay) = &decision.replay_id {
        what = format!("{what}/{replay}");
    }
    let id = decision.message_id.derive(&what);
    sqlx::query(
        "INSERT INTO decision (id, message_id, at_ms, stage, txn_id, subject, outcome, reason, \
         detail, source, attempt, gateway, account) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(decision.message_id.to_string())
    .bind(millis(decision.at))
    .bind(decision.stage.as_str())
    .bind(txn_id)
    .bind(subject)
    .bind(decision.outcome)
    .bind(reason)
    .bind(capped_detail(&decision.detail))
    .bind(decision.source.map_or("", Source::as_str))
    .bind(i64::from(decision.attempt))
    .bind(decision.gateway.map_or("", GatewayId::as_str))
    .bind(decision.account.as_ref().map_or("", AccountId::as_str))
    .execute(connection)
    .await?;
    Ok(())
}

/// A person's word about a parked message, among the decisions about it: what is shown of the message
/// itself is only the newest.
pub(super) async fn by_a_person(
    connection: &mut AnyConnection,
    message: &str,
    outcome: &'static str,
    (by, because): (&str, &str),
    at: Timestamp,
) -> Result<(), ShopError> {
    let id = MessageId::from_name(&format!("{outcome}/{message}/{}", millis(at)));
    sqlx::query(
        "INSERT INTO decision (id, message_id, at_ms, stage, txn_id, subject, outcome, reason, \
         detail, source, attempt, gateway, account) SELECT CAST($1 AS TEXT), message_id, \
         CAST($2 AS BIGINT), 'person', txn_id, subject, CAST($3 AS TEXT), reason, \
         CAST($4 AS TEXT), '', 0, gateway, account FROM parked_message \
         WHERE message_id = CAST($5 AS TEXT) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(millis(at))
    .bind(outcome)
    .bind(capped_detail(&format!("{by}: {because}")))
    .bind(message)
    .execute(connection)
    .await
    .map_err(ShopError::during("writing down what a person has decided"))?;
    Ok(())
}

/// Parked again (a redelivery, or after a release), the newest reason counts.
async fn upsert_parked(
    connection: &mut AnyConnection,
    decision: &NewDecision,
    parked: &NewParked,
    txn_id: &str,
    subject: &str,
) -> Result<(), ShopError> {
    let message = &parked.message;
    let headers = serde_json::to_string(&message.headers.to_pairs())
        .map_err(ShopError::unreadable("list of headers"))?;
    sqlx::query(
        "INSERT INTO parked_message (message_id, at_ms, txn_id, subject, gateway, account, \
         outcome, reason, detail, expected, found, kind, content_type, made_at, headers, body, stage, \
         lot) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
         $18) ON CONFLICT (message_id) DO UPDATE SET at_ms = excluded.at_ms, \
         stage = excluded.stage, lot = excluded.lot, settled_at = 0, dismissed_at = 0, \
         outcome = excluded.outcome, reason = excluded.reason, detail = excluded.detail, \
         expected = excluded.expected, found = excluded.found",
    )
    .bind(message.id.to_string())
    .bind(millis(decision.at))
    .bind(txn_id)
    .bind(subject)
    .bind(decision.gateway.map_or("", GatewayId::as_str))
    .bind(decision.account.as_ref().map_or("", AccountId::as_str))
    .bind(decision.outcome)
    .bind(decision.reason.as_ref().map_or("", Reason::as_str))
    .bind(capped_detail(&decision.detail))
    .bind(parked.expected.as_deref().unwrap_or(""))
    .bind(parked.found.as_deref().unwrap_or(""))
    .bind(message.kind.as_str())
    .bind(message.content_type.as_str())
    .bind(millis(message.timestamp))
    .bind(headers)
    .bind(STANDARD.encode(&message.body))
    .bind(decision.stage.as_str())
    .bind(parked.lot.as_str())
    .execute(connection)
    .await
    .map_err(ShopError::during("keeping a parked message"))?;
    Ok(())
}

fn read_decision(row: &AnyRow) -> Result<DecisionRow, sqlx::Error> {
    Ok(DecisionRow {
        at: time_text(row.try_get(0)?),
        stage: row.try_get(1)?,
        outcome: row.try_get(2)?,
        reason: row.try_get(3)?,
        detail: row.try_get(4)?,
        source: row.try_get(5)?,
        attempt: row.try_get(6)?,
        txn_id: row.try_get(7)?,
        subject: row.try_get(8)?,
        message_id: row.try_get(9)?,
        gateway: row.try_get(10)?,
        account: row.try_get(11)?,
    })
}
