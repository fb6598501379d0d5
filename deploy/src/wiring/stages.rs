//! All stages in one process: what the three binaries spawn, spawned into one service.

use std::sync::Arc;

use quittance_common::runtime::process::Process;
use quittance_common::shop::Shop;
use tokio::net::TcpListener;

/// Spawns every stage into the process; ingest listens on `listener`.
pub(super) fn spawn(process: &mut Process, listener: TcpListener) -> anyhow::Result<()> {
    let (settings, shell) = (Arc::clone(&process.settings), process.shell.clone());
    let ingest = quittance_ingest::run(Arc::clone(&settings), shell.clone(), listener);
    process.service.spawn("ingest", ingest);
    let verifier = quittance_verifier::run(
        Arc::clone(&settings),
        shell.clone(),
        process.claims.clone(),
        Shop::lazy(&settings.shop_database)?,
    );
    process.service.spawn("verifier", verifier);
    quittance_fulfiller::run::spawn(&mut process.service, &settings, &shell)?;
    process.watch_queues()?;
    Ok(())
}
