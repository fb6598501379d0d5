//! `quittance serve`: all stages in one process, on the configured engine.

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Context, Exit};
use crate::wiring::{self, Running};

pub(crate) async fn run(context: Context<'_>) -> anyhow::Result<Exit> {
    let settings = context.settings.load()?;
    // integrator: telemetry::init(&settings.log)
    let address = settings.ingest.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (ingest.listen)"))?;
    let stop = CancellationToken::new();
    let asked_to_stop = stop.clone();
    tokio::spawn(async move {
        wiring::stop_signal().await;
        asked_to_stop.cancel();
    });
    Running::start(settings, listener)
        .await?
        .until(stop)
        .await?;
    Ok(Exit::Done)
}
