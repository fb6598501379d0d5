//! All stages in one process: what the three binaries spawn, spawned into one service.

use std::sync::Arc;

use quittance_common::queue::WorkQueue;
use quittance_common::runtime::process::Process;
use quittance_common::shop::Shop;
use quittance_common::{consumer, http};
use quittance_verifier::Verifier;
use quittance_verifier::breaker::Policy;
use quittance_verifier::metrics::Metrics as VerifierMetrics;
use quittance_verifier::postback::Postback;
use tokio::net::TcpListener;

/// Spawns every stage into the process; ingest listens on `listener`.
pub(super) fn spawn(process: &mut Process, listener: TcpListener) -> anyhow::Result<()> {
    let (settings, shell) = (Arc::clone(&process.settings), process.shell.clone());
    let ingest = quittance_ingest::run(Arc::clone(&settings), shell, listener);
    process.service.spawn("ingest", ingest);
    spawn_verifier(process)?;
    spawn_fulfiller(process)
}

fn spawn_verifier(process: &mut Process) -> anyhow::Result<()> {
    let (settings, shell) = (Arc::clone(&process.settings), process.shell.clone());
    let verifier = &settings.verifier;
    let policy = Policy {
        failures: verifier.breaker_failures,
        cooldown: verifier.breaker_cooldown,
        concurrency: verifier.concurrency.into(),
    };
    let client = http::client(verifier.connect_timeout, verifier.postback_timeout)?;
    let stage = Verifier::new(
        Arc::clone(&settings),
        Postback::new(client, policy),
        process.claims.clone(),
        Shop::lazy(&settings.shop_database)?,
        VerifierMetrics::register(shell.metrics.registry())?,
    );
    let concurrency = verifier.concurrency;
    let consuming = consumer::run(shell, Arc::new(stage), WorkQueue::Verify, concurrency);
    process.service.spawn("verifier", consuming);
    Ok(())
}

fn spawn_fulfiller(process: &mut Process) -> anyhow::Result<()> {
    let (settings, shell) = (Arc::clone(&process.settings), process.shell.clone());
    let metrics = quittance_fulfiller::metrics::Metrics::register(
        shell.metrics.registry(),
        shell.metrics.duplicates_total.clone(),
    )?;
    let parts = quittance_fulfiller::run::parts(&settings, shell.queues.clone(), &metrics)?;
    let concurrency = settings.fulfiller.concurrency;
    let fulfil = consumer::run(
        shell.clone(),
        Arc::new(parts.fulfil),
        WorkQueue::Fulfil,
        concurrency,
    );
    process.service.spawn("fulfiller", fulfil);
    let notify = consumer::run(
        shell.clone(),
        Arc::new(parts.notify),
        WorkQueue::Notify,
        concurrency,
    );
    process.service.spawn("notifier", notify);
    let relay = async move {
        parts.relay.run(shell.stop.clone()).await;
        anyhow::Ok(())
    };
    process.service.spawn("relay", relay);
    Ok(())
}
