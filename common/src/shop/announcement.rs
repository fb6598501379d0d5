//! Which customer notifications have been sent, so that a redelivered one is not sent again.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row as _;

use super::{Shop, ShopError, millis};
use crate::ids::MessageId;

/// What became of a customer notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// It was handed over.
    Sent,
    /// It was not sent, and why: a reason code.
    Skipped(&'static str),
}

impl Announced {
    const fn columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Sent => ("sent", ""),
            Self::Skipped(reason) => ("skipped", reason),
        }
    }
}

/// The answer to [`Shop::begin_announcement`]. Every arm must be matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Nobody else sends it until the lease ends.
    Mine,
    /// Somebody else sends it now.
    Busy,
    /// It was sent or skipped before.
    Before,
}

impl Shop {
    /// Takes the right to send a notification, for `lease`: a message that a broker delivers again
    /// while its first delivery is still in hand must not be sent twice. It ends with
    /// [`Self::record_announcement`] or [`Self::give_up_announcement`].
    pub async fn begin_announcement(
        &self,
        id: MessageId,
        subject: &str,
        kind: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Begun, ShopError> {
        let doing = "taking a notification in hand";
        let pool = self.pool().await?;
        let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let begun = sqlx::query(
            "INSERT INTO announcement (message_id, subject, kind, outcome, reason, at) \
             VALUES ($1, $2, $3, 'sending', '', $4) \
             ON CONFLICT (message_id) DO UPDATE SET at = excluded.at \
             WHERE announcement.outcome = 'sending' AND announcement.at <= $5",
        )
        .bind(id.to_string())
        .bind(subject)
        .bind(kind)
        .bind(millis(now))
        .bind(millis(now).saturating_sub(lease))
        .execute(pool)
        .await
        .map_err(ShopError::during(doing))?;
        if begun.rows_affected() == 1 {
            return Ok(Begun::Mine);
        }
        Ok(if self.is_announced(id).await? {
            Begun::Before
        } else {
            Begun::Busy
        })
    }

    /// Gives back the right that was taken at `since`: it could not be sent.
    pub async fn give_up_announcement(
        &self,
        id: MessageId,
        since: Timestamp,
    ) -> Result<(), ShopError> {
        sqlx::query(
            "DELETE FROM announcement WHERE message_id = $1 AND outcome = 'sending' AND at = $2",
        )
        .bind(id.to_string())
        .bind(millis(since))
        .execute(self.pool().await?)
        .await
        .map_err(ShopError::during("giving a notification back"))?;
        Ok(())
    }

    /// Whether the notification of that id was sent or skipped before.
    pub async fn is_announced(&self, id: MessageId) -> Result<bool, ShopError> {
        let found = sqlx::query(
            "SELECT outcome FROM announcement WHERE message_id = $1 AND outcome <> 'sending'",
        )
        .bind(id.to_string())
        .fetch_optional(self.pool().await?)
        .await
        .map_err(ShopError::during("asking whether a notification was sent"))?;
        Ok(found.is_some())
    }

    /// Records what became of a notification. Recording it again changes nothing.
    pub async fn record_announcement(
        &self,
        id: MessageId,
        subject: &str,
        kind: &str,
        outcome: Announced,
        now: Timestamp,
    ) -> Result<(), ShopError> {
        let (outcome, reason) = outcome.columns();
        sqlx::query(
            "INSERT INTO announcement (message_id, subject, kind, outcome, reason, at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (message_id) DO UPDATE SET \
             outcome = excluded.outcome, reason = excluded.reason, at = excluded.at \
             WHERE announcement.outcome = 'sending'",
        )
        .bind(id.to_string())
        .bind(subject)
        .bind(kind)
        .bind(outcome)
        .bind(reason)
        .bind(millis(now))
        .execute(self.pool().await?)
        .await
        .map_err(ShopError::during("recording a notification"))?;
        Ok(())
    }

    /// How many notifications have that outcome (`sent` or `skipped`); for tests and listings.
    pub async fn count_announcements(&self, outcome: &str) -> Result<u64, ShopError> {
        let count: i64 = sqlx::query("SELECT COUNT(*) FROM announcement WHERE outcome = $1")
            .bind(outcome)
            .fetch_one(self.pool().await?)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(ShopError::during("counting notifications"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}
