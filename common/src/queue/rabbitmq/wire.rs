//! The AMQP form of a [`Message`]: properties and headers, written strictly, read leniently.
//!
//! Pure. Whatever comes in becomes a message; what cannot be read is kept as text, so that a
//! strange header never costs a body.

use std::fmt::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use sha2::{Digest, Sha256};

use crate::ids::MessageId;
use crate::message::{Headers, Message, MessageKind};
use crate::queue::PublishError;

/// The AMQP `app_id` of everything that this system publishes.
const APP_ID: &str = "quittance";

/// Persistent, also for quorum queues: a dead-lettered copy keeps the mode.
const PERSISTENT: u8 = 2;

/// The most bytes of headers. All properties share one frame of 131,072 bytes, and a larger one
/// kills the connection for everybody; this leaves ample room for the rest.
const HEADERS_LIMIT: usize = 96 * 1024;

/// The header that keeps a foreign `message_id` which is no UUID.
const FOREIGN_ID: &str = "message-id";

/// The media type when a publisher named none.
const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

/// The properties that carry everything of `message` but its body.
///
/// # Errors
/// [`PublishError::TooLarge`] when the headers do not fit into a frame, or a name or a short
/// property is over AMQP's 255 bytes.
pub(super) fn encode(message: &Message) -> Result<BasicProperties, PublishError> {
    let pairs = message.headers.to_pairs();
    let headers_bytes: usize = pairs
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(6))
        .sum();
    let too_large = || PublishError::TooLarge {
        bytes: headers_bytes.saturating_add(message.body.len()),
    };
    if headers_bytes > HEADERS_LIMIT {
        return Err(too_large());
    }
    let short = |text: &str| ShortString::try_new(text).map_err(|_| too_large());
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        let value = AMQPValue::LongString(LongString::from(value));
        table.insert(short(&name)?, value);
    }
    Ok(BasicProperties::default()
        .with_message_id(short(&message.id.to_string())?)
        .with_type(short(message.kind.as_str())?)
        .with_content_type(short(&message.content_type)?)
        .with_timestamp(u64::try_from(message.timestamp.as_second()).unwrap_or_default())
        .with_app_id(short(APP_ID)?)
        .with_delivery_mode(PERSISTENT)
        .with_headers(table))
}

/// Reads a delivery; `now` stands in for a timestamp that is missing or absurd.
pub(super) fn decode(properties: &BasicProperties, body: Vec<u8>, now: Timestamp) -> Message {
    let mut pairs: Vec<(String, String)> = properties
        .headers()
        .iter()
        .flatten()
        .map(|(name, value)| (name.to_string(), text_of(value)))
        .collect();
    let id_text = properties.message_id().as_ref().map(ShortString::as_str);
    let id = id_text
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| {
            pairs.extend(id_text.map(|text| (FOREIGN_ID.to_owned(), text.to_owned())));
            id_of_body(&body)
        });
    let timestamp = properties
        .timestamp()
        .and_then(|seconds| i64::try_from(seconds).ok())
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(now);
    Message {
        id,
        kind: MessageKind::parse(properties.kind().as_ref().map_or("", |kind| kind.as_str())),
        content_type: properties
            .content_type()
            .as_ref()
            .map_or(UNKNOWN_MEDIA_TYPE, |text| text.as_str())
            .to_owned(),
        timestamp,
        headers: Headers::from_pairs(pairs),
        body: Bytes::from(body),
    }
}

/// The id of a message that came without one: the same for every redelivery of the same bytes.
fn id_of_body(body: &[u8]) -> MessageId {
    let mut name = String::from("sha256:");
    for byte in Sha256::digest(body) {
        // Writing to a String cannot fail.
        write!(name, "{byte:02x}").ok();
    }
    MessageId::from_name(&name)
}

/// A header value as text, whatever its AMQP type.
fn text_of(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::DecimalValue(value) => format!("{}e-{}", value.value, value.scale),
        AMQPValue::ShortString(value) => value.to_string(),
        AMQPValue::LongString(value) => value.to_string(),
        AMQPValue::ByteArray(value) => String::from_utf8_lossy(value.as_slice()).into_owned(),
        AMQPValue::FieldArray(values) => {
            let parts: Vec<String> = values.as_slice().iter().map(text_of).collect();
            format!("[{}]", parts.join(", "))
        }
        AMQPValue::FieldTable(table) => {
            let parts: Vec<String> = table
                .into_iter()
                .map(|(name, value)| format!("{name}: {}", text_of(value)))
                .collect();
            format!("{{{}}}", parts.join(", "))
        }
        AMQPValue::Void => String::new(),
    }
}

#[cfg(test)]
mod tests;
