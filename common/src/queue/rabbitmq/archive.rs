//! Reading the archive: a stream is read from a moment on and nothing is taken.
//!
//! A stream does not say where it ends; a reader that gets nothing for a while has all of it, and so
//! has one that sees messages from after its beginning.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::declare::{bounded, short};
use super::link::Live;
use super::wire;
use crate::clock;
use crate::message::Message;
use crate::queue::{QueueError, Range};

/// Unacked at once; a stream wants a limit and acks.
const PREFETCH: u16 = 256;

/// How long nothing comes at the end of the stream.
const SILENCE: Duration = Duration::from_secs(3);

/// Sends what falls into `range` to `found`.
pub(super) async fn read(
    live: &Live,
    stream: &str,
    range: Range,
    found: &mpsc::Sender<Result<Message, QueueError>>,
) -> Result<(), QueueError> {
    let unavailable = |error: lapin::Error| QueueError::Unavailable(error.to_string());
    let begun = clock::now();
    let channel = bounded(live.connection().create_channel())
        .await
        .map_err(unavailable)?;
    bounded(channel.basic_qos(PREFETCH, BasicQosOptions::default()))
        .await
        .map_err(unavailable)?;
    // Archived a moment after it was received: the offset may only be too early.
    let offset = match range.since.map(|since| u64::try_from(since.as_second())) {
        Some(Ok(seconds)) => AMQPValue::Timestamp(seconds),
        Some(Err(_)) | None => AMQPValue::LongString(LongString::from("first")),
    };
    let mut arguments = FieldTable::default();
    arguments.insert(short("x-stream-offset").map_err(unavailable)?, offset);
    let options = BasicConsumeOptions::default();
    let name = short(stream).map_err(unavailable)?;
    let mut deliveries = bounded(channel.basic_consume(name, "".into(), options, arguments))
        .await
        .map_err(unavailable)?;
    loop {
        let delivery = match timeout(SILENCE, deliveries.next()).await {
            Err(_silence) => return Ok(()),
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
        let is_new = message.headers.received_at.is_some_and(|at| at > begun);
        if is_new {
            return Ok(());
        }
        if range.contains(&message) && found.send(Ok(message)).await.is_err() {
            return Ok(());
        }
    }
}
