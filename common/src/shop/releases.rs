//! How a person lets go on what was refused: the request is written here, and a task of the verifier publishes the message again. What is waived is looked up here too, by the
//! message and its exact bytes, so that no header decides anything.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::parked::{ParkedRow, ParkedState};
use super::{Shop, ShopError, decisions, millis};
use crate::ids::{MessageId, Reason};
pub use crate::message::RELEASE_HEADER;
use crate::message::{Headers, Message, MessageKind};

/// How long one process may take to publish what it was given.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// A person's word that a refusal may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRelease {
    /// Who.
    pub by: String,
    /// Why.
    pub because: String,
    /// When.
    pub at: Timestamp,
}

/// What became of a wish to release one parked message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// It will be processed again, without the check of that reason.
    Released(ParkedRow),
    /// It cannot be let pass: only the gateway can say that it is genuine, what cannot be read
    /// cannot be applied, and of what is too old the bytes are gone.
    Impossible(ParkedRow),
}

impl Shop {
    /// Releases every message that names `txn` and waits, or was dismissed: a person may have been
    /// wrong, and copies that came later stand under the first. Empty when there is none.
    pub async fn release(
        &self,
        txn: &str,
        release: &NewRelease,
    ) -> Result<Vec<ReleaseOutcome>, ShopError> {
        let mut outcomes = Vec::new();
        for row in self.parked_about(txn).await? {
            match row.state {
                ParkedState::Waiting | ParkedState::Dismissed if row.can_be_released() => {
                    self.request(&row, release).await?;
                    outcomes.push(ReleaseOutcome::Released(row));
                }
                ParkedState::Waiting => outcomes.push(ReleaseOutcome::Impossible(row)),
                ParkedState::Dismissed | ParkedState::Released | ParkedState::Settled => {}
            }
        }
        Ok(outcomes)
    }

