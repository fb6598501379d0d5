//! The stage as a task of a process.

use std::sync::Arc;

use quittance_common::claims::Claims;
use quittance_common::consumer::{self, ConsumerError};
use quittance_common::http;
use quittance_common::queue::WorkQueue;
use quittance_common::runtime::Shell;
use quittance_common::settings::Settings;
use quittance_common::shop::{Shop, ShopError};

use crate::archive::Archiving;
use crate::breaker::Policy;
use crate::metrics::Metrics;
use crate::postback::Postback;
use crate::releases;
use crate::risk::watch::AtRisk;
use crate::stage::Verifier;

/// Why the verifier ended otherwise than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// A metric was registered twice; a bug.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[from] http::ClientError),
    /// The catalogue's database cannot be used.
    #[error("the shop database cannot be used")]
    Shop(#[from] ShopError),
    /// The consume loop ended.
    #[error("the consume loop ended")]
    Consumer(#[from] ConsumerError),
}

/// Verifies what is on `ipn.verify` until `shell.stop`.
pub async fn run(
    settings: Arc<Settings>,
    shell: Shell,
    claims: Claims,
    shop: Shop,
) -> Result<(), VerifierError> {
    let metrics = Metrics::register(shell.metrics.registry())?;
    let verifier = &settings.verifier;
    let concurrency = verifier.concurrency;
    let client = http::client(verifier.connect_timeout, verifier.postback_timeout)?;
    let policy = Policy {
        failures: verifier.breaker_failures,
        cooldown: verifier.breaker_cooldown,
        concurrency: u32::from(concurrency),
    };
    let postback = Postback::new(client, policy);
    let shared = shell.metrics.clone();
    let (queues, archive) = (shell.queues.clone(), shell.names.archive());
    let stage = Verifier::new(
        Arc::clone(&settings),
        postback,
        claims,
        shop.clone(),
        metrics,
        shared,
    );
    let registry = shell.metrics.registry();
    let stage = Archiving::new(stage, queues, archive.is_some(), registry)?;
    let at_risk = AtRisk::register(registry, shop.clone())?;
    let releases = releases::publish(shell.clone(), shop);
    let stage = consumer::run(shell, Arc::new(stage), WorkQueue::Verify, concurrency);
    tokio::select! {
        ended = stage => Ok(ended?),
        never = releases => match never {},
        never = at_risk.keep() => match never {},
    }
}
