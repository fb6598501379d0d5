//! Performs one decision: publish until confirmed, tell the stage, ack.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::next::{self, Place, Why};
use crate::clock;
use crate::disposition::{Disposition, Lot};
use crate::failpoint;
use crate::ids::Reason;
use crate::message::Message;
use crate::metrics::{InFlight, seconds_between};
use crate::queue::{Acker, Delivery, Destination, PublishError, QueueId, WorkQueue};
use crate::runtime::Shell;
use crate::stage::{self, Stage, StageName};
use crate::telemetry::hop::Hop;

/// The waits between publishes of one message while the broker is down: doubling, within these.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Performs the decisions of one stage.
#[derive(Debug)]
pub(super) struct Performer<S> {
    shell: Shell,
    stage: Arc<S>,
    work: WorkQueue,
    queue: String,
}

/// The delivery was not settled, because the process ends; it will be delivered again.
#[derive(Debug)]
enum Unsettled {
    /// The broker could not take the message before the end.
    Stopping,
    /// The message is too large to be published, in whatever form.
    TooLarge,
}

impl<S: Stage> Performer<S> {
    pub(super) fn new(shell: Shell, stage: Arc<S>, work: WorkQueue) -> Self {
        let queue = shell.names.name(QueueId::Work(work));
        Self {
            shell,
            stage,
            work,
            queue,
        }
    }

    pub(super) fn stage(&self) -> &S {
        &self.stage
    }

    /// Handles one delivery from beginning to end.
    pub(super) async fn perform(&self, delivery: Delivery) {
        let stage = S::NAME.as_str();
        let _held = InFlight::enter(self.shell.metrics.in_flight.with_label_values(&[stage]));
        let span = rand::random();
        let hop = Hop::delivered(S::NAME, &delivery.message, delivery.redelivered, span);
        let log_span = hop.log_span();
        self.settle(delivery, hop).instrument(log_span).await;
    }

    async fn settle(&self, delivery: Delivery, mut hop: Hop) {
        let Delivery {
            mut message, acker, ..
        } = delivery;
        let waiting = &self.shell.metrics.waiting;
        waiting.delivered(self.work, message.timestamp);
        // Whatever follows from it, now or from the outbox, is handed on as a child of this hop.
        message.headers.traceparent = Some(hop.context().to_string());
        let handled = AssertUnwindSafe(self.stage.handle(&message))
            .catch_unwind()
            .await;
        hit(S::NAME, Moment::AfterHandle);
        let outcome = outcome_of(handled.as_ref().ok());
        tracing::debug!(outcome, "decided");
        hop.ended(outcome);
        let settled = match handled {
            Ok(Disposition::Forward { publish, receipt }) => {
                self.forward(&message, publish, receipt).await
            }
            Ok(Disposition::Retry {
                wait,
                reason,
                detail,
            }) => {
                let why = Why { reason, detail };
                let ladder = self.shell.names.ladder();
                self.set_aside(next::delayed(&message, self.place(), ladder, wait, why))
                    .await
            }
            Ok(Disposition::Park {
                lot,
                reason,
                detail,
            }) => self.park(&message, lot, Why { reason, detail }).await,
            Err(_panic) => self.after_panic(&message).await,
        };
        match settled {
            Ok(()) => self.ack(acker).await,
            // The acker is dropped: the delivery goes back when the consumer goes.
            Err(Unsettled::Stopping) => {
                tracing::info!("left unacked at the stop; it will be delivered again");
            }
            Err(Unsettled::TooLarge) => {
                tracing::error!("cannot be published in any form; given back");
                self.pause(BACKOFF.1).await;
                // An error says that it comes again anyway.
                acker.requeue().await.ok();
            }
        }
    }

    /// Publishes everything in order, then lets the stage finish.
    async fn forward(
        &self,
        message: &Message,
        publish: Vec<(Destination, Message)>,
        receipt: S::Receipt,
    ) -> Result<(), Unsettled> {
        for (destination, next) in publish {
            match self.publish(&destination, next).await {
                Ok(()) => {}
                Err(Unsettled::TooLarge) => {
                    // Waiting does not make it smaller; a person must look at it.
                    let why = Why {
                        reason: Reason::of("too_large"),
                        detail: "what follows from it is too large for the broker".to_owned(),
                    };
                    return self.park(message, Lot::Dead, why).await;
                }
                Err(unsettled @ Unsettled::Stopping) => return Err(unsettled),
            }
        }
        hit(S::NAME, Moment::AfterPublish);
        let confirmed = AssertUnwindSafe(self.stage.confirmed(receipt))
            .catch_unwind()
            .await;
        if confirmed.is_err() {
            // Published, but the stage has not finished: the repetition finds that out.
            return self.after_panic(message).await;
        }
        let headers = &message.headers;
        if let Some(received) = headers.received_at.filter(|_| !headers.was_sent_again()) {
            self.shell
                .metrics
                .event_age_seconds
                .with_label_values(&[S::NAME.as_str()])
                .observe(seconds_between(received, clock::now()));
        }
        Ok(())
    }

