//! Claiming the events of a message, and sending them on.

use std::time::Duration;

use bytes::Bytes;
use quittance_common::claims::{ClaimError, ClaimOutcome, Owner};
use quittance_common::disposition::{Disposition, Lot};
use quittance_common::event::{self, PaymentEvent};
use quittance_common::ids::Reason;
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::queue::{Destination, QueueId, WorkQueue};
use quittance_common::shop::releases::RELEASE_HEADER;
use quittance_common::telemetry::step::{Step, StepName};
use quittance_common::{clock, failpoint};
use tracing::{info, warn};

use super::{Held, Verifier, free_retry};
use crate::case::{Case, Settled};
use crate::decide::Decision;
use crate::metrics::Outcome;

/// How soon a key that somebody else works on is looked at again.
const BUSY_WAIT: Duration = Duration::from_secs(1);

impl Verifier {
    pub(super) async fn claim_and_forward(
        &self,
        events: Vec<PaymentEvent>,
        message: &Message,
        case: &mut Case,
    ) -> Result<Disposition<Held>, Decision> {
        let mut held = Held::default();
        let mut publish = Vec::with_capacity(events.len());
        for event in events {
            let refused = match self.claim(&event, &held.owner, message).await {
                Ok(ClaimOutcome::Mine { claim, takeover }) => {
                    if takeover {
                        info!(message.id = %message.id, "took over a claim whose lease had ended");
                    }
                    held.claims.push(claim);
                    match envelope(&event, message) {
                        Ok(forward) => {
                            publish.push((
                                Destination::Queue(QueueId::Work(WorkQueue::Fulfil)),
                                forward,
                            ));
                            continue;
                        }
                        Err(decision) => decision,
                    }
                }
                Ok(ClaimOutcome::Done) if message.headers.replay_id.is_none() => continue,
                // A replay goes on without a claim: nobody else works on what is done.
                Ok(ClaimOutcome::Done) => match envelope(&event, message) {
                    Ok(forward) => {
                        publish.push((
                            Destination::Queue(QueueId::Work(WorkQueue::Fulfil)),
                            forward,
                        ));
                        continue;
                    }
                    Err(decision) => decision,
                },
                Ok(ClaimOutcome::Busy { remaining }) => free_retry(
                    BUSY_WAIT.min(remaining),
                    "claim_busy",
                    "another instance works on the same event".into(),
                ),
                Ok(ClaimOutcome::Conflict) => {
                    case.settle(Settled::Conflict);
                    Decision::Park(
                        Lot::Quarantine,
                        Reason::of("conflict"),
                        "the same transaction and status as before, with another amount, payee or order".into(),
                    )
                }
                Err(error) => self.claims_away(&error),
            };
            self.release(&held).await;
            return Err(refused);
        }
        failpoint::hit("verifier.after_claim");
        case.settle(if publish.is_empty() {
            Settled::Duplicate
        } else {
            Settled::Verified
        });
        if let Err(decision) = self.write_down(message, case, None).await {
            self.release(&held).await;
            if matches!(decision, Decision::Park(..)) {
                case.settle(Settled::GaveUp);
            }
            return Err(decision);
        }
        if publish.is_empty() {
            self.duplicate("claimed");
        } else {
            self.metrics.decided(Outcome::Verified, "");
        }
        Ok(Disposition::Forward {
            publish,
            receipt: held,
        })
    }

    async fn claim(
        &self,
        event: &PaymentEvent,
        owner: &Owner,
        message: &Message,
    ) -> Result<ClaimOutcome, ClaimError> {
        let mut step = Step::within(message, StepName::Claim);
        let claimed = self
            .claims
            .claim(&event.key, owner, &event.fingerprint)
            .await;
        let outcome = match &claimed {
            Ok(ClaimOutcome::Mine {
                takeover: false, ..
            }) => "mine",
            Ok(ClaimOutcome::Mine { takeover: true, .. }) => "takeover",
            Ok(ClaimOutcome::Busy { .. }) => "busy",
            Ok(ClaimOutcome::Done) => "done",
            Ok(ClaimOutcome::Conflict) => "conflict",
            // Counted where it is decided what follows.
            Err(_) => {
                step.ended("error", false);
                return claimed;
            }
        };
        step.ended(outcome, claimed.is_ok());
        self.shared.claims_total.with_label_values(&[outcome]).inc();
        claimed
    }

    /// Gives claims back. What cannot be given back now ends with its lease.
    async fn release(&self, held: &Held) {
        for claim in &held.claims {
            if let Err(error) = self.claims.release(claim, &held.owner).await {
                self.claims_failed();
                warn!(%error, "a claim could not be given back; its lease ends it");
            }
        }
    }
}

/// The payment event in its envelope. Its id is the same for every copy of the same event.
fn envelope(event: &PaymentEvent, message: &Message) -> Result<Message, Decision> {
    let body = event.to_json().map_err(|error| {
        Decision::Park(
            Lot::Dead,
            Reason::of("event_not_writable"),
            error.to_string(),
        )
    })?;
    Ok(Message {
        id: event.message_id(),
        kind: MessageKind::PaymentV1,
        content_type: event::CONTENT_TYPE.to_owned(),
        timestamp: clock::now(),
        headers: Headers {
            gateway: Some(event.gateway),
            account: Some(event.account.clone()),
            received_at: Some(event.received_at),
            replay_id: message.headers.replay_id.clone(),
            traceparent: message.headers.traceparent.clone(),
            other: message
                .headers
                .other
                .get_key_value(RELEASE_HEADER)
                .map(|(name, release)| (name.clone(), release.clone()))
                .into_iter()
                .collect(),
            ..Headers::default()
        },
        body: Bytes::from(body),
    })
}
