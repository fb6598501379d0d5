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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;
    use crate::event::Source;
    use crate::ids::{GatewayId, MessageId, Reason};
    use crate::settings::ShopDatabase;
    use crate::shop::{NewDecision, NewParked, NewRelease};
    use crate::stage::StageName;

    async fn shop(folder: &tempfile::TempDir) -> Shop {
        let database = ShopDatabase::Sqlite(folder.path().join("shop.sqlite"));
        Shop::open(&database).await.unwrap()
    }

    fn decision(txn: &str, outcome: &'static str) -> NewDecision {
        let message = Message {
            id: MessageId::from_name(txn),
            kind: MessageKind::NotificationV1,
            content_type: "application/x-www-form-urlencoded".into(),
            timestamp: Timestamp::from_millisecond(1_700_000_000_123).unwrap(),
            headers: Headers {
                gateway: Some(GatewayId::PayPal),
                account: "default".parse().ok(),
                ..Headers::default()
            },
            body: Bytes::from(format!("txn_id={txn}&first_name=J%FCrgen")),
        };
        NewDecision {
            message_id: message.id,
            at: now(),
            stage: StageName::Verifier,
            about: vec![(txn.into(), txn.into())],
            outcome,
            reason: Some(Reason::of("amount_mismatch")),
            detail: String::new(),
            source: Some(Source::Ipn),
            attempt: 0,
            gateway: Some(GatewayId::PayPal),
            account: "default".parse().ok(),
            meaning: None,
            parked: Some(NewParked {
                lot: crate::disposition::Lot::Quarantine,
                message,
                expected: None,
                found: None,
            }),
        }
    }

    #[tokio::test]
    async fn only_what_is_in_the_books_is_applied_however_many_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder).await;
        let pool = shop.pool().await.unwrap();
        for statement in [
            "INSERT INTO payment VALUES ('p:T1', 'paypal', 'live', 'default', 'payment', 'T1', \
             'completed', 1, 0, 'EUR', '[]', 0, 0, 1)",
            "INSERT INTO event (key, fingerprint, subject, type, txn_id, source, message_id, \
             received_at, applied_at, json) VALUES ('k:150', '', 'p:T1', 'payment.completed', \
             'T1', 'ipn', 'm', 0, 0, '{}')",
        ] {
            sqlx::query(statement).execute(pool).await.unwrap();
        }
        let keys: Vec<EventKey> = (0..250)
            .map(|n| format!("k:{n}").parse().unwrap())
            .collect();
        let applied = shop.applied(&keys).await.unwrap();
        assert_eq!(applied, BTreeSet::from([keys[150].clone()]));
        assert!(shop.applied(&[]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn genuine_messages_are_held_back_until_a_person_releases_them() {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder).await;
        for (txn, outcome) in [("T1", "refused"), ("T2", "invalid"), ("T3", "conflict")] {
            let decision = decision(txn, outcome);
            shop.record_decision(&decision).await.unwrap();
        }
        let bodies = async |since| {
            let held = shop.held_back(since).await.unwrap();
            let body = |one: &Message| String::from_utf8_lossy(&one.body).into_owned();
            held.iter().map(body).collect::<BTreeSet<String>>()
        };
        let body = |txn| format!("txn_id={txn}&first_name=J%FCrgen");
        let long_ago = Timestamp::UNIX_EPOCH;
        assert_eq!(
            bodies(long_ago).await,
            BTreeSet::from([body("T1"), body("T3")])
        );
        let word = NewRelease {
            by: "kim".into(),
            because: "agreed by telephone".into(),
            at: now(),
        };
        shop.release("T1", &word).await.unwrap();
        assert_eq!(bodies(long_ago).await, BTreeSet::from([body("T3")]));
        let later = now().checked_add(jiff::SignedDuration::from_hours(1));
        assert_eq!(bodies(later.unwrap()).await, BTreeSet::new());
    }
}
