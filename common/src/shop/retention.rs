//! Personal data that has grown too old: it is removed, and what keeps effects single stays.
//!
//! Removed are names, addresses, options and pass-through texts of events, and the bytes and
//! headers of parked messages. Amounts, ids, keys, fingerprints, states, effects and the orders'
//! numbers stay: a copy of an old message is still a duplicate, and a late refund still finds its
//! payment. The outbox blanks each payload once it is published.

use jiff::Timestamp;
use sqlx::Row as _;

use super::{Shop, ShopError, millis};
use crate::event::PaymentEvent;

/// What one look has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Events whose personal data was removed.
    pub events: u64,
    /// Parked messages whose bytes and headers were removed.
    pub messages: u64,
    /// Events that this build cannot read: left as they are.
    pub unreadable: u64,
}

const DOING: &str = "removing old personal data";

/// How many events are looked at in one go.
const AT_ONCE: i64 = 200;

impl Shop {
    /// Removes the personal data of every event received, and of every message parked, before
    /// `before`. Any number of processes may do so at once; each row is written once.
    pub async fn remove_personal_data(
        &self,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<Removed, ShopError> {
        let mut removed = Removed {
            messages: self.empty_parked(before, now).await?,
            ..Removed::default()
        };
        // From row to row, so that one that cannot be read does not hold the rest up.
        let mut last = (i64::MIN, String::new());
        loop {
            let rows = sqlx::query(
                "SELECT received_at, key, json FROM event WHERE personal_removed_at = 0 \
                 AND received_at < $1 AND (received_at > $2 OR (received_at = $2 AND key > $3)) \
                 ORDER BY received_at, key LIMIT $4",
            )
            .bind(millis(before))
            .bind(last.0)
            .bind(last.1.as_str())
            .bind(AT_ONCE)
            .fetch_all(self.pool().await?)
            .await
            .map_err(ShopError::during(DOING))?;
            for row in &rows {
                last = (
                    row.try_get(0).map_err(ShopError::during(DOING))?,
                    row.try_get(1).map_err(ShopError::during(DOING))?,
                );
                let json: String = row.try_get(2).map_err(ShopError::during(DOING))?;
                match without_personal_data(&json) {
                    Some(json) => {
                        removed.events = removed
                            .events
                            .saturating_add(self.write_event(&last.1, &json, now).await?);
                    }
                    None => removed.unreadable = removed.unreadable.saturating_add(1),
                }
            }
            if rows.is_empty() {
                return Ok(removed);
            }
        }
    }

    async fn write_event(&self, key: &str, json: &str, now: Timestamp) -> Result<u64, ShopError> {
        let written = sqlx::query(
            "UPDATE event SET json = $1, personal_removed_at = $2 \
             WHERE key = $3 AND personal_removed_at = 0",
        )
        .bind(json)
        .bind(millis(now))
        .bind(key)
        .execute(self.pool().await?)
        .await
        .map_err(ShopError::during(DOING))?;
        Ok(written.rows_affected())
    }

    async fn empty_parked(&self, before: Timestamp, now: Timestamp) -> Result<u64, ShopError> {
        let emptied = sqlx::query(
            "UPDATE parked_message SET headers = '[]', body = '', \
             personal_removed_at = $1 WHERE personal_removed_at = 0 AND at_ms < $2",
        )
        .bind(millis(now))
        .bind(millis(before))
        .execute(self.pool().await?)
        .await
        .map_err(ShopError::during(DOING))?;
        // A copy that comes now is the first one again: its bytes can be let go on.
        sqlx::query(
            "DELETE FROM parked_copy WHERE message_id IN \
             (SELECT message_id FROM parked_message WHERE personal_removed_at > 0)",
        )
        .execute(self.pool().await?)
        .await
        .map_err(ShopError::during(DOING))?;
        Ok(emptied.rows_affected())
    }
}

/// The event as it is kept; `None` when it cannot be read. Pure.
fn without_personal_data(json: &str) -> Option<String> {
    let event = PaymentEvent::from_json(json.as_bytes()).ok()?;
    let json = event.without_personal_data().to_json().ok()?;
    String::from_utf8(json).ok()
}
