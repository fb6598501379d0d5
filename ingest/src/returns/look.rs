//! The look-up behind the page: one for all who look at once, one retry, never a sixth; what comes
//! of it goes into the verifier's queue like a notification, and into the page.

mod outcome;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quittance_common::claims::Owner;
use quittance_common::gateway::paypal::pdt::{self, Answer, FailCode};
use quittance_common::gateway::{Reply, Request};
use quittance_common::ids::{AccountId, Reason};
use quittance_common::lookups::{Begun, KeptAnswer, Look, LookupError, LookupKey, Lookups};
use quittance_common::message::Message;
use quittance_common::settings::{Account, Settings};
use quittance_common::telemetry::hop::Hop;
use quittance_common::trace::TraceContext;
use quittance_common::{clock, http};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

pub use self::outcome::Outcome;
use crate::accept::{self, Refusal, Route};
use crate::http::Publish;
use crate::metrics::IngestMetrics;
use crate::receipt;

/// The most of an answer that is read; more than this is no answer.
const ANSWER_LIMIT: usize = 128 * 1024;

/// Look-ups in flight at once: whoever makes tokens up must not make us flood the gateway.
const AT_ONCE: usize = 16;

/// How soon a visit that waits for another's look-up looks whether it is there.
const POLL: Duration = Duration::from_millis(150);

/// The number of a refusal that means: the identity token is not right.
const WRONG_IDENTITY: u32 = 4020;

/// What a visit learned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// What the gateway answered; `None` when it has not (yet).
    pub answer: Option<KeptAnswer>,
    /// Whether this browser is the first that came back with the token.
    pub first: bool,
}

/// Looks up. Cheap to clone.
#[derive(Clone)]
pub struct Looker {
    lookups: Lookups,
    client: reqwest::Client,
    publish: Publish,
    metrics: IngestMetrics,
    patience: Duration,
    confirm_timeout: Duration,
    permits: Arc<Semaphore>,
    /// Accounts whose identity token was refused; told once.
    refused: Arc<Mutex<HashSet<AccountId>>>,
    /// Look-ups go on when their visitor has gone.
    tasks: TaskTracker,
}

impl std::fmt::Debug for Looker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Looker").finish_non_exhaustive()
    }
}

