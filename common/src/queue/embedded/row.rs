//! A message as columns, and back.
//!
//! Reading is lenient like [`Headers`] themselves: a column that another program has spoilt is
//! replaced, so that it never loses a body.

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use crate::ids::MessageId;
use crate::message::{Headers, Message, MessageKind};

/// A message's own columns, in this order everywhere.
pub(super) const COLUMNS: &str = "id, kind, content_type, timestamp, headers, body";

/// The columns of one message, ready to bind (and to bind again, when a batch is tried singly).
#[derive(Debug, Clone)]
pub(super) struct Columns {
    id: String,
    kind: String,
    content_type: String,
    timestamp: String,
    headers: String,
    body: Bytes,
}

impl Columns {
    /// Takes a message apart.
    pub(super) fn of(message: Message) -> Self {
        Self {
            id: message.id.to_string(),
            kind: message.kind.as_str().to_owned(),
            content_type: message.content_type,
            timestamp: message.timestamp.to_string(),
            // A list of pairs of texts always serialises.
            headers: serde_json::to_string(&message.headers.to_pairs()).unwrap_or_default(),
            body: message.body,
        }
    }

    /// Bytes of body and headers together.
    pub(super) const fn size(&self) -> usize {
        self.headers.len().saturating_add(self.body.len())
    }

    /// Binds all of [`COLUMNS`].
    pub(super) fn bind<'q>(
        &self,
        query: Query<'q, Sqlite, SqliteArguments>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        query
            .bind(self.id.clone())
            .bind(self.kind.clone())
            .bind(self.content_type.clone())
            .bind(self.timestamp.clone())
            .bind(self.headers.clone())
            .bind(self.body.to_vec())
    }
}

/// Puts a message together from a row that has [`COLUMNS`].
pub(super) fn message(row: &SqliteRow) -> Result<Message, sqlx::Error> {
    let id: String = row.try_get("id")?;
    let kind: String = row.try_get("kind")?;
    let timestamp: String = row.try_get("timestamp")?;
    let headers: String = row.try_get("headers")?;
    let body: Vec<u8> = row.try_get("body")?;
    Ok(Message {
        id: id.parse().unwrap_or_else(|_| MessageId::from_name(&id)),
        kind: MessageKind::parse(&kind),
        content_type: row.try_get("content_type")?,
        timestamp: timestamp.parse().unwrap_or(Timestamp::UNIX_EPOCH),
        headers: Headers::from_pairs(
            serde_json::from_str::<Vec<(String, String)>>(&headers).unwrap_or_default(),
        ),
        body: Bytes::from(body),
    })
}
