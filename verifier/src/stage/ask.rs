//! Asking the gateway whether it sent a message, and what its silence means.

use std::time::Duration;

use quittance_common::clock;
use quittance_common::gateway::{self, AuthPlan, ReadError, Request, Verdict};
use quittance_common::ids::Reason;
use quittance_common::message::Message;
use quittance_common::notification::{Notification, Proof, RawNotification};
use quittance_common::settings::Account;
use quittance_common::telemetry::step::{Step, StepName};
use tokio::time::Instant;

use super::Verifier;
use crate::breaker::Report;
use crate::case::{Case, Settled};
use crate::checks;
use crate::decide::{self, Decision, Unclear};
use crate::metrics::Outcome;
use crate::postback::PostbackError;

impl Verifier {
    pub(super) async fn authenticate(
        &self,
        raw: &RawNotification,
        account: &Account,
        message: &Message,
        read: &Result<Notification, ReadError>,
        case: &mut Case,
    ) -> Result<Proof, Decision> {
        let request = match gateway::authenticate(raw, account) {
            AuthPlan::Known(proof) => return Ok(proof),
            AuthPlan::Postback(request) => request,
        };
        match self.ask(raw, &request, message).await {
            Ok(Verdict::Verified(proof)) => Ok(proof),
            Ok(Verdict::Invalid) => {
                self.metrics.decided(Outcome::Invalid, "");
                case.settle(Settled::Invalid);
                let refusal = read.as_ref().ok().and_then(|notification| {
                    checks::environment(notification.claimed_environment, account.environment).err()
                });
                Err(decide::invalid(
                    &message.headers,
                    self.settings.verifier.recheck_after,
                    refusal.map(|refusal| (refusal.reason, refusal.detail)),
                ))
            }
            Ok(Verdict::Indeterminate {
                reason,
                retry_after,
            }) => {
                let retry_after = retry_after.unwrap_or(Duration::ZERO);
                let wait = self.postback.wait_for(&request);
                let why = if wait.is_zero() {
                    Unclear::Answer { retry_after }
                } else {
                    Unclear::Unreachable {
                        wait: wait.max(retry_after),
                    }
                };
                Err(self.unclear(
                    message,
                    &why,
                    reason,
                    "the gateway's answer is no verdict".into(),
                ))
            }
            Err(error) => {
                let wait = match &error {
                    PostbackError::LeftAlone(wait) => *wait,
                    _ => self.postback.wait_for(&request),
                };
                let why = match &error {
                    // A break in mid-answer may be this message's doing; with the breaker open it
                    // is the gateway's.
                    PostbackError::Broken(_) | PostbackError::Timeout if wait.is_zero() => {
                        Unclear::Answer {
                            retry_after: Duration::ZERO,
                        }
                    }
                    _ => Unclear::Unreachable { wait },
                };
                Err(self.unclear(message, &why, error.reason(), error.to_string()))
            }
        }
    }

    async fn ask(
        &self,
        raw: &RawNotification,
        request: &Request,
        message: &Message,
    ) -> Result<Verdict, PostbackError> {
        let mut step = Step::within(message, StepName::Postback);
        let started = Instant::now();
        let asked = self.postback.ask(request).await;
        let verdict = asked.map(|(reply, permit)| {
            let verdict = gateway::judge(raw.gateway, &reply);
            permit.report(match verdict {
                Verdict::Verified(_) | Verdict::Invalid => Report::Answered,
                // An error of the client's making says nothing about the gateway's health: crafted
                // messages must not be able to open the breaker for everybody.
                Verdict::Indeterminate { .. } if is_our_fault(reply.status) => Report::Abandoned,
                Verdict::Indeterminate { .. } => Report::Failed,
            });
            verdict
        });
        let outcome = match &verdict {
            Ok(Verdict::Verified(_) | Verdict::Invalid) => Some("answered"),
            Ok(Verdict::Indeterminate { .. }) => Some("unclear"),
            Err(PostbackError::LeftAlone(_)) => None,
            Err(_) => Some("failed"),
        };
        if let Some(outcome) = outcome {
            self.metrics.asked(outcome, started.elapsed());
            step.ended(outcome, outcome == "answered");
        } else {
            step.not_done();
        }
        self.metrics.breaker(raw.gateway, self.postback.level());
        verdict
    }

    fn unclear(
        &self,
        message: &Message,
        why: &Unclear,
        reason: Reason,
        detail: String,
    ) -> Decision {
        self.metrics
            .decided(Outcome::Indeterminate, reason.as_str());
        decide::unclear(
            &message.headers,
            clock::now(),
            self.settings.verifier.give_up_after,
            why,
            reason,
            detail,
        )
    }
}

/// A 4xx, but for "later" (408, 429).
const fn is_our_fault(status: u16) -> bool {
    matches!(status, 400..=499) && !matches!(status, 408 | 429)
}
