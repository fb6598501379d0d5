//! What a replay changes in a message: a clean slate for the stage, the history kept, and the mark
//! that tells it from a duplicate. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::queue::{QueueId, WorkQueue};

/// The largest original body that is kept in a header beside an edited one: all headers share one
/// frame of the broker.
const ORIGINAL_LIMIT: usize = 32 * 1024;

/// The header that keeps the body before it was edited.
const ORIGINAL_BODY: &str = "original-body";

/// The header that keeps the id which belongs to that body.
const ORIGINAL_ID: &str = "original-message-id";

/// What was changed is kept under its name behind this.
const ORIGINAL: &str = "original-";

/// `header:NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderEdit {
    pub(crate) name: String,
    value: String,
}

impl FromStr for HeaderEdit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .strip_prefix("header:")
            .and_then(|rest| rest.split_once('='))
            .filter(|(name, _)| !name.is_empty())
            .ok_or("header:NAME=VALUE, such as `header:account=shop`")?;
        if name == "replay-id" || name.starts_with(ORIGINAL) || Headers::is_broker_header(name) {
            return Err(format!("the header `{name}` cannot be edited"));
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// What one replay does to each message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marking {
    /// The same for all messages of one replay.
    pub(crate) replay_id: String,
    /// Changed headers; the originals are kept as `original-{name}`.
    pub(crate) edits: Vec<HeaderEdit>,
    /// Another body; the original is kept in the header `original-body`, base64.
    pub(crate) body: Option<Bytes>,
}

impl Marking {
    /// The message as it is published.
    ///
    /// # Errors
    /// In words, when the original body is too large to be kept, or would be believed without
    /// being verified again.
    pub(crate) fn apply(&self, message: &Message) -> Result<Message, String> {
        let mut next = message.clone();
        // As it came, before the slate is wiped.
        let before: BTreeMap<String, String> = message.headers.to_pairs().into_iter().collect();
        let headers = &mut next.headers;
        headers.replay_id = Some(self.replay_id.clone());
        headers.attempt = 0;
        // With these left in, the stage would take the first failure for the last.
        headers.first_failed_at = None;
        headers.reason_detail = None;
        if let Some(reason) = headers.reason.take() {
            let kept = ("replayed-reason".to_owned(), reason.to_string());
            headers.other.extend([kept]);
        }
        if !self.edits.is_empty() {
            let mut pairs: BTreeMap<String, String> = next.headers.to_pairs().into_iter().collect();
            for edit in &self.edits {
                let original = before.get(&edit.name).cloned().unwrap_or_default();
                // The first original is the one: an edit of an edit does not replace it.
                pairs
                    .entry(format!("{ORIGINAL}{}", edit.name))
                    .or_insert(original);
                pairs.insert(edit.name.clone(), edit.value.clone());
            }
            next.headers = Headers::from_pairs(pairs);
        }
        if let Some(body) = &self.body {
            let believed = match message.kind {
                MessageKind::EvidenceV1 => Some("is the gateway's own answer"),
                MessageKind::PaymentV1 => Some("is an event that was verified before"),
                MessageKind::NotificationV1
                | MessageKind::AnnouncementV1
                | MessageKind::Unknown(_) => None,
            };
            if let Some(why) = believed {
                return Err(format!(
                    "the body of {} {why} and cannot be edited",
                    message.kind.as_str()
                ));
            }
            let other = &mut next.headers.other;
            if !other.contains_key(ORIGINAL_BODY) {
                if message.body.len() > ORIGINAL_LIMIT {
                    return Err(format!(
                        "the original body has {} bytes; no more than {ORIGINAL_LIMIT} can be \
                         kept beside an edited one",
                        message.body.len()
                    ));
                }
                let original = STANDARD.encode(&message.body);
                other.insert(ORIGINAL_BODY.to_owned(), original);
                other.insert(ORIGINAL_ID.to_owned(), message.id.to_string());
            }
            // Other bytes are another message; the same edit gives the same id.
            next.id = message
                .id
                .derive(&format!("edited/{}", STANDARD.encode(body)));
            next.body = body.clone();
        }
        Ok(next)
    }
}

/// The message as it is published to `to`, marked when it is a replay.
///
/// # Errors
/// In words, when it must not be published.
pub(crate) fn prepared(
    message: &Message,
    to: QueueId,
    marking: Option<&Marking>,
) -> Result<Message, String> {
    if !fits(&message.kind, to) {
        return Err(format!(
            "that stage does not take {}",
            message.kind.as_str()
        ));
    }
    marking.map_or_else(|| Ok(message.clone()), |marking| marking.apply(message))
}

