//! One supervised connection: connects, declares, watches, and starts again with another host.
//!
//! The client library's own recovery stays off. It knows one host only, and a connection of its
//! making can be up with a dead consumer on it.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{Channel, Connection, Event};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backoff;
use super::declare::{DeclareError, Topology};
use super::hosts::{Dialer, Hosts};

/// How often a connection is looked at, whatever events it sends.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For a polite goodbye; a blocked connection never gets it out.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Publishes in a row without a confirm after which the connection is given up for another host.
const TIMEOUTS_LIMIT: u32 = 3;

/// After so long a connection counts as good, and the next failure as the first.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// A connection that stands, and what belongs to it.
pub(super) struct Live {
    connection: Connection,
    /// The broker's reason while it blocks publishers.
    blocked: watch::Sender<Option<String>>,
    /// Cancelled when the connection is over, for whatever reason.
    over: CancellationToken,
    /// Confirm channels that nobody uses now. They end with the connection.
    idle: Mutex<Vec<Channel>>,
    timeouts: AtomicU32,
    condemned: Notify,
    redeclare: Notify,
}

impl Live {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            blocked: watch::Sender::new(None),
            over: CancellationToken::new(),
            idle: Mutex::default(),
            timeouts: AtomicU32::new(0),
            condemned: Notify::new(),
            redeclare: Notify::new(),
        }
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Resolves when the connection is over.
    pub(super) async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// The broker's reason, while it blocks publishers.
    pub(super) fn blocked_now(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }

    /// Resolves with the broker's reason as soon as it blocks publishers.
    pub(super) async fn blocked(&self) -> String {
        let mut blocked = self.blocked.subscribe();
        let reason = blocked.wait_for(Option::is_some).await;
        // No error: the sender lives as long as `self`.
        reason
            .ok()
            .and_then(|reason| reason.clone())
            .unwrap_or_default()
    }

    /// A confirm channel that is free, if one is.
    pub(super) fn take_channel(&self) -> Option<Channel> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(channel) = idle.pop() {
            if channel.status().connected() {
                return Some(channel);
            }
        }
        None
    }

    /// Gives back a channel with nothing in flight, after the broker has answered.
    pub(super) fn put_channel(&self, channel: Channel) {
        self.timeouts.store(0, Ordering::Relaxed);
        if !self.over.is_cancelled() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(channel);
        }
    }

    /// Counts a publish without a confirm; too many in a row end the connection.
    pub(super) fn note_timeout(&self) {
        let before = self.timeouts.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) >= TIMEOUTS_LIMIT {
            self.condemned.notify_one();
        }
    }

    /// Asks for the table to be declared again: a queue is missing.
    pub(super) fn redeclare(&self) {
        self.redeclare.notify_one();
    }

    fn end(&self) {
        self.over.cancel();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// What a supervisor tells.
#[derive(Clone)]
pub(super) enum State {
    /// Not connected; why, without credentials.
    Down(String),
    /// Connected.
    Up(Arc<Live>),
}

/// A handle on a supervised connection.
pub(super) struct Link {
    state: watch::Receiver<State>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Link {
    /// Starts the supervisor; `name` is what the broker shows for the connection.
    pub(super) fn start(
        name: String,
        hosts: Arc<Hosts>,
        topology: Arc<Topology>,
        closing: CancellationToken,
    ) -> Self {
        let (sender, state) = watch::channel(State::Down("not connected yet".to_owned()));
        let supervisor = Supervisor {
            dialer: Dialer::new(hosts, name),
            topology,
            state: sender,
            closing,
        };
        let handle = tokio::spawn(supervisor.run());
        Self {
            state,
            supervisor: Mutex::new(Some(handle)),
        }
    }

    /// The state now.
    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The state now and later.
    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until the supervisor has closed the connection; it must have been told to.
    pub(super) async fn closed(&self) {
        let handle = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle {
            handle.await.ok();
        }
    }
}

struct Supervisor {
    dialer: Dialer,
    topology: Arc<Topology>,
    state: watch::Sender<State>,
    closing: CancellationToken,
}

impl Supervisor {
    async fn run(mut self) {
        let closing = self.closing.clone();
        let mut failures = 0_u32;
        while !closing.is_cancelled() {
            let opened = tokio::select! {
                () = closing.cancelled() => break,
                opened = self.open() => opened,
            };
            let since = Instant::now();
            let detail = match opened {
                Ok(live) => {
                    self.state.send_replace(State::Up(Arc::clone(&live)));
                    info!(connection = self.dialer.name(), "connected to the broker");
                    let detail = self.attend(&live).await;
                    live.end();
                    self.state.send_replace(State::Down(detail.clone()));
                    close(live.connection()).await;
                    detail
                }
                Err(detail) => {
                    self.state.send_replace(State::Down(detail.clone()));
                    detail
                }
            };
            if closing.is_cancelled() {
                break;
            }
            warn!(
                connection = self.dialer.name(),
                detail, "no connection to the broker"
            );
            failures = if since.elapsed() > GOOD_AFTER {
                0
            } else {
                failures.saturating_add(1)
            };
            tokio::select! {
                () = closing.cancelled() => {}
                () = sleep(backoff::wait(failures)) => {}
            }
        }
        self.state.send_replace(State::Down("closed".to_owned()));
    }

    /// Connects. The first connection of a process is of use only when the table is declared; a
    /// later one at once, with the table declared again meanwhile: a queue that is missing then
    /// shows as unroutable, never as done.
    async fn open(&mut self) -> Result<Arc<Live>, String> {
        let live = Arc::new(Live::new(self.dialer.dial().await?));
        if self.topology.is_declared() {
            live.redeclare();
        } else if let Err(failure) = self.topology.declare(live.connection()).await {
            live.end();
            close(live.connection()).await;
            return Err(describe(failure));
        }
        Ok(live)
    }

    /// Watches the connection until it is over; says why.
    async fn attend(&self, live: &Arc<Live>) -> String {
        let mut events = pin!(live.connection.events_listener());
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut declaring: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return "closed".to_owned(),
                () = live.condemned.notified() => {
                    return "publishes were not confirmed in time".to_owned();
                }
                event = events.next() => if let Some(detail) = on_event(live, event) {
                    return detail;
                },
                _ = look.tick() => {
                    if !live.connection.status().connected() {
                        return "the connection is lost".to_owned();
                    }
                    if declaring.as_ref().is_some_and(JoinHandle::is_finished) {
                        declaring = None;
                    }
                }
                // One at a time, and through `look` at most once a second.
                () = live.redeclare.notified(), if declaring.is_none() => {
                    declaring = Some(tokio::spawn(redeclare(
                        Arc::clone(&self.topology),
                        Arc::clone(live),
                    )));
                }
            }
        }
    }
}