    async fn request(&self, row: &ParkedRow, release: &NewRelease) -> Result<(), ShopError> {
        let message: MessageId = row
            .message_id
            .parse()
            .map_err(ShopError::unreadable("message id"))?;
        let doing = "requesting a release";
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(doing))?;
        let done = sqlx::query(
            "INSERT INTO release_request (id, message_id, reason, because, released_by, at_ms, \
             lease_until, published_at) VALUES ($1, $2, $3, $4, $5, $6, 0, 0) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(
            message
                .derive(&format!("release/{}", row.reason))
                .to_string(),
        )
        .bind(row.message_id.as_str())
        .bind(row.reason.as_str())
        .bind(release.because.as_str())
        .bind(release.by.as_str())
        .bind(millis(release.at))
        .execute(&mut *tx)
        .await
        .map_err(ShopError::during(doing))?;
        if done.rows_affected() > 0 {
            let told = (release.by.as_str(), release.because.as_str());
            let message = row.message_id.as_str();
            decisions::by_a_person(&mut tx, message, "released", told, release.at).await?;
        }
        tx.commit().await.map_err(ShopError::during(doing))?;
        Ok(())
    }

    /// The oldest message that is released and not yet published, leased to the caller, with the
    /// id of its request.
    pub async fn next_release(
        &self,
        now: Timestamp,
    ) -> Result<Option<(String, Message)>, ShopError> {
        let doing = "looking for released messages";
        let pool = self.pool().await?;
        let row = sqlx::query(
            "SELECT release_request.id, parked_message.message_id, kind, content_type, made_at, \
             headers, body FROM release_request JOIN parked_message \
             ON parked_message.message_id = release_request.message_id \
             WHERE published_at = 0 AND lease_until <= $1 \
             AND parked_message.personal_removed_at = 0 ORDER BY release_request.at_ms LIMIT 1",
        )
        .bind(millis(now))
        .fetch_optional(pool)
        .await
        .map_err(ShopError::during(doing))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let id: String = row.try_get(0).map_err(ShopError::during(doing))?;
        let leased = sqlx::query(
            "UPDATE release_request SET lease_until = $1 \
             WHERE id = $2 AND published_at = 0 AND lease_until <= $3",
        )
        .bind(millis(now.saturating_add(LEASE).unwrap_or(now)))
        .bind(id.as_str())
        .bind(millis(now))
        .execute(pool)
        .await
        .map_err(ShopError::during(doing))?;
        if leased.rows_affected() == 0 {
            return Ok(None);
        }
        let message = read_message(&row, &id)?;
        Ok(Some((id, message)))
    }

    /// Notes that a released message is on its queue.
    pub async fn release_published(&self, id: &str, now: Timestamp) -> Result<(), ShopError> {
        sqlx::query("UPDATE release_request SET published_at = $1 WHERE id = $2")
            .bind(millis(now))
            .bind(id)
            .execute(self.pool().await?)
            .await
            .map_err(ShopError::during("noting a release"))?;
        Ok(())
    }

    /// Who has released that message already, for which reason: `(reason, who)`, oldest first.
    pub async fn released(&self, message: MessageId) -> Result<Vec<(String, String)>, ShopError> {
        sqlx::query(
            "SELECT reason, released_by FROM release_request WHERE message_id = $1 \
             ORDER BY at_ms, reason",
        )
        .bind(message.to_string())
        .fetch_all(self.pool().await?)
        .await
        .and_then(|rows| {
            let pair = |row: &AnyRow| Ok((row.try_get(0)?, row.try_get(1)?));
            rows.iter().map(pair).collect()
        })
        .map_err(ShopError::during("looking for releases of a message"))
    }

    /// The reasons that a person has waived for `message`; none unless its bytes, gateway and
    /// account are those that the person saw.
    pub async fn waived(&self, message: &Message) -> Result<BTreeSet<Reason>, ShopError> {
        let doing = "looking a release up";
        let rows = sqlx::query(
            "SELECT release_request.reason, body, gateway, account FROM release_request \
             JOIN parked_message ON parked_message.message_id = release_request.message_id \
             WHERE release_request.message_id = $1",
        )
        .bind(message.id.to_string())
        .fetch_all(self.pool().await?)
        .await
        .map_err(ShopError::during(doing))?;
        let body = STANDARD.encode(&message.body);
        let headers = &message.headers;
        let mut waived = BTreeSet::new();
        for row in &rows {
            let text = |at: usize| -> Result<String, ShopError> {
                row.try_get(at).map_err(ShopError::during(doing))
            };
            let (gateway, account) = (text(2)?, text(3)?);
            let is_it = text(1)? == body
                && headers.gateway.is_some_and(|own| own.as_str() == gateway)
                && headers
                    .account
                    .as_ref()
                    .is_some_and(|own| own.as_str() == account);
            if is_it {
                let reason = text(0)?.parse().map_err(ShopError::unreadable("reason"))?;
                waived.insert(reason);
            }
        }
        Ok(waived)
    }
}

/// The message as it came first: attempts, reasons and failures of its former life are left out.
fn read_message(row: &AnyRow, release: &str) -> Result<Message, ShopError> {
    let doing = "reading a parked message";
    let text = |at: usize| -> Result<String, ShopError> {
        row.try_get(at).map_err(ShopError::during(doing))
    };
    let made_at: i64 = row.try_get(4).map_err(ShopError::during(doing))?;
    let pairs: Vec<(String, String)> =
        serde_json::from_str(&text(5)?).map_err(ShopError::unreadable("list of headers"))?;
    let mut headers = Headers {
        attempt: 0,
        reason: None,
        reason_detail: None,
        first_failed_at: None,
        origin_queue: None,
        ..Headers::from_pairs(pairs)
    };
    headers
        .other
        .insert(RELEASE_HEADER.to_owned(), release.to_owned());
    let body = STANDARD
        .decode(text(6)?)
        .map_err(ShopError::unreadable("body"))?;
    Ok(Message {
        id: text(1)?
            .parse()
            .map_err(ShopError::unreadable("message id"))?,
        kind: MessageKind::parse(&text(2)?),
        content_type: text(3)?,
        timestamp: Timestamp::from_millisecond(made_at).map_err(ShopError::unreadable("time"))?,
        headers,
        body: Bytes::from(body),
    })
}

#[cfg(test)]
mod tests;
