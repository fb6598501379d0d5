//! The fulfiller's stage on `ipn.fulfil`: reads a payment event, applies it, and turns what became
//! of it into a disposition.

use std::sync::Arc;
use std::time::Duration;

use quittance_common::clock;
use quittance_common::disposition::{Disposition, Lot, Wait};
use quittance_common::event::{EventError, PaymentEvent};
use quittance_common::ids::Reason;
use quittance_common::message::{Message, MessageKind};
use quittance_common::rules::{Decision, Facts, Ruling};
use quittance_common::shop::{Availability, Shop};
use quittance_common::stage::{Stage, StageName, Why};
use quittance_common::telemetry::step::{Step, StepName};
use quittance_common::trace::TraceContext;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::fulfil::{Applied, ApplyError, Outcome, apply_ruled};
use crate::metrics::Metrics;
use crate::records;
use crate::terms::Terms;

/// Attempts at a message that cannot be understood or applied before a person gets it: enough for
/// a rolling update to bring a build that can.
const ATTEMPTS: u32 = 4;

/// The shortest wait while the database is down.
const DATABASE_WAIT: Duration = Duration::from_secs(1);

/// Applies payment events to the books.
#[derive(Debug)]
pub struct FulfilStage {
    shop: Shop,
    availability: Availability,
    outbox_written: Arc<Notify>,
    metrics: Metrics,
    terms: Terms,
}

impl FulfilStage {
    /// A stage on `shop`. `outbox_written` is notified after each commit that queued something:
    /// hand the same one to [`crate::relay::Relay`].
    pub fn new(shop: Shop, outbox_written: Arc<Notify>, metrics: Metrics) -> Self {
        Self {
            availability: Availability::new(shop.clone()),
            shop,
            outbox_written,
            metrics,
            terms: Terms::default(),
        }
    }

    /// The same stage on other terms.
    #[must_use]
    pub fn under(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }

    /// Counts what was decided about a new event, and tells who withheld something.
    fn ruled(&self, message: &Message, event: &PaymentEvent, decision: Decision) {
        self.metrics.ruled(decision.ruling);
        let (rule, action) = (decision.by, decision.ruling.action());
        match decision.ruling {
            Ruling::Process { .. } => {
                debug!(message.id = %message.id, event.key = %event.key, %rule, action, "rule matched");
            }
            Ruling::Record | Ruling::Ignore => {
                info!(
                    message.id = %message.id,
                    event.key = %event.key,
                    event.type = %event.event_type,
                    %rule,
                    action,
                    "event withheld by a rule"
                );
            }
        }
    }

    /// One transaction.
    async fn apply(&self, message: &Message, event: &PaymentEvent) -> Result<Outcome, ApplyError> {
        let mut step = Step::within(message, StepName::Books);
        let done = apply_ruled(&self.terms, &self.shop, event, clock::now()).await;
        let outcome = match done.as_ref().map(|done| &done.applied) {
            Ok(Applied::New(_)) => "new",
            Ok(Applied::Duplicate) => "duplicate",
            Ok(Applied::Conflict) => "conflict",
            Err(_) => "failed",
        };
        step.ended(outcome, done.is_ok());
        done
    }

    fn settled(&self, event: &PaymentEvent, applied: Applied) -> Disposition<()> {
        match applied {
            Applied::New(done) => {
                for effect in &done {
                    self.metrics.effect(effect.effect, "done");
                    if effect.effect == "stock_backordered" {
                        self.metrics.backordered(effect.count);
                    }
                }
                self.outbox_written.notify_one();
                info!(event.key = %event.key, effects = done.len(), "event applied");
                nothing_more()
            }
            Applied::Duplicate => {
                self.metrics.duplicate(StageName::Fulfiller);
                debug!(event.key = %event.key, "event known");
                nothing_more()
            }
            Applied::Conflict => {
                warn!(event.key = %event.key, "event conflicts with the recorded one");
                Disposition::Park {
                    lot: Lot::Quarantine,
                    reason: Reason::of("conflict"),
                    detail: "an event of this key was applied before with another meaning"
                        .to_owned(),
                }
            }
        }
    }