/// Takes note of an event; `Some` when it means that the connection is over.
fn on_event(live: &Live, event: Option<Event>) -> Option<String> {
    match event {
        Some(Event::ConnectionBlocked(reason)) => {
            warn!(reason, "the broker blocks publishers");
            live.blocked.send_replace(Some(reason));
            None
        }
        Some(Event::ConnectionUnblocked) => {
            info!("the broker takes messages again");
            live.blocked.send_replace(None);
            None
        }
        // A channel's error comes here too and leaves the connection standing.
        Some(Event::Error(error)) => {
            (!live.connection.status().connected()).then(|| error.to_string())
        }
        Some(_) => None,
        None => Some("the connection is gone".to_owned()),
    }
}

async fn redeclare(topology: Arc<Topology>, live: Arc<Live>) {
    if let Err(failure) = topology.declare(live.connection()).await {
        warn!(
            detail = describe(failure),
            "the queues could not be declared"
        );
    }
}

fn describe(failure: DeclareError) -> String {
    match failure {
        DeclareError::Mismatch(found) => format!(
            "`{}` exists with other arguments: {}",
            found.queue, found.detail
        ),
        DeclareError::Failed(detail) => detail,
    }
}

async fn close(connection: &Connection) {
    // What is lost with a connection that cannot say goodbye is redelivered.
    timeout(CLOSE_TIMEOUT, connection.close(200, "closing".into()))
        .await
        .ok();
}