impl Looker {
    /// Looks up as the settings say, and publishes what comes of it.
    pub fn new(
        settings: &Settings,
        lookups: Lookups,
        publish: Publish,
        metrics: IngestMetrics,
    ) -> Result<Self, http::ClientError> {
        let timeout = settings.pdt.timeout;
        Ok(Self {
            lookups,
            client: http::client(timeout, timeout)?,
            publish,
            metrics,
            patience: settings.pdt.patience,
            confirm_timeout: settings.ingest.confirm_timeout,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            refused: Arc::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Waits until no look-up is in flight; only sensible after the stop.
    pub async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// What the gateway has to say about `key`, as far as it is known within the patience. What comes
    /// of it goes on in the trace that the visit is a part of, if any.
    pub async fn look(
        &self,
        key: &LookupKey,
        account: &Account,
        visit: Option<TraceContext>,
    ) -> Heard {
        let Some(request) = pdt::request(&key.token, account) else {
            return Heard::default();
        };
        let look = Look {
            owner: Owner::new(),
            attempt: 1,
        };
        let deadline = Instant::now() + self.patience;
        loop {
            // Before the look-up is begun: what is begun counts, and whoever then could not ask would
            // have used one up for nothing.
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                match self.in_a_crowd(key, deadline, visit).await {
                    Some(heard) => return heard,
                    None => continue,
                }
            };
            let begun = match self.lookups.begin(key, &look).await {
                Ok(begun) => begun,
                Err(error) => return self.store_away(&error),
            };
            match begun {
                Begun::Known(answer) => return self.cached(key, answer, visit),
                Begun::Ask { number } => {
                    let asking = self.clone().ask(key.clone(), request, look, visit, permit);
                    let task = self.tasks.spawn(asking);
                    let asked = tokio::time::timeout_at(deadline, task).await;
                    return Heard {
                        answer: asked.ok().and_then(Result::ok),
                        first: number == 1,
                    };
                }
                Begun::Busy { .. } if Instant::now() < deadline => {
                    // Waiting for another's look-up takes nobody's place.
                    drop(permit);
                    tokio::time::sleep_until(deadline.min(Instant::now() + POLL)).await;
                }
                Begun::Busy { .. } => return Heard::default(),
                Begun::Spent => {
                    self.count(Outcome::Spent);
                    return Heard::default();
                }
            }
        }
    }

    /// What there is to hear while as many look-ups as may be are in flight: an answer that is
    /// there, or nothing when the patience has ended. `None`: try again.
    async fn in_a_crowd(
        &self,
        key: &LookupKey,
        deadline: Instant,
        visit: Option<TraceContext>,
    ) -> Option<Heard> {
        match self.lookups.known(key).await {
            Err(error) => Some(self.store_away(&error)),
            Ok(Some(answer)) => Some(self.cached(key, answer, visit)),
            Ok(None) if Instant::now() < deadline => {
                tokio::time::sleep_until(deadline.min(Instant::now() + POLL)).await;
                None
            }
            Ok(None) => {
                self.count(Outcome::Crowded);
                Some(Heard::default())
            }
        }
    }

    fn cached(&self, key: &LookupKey, answer: KeptAnswer, visit: Option<TraceContext>) -> Heard {
        self.count(Outcome::Cached);
        self.submit_late(key, &answer, visit);
        Heard {
            answer: Some(answer),
            first: false,
        }
    }

    fn store_away(&self, error: &LookupError) -> Heard {
        tracing::warn!(%error, "nobody is looked up");
        self.count(Outcome::StoreAway);
        Heard::default()
    }

    /// Asks, once more when that brought nothing, submits, and keeps the answer. The permit is held
    /// to the end, so that the retry needs none.
    async fn ask(
        self,
        key: LookupKey,
        request: Request,
        mut look: Look,
        visit: Option<TraceContext>,
        _permit: OwnedSemaphorePermit,
    ) -> KeptAnswer {
        let mut answer = self.ask_once(&key, &request).await;
        if !matches!(answer, KeptAnswer::Success { .. }) {
            look.attempt = 2;
            if let Ok(Begun::Ask { .. }) = self.lookups.begin(&key, &look).await {
                let again = self.ask_once(&key, &request).await;
                // A number says more than no answer does.
                if !matches!(again, KeptAnswer::Unclear { .. }) {
                    answer = again;
                }
            }
        }
        let answer = self.submitted(&key, answer, visit).await;
        if let Err(error) = self.lookups.finish(&key, &answer).await {
            tracing::warn!(%error, "an answer could not be kept");
        }
        answer
    }

    async fn ask_once(&self, key: &LookupKey, request: &Request) -> KeptAnswer {
        let (outcome, answer) = match self.post(request).await {
            Ok(reply) => match pdt::decode(&reply) {
                Answer::Success(success) => {
                    if receipt::is_another(success.txn_id().as_ref(), key) {
                        (Outcome::Unclear, unclear("another_transaction"))
                    } else {
                        let evidence = pdt::evidence(&success);
                        let evidence = String::from_utf8_lossy(&evidence).into_owned();
                        let answer = KeptAnswer::Success {
                            evidence,
                            submitted: false,
                        };
                        (Outcome::Success, answer)
                    }
                }
                Answer::Fail(code) => {
                    self.tell_refused(key, code);
                    (Outcome::Fail, KeptAnswer::Fail { code: code.0 })
                }
                Answer::Indeterminate(reason) => (Outcome::Unclear, KeptAnswer::Unclear { reason }),
            },
            Err(error) if error.is_timeout() => (Outcome::Timeout, unclear("gateway_timeout")),
            Err(_error) => (Outcome::Unreachable, unclear("gateway_unreachable")),
        };
        self.count(outcome);
        if !matches!(answer, KeptAnswer::Success { .. }) {
            tracing::info!(account = %key.account, ?answer, "a look-up brought nothing");
        }
        answer
    }

    async fn post(&self, request: &Request) -> Result<Reply, reqwest::Error> {
        let mut response = self
            .client
            .post(request.url.clone())
            .header("Content-Type", request.content_type)
            .body(request.body.clone())
            .send()
            .await?;
        let status = response.status().as_u16();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_LIMIT {
                // A part of an answer must never pass for one.
                body.clear();
                break;
            }
        }
        Ok(Reply {
            status,
            retry_after: None,
            body: Bytes::from(body),
        })
    }

    /// Submits the evidence of a success that is not submitted yet.
    async fn submitted(
        &self,
        key: &LookupKey,
        answer: KeptAnswer,
        visit: Option<TraceContext>,
    ) -> KeptAnswer {
        let KeptAnswer::Success {
            evidence,
            submitted: false,
        } = answer
        else {
            return answer;
        };
        let body = Bytes::copy_from_slice(evidence.as_bytes());
        let fields = quittance_common::gateway::paypal::fields::Fields::parse(&body);
        let status = fields.text("payment_status").unwrap_or("none");
        let name = format!("pdt/{}/{}", key.name(), status.to_ascii_lowercase());
        let route = Route {
            gateway: key.gateway,
            account: key.account.clone(),
        };
        let message = accept::evidence(&name, route, body, clock::now(), visit);
        let mut hop = Hop::taken_in(&message, visit);
        let log_span = hop.log_span();
        let published = self.make_durable(message).instrument(log_span).await;
        hop.ended(published.map_or_else(Refusal::as_label, |()| "accepted"));
        let submitted = published.is_ok();
        KeptAnswer::Success {
            evidence,
            submitted,
        }
    }

    async fn make_durable(&self, message: Message) -> Result<(), Refusal> {
        let id = message.id;
        let publishing = tokio::time::timeout(self.confirm_timeout, (self.publish)(message));
        match publishing.await {
            Ok(Ok(())) => {
                tracing::debug!(message.id = %id, "evidence submitted");
                return Ok(());
            }
            Ok(Err(error)) => {
                tracing::warn!(message.id = %id, %error, "evidence is not durable; tried again at the next visit");
            }
            Err(_elapsed) => {
                tracing::warn!(message.id = %id, "evidence was not confirmed; tried again at the next visit");
            }
        }
        Err(Refusal::NotDurable)
    }

    /// Makes up, beside the page, for a broker that was away when the gateway answered. The id is
    /// the same, so that doing it twice is as good as once.
    fn submit_late(&self, key: &LookupKey, answer: &KeptAnswer, visit: Option<TraceContext>) {
        if !matches!(
            answer,
            KeptAnswer::Success {
                submitted: false,
                ..
            }
        ) {
            return;
        }
        let (this, key, answer) = (self.clone(), key.clone(), answer.clone());
        self.tasks.spawn(async move {
            let Ok(_permit) = this.permits.try_acquire() else {
                return;
            };
            let answer = this.submitted(&key, answer, visit).await;
            if matches!(
                answer,
                KeptAnswer::Success {
                    submitted: true,
                    ..
                }
            ) && let Err(error) = this.lookups.finish(&key, &answer).await
            {
                tracing::warn!(%error, "an answer could not be kept");
            }
        });
    }

    fn tell_refused(&self, key: &LookupKey, code: FailCode) {
        if code.0 != Some(WRONG_IDENTITY) {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.insert(key.account.clone()) {
            tracing::warn!(
                account = %key.account,
                code = WRONG_IDENTITY,
                "the gateway refuses this account's identity token: copy it anew from the account's \
                 website payment preferences into pdt_token (live and sandbox have their own)"
            );
        }
    }

    fn count(&self, outcome: Outcome) {
        let counter = &self.metrics.lookups;
        counter.with_label_values(&[outcome.as_label()]).inc();
    }
}

fn unclear(reason: &'static str) -> KeptAnswer {
    KeptAnswer::Unclear {
        reason: Reason::of(reason),
    }
}

/// Says at the start which accounts cannot look up, and what that means.
pub fn warn_of_missing_tokens(settings: &Settings) {
    for account in &settings.accounts {
        match &account.pdt_token {
            None => tracing::warn!(
                account = %account.id,
                "no pdt_token: buyers who return see only what notifications have told; set it \
                 to show receipts at once"
            ),
            Some(token) if is_implausible(token) => tracing::warn!(
                account = %account.id,
                "pdt_token is shorter than an identity token of the gateway: copy it anew from \
                 the account's website payment preferences"
            ),
            Some(_) => {}
        }
    }
}

/// Real ones have about 59 characters.
fn is_implausible(token: &secrecy::SecretString) -> bool {
    use secrecy::ExposeSecret as _;
    token.expose_secret().len() < 16
}

#[cfg(test)]
mod tests;
