//! The note to the merchant about a message that goes to quarantine: an announcement that any
//! stage can publish without knowing anything of mail.

use bytes::Bytes;
use serde_json::json;

use crate::clock;
use crate::ids::{MessageId, Reason};
use crate::message::{Headers, Message, MessageKind};
use crate::queue::{Destination, QueueId, WorkQueue};
use crate::trace::TRACEPARENT;

/// Reasons that a stranger can bring about as often as he likes, by posting what no gateway sent:
/// no mail for these, or anybody could fill the merchant's inbox.
const BY_STRANGERS: [&str; 4] = [
    "invalid",
    "environment_mismatch",
    "ambiguous_field",
    "unreadable_field",
];

/// What to publish beside parking `message` in quarantine for `reason`; `None` when no person is
/// to be told. The same message and reason give the same id, so a repeat is one mail.
pub fn quarantine_notice(message: &Message, reason: &Reason) -> Option<(Destination, Message)> {
    if BY_STRANGERS.contains(&reason.as_str()) {
        return None;
    }
    let subject = format!("message:{}", message.id);
    let mut body = json!({
        "news": "merchant",
        "reasons": [reason.as_str()],
        "quarantined": true,
        "subject": subject,
        "txn_id": message.id.to_string(),
    });
    if let (Some(traceparent), Some(members)) = (&message.headers.traceparent, body.as_object_mut())
    {
        // The notice goes by way of the outbox, which keeps bodies and no headers.
        members.insert(TRACEPARENT.to_owned(), traceparent.as_str().into());
    }
    let notice = Message {
        id: MessageId::from_name(&format!("{subject}/mail_merchant:{reason}")),
        kind: MessageKind::AnnouncementV1,
        content_type: "application/json".to_owned(),
        timestamp: clock::now(),
        headers: Headers {
            gateway: message.headers.gateway,
            account: message.headers.account.clone(),
            received_at: message.headers.received_at,
            traceparent: message.headers.traceparent.clone(),
            ..Headers::default()
        },
        body: Bytes::from(body.to_string()),
    };
    let to = Destination::Queue(QueueId::Work(WorkQueue::Notify));
    Some((to, notice))
}
