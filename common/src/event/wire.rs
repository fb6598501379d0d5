//! The wire form of a payment event, written and read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventData, EventType, PaymentEvent};
use crate::claims::Fingerprint;
use crate::ids::EventKey;
use crate::trace::TraceContext;

/// The media type of a payment event.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What the books say about the payment that an event belongs to, beside its flags. Only in what
/// is published after the commit: `data.payment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InTheBooks {
    /// The payment's name in the books, the same for an authorisation and all of its captures:
    /// `paypal:live:payment:61E...`, as in webhooks.
    pub id: String,
    /// Whether the books sold goods of the payment with this very event.
    pub sold: bool,
}

/// The `data` of an event that is published.
#[derive(Serialize)]
struct Published<'a> {
    #[serde(flatten)]
    data: &'a EventData,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<&'a InTheBooks>,
}

/// The CloudEvents envelope, structured JSON.
#[derive(Serialize, Deserialize)]
struct CloudEvent<D> {
    specversion: String,
    id: EventKey,
    source: String,
    #[serde(rename = "type")]
    event_type: EventType,
    subject: String,
    time: Timestamp,
    datacontenttype: String,
    /// Extension attribute: the hash of the fields that carry meaning.
    fingerprint: Fingerprint,
    /// Extension attribute: the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    data: D,
}

/// Why a text is not a payment event of version 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not the JSON of this version.
    #[error("not a payment event of version 1: {0}")]
    Json(#[from] serde_json::Error),
    /// A `specversion` other than 1.x.
    #[error("CloudEvents version {0} is not supported")]
    Version(String),
    /// `source` is not `/{gateway}/{account}`.
    #[error("the event's source is not /gateway/account")]
    Source,
}

impl PaymentEvent {
    /// The wire form.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn to_json(&self) -> Result<Vec<u8>, EventError> {
        self.written(&self.data)
    }

    /// The wire form for the shop's own queues, with what the books say about its payment.
    ///
    /// # Errors
    /// As [`Self::to_json`].
    pub fn to_published_json(&self, payment: Option<&InTheBooks>) -> Result<Vec<u8>, EventError> {
        let data = &self.data;
        self.written(&Published { data, payment })
    }

    fn written(&self, data: &impl Serialize) -> Result<Vec<u8>, EventError> {
        Ok(serde_json::to_vec(&CloudEvent {
            specversion: "1.0".to_owned(),
            id: self.key.clone(),
            source: format!("/{}/{}", self.gateway, self.account),
            event_type: self.event_type,
            subject: self.data.subject.id().to_owned(),
            time: self.received_at,
            datacontenttype: "application/json".to_owned(),
            fingerprint: self.fingerprint.clone(),
            traceparent: self.trace.map(|trace| trace.to_string()),
            data,
        })?)
    }

    /// Reads the wire form. Unknown further members are ignored, so that a newer minor form of
    /// version 1 is readable.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EventError> {
        let cloud: CloudEvent<EventData> = serde_json::from_slice(bytes)?;
        if !cloud.specversion.starts_with("1.") {
            return Err(EventError::Version(cloud.specversion));
        }
        let mut path = cloud.source.split('/').skip(1);
        let gateway = path
            .next()
            .and_then(|g| g.parse().ok())
            .ok_or(EventError::Source)?;
        let account = path
            .next()
            .and_then(|a| a.parse().ok())
            .ok_or(EventError::Source)?;
        Ok(Self {
            key: cloud.id,
            fingerprint: cloud.fingerprint,
            event_type: cloud.event_type,
            gateway,
            account,
            received_at: cloud.time,
            trace: cloud.traceparent.as_deref().and_then(TraceContext::parse),
            data: cloud.data,
        })
    }
}
