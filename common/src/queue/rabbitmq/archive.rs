//! Reading the archive: a stream is read from a moment on and nothing is taken.
//!
//! A stream does not say where it ends, and silence is no end: its leader may be away. So a reader
//! sends a mark of its own to the stream, which the broker confirms, and reads until that very mark
//! comes by (ADR 34). No clock takes part in it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::declare::{bounded, short};
use super::depths;
use super::link::Live;
use super::wire;
use crate::clock;
use crate::ids::MessageId;
use crate::message::{Headers, Message, MessageKind};
use crate::queue::{PublishError, QueueError, Range};

/// Unacked at once; a stream wants a limit and acks.
const PREFETCH: u16 = 256;

/// How long nothing may come before the mark does.
const SILENCE: Duration = Duration::from_secs(30);

/// How long the oldest message may take to come.
const HEAD: Duration = Duration::from_secs(5);

/// How far the broker's clock, which dates the files of a stream, may be behind that of ingest, in
/// seconds: reading begins so much earlier than asked.
const SKEW: i64 = 24 * 60 * 60;

/// The `type` of a mark: known here alone. No stage is sent one, and readers keep them to
/// themselves.
const MARK: &str = "ipn.archive-mark.v1";

/// A mark, to be published to the stream.
pub(super) fn mark(id: MessageId) -> Message {
    Message {
        id,
        kind: MessageKind::Unknown(MARK.to_owned()),
        content_type: "text/plain".to_owned(),
        timestamp: clock::now(),
        headers: Headers::default(),
        body: Bytes::from_static(b"a reader's mark: what was archived before it"),
    }
}

fn is_mark(message: &Message) -> bool {
    matches!(&message.kind, MessageKind::Unknown(kind) if kind == MARK)
}

/// Where reading begins, in seconds since 1970; `None` for the beginning of the stream. Pure.
fn offset(range: Range) -> Option<u64> {
    let since = range.since?.as_second().saturating_sub(SKEW);
    u64::try_from(since).ok()
}

/// Sends what falls into `range` to `found`, up to the message `end`, which `set` is to publish.
///
/// # Errors
/// Whenever the end was not seen: what was found until then may not be all.
pub(super) async fn read(
    live: &Live,
    stream: &str,
    range: Range,
    (end, set): (MessageId, impl Future<Output = Result<(), PublishError>>),
    found: &mpsc::Sender<Result<Message, QueueError>>,
) -> Result<(), QueueError> {
    // First the reader, then its mark: wherever the reader begins, the mark is behind it.
    let mut reading = Reading::begin(live, stream, offset(range)).await?;
    set.await.map_err(not_set)?;
    loop {
        let next = tokio::select! {
            () = found.closed() => return Ok(()),
            next = reading.next(SILENCE) => next?,
        };
        let Some(message) = next else {
            return Err(QueueError::Unavailable(format!(
                "nothing came from `{stream}` for {SILENCE:?}, and its end was not reached"
            )));
        };
        if is_mark(&message) {
            if message.id == end {
                return Ok(());
            }
            continue;
        }
        if range.contains(&message) && found.send(Ok(message)).await.is_err() {
            return Ok(());
        }
    }
}

/// The oldest message; `None` when none comes: a stream that has just lost its only file shows
/// nothing.
pub(super) async fn oldest(live: &Live, stream: &str) -> Result<Option<Message>, QueueError> {
    let mut reading = Reading::begin(live, stream, None).await?;
    let first = async {
        loop {
            match reading.next(HEAD).await? {
                Some(message) if is_mark(&message) => {}
                found => return Ok(found),
            }
        }
    };
    timeout(HEAD, first).await.unwrap_or(Ok(None))
}

fn not_set(error: PublishError) -> QueueError {
    match error {
        PublishError::Refused => QueueError::Unsupported(
            "the broker refuses the mark that tells where the archive ends: this user must be \
             allowed to publish to the archive by the default exchange, and the broker must be \
             able to take it",
        ),
        other => QueueError::Unavailable(format!(
            "the end of the archive could not be marked: {other}"
        )),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn unavailable(error: lapin::Error) -> QueueError {
    QueueError::Unavailable(error.to_string())
}

/// A subscription to the stream.
struct Reading {
    deliveries: lapin::Consumer,
    /// Closes with its last handle.
    _channel: Channel,
}

impl Reading {
    /// Subscribes; everything that is published after this has returned will come.
    async fn begin(live: &Live, stream: &str, since: Option<u64>) -> Result<Self, QueueError> {
        let channel = bounded(live.connection().create_channel())
            .await
            .map_err(unavailable)?;
        bounded(channel.basic_qos(PREFETCH, BasicQosOptions::default()))
            .await
            .map_err(unavailable)?;
        let offset = match since {
            Some(seconds) => AMQPValue::Timestamp(seconds),
            None => AMQPValue::LongString(LongString::from("first")),
        };
        let mut arguments = FieldTable::default();
        arguments.insert(short("x-stream-offset").map_err(unavailable)?, offset);
        let options = BasicConsumeOptions::default();
        let name = short(stream).map_err(unavailable)?;
        let deliveries = bounded(channel.basic_consume(name, "".into(), options, arguments))
            .await
            .map_err(unavailable)?;
        // The broker agrees before it looks up where to begin, and answers in order: with a later
        // answer that is done, also where the beginning is the end.
        depths::passive(&channel, stream)
            .await
            .map_err(unavailable)?;
        Ok(Self {
            deliveries,
            _channel: channel,
        })
    }

    /// The next message or mark; `None` when nothing came for so long.
    async fn next(&mut self, within: Duration) -> Result<Option<Message>, QueueError> {
        let delivery = match timeout(within, self.deliveries.next()).await {
            Err(_silence) => return Ok(None),
            Ok(None) => {
                return Err(QueueError::Unavailable(
                    "the stream ended while it was read".to_owned(),
                ));
            }
            Ok(Some(delivery)) => delivery.map_err(unavailable)?,
        };
        delivery
            .acker
            .ack(BasicAckOptions::default())
            .await
            .map_err(unavailable)?;
        let message = wire::decode(&delivery.properties, delivery.data, clock::now());
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_early_enough_for_a_broker_whose_clock_is_behind() {
        let range = |since: &str| Range {
            since: since.parse().ok(),
            until: None,
        };
        assert_eq!(offset(range("1970-01-03T00:00:00Z")), Some(24 * 60 * 60));
        assert_eq!(offset(range("1970-01-01T01:00:00Z")), None);
        assert_eq!(offset(Range::default()), None);
    }

    #[test]
    fn a_mark_is_told_from_what_is_archived() {
        let mark = mark(MessageId::new());
        assert!(is_mark(&mark));
        let again = MessageKind::parse(mark.kind.as_str());
        assert_eq!(again, mark.kind);
        let archived = Message {
            kind: MessageKind::NotificationV1,
            ..mark
        };
        assert!(!is_mark(&archived));
    }
}
