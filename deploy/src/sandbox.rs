//! A `PayPal` stand-in to develop and test against, reached over real HTTP.
//!
//! | request | does |
//! |---|---|
//! | `POST /cgi-bin/webscr` | answers postbacks (`VERIFIED` on byte equality only) and PDT look-ups |
//! | `GET`, `POST /cgi-bin/webscr` with `cmd=_xclick` or `_cart` | the checkout of a payment link |
//! | `POST /control/send`, `/control/register` | makes bytes genuine, posts them to a listener |
//! | `POST /control/faults` | breaks the endpoint on demand |
//! | `GET /control/postbacks`, `/control/sent`, `/` | what happened |
//!
//! It has no secrets and no authentication: it belongs on a loopback address, and is controlled, and
//! sends, to nowhere else unless it is allowed to.

mod checkout;
mod connection;
mod control;
mod endpoint;
mod fault;
mod form;
mod ledger;
mod merchant;
mod schedule;
mod send;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use bytes::Bytes;
use quittance_common::event::Environment;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

pub use fault::{Fault, Mode};
pub use ledger::{Outcome, Post, Postback, Sent};
pub use merchant::Merchant;
pub use send::{client, post as post_form};

/// How a stand-in behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// By how much the resend schedule is faster than `PayPal`'s; 1 is real time.
    pub time_scale: u32,
    /// The PDT identity token of the one account.
    pub identity_token: String,
    /// Who can be paid at the checkout.
    pub merchants: Vec<Merchant>,
    /// Which gateway it plays: the notifications of the sandbox have `test_ipn=1`.
    pub environment: Environment,
    /// How long the bank takes to pay an eCheck, before it is divided by the scale.
    pub echeck_clears_after: Duration,
    /// Whether it may send to other machines than this one, and be controlled under other names
    /// than a loopback one; without it nobody can make it knock at strangers' doors.
    pub allow_remote: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_scale: 1,
            identity_token: "sandbox-identity-token".to_owned(),
            merchants: vec![Merchant::default()],
            environment: Environment::Live,
            echeck_clears_after: Duration::from_hours(5 * 24),
            allow_remote: false,
        }
    }
}

/// Why a stand-in cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The listening socket cannot be used.
    #[error("the sandbox cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// No HTTP client for sending.
    #[error("the sandbox cannot set up its HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// What all requests share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) client: reqwest::Client,
    ledger: Mutex<ledger::Ledger>,
    fault: Mutex<Fault>,
    checkouts: Mutex<checkout::Checkouts>,
    stop: CancellationToken,
    resends: TaskTracker,
}

impl std::ops::Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Shared {
    /// The memory. Never held across an await.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, ledger::Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open checkouts. Never held across an await.
    pub(crate) fn checkouts(&self) -> MutexGuard<'_, checkout::Checkouts> {
        self.checkouts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take_fault(&self) -> Fault {
        self.fault().take()
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        *self.fault() = fault;
    }

    /// Makes `body` genuine and posts it; the further posts of `resend` happen by themselves.
    pub(crate) async fn send(&self, to: Url, body: Bytes, resend: bool) -> (u64, Post) {
        let id = self.ledger().register(&body, Some(to.as_str()));
        let post = self.deliver(id, to, body, resend).await;
        (id, post)
    }

    /// Posts message `id`; the further posts of `resend` happen by themselves.
    pub(crate) async fn deliver(&self, id: u64, to: Url, body: Bytes, resend: bool) -> Post {
        let patience = schedule::patience(0);
        let post = send::post(&self.client, &to, body.clone(), patience).await;
        self.ledger().posted(id, post.clone());
        if resend && !post.is_taken() {
            let stop = self.stop.clone();
            self.resends
                .spawn(send::resend(self.clone(), id, to, body, stop));
        }
        post
    }
}

/// A `PayPal` stand-in.
#[derive(Debug)]
pub struct Sandbox;

impl Sandbox {
    /// Starts one with the default options on `listener`; it runs until the handle stops it.
    pub fn start(listener: TcpListener) -> Result<SandboxHandle, SandboxError> {
        Self::start_with(listener, Options::default())
    }

    /// The same with `options`.
    pub fn start_with(
        listener: TcpListener,
        options: Options,
    ) -> Result<SandboxHandle, SandboxError> {
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Shared(Arc::new(Inner {
            options,
            client: client()?,
            ledger: Mutex::default(),
            fault: Mutex::default(),
            checkouts: Mutex::default(),
            stop: stop.clone(),
            resends: TaskTracker::new(),
        }));
        let serving = tokio::spawn(connection::accept(
            listener,
            router(shared.clone()),
            stop.clone(),
        ));
        Ok(SandboxHandle {
            address,
            shared,
            stop: stop.drop_guard(),
            serving,
        })
    }
}

/// Runs a stand-in on `listener` until `stop`.
pub async fn run(
    listener: TcpListener,
    options: Options,
    stop: impl Future<Output = ()>,
) -> Result<(), SandboxError> {
    let handle = Sandbox::start_with(listener, options)?;
    stop.await;
    handle.stop().await;
    Ok(())
}

/// A running stand-in; stops when it is dropped.
#[derive(Debug)]
pub struct SandboxHandle {
    address: SocketAddr,
    shared: Shared,
    stop: tokio_util::sync::DropGuard,
    serving: tokio::task::JoinHandle<()>,
}

impl SandboxHandle {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its endpoint: for `postback_url` and `pdt_url`.
    pub fn webscr_url(&self) -> String {
        format!("http://{}/cgi-bin/webscr", self.address)
    }

    /// Makes `body` genuine without sending it; gives its number.
    pub fn register(&self, body: &Bytes) -> u64 {
        self.shared.ledger().register(body, None)
    }

    /// Makes `body` genuine, posts it to `to`, and says how it was taken; with `resend` it is
    /// posted again, on the schedule, until it is.
    pub async fn send(&self, to: Url, body: Bytes, resend: bool) -> Post {
        self.shared.send(to, body, resend).await.1
    }

    /// Breaks the endpoint, or mends it.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.set_fault(fault);
    }

    /// Every request to the endpoint so far, in order.
    pub fn postbacks(&self) -> Vec<Postback> {
        self.shared.ledger().postbacks().to_vec()
    }

    /// Every message that was sent or registered so far, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.shared.ledger().sent().to_vec()
    }

    /// Stops listening and resending, closes every connection.
    pub async fn stop(self) {
        drop(self.stop);
        self.shared.resends.close();
        self.shared.resends.wait().await;
        // A panic while serving was reported when it happened.
        self.serving.await.ok();
    }
}

/// The whole HTTP interface.
fn router(shared: Shared) -> Router {
    let controls = Router::new()
        .route("/control/send", post(control::send))
        .route("/control/register", post(control::register))
        .route("/control/faults", post(control::faults))
        .route("/control/postbacks", get(control::postbacks))
        .route("/control/sent", get(control::sent))
        .route("/", get(control::page))
        .layer(from_fn_with_state(shared.clone(), control::guard));
    Router::new()
        .route(
            "/cgi-bin/webscr",
            get(checkout::by_get).post(endpoint::webscr),
        )
        .route("/checkout/{id}", post(checkout::choose))
        .route("/style.css", get(checkout::style))
        .merge(controls)
        .with_state(shared)
}
