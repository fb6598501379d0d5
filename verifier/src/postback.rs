//! Asking the gateway, over HTTP, behind one breaker a host.
//!
//! HTTP/1.1, no redirects, the exact bytes, a `User-Agent` (without one `PayPal`'s edge answers 403),
//! a time limit for connecting and one for the whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quittance_common::gateway::{Reply, Request};
use quittance_common::ids::Reason;
use tokio::time::Instant;

use crate::breaker::{Admission, Breaker, Generation, Level, Policy, Report};

/// The most of an answer that is read; a verdict has eight bytes.
const ANSWER_LIMIT: usize = 4096;

/// Why there is no answer. Texts name no address, no query and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostbackError {
    /// The breaker is open: the gateway was not asked.
    #[error("the gateway is left alone for another {0:?}")]
    LeftAlone(Duration),
    /// No connection: refused, unknown host, no TLS.
    #[error("no connection to the gateway: {0}")]
    Connect(String),
    /// No answer in time.
    #[error("no answer from the gateway in time")]
    Timeout,
    /// The connection broke before the answer was whole.
    #[error("the connection broke before the answer was whole: {0}")]
    Broken(String),
}

impl PostbackError {
    /// The reason code.
    pub fn reason(&self) -> Reason {
        Reason::of(match self {
            Self::LeftAlone(_) => "breaker_open",
            Self::Connect(_) => "gateway_unreachable",
            Self::Timeout => "gateway_timeout",
            Self::Broken(_) => "gateway_broke_off",
        })
    }
}

/// The HTTP client with its breakers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Postback {
    client: reqwest::Client,
    breakers: Arc<Breakers>,
}

impl Postback {
    /// With a client made by `quittance_common::http` and the breaker's policy.
    pub fn new(client: reqwest::Client, policy: Policy) -> Self {
        Self {
            client,
            breakers: Arc::new(Breakers {
                policy,
                hosts: Mutex::default(),
            }),
        }
    }

    /// Asks, if the breaker allows. The caller must say on the [`Permit`] whether the answer meant
    /// anything.
    pub async fn ask(&self, request: &Request) -> Result<(Reply, Permit), PostbackError> {
        let host = request.url.authority().to_owned();
        let permit = self
            .breakers
            .admit(&host)
            .map_err(PostbackError::LeftAlone)?;
        match self.post(request).await {
            Ok(reply) => Ok((reply, permit)),
            Err(error) => {
                permit.report(Report::Failed);
                Err(error)
            }
        }
    }

    /// Resolves when some host may be asked: while every known one is to be left alone, taking
    /// another message would only hold it.
    pub async fn ready(&self) {
        while let Some(wait) = self.breakers.shortest_wait() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long the host of `request` is still to be left alone.
    pub fn wait_for(&self, request: &Request) -> Duration {
        self.breakers
            .wait(request.url.authority())
            .unwrap_or(Duration::ZERO)
    }

    /// The worst level of all hosts, for the gauge.
    pub fn level(&self) -> Level {
        self.breakers.level()
    }

    async fn post(&self, request: &Request) -> Result<Reply, PostbackError> {
        let mut response = self
            .client
            .post(request.url.clone())
            .header("Content-Type", request.content_type)
            .body(request.body.clone())
            .send()
            .await
            .map_err(classify)?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("Retry-After")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(classify)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_LIMIT {
                body.truncate(ANSWER_LIMIT);
                break;
            }
        }
        Ok(Reply {
            status,
            retry_after,
            body: Bytes::from(body),
        })
    }
}

/// An error of the client, without its URL.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn classify(error: reqwest::Error) -> PostbackError {
    if error.is_timeout() {
        PostbackError::Timeout
    } else if error.is_connect() {
        PostbackError::Connect(cause(&error))
    } else {
        PostbackError::Broken(cause(&error))
    }
}

/// The innermost cause: `connection refused`, not the whole chain with the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut text = "unknown".to_owned();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// One breaker a host: a sandbox that is down must not stop the live gateway.
#[derive(Debug)]
struct Breakers {
    policy: Policy,
    hosts: Mutex<HashMap<String, Breaker>>,
}

impl Breakers {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Breaker>) -> T) -> T {
        // A breaker is valid after every statement, so a poisoned lock holds a good value.
        work(&mut self.hosts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn admit(self: &Arc<Self>, host: &str) -> Result<Permit, Duration> {
        let admission = self.with(|hosts| {
            let breaker = hosts
                .entry(host.to_owned())
                .or_insert_with(|| Breaker::new(self.policy));
            breaker.admit(Instant::now())
        });
        match admission {
            Admission::Go(generation) => Ok(Permit {
                breakers: Arc::clone(self),
                host: host.to_owned(),
                generation,
                owed: true,
            }),
            Admission::Wait(wait) => Err(wait),
        }
    }

    fn wait(&self, host: &str) -> Option<Duration> {
        self.with(|hosts| hosts.get(host)?.wait(Instant::now()))
    }

    fn shortest_wait(&self) -> Option<Duration> {
        let now = Instant::now();
        self.with(|hosts| {
            let waits: Option<Vec<Duration>> = hosts.values().map(|b| b.wait(now)).collect();
            waits?.into_iter().min()
        })
    }

    fn level(&self) -> Level {
        self.with(|hosts| {
            hosts
                .values()
                .map(Breaker::level)
                .max()
                .unwrap_or(Level::Closed)
        })
    }
}

/// The right to have asked, which owes the breaker a report. Dropping it reports that the call was
/// given up, so that a panic or a shutdown never leaves the breaker waiting for ever.
#[derive(Debug)]
pub struct Permit {
    breakers: Arc<Breakers>,
    host: String,
    generation: Generation,
    owed: bool,
}

impl Permit {
    /// Says what came of it.
    pub fn report(mut self, report: Report) {
        self.send(report);
    }

    fn send(&mut self, report: Report) {
        self.owed = false;
        self.breakers.with(|hosts| {
            if let Some(breaker) = hosts.get_mut(&self.host) {
                breaker.report(Instant::now(), self.generation, report);
            }
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.owed {
            self.send(Report::Abandoned);
        }
    }
}