    fn failed(&self, message: &Message, error: &ApplyError) -> Disposition<()> {
        if error.is_transient() {
            self.availability.found_down();
            warn!(%error, "shop database unavailable");
            return Disposition::Retry {
                wait: Wait::Free {
                    at_least: DATABASE_WAIT,
                },
                reason: Reason::of("shop_unavailable"),
                detail: error.to_string(),
            };
        }
        tracing::error!(%error, message.id = %message.id, "event cannot be applied");
        retry_then_park(message, Reason::of("shop_error"), error.to_string())
    }
}

impl Stage for FulfilStage {
    const NAME: StageName = StageName::Fulfiller;
    type Receipt = ();

    async fn ready(&self) {
        self.availability.wait().await;
    }

    async fn handle(&self, message: &Message) -> Disposition<()> {
        let mut event = match read(message) {
            Ok(event) => event,
            Err((reason, detail)) => return retry_then_park(message, reason, detail),
        };
        if let Some(text) = &message.headers.traceparent {
            event.trace = TraceContext::parse(text);
        }
        let decision = self.terms.rules.decide(&Facts::of(&event));
        if decision.ruling == Ruling::Ignore {
            let rule = self.terms.rules.told(decision.by);
            return match records::ignored(&self.shop, message, &event, rule).await {
                Ok(()) => {
                    self.ruled(message, &event, decision);
                    nothing_more()
                }
                Err(error) => self.failed(message, &error.into()),
            };
        }
        match self.apply(message, &event).await {
            Ok(Outcome { applied, decision }) => {
                // What was done is counted, not what the event would have been given alone.
                if let Some(decision) = decision {
                    self.ruled(message, &event, decision);
                    records::went_its_way(&self.shop, message).await;
                }
                self.settled(&event, applied)
            }
            Err(error) => self.failed(message, &error),
        }
    }

    async fn parked(&self, message: &Message, lot: Lot, why: Why<'_>) {
        let tell = self.terms.tell_merchant;
        records::parked(&self.shop, tell, Self::NAME, message, lot, why).await;
    }

    async fn confirmed(&self, (): ()) {}
}

fn read(message: &Message) -> Result<PaymentEvent, (Reason, String)> {
    if message.kind != MessageKind::PaymentV1 {
        let detail = format!("a message of type `{}`", message.kind.as_str());
        return Err((Reason::of("unsupported_version"), detail));
    }
    PaymentEvent::from_json(&message.body).map_err(|error| match error {
        EventError::Version(_) => (Reason::of("unsupported_version"), error.to_string()),
        // serde's words may repeat a value of the body: only where, never what.
        EventError::Json(json) => (
            Reason::of("malformed_event"),
            format!(
                "not a payment event of version 1, at line {} column {}",
                json.line(),
                json.column()
            ),
        ),
        _ => (Reason::of("malformed_event"), error.to_string()),
    })
}

/// Tries again while attempts are left, then leaves it to a person.
pub(crate) fn retry_then_park(
    message: &Message,
    reason: Reason,
    detail: String,
) -> Disposition<()> {
    if message.headers.attempt < ATTEMPTS {
        Disposition::Retry {
            wait: Wait::Counted {
                at_least: Duration::ZERO,
            },
            reason,
            detail,
        }
    } else {
        Disposition::Park {
            lot: Lot::Dead,
            reason,
            detail,
        }
    }
}

/// The message is done and gives rise to nothing itself: the outbox does.
pub(crate) const fn nothing_more() -> Disposition<()> {
    Disposition::Forward {
        publish: Vec::new(),
        receipt: (),
    }
}

#[cfg(test)]
mod tests;
