//! The relay: publishes what the books have queued. A crash between publish and mark repeats a
//! message under the same id; it never invents or loses one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::queue::{Destination, QueueId, Queues, WorkQueue};
use quittance_common::shop::{Outgoing, OutgoingTo, Shop, ShopError};
use quittance_common::trace::TraceContext;
use quittance_common::{clock, event};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often the outbox is looked at when nobody says that something was written: by another
/// process, or before a crash.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// By how much a row is ours for longer than a publish may take.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// How long a row that could not be published rests.
const REST: Duration = Duration::from_secs(1);

/// Rows leased at once, and all published at once: a row that waited for its turn could outlast
/// its lease, and be published by another relay too.
const BATCH: u16 = 16;

/// For how long the outbox may not be readable before the process counts as not ready: longer
/// than a failover of the database takes as a rule.
const TOLERATED: Duration = Duration::from_secs(30);

/// Publishes the outbox of one shop database. Any number may run; leases keep them apart.
#[derive(Debug)]
pub struct Relay {
    shop: Shop,
    queues: Queues,
    outbox_written: Arc<Notify>,
    lease: Duration,
    pulse: Pulse,
}

/// When a relay could read its outbox last. Cheap to clone; every clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether the relay does its work: it has read the outbox, and not too long ago.
    pub fn is_steady(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steady(last.map(|at| at.elapsed()))
    }
}

/// Whether a relay whose last look was so long ago counts as working; `None` when it never looked.
fn steady(since_look: Option<Duration>) -> bool {
    since_look.is_some_and(|since| since < TOLERATED)
}

/// What became of one look at the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There may be more.
    More,
    /// Nothing left, or nothing that can be published now.
    Rest,
}

impl Relay {
    /// A relay from `shop` to `queues`, woken by `outbox_written`. A publish takes at most
    /// `publish_timeout`. Each look at the outbox that succeeds is told to `pulse`.
    pub const fn new(
        shop: Shop,
        queues: Queues,
        outbox_written: Arc<Notify>,
        publish_timeout: Duration,
        pulse: Pulse,
    ) -> Self {
        Self {
            shop,
            queues,
            outbox_written,
            lease: publish_timeout.saturating_add(LEASE_MARGIN),
            pulse,
        }
    }

    /// Publishes until `stop`, then returns after the batch in hand. Faults are waited out.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.look().await {
                Ok(Look::More) => continue,
                Ok(Look::Rest) => {}
                Err(error) => warn!(%error, "outbox not readable"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.outbox_written.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Publishes one batch.
    async fn look(&self) -> Result<Look, ShopError> {
        let rows = self
            .shop
            .lease_outbox(clock::now(), self.lease, BATCH)
            .await?;
        self.pulse.beat();
        if rows.is_empty() {
            return Ok(Look::Rest);
        }
        let results: Vec<Result<bool, ShopError>> = stream::iter(rows)
            .map(|row| self.publish(row))
            .buffer_unordered(usize::from(BATCH))
            .collect()
            .await;
        let mut look = Look::More;
        for result in results {
            if !result? {
                look = Look::Rest;
            }
        }
        Ok(look)
    }

    /// Publishes one row; whether that is certain.
    async fn publish(&self, row: Outgoing) -> Result<bool, ShopError> {
        let id = row.id;
        let (to, message) = message_of(row, clock::now());
        match self.queues.publish(&to, message).await {
            Ok(()) => {
                self.shop.published(id, clock::now()).await?;
                debug!(message.id = %id, "outbox row published");
                Ok(true)
            }
            Err(error) => {
                warn!(%error, message.id = %id, "outbox row not published");
                let now = clock::now();
                let later = now.checked_add(REST).unwrap_or(now);
                self.shop.unlease(id, later).await?;
                Ok(false)
            }
        }
    }
}

/// The message of an outbox row, and where it goes.
fn message_of(row: Outgoing, now: Timestamp) -> (Destination, Message) {
    let (to, kind, content_type) = match row.to {
        OutgoingTo::Notify => (
            Destination::Queue(QueueId::Work(WorkQueue::Notify)),
            MessageKind::AnnouncementV1,
            "application/json",
        ),
        OutgoingTo::Payments { routing_key } => (
            Destination::Payments { routing_key },
            MessageKind::PaymentV1,
            event::CONTENT_TYPE,
        ),
    };
    let message = Message {
        id: row.id,
        kind,
        content_type: content_type.to_owned(),
        timestamp: now,
        headers: Headers {
            gateway: Some(row.gateway),
            account: Some(row.account),
            received_at: Some(row.received_at),
            traceparent: traceparent_in(&row.payload),
            ..Headers::default()
        },
        body: Bytes::from(row.payload),
    };
    (to, message)
}

/// The trace that a payload names: events and announcements carry it in their body, too.
fn traceparent_in(payload: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Traced {
        traceparent: Option<String>,
    }
    let traced: Traced = serde_json::from_str(payload).ok()?;
    traced
        .traceparent
        .filter(|text| TraceContext::parse(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::ids::{GatewayId, MessageId};

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_payload_without_a_valid_trace_has_none() {
        for payload in [
            "{}",
            "",
            "[]",
            r#"{"traceparent":"x"}"#,
            r#"{"traceparent":7}"#,
        ] {
            assert_eq!(traceparent_in(payload), None, "{payload}");
        }
    }

    #[test]
    fn a_relay_counts_as_working_once_it_has_read_the_outbox_and_for_half_a_minute_after() {
        assert!(!steady(None));
        assert!(steady(Some(Duration::from_secs(29))));
        assert!(!steady(Some(TOLERATED)));
        let pulse = Pulse::default();
        assert!(!pulse.is_steady());
        pulse.clone().beat();
        assert!(pulse.is_steady());
    }

    #[test]
    fn a_row_keeps_its_id_and_goes_where_it_says() {
        let row = |to| Outgoing {
            id: MessageId::from_name("row"),
            to,
            gateway: GatewayId::PayPal,
            account: "default".parse().unwrap(),
            received_at: clock::now(),
            payload: format!("{{\"traceparent\":\"{TRACE}\",\"news\":\"received\"}}"),
        };
        let (to, message) = message_of(row(OutgoingTo::Notify), clock::now());
        assert_eq!(message.headers.traceparent.as_deref(), Some(TRACE));
        assert_eq!(to, Destination::Queue(QueueId::Work(WorkQueue::Notify)));
        assert_eq!(message.kind, MessageKind::AnnouncementV1);
        assert_eq!(message.id, MessageId::from_name("row"));
        let routing_key = "paypal.payment.completed".to_owned();
        let (to, message) = message_of(
            row(OutgoingTo::Payments {
                routing_key: routing_key.clone(),
            }),
            clock::now(),
        );
        assert_eq!(to, Destination::Payments { routing_key });
        assert_eq!(message.kind, MessageKind::PaymentV1);
        assert!(
            message
                .content_type
                .starts_with("application/cloudevents+json")
        );
    }
}
