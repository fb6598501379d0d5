//! The gateway's side of a rolling restart: a steady stream of notifications over all instances of
//! ingest, each sent again until it is answered `200`, and a note of every other answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::http;
use tokio::task::JoinSet;

use crate::pipeline::{PATIENCE, Pipeline};

/// Who sends at the same time, and how often each: some thirty notifications a second.
const SENDERS: usize = 6;
const EVERY: Duration = Duration::from_millis(200);
const NOBODY: usize = usize::MAX;

/// A stream of notifications; it ends with [`Load::stop`].
pub(super) struct Load {
    shared: Arc<Shared>,
    senders: JoinSet<anyhow::Result<()>>,
}

struct Shared {
    ingest: Vec<SocketAddr>,
    dying: AtomicUsize,
    stop: AtomicBool,
    next: AtomicUsize,
    accepted: Mutex<Vec<String>>,
    faults: Mutex<Vec<String>>,
    bodies: Vec<(String, Bytes)>,
}

impl Load {
    /// Begins to send to `ingest`. Everything that may be sent is genuine beforehand.
    pub(super) fn start(pipeline: &Pipeline, ingest: &[SocketAddr]) -> Self {
        let bodies: Vec<(String, Bytes)> = (0..5_000)
            .map(|number| {
                let txn = format!("TXROLL{number:05}");
                let body = Ipn::payment(&txn, "MUG", 1, "9.90").bytes();
                pipeline.sandbox.register(&body);
                (txn, body)
            })
            .collect();
        let shared = Arc::new(Shared {
            ingest: ingest.to_vec(),
            dying: AtomicUsize::new(NOBODY),
            stop: AtomicBool::new(false),
            next: AtomicUsize::new(0),
            accepted: Mutex::default(),
            faults: Mutex::default(),
            bodies,
        });
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(send(Arc::clone(&shared)));
        }
        Self { shared, senders }
    }

    /// From now on only this instance may refuse, until [`Self::nobody_dies`].
    pub(super) fn dies(&self, instance: usize) {
        self.shared.dying.store(instance, Ordering::SeqCst);
    }

    /// Every instance must answer `200` again.
    pub(super) fn nobody_dies(&self) {
        self.shared.dying.store(NOBODY, Ordering::SeqCst);
    }

    /// How many were accepted so far.
    pub(super) fn count(&self) -> usize {
        lock(&self.shared.accepted).len()
    }

    /// Sends nothing new, and waits until what was begun is accepted: the transactions, and every
    /// answer but `200` that no dying instance gave.
    pub(super) async fn stop(mut self) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(sender) = self.senders.join_next().await {
            sender??;
        }
        let accepted = lock(&self.shared.accepted).clone();
        let faults = lock(&self.shared.faults).clone();
        Ok((accepted, faults))
    }
}

async fn send(shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut pace = tokio::time::interval(EVERY);
    while !shared.stop.load(Ordering::SeqCst) {
        pace.tick().await;
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        let (txn, body) = shared.bodies.get(number).context("enough notifications")?;
        let accepted = async {
            let mut instance = number % shared.ingest.len();
            while !taken(&shared, instance, body).await {
                instance = (instance + 1) % shared.ingest.len();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, accepted)
            .await
            .with_context(|| format!("{txn} was never accepted"))?;
        lock(&shared.accepted).push(txn.clone());
    }
    Ok(())
}

/// Posts to one instance. What is not `200` is noted unless that instance is dying.
async fn taken(shared: &Shared, instance: usize, body: &[u8]) -> bool {
    let may_refuse = || shared.dying.load(Ordering::SeqCst) == instance;
    let before = may_refuse();
    let headers = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n";
    let address = shared.ingest[instance];
    let told = match http::once(address, "POST", "/ipn/paypal", headers, body).await {
        Ok(answer) if answer.status == 200 => return true,
        // What ingest says while it drains: come again.
        Ok(answer) if answer.status == 503 => "503".to_owned(),
        Ok(answer) => {
            let fault = format!("ingest-{instance} answered {}", answer.status);
            lock(&shared.faults).push(fault);
            return false;
        }
        Err(error) => format!("{error:#}"),
    };
    if !before && !may_refuse() {
        lock(&shared.faults).push(format!("ingest-{instance}, which lives: {told}"));
    }
    false
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
