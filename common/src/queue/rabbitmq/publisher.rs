//! Publishing with confirms: a channel has one publish in flight, and only a plain ack is success.
//!
//! The client library matches confirms and returned messages to publishes by their order, so two
//! publishes on one channel can be taken for each other: a message that no queue took would be
//! reported as done. One in flight rules that out; throughput comes from the number of channels.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{error, warn};

use super::declare::soft_error;
use super::link::{Link, Live, State};
use super::wire;
use crate::message::Message;
use crate::queue::{Destination, PublishError, QueueNames};

/// Publishes on the channels of one connection.
pub(super) struct Publisher {
    link: Link,
    permits: Arc<Semaphore>,
    timeout: Duration,
}

/// One publish, ready for the wire.
struct Outgoing {
    exchange: ShortString,
    routing_key: ShortString,
    mandatory: bool,
    properties: BasicProperties,
    body: Bytes,
}

impl Publisher {
    pub(super) fn new(link: Link, channels: u16, timeout: Duration) -> Self {
        Self {
            link,
            permits: Arc::new(Semaphore::new(usize::from(channels.max(1)))),
            timeout,
        }
    }

    pub(super) const fn link(&self) -> &Link {
        &self.link
    }

    /// Publishes and waits for the confirm, at most the timeout in all.
    pub(super) async fn publish(
        &self,
        names: &QueueNames,
        to: &Destination,
        message: Message,
    ) -> Result<(), PublishError> {
        let deadline = Instant::now()
            .checked_add(self.timeout)
            .unwrap_or_else(Instant::now);
        // Before anything else, so that a broker that is down costs nothing.
        self.live()?;
        let outgoing = Outgoing::new(names, to, message)?;
        let acquired = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = acquired else {
            return Err(PublishError::Unavailable {
                detail: "all publish channels are busy".to_owned(),
            });
        };
        let live = self.live()?;
        // A task of its own: a caller that goes away in the middle leaves no channel with an
        // unanswered publish behind.
        let sent = tokio::spawn(send(live, outgoing, deadline, self.timeout, permit));
        sent.await.unwrap_or_else(|_| {
            Err(PublishError::Unavailable {
                detail: "the publishing task ended early; the outcome is unknown".to_owned(),
            })
        })
    }

    /// The connection, if it takes messages now.
    fn live(&self) -> Result<Arc<Live>, PublishError> {
        match self.link.state() {
            State::Down(detail) => Err(PublishError::Unavailable { detail }),
            State::Up(live) => match live.blocked_now() {
                Some(reason) => Err(PublishError::Blocked { reason }),
                None => Ok(live),
            },
        }
    }
}

impl Outgoing {
    fn new(names: &QueueNames, to: &Destination, message: Message) -> Result<Self, PublishError> {
        let (exchange, routing_key, mandatory) = match to {
            Destination::Queue(queue) => (String::new(), names.name(*queue), true),
            Destination::Archive => (String::new(), names.archive_name(), true),
            // Nobody listening is no failure here.
            Destination::Payments { routing_key } => {
                (names.payments_exchange(), routing_key.clone(), false)
            }
        };
        let short = |text: String| {
            let bytes = text.len();
            ShortString::try_new(text).map_err(|_| PublishError::TooLarge { bytes })
        };
        Ok(Self {
            exchange: short(exchange)?,
            routing_key: short(routing_key)?,
            mandatory,
            properties: wire::encode(&message)?,
            body: message.body,
        })
    }
}

/// Publishes on a channel that is free or new, and keeps the channel only if the broker answered.
async fn send(
    live: Arc<Live>,
    outgoing: Outgoing,
    deadline: Instant,
    limit: Duration,
    _permit: OwnedSemaphorePermit,
) -> Result<(), PublishError> {
    let size = outgoing.body.len();
    let attempt = async {
        let channel = match live.take_channel() {
            Some(channel) => channel,
            None => open(&live).await?,
        };
        let answer = exchange_words(&channel, outgoing).await?;
        live.put_channel(channel);
        Ok::<_, lapin::Error>(answer)
    };
    tokio::select! {
        biased;
        answer = attempt => match answer {
            Ok(confirmation) => judge(&live, confirmation),
            Err(failure) => Err(explain(&live, &failure, size)),
        },
        // What was sent may still be taken when the alarm is over: unknown, so not done.
        reason = live.blocked() => Err(PublishError::Blocked { reason }),
        () = live.ended() => Err(PublishError::Unavailable {
            detail: "the connection was lost before the confirm; the outcome is unknown".to_owned(),
        }),
        () = sleep_until(deadline) => {
            live.note_timeout();
            Err(PublishError::Timeout(limit))
        }
    }
}

async fn open(live: &Live) -> lapin::Result<Channel> {
    let channel = live.connection().create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

async fn exchange_words(channel: &Channel, outgoing: Outgoing) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: outgoing.mandatory,
        immediate: false,
    };
    channel
        .basic_publish(
            outgoing.exchange,
            outgoing.routing_key,
            options,
            &outgoing.body,
            outgoing.properties,
        )
        .await?
        .await
}

/// Only a plain ack is success.
fn judge(live: &Live, confirmation: Confirmation) -> Result<(), PublishError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            error!(
                queue = %returned.delivery.routing_key,
                reply = %returned.reply_text,
                "the broker returned a message: the queue is missing"
            );
            live.redeclare();
            Err(PublishError::Unroutable)
        }
        Confirmation::Nack(None) => Err(PublishError::Refused),
        Confirmation::NotRequested => {
            error!("a publish channel is not in confirm mode");
            Err(PublishError::Unavailable {
                detail: "the channel was not in confirm mode; the outcome is unknown".to_owned(),
            })
        }
    }
}

/// What a channel's or a connection's error means for the message.
fn explain(live: &Live, failure: &lapin::Error, bytes: usize) -> PublishError {
    match soft_error(failure) {
        // The broker closes the channel of a message over its `max_message_size`.
        Some((AMQPSoftError::PRECONDITIONFAILED, detail)) if detail.contains("size") => {
            PublishError::TooLarge { bytes }
        }
        Some((AMQPSoftError::NOTFOUND, detail)) => {
            error!(detail, "the exchange is missing");
            live.redeclare();
            PublishError::Unroutable
        }
        Some((AMQPSoftError::ACCESSREFUSED, detail)) => {
            error!(detail, "the broker does not let this user publish");
            PublishError::Refused
        }
        _ => {
            warn!(error = %failure, "a publish failed; the outcome is unknown");
            PublishError::Unavailable {
                detail: failure.to_string(),
            }
        }
    }
}