    async fn park(&self, message: &Message, lot: Lot, why: Why) -> Result<(), Unsettled> {
        self.note_parked(message, lot, &why).await;
        self.set_aside(next::parked(message, self.place(), lot, why))
            .await
    }

    /// Lets the stage record what is parked. A panic there must not keep the message from its
    /// parking queue.
    async fn note_parked(&self, message: &Message, lot: Lot, why: &Why) {
        let Why { reason, detail } = why;
        let noted = self
            .stage
            .parked(message, lot, stage::Why { reason, detail });
        if AssertUnwindSafe(noted).catch_unwind().await.is_err() {
            tracing::error!("the stage panicked while it recorded what is parked");
        }
    }

    /// Publishes to a delay or parking queue and counts it.
    async fn set_aside(&self, (to, next): (QueueId, Message)) -> Result<(), Unsettled> {
        let metrics = &self.shell.metrics;
        let reason = next.headers.reason.clone();
        let reason = reason.as_ref().map_or("", Reason::as_str);
        self.publish(&Destination::Queue(to), next).await?;
        hit(S::NAME, Moment::AfterPublish);
        if let QueueId::Retry(_, rung) = to {
            metrics
                .retries_total
                .with_label_values(&[&self.queue])
                .inc();
            tracing::info!(reason, wait = %rung, "will be tried again");
        } else {
            let queue = self.shell.names.name(to);
            metrics.parked(&queue, reason);
            tracing::warn!(reason, queue, "parked");
        }
        Ok(())
    }

    /// Publishes until it is confirmed, always under the same message id.
    async fn publish(&self, to: &Destination, message: Message) -> Result<(), Unsettled> {
        let metrics = &self.shell.metrics;
        let (mut wait, longest) = BACKOFF;
        loop {
            let start = Instant::now();
            let error = match self.shell.queues.publish(to, message.clone()).await {
                Ok(()) => {
                    let seconds = start.elapsed().as_secs_f64();
                    metrics.publish_confirm_seconds.observe(seconds);
                    return Ok(());
                }
                Err(error) => error,
            };
            let reason = error.as_label();
            metrics
                .publish_failures_total
                .with_label_values(&[reason])
                .inc();
            if matches!(error, PublishError::TooLarge { .. }) {
                return Err(Unsettled::TooLarge);
            }
            tracing::warn!(%error, retry_in = ?wait, "not published");
            if self.shell.stop.is_cancelled() {
                return Err(Unsettled::Stopping);
            }
            self.pause(wait).await;
            wait = wait.saturating_mul(2).min(longest);
        }
    }

    async fn ack(&self, acker: Acker) {
        hit(S::NAME, Moment::BeforeAck);
        if acker.ack().await.is_err() {
            tracing::info!("done, but no longer ours to ack; it will be delivered again");
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            work: self.work,
            queue: &self.queue,
            now: clock::now(),
        }
    }

    /// A panic is a failed attempt of the message, not the end of the process.
    async fn after_panic(&self, message: &Message) -> Result<(), Unsettled> {
        let stage = S::NAME.as_str();
        tracing::error!("the handler panicked");
        self.shell
            .metrics
            .panics_total
            .with_label_values(&[stage])
            .inc();
        let ladder = self.shell.names.ladder();
        let (to, next) = next::after_panic(message, self.place(), ladder);
        if let (QueueId::Dead(_), Some(reason)) = (to, &next.headers.reason) {
            let why = Why {
                reason: reason.clone(),
                detail: next.headers.reason_detail.clone().unwrap_or_default(),
            };
            self.note_parked(message, Lot::Dead, &why).await;
        }
        self.set_aside((to, next)).await
    }

    /// Waits, but not beyond the stop.
    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = self.shell.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// How a hop ended, in the words of traces; without a decision the handler panicked.
const fn outcome_of<R>(decided: Option<&Disposition<R>>) -> &'static str {
    match decided {
        Some(Disposition::Forward { .. }) => "done",
        Some(Disposition::Retry { .. }) => "retried",
        Some(Disposition::Park { .. }) => "parked",
        None => "panicked",
    }
}

/// The places where a test may stop the process.
#[derive(Debug, Clone, Copy)]
enum Moment {
    AfterHandle,
    AfterPublish,
    BeforeAck,
}

/// Failpoints need names that live for ever, hence the table.
fn hit(stage: StageName, place: Moment) {
    use Moment::{AfterHandle, AfterPublish, BeforeAck};
    use StageName::{Fulfiller, Ingest, Notifier, Verifier};
    let name = match (stage, place) {
        // Ingest does not consume.
        (Ingest, _) => return,
        (Verifier, AfterHandle) => "verifier.after_handle",
        (Verifier, AfterPublish) => "verifier.after_publish",
        (Verifier, BeforeAck) => "verifier.before_ack",
        (Fulfiller, AfterHandle) => "fulfiller.after_handle",
        (Fulfiller, AfterPublish) => "fulfiller.after_publish",
        (Fulfiller, BeforeAck) => "fulfiller.before_ack",
        (Notifier, AfterHandle) => "notifier.after_handle",
        (Notifier, AfterPublish) => "notifier.after_publish",
        (Notifier, BeforeAck) => "notifier.before_ack",
    };
    failpoint::hit(name);
}