/// Whether the stage on `queue` takes messages of that kind; parking queues take everything, and
/// so does every queue from a newer version.
const fn fits(kind: &MessageKind, queue: QueueId) -> bool {
    let (QueueId::Work(work) | QueueId::Retry(work, _)) = queue else {
        return true;
    };
    match kind {
        MessageKind::NotificationV1 | MessageKind::EvidenceV1 => matches!(work, WorkQueue::Verify),
        MessageKind::PaymentV1 => matches!(work, WorkQueue::Fulfil),
        MessageKind::AnnouncementV1 => matches!(work, WorkQueue::Notify),
        MessageKind::Unknown(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::ids::{MessageId, Reason};

    fn message() -> Message {
        Message {
            id: MessageId::new(),
            kind: MessageKind::NotificationV1,
            content_type: "application/x-www-form-urlencoded".into(),
            timestamp: "2026-11-22T10:00:00Z".parse().unwrap(),
            headers: Headers {
                account: Some("wrong".parse().unwrap()),
                attempt: 7,
                reason: Some(Reason::of("gave_up")),
                reason_detail: Some("no verdict".into()),
                first_failed_at: Some("2026-11-18T10:00:00Z".parse().unwrap()),
                origin_queue: Some("ipn.verify".into()),
                ..Headers::default()
            },
            body: Bytes::from_static(b"txn_id=T1"),
        }
    }

    fn marking() -> Marking {
        Marking {
            replay_id: "r1".into(),
            ..Marking::default()
        }
    }

    #[test]
    fn a_replay_starts_the_stage_afresh_and_keeps_the_history() {
        let message = message();
        let next = marking().apply(&message).unwrap();
        assert_eq!((next.id, &next.body), (message.id, &message.body));
        let headers = next.headers;
        assert_eq!(headers.replay_id.as_deref(), Some("r1"));
        assert_eq!(
            (headers.attempt, headers.reason, headers.first_failed_at),
            (0, None, None)
        );
        assert_eq!(headers.origin_queue.as_deref(), Some("ipn.verify"));
        assert_eq!(headers.other["replayed-reason"], "gave_up");
    }

    #[test]
    fn an_edited_header_is_in_force_and_its_original_is_kept() {
        let edits = vec!["header:account=right".parse().unwrap()];
        let marking = Marking { edits, ..marking() };
        let headers = marking.apply(&message()).unwrap().headers;
        assert_eq!(headers.account.unwrap().as_str(), "right");
        assert_eq!(headers.other["original-account"], "wrong");
    }

    #[test]
    fn an_edited_body_is_another_message_that_keeps_the_original() {
        let marking = Marking {
            body: Some(Bytes::from_static(b"txn_id=T2")),
            ..marking()
        };
        let message = message();
        let next = marking.apply(&message).unwrap();
        assert_eq!(next.body, "txn_id=T2");
        assert_ne!(next.id, message.id);
        assert_eq!(next.id, marking.apply(&message).unwrap().id);
        let kept = &next.headers.other["original-body"];
        assert_eq!(STANDARD.decode(kept).unwrap(), message.body);
        assert_eq!(
            next.headers.other["original-message-id"],
            message.id.to_string()
        );
    }

    #[test]
    fn a_second_edit_keeps_the_first_original() {
        let edited = |message: &Message, account: &str, body: &'static [u8]| {
            let edit = format!("header:account={account}").parse().unwrap();
            let marking = Marking {
                edits: vec![edit],
                body: Some(Bytes::from_static(body)),
                ..marking()
            };
            marking.apply(message).unwrap()
        };
        let message = message();
        let once = edited(&message, "nearly", b"txn_id=T2");
        let twice = edited(&once, "right", b"txn_id=T3");
        assert_eq!(twice.headers.account.unwrap().as_str(), "right");
        assert_eq!(twice.body, "txn_id=T3");
        let kept = &twice.headers.other;
        assert_eq!(kept["original-account"], "wrong");
        assert_eq!(
            STANDARD.decode(&kept["original-body"]).unwrap(),
            message.body
        );
        assert_eq!(kept["original-message-id"], message.id.to_string());
    }

    #[test]
    fn the_original_of_what_a_replay_wipes_is_what_it_was() {
        let edits = vec![
            "header:attempt=3".parse().unwrap(),
            "header:reason=held".parse().unwrap(),
        ];
        let marking = Marking { edits, ..marking() };
        let headers = marking.apply(&message()).unwrap().headers;
        assert_eq!(headers.attempt, 3);
        assert_eq!(headers.other["original-attempt"], "7");
        assert_eq!(headers.other["original-reason"], "gave_up");
    }

    #[test]
    fn an_original_that_no_header_can_hold_is_not_edited() {
        let mut message = message();
        message.body = vec![b'a'; ORIGINAL_LIMIT + 1].into();
        let marking = Marking {
            body: Some(Bytes::new()),
            ..marking()
        };
        assert!(marking.apply(&message).is_err());
    }

    #[test]
    fn what_is_believed_without_being_verified_again_is_replayed_but_not_edited() {
        for kind in [MessageKind::EvidenceV1, MessageKind::PaymentV1] {
            let mut message = message();
            message.kind = kind;
            assert!(marking().apply(&message).is_ok());
            let marking = Marking {
                body: Some(Bytes::from_static(b"SUCCESS\ntxn_id=T2")),
                ..marking()
            };
            let refused = marking.apply(&message).unwrap_err();
            assert!(refused.contains("cannot be edited"), "{refused}");
        }
    }

    #[test]
    fn the_mark_of_a_replay_and_the_brokers_headers_cannot_be_edited() {
        for text in [
            "header:replay-id=x",
            "header:x-death=1",
            "header:original-account=x",
            "account=x",
            "header:=x",
        ] {
            assert!(text.parse::<HeaderEdit>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_stage_is_given_only_what_it_takes() {
        let verify = QueueId::Work(WorkQueue::Verify);
        assert!(fits(&MessageKind::NotificationV1, verify));
        assert!(!fits(&MessageKind::PaymentV1, verify));
        assert!(fits(&MessageKind::PaymentV1, QueueId::Quarantine));
        assert!(fits(&MessageKind::Unknown("ipn.payment.v9".into()), verify));
    }
}
