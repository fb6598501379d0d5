//! Which customer notifications have been sent, so that a redelivered one is not sent again.

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

impl Shop {
    /// Whether the notification of that id was sent or skipped before.
    pub async fn is_announced(&self, id: MessageId) -> Result<bool, ShopError> {
        let found = sqlx::query("SELECT outcome FROM announcement WHERE message_id = $1")
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
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (message_id) DO NOTHING",
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
