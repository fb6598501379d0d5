//! What is asked about money that was paid and has had no effect yet.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Shop, ShopError, millis};
use crate::ids::EventKey;
use crate::message::{Headers, Message, MessageKind};

/// How many keys one statement asks for.
const AT_ONCE: usize = 100;

/// The most messages that are looked at, the newest first.
const MOST_PARKED: i64 = 1_000;

impl Shop {
    /// Which of these events the books have.
    pub async fn applied(
        &self,
        keys: impl IntoIterator<Item = &EventKey>,
    ) -> Result<BTreeSet<EventKey>, ShopError> {
        let doing = "asking which events are applied";
        let keys: Vec<&EventKey> = keys.into_iter().collect();
        let mut found = BTreeSet::new();
        for some in keys.chunks(AT_ONCE) {
            let places: Vec<String> = (1..=some.len()).map(|n| format!("${n}")).collect();
            let sql = format!("SELECT key FROM event WHERE key IN ({})", places.join(", "));
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for key in some {
                query = query.bind(key.as_str().to_owned());
            }
            let rows = query
                .fetch_all(self.pool().await?)
                .await
                .map_err(ShopError::during(doing))?;
            for row in &rows {
                let key: String = row.try_get(0).map_err(ShopError::during(doing))?;
                found.insert(key.parse().map_err(ShopError::unreadable("event key"))?);
            }
        }
        Ok(found)
    }

    /// Genuine messages that were parked since `since` and that nobody has released: a check
    /// refused them, or they contradict an earlier one. The newest thousand; one whose bytes are
    /// kept no longer is left out.
    pub async fn held_back(&self, since: Timestamp) -> Result<Vec<Message>, ShopError> {
        let doing = "asking what is held back";
        let rows = sqlx::query(
            "SELECT message_id, kind, content_type, made_at, headers, body FROM parked_message \
             WHERE outcome IN ('refused', 'conflict') AND at_ms >= $1 AND NOT EXISTS \
             (SELECT 1 FROM release_request \
             WHERE release_request.message_id = parked_message.message_id \
             AND release_request.reason = parked_message.reason) \
             ORDER BY at_ms DESC, message_id LIMIT $2",
        )
        .bind(millis(since))
        .bind(MOST_PARKED)
        .fetch_all(self.pool().await?)
        .await
        .map_err(ShopError::during(doing))?;
        Ok(rows.iter().filter_map(parked).collect())
    }
}

fn parked(row: &AnyRow) -> Option<Message> {
    let text = |at: usize| row.try_get::<String, _>(at).ok();
    let pairs: Vec<(String, String)> = serde_json::from_str(&text(4)?).ok()?;
    Some(Message {
        id: text(0)?.parse().ok()?,
        kind: MessageKind::parse(&text(1)?),
        content_type: text(2)?,
        timestamp: Timestamp::from_millisecond(row.try_get(3).ok()?).ok()?,
        headers: Headers::from_pairs(pairs),
        body: Bytes::from(STANDARD.decode(text(5)?).ok()?),
    })
}
