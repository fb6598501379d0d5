//! The frames of the control socket: two lengths, a head in JSON, and the exact bytes of a body.

use std::io;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::ids::MessageId;
use crate::message::{Headers, Message, MessageKind};
use crate::queue::{Depth, Destination, PublishError, QueueNames};

/// The most bytes of a head or a body: more than the engine takes, so that its refusal is heard.
const LARGEST: u32 = 64 * 1024 * 1024;

/// What a tool asks. `number` comes back with the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    /// The first frame: the form that the tool speaks.
    Hello { version: u32 },
    /// Store a message; its body is the frame's.
    Publish {
        number: u64,
        to: To,
        envelope: Envelope,
    },
    /// Subscribe as `consumer`, a number of the tool's choice.
    Consume {
        number: u64,
        consumer: u64,
        queue: String,
        prefetch: u16,
    },
    /// Hand nothing more to a consumer.
    Stop { number: u64, consumer: u64 },
    /// The consumer is gone; what it has in hand goes back.
    Forget { consumer: u64 },
    /// A delivery is done, or goes back.
    Settle {
        number: u64,
        consumer: u64,
        tag: u64,
        done: bool,
    },
    /// How full the queues are.
    Depths { number: u64 },
}

/// What the server says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Say {
    /// The answer to an ask of that number; the greeting has number 0.
    Answer { number: u64, answer: Answer },
    /// A message for a consumer; its body is the frame's.
    Delivery {
        consumer: u64,
        tag: u64,
        redelivered: bool,
        envelope: Envelope,
    },
    /// A consumer gets nothing more: its queue is unknown, or the server ends.
    Over { consumer: u64 },
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Done, and durable where it was a write.
    Done,
    /// The delivery is no longer the consumer's.
    Stale,
    /// No such queue.
    Unroutable,
    /// Larger than the engine takes.
    TooLarge { bytes: usize },
    /// It could not be done, in words.
    Failed { detail: String },
    /// How full the queues are.
    Depths { depths: Vec<Depth> },
}

/// A destination on the wire; queues go by their names, which both sides read from their settings.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum To {
    /// That queue.
    Queue(String),
    /// The archive.
    Archive,
    /// The payment events, with the routing key.
    Payments(String),
}

impl To {
    pub(super) fn of(to: &Destination, names: &QueueNames) -> Self {
        match to {
            Destination::Queue(queue) => Self::Queue(names.name(*queue)),
            Destination::Archive => Self::Archive,
            Destination::Payments { routing_key } => Self::Payments(routing_key.clone()),
        }
    }

    /// `None` when there is no such queue here.
    pub(super) fn destination(self, names: &QueueNames) -> Option<Destination> {
        Some(match self {
            Self::Queue(name) => Destination::Queue(names.parse(&name)?),
            Self::Archive => Destination::Archive,
            Self::Payments(routing_key) => Destination::Payments { routing_key },
        })
    }
}

/// A message without its body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    id: String,
    kind: String,
    content_type: String,
    timestamp: Timestamp,
    headers: Vec<(String, String)>,
}

impl Envelope {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            id: message.id.to_string(),
            kind: message.kind.as_str().to_owned(),
            content_type: message.content_type.clone(),
            timestamp: message.timestamp,
            headers: message.headers.to_pairs(),
        }
    }

    pub(super) fn message(self, body: Bytes) -> Message {
        Message {
            id: self
                .id
                .parse()
                .unwrap_or_else(|_| MessageId::from_name(&self.id)),
            kind: MessageKind::parse(&self.kind),
            content_type: self.content_type,
            timestamp: self.timestamp,
            headers: Headers::from_pairs(self.headers),
            body,
        }
    }
}

impl Answer {
    /// The answer to a publish.
    pub(super) fn published(outcome: Result<(), PublishError>) -> Self {
        match outcome {
            Ok(()) => Self::Done,
            Err(PublishError::Unroutable) => Self::Unroutable,
            Err(PublishError::TooLarge { bytes }) => Self::TooLarge { bytes },
            Err(PublishError::Unavailable { detail }) => Self::Failed { detail },
            Err(other) => Self::Failed {
                detail: other.to_string(),
            },
        }
    }

    /// The same on the other side.
    pub(super) fn into_published(self) -> Result<(), PublishError> {
        Err(match self {
            Self::Done => return Ok(()),
            Self::Unroutable => PublishError::Unroutable,
            Self::TooLarge { bytes } => PublishError::TooLarge { bytes },
            Self::Failed { detail } => PublishError::Unavailable { detail },
            other @ (Self::Stale | Self::Depths { .. }) => PublishError::Unavailable {
                detail: format!("the server answered {other:?}"),
            },
        })
    }
}

/// A head and a body on their way.
pub(super) type Frame<T> = (T, Bytes);

/// Reads the next frame; `None` at the end of the stream.
pub(super) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<Frame<T>>> {
    let head = match stream.read_u32().await {
        Ok(head) => head,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let body = stream.read_u32().await?;
    if head > LARGEST || body > LARGEST {
        return Err(io::Error::other("a frame is larger than any message"));
    }
    let head = exactly(stream, head).await?;
    let body = exactly(stream, body).await?;
    Ok(Some((serde_json::from_slice(&head)?, body.into())))
}

async fn exactly(stream: &mut (impl AsyncRead + Unpin), bytes: u32) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let read = stream
        .take(u64::from(bytes))
        .read_to_end(&mut buffer)
        .await?;
    if u32::try_from(read).is_ok_and(|read| read == bytes) {
        Ok(buffer)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes a frame.
pub(super) async fn write<T: Serialize + Sync>(
    stream: &mut (impl AsyncWrite + Unpin),
    (head, body): &Frame<T>,
) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
    let (head_length, body_length) = (length(&head)?, length(body)?);
    stream.write_u32(head_length).await?;
    stream.write_u32(body_length).await?;
    stream.write_all(&head).await?;
    stream.write_all(body).await?;
    stream.flush().await
}
