//! `quittance serve`: all stages in one process, on the configured engine.

use std::time::Duration;

use anyhow::Context as _;
use quittance_common::settings::Settings;
use quittance_common::telemetry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Context, Exit};
use crate::wiring::{self, Running};

/// How long the last spans may take to be exported.
const EXPORT: Duration = Duration::from_secs(2);
/// How long the last log lines may take to be written.
const FLUSH: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: Context<'_>) -> anyhow::Result<Exit> {
    let settings = context.settings.load()?;
    telemetry::init(&settings.log);
    telemetry::log_panics();
    telemetry::export_traces("quittance");
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let (asked, stop) = (wiring::stop_signal()?, CancellationToken::new());
    let asked_to_stop = stop.clone();
    tokio::spawn(async move {
        asked.await;
        asked_to_stop.cancel();
    });
    let served = serve(settings, stop).await;
    if let Err(error) = &served {
        tracing::error!(error = format!("{error:#}"), "ended");
    }
    telemetry::stop_export(EXPORT).await;
    telemetry::flush(FLUSH);
    served?;
    Ok(Exit::Done)
}

async fn serve(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let address = settings.ingest.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (ingest.listen)"))?;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(%address, version, "serving all stages");
    Running::start(settings, listener).await?.until(stop).await
}
