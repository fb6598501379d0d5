//! What a dry run says about one message: what it is, what would be done with it, and which of its
//! effects the books have already.

use jiff::Timestamp;
use quittance_common::message::{Message, MessageKind};
use quittance_common::queue::QueueId;
use quittance_common::shop::Shop;
use serde::Serialize;

use super::selection::age;
use super::subject::Subject;

/// A message in a listing; never its body.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    received_at: Timestamp,
    age_seconds: u64,
    gateway: Option<String>,
    account: Option<String>,
    attempt: u32,
    reason: Option<String>,
    reason_detail: Option<String>,
    origin_queue: Option<String>,
    replay_id: Option<String>,
    events: Vec<String>,
    txns: Vec<String>,
    body_bytes: usize,
    /// The body as text, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// What would be done with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<String>,
    /// The effects that its events have had.
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<Vec<String>>,
    /// Which refusals of it a person has waived already, and who.
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<Vec<String>>,
}

/// The columns of `peek`.
pub(crate) const PEEK_COLUMNS: [&str; 9] = [
    "id",
    "type",
    "age_seconds",
    "account",
    "attempt",
    "reason",
    "events",
    "txns",
    "body_bytes",
];

/// The columns of a dry run.
pub(crate) const PLAN_COLUMNS: [&str; 6] = ["id", "reason", "events", "txns", "effects", "would"];

impl Row {
    /// What a listing shows of a message.
    pub(crate) fn of(message: &Message, subject: &Subject, now: Timestamp) -> Self {
        let headers = &message.headers;
        let mut txns = subject.txns.clone();
        txns.dedup();
        Self {
            id: message.id.to_string(),
            kind: message.kind.as_str().to_owned(),
            received_at: headers.received_at.unwrap_or(message.timestamp),
            age_seconds: age(message, now).as_secs(),
            gateway: headers.gateway.map(|gateway| gateway.to_string()),
            account: headers.account.as_ref().map(ToString::to_string),
            attempt: headers.attempt,
            reason: headers.reason.as_ref().map(ToString::to_string),
            reason_detail: headers.reason_detail.clone(),
            origin_queue: headers.origin_queue.clone(),
            replay_id: headers.replay_id.clone(),
            events: subject.events.clone(),
            txns,
            body_bytes: message.body.len(),
            body: None,
            would: None,
            effects: None,
            released: None,
        }
    }

    /// With the body, which holds personal data.
    #[must_use]
    pub(crate) fn with_body(mut self, message: &Message) -> Self {
        self.body = Some(String::from_utf8_lossy(&message.body).into_owned());
        self
    }

    /// With what would be done and what has been done before.
    #[must_use]
    pub(crate) fn with_plan(mut self, would: String, past: &Past) -> Self {
        self.would = Some(would);
        self.effects = Some(past.effects.clone());
        self.released = Some(past.released.clone());
        self
    }
}

/// The effect of an announcement: it was handed over, or skipped for good.
const ANNOUNCED: &str = "announced";

/// What the books know of the events of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// How many events it tells.
    told: usize,
    /// How many of them are applied.
    applied: usize,
    /// Their effects.
    effects: Vec<String>,
    /// `reason by who` of each release.
    released: Vec<String>,
}

impl Past {
    /// Asks the books about a message as it would be published.
    pub(crate) async fn of(
        message: &Message,
        subject: &Subject,
        shop: &Shop,
    ) -> anyhow::Result<Self> {
        let released = shop.released(message.id).await?;
        let words = |(reason, who): (String, String)| format!("{reason} by {who}");
        let mut past = Self {
            told: subject.keys.len(),
            released: released.into_iter().map(words).collect(),
            ..Self::default()
        };
        for key in &subject.keys {
            if let Some(effects) = shop.effects_of_event(key).await? {
                past.applied += 1;
                past.effects.extend(effects);
            }
        }
        if message.kind == MessageKind::AnnouncementV1 {
            past.told = 1;
            if shop.is_announced(message.id).await? {
                past.applied = 1;
                past.effects.push(ANNOUNCED.to_owned());
            }
        }
        Ok(past)
    }
}

/// What a replay to `to` would do, in words. Pure.
pub(crate) fn would_replay(to: QueueId, name: &str, past: &Past) -> String {
    if !matches!(to, QueueId::Work(_) | QueueId::Retry(..)) {
        return format!("park on {name}");
    }
    let then = match (past.told, past.applied) {
        (0, _) => "what it would change cannot be told before it is read",
        (told, applied) if told == applied => "all applied before: nothing would change",
        (_, 0) => "not applied yet: applied if the checks pass",
        _ => "partly applied before: the rest is applied if the checks pass",
    };
    let released = if past.released.is_empty() {
        String::new()
    } else {
        format!(
            "; a person has released it already ({})",
            past.released.join(", ")
        )
    };
    format!("to {name}; {then}{released}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::ids::MessageId;
    use quittance_common::message::Headers;
    use quittance_common::queue::WorkQueue;
    use quittance_common::settings::ShopDatabase;
    use quittance_common::shop::announcement::Announced;

    const VERIFY: QueueId = QueueId::Work(WorkQueue::Verify);

    fn would(to: QueueId, told: usize, applied: usize) -> String {
        let past = Past {
            told,
            applied,
            ..Past::default()
        };
        would_replay(to, "q", &past)
    }

    #[tokio::test]
    async fn an_announcement_that_was_sent_is_told_of_and_one_that_was_not_is_too() {
        let folder = tempfile::tempdir().unwrap();
        let database = ShopDatabase::Sqlite(folder.path().join("shop.sqlite"));
        let shop = Shop::open(&database).await.unwrap();
        let message = Message {
            id: MessageId::new(),
            kind: MessageKind::AnnouncementV1,
            content_type: String::new(),
            timestamp: Timestamp::UNIX_EPOCH,
            headers: Headers::default(),
            body: bytes::Bytes::new(),
        };
        let words = async || {
            let past = Past::of(&message, &Subject::default(), &shop).await;
            would_replay(QueueId::Work(WorkQueue::Notify), "q", &past.unwrap())
        };
        assert!(words().await.contains("not applied yet"));
        let now = Timestamp::UNIX_EPOCH;
        shop.record_announcement(message.id, "s", "k", Announced::Sent, now)
            .await
            .unwrap();
        assert!(words().await.contains("nothing would change"));
        shop.close().await;
    }

    #[test]
    fn a_release_by_a_person_is_told() {
        let past = Past {
            told: 1,
            released: vec!["amount_mismatch by kim".to_owned()],
            ..Past::default()
        };
        let words = would_replay(VERIFY, "q", &past);
        assert!(
            words.contains("released it already (amount_mismatch by kim)"),
            "{words}"
        );
    }

    #[test]
    fn the_words_follow_from_what_the_books_have() {
        let verify = VERIFY;
        assert!(would(verify, 1, 1).contains("nothing would change"));
        assert!(would(verify, 1, 0).contains("not applied yet"));
        assert!(would(verify, 2, 1).contains("partly"));
        assert!(would(verify, 0, 0).contains("cannot be told"));
        assert!(would(QueueId::Quarantine, 1, 0).starts_with("park"));
    }
}
