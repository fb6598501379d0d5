//! `quittance serve`: all stages in one process, on the configured engine.

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Context, Exit};
use crate::wiring::{self, Listeners, Running};

pub(crate) async fn run(context: Context<'_>) -> anyhow::Result<Exit> {
    let settings = context.settings.load()?;
    // integrator: telemetry::init(&settings.log)
    let bind = async |key: &str, address: std::net::SocketAddr| {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (setting `{key}`)"))
    };
    let listeners = Listeners {
        ingest: bind("ingest.listen", settings.ingest.listen).await?,
        admin: bind("admin.listen", settings.admin.listen).await?,
    };
    let stop = CancellationToken::new();
    let asked_to_stop = stop.clone();
    tokio::spawn(async move {
        wiring::stop_signal().await;
        asked_to_stop.cancel();
    });
    Running::start(settings, listeners)
        .await?
        .until(stop)
        .await?;
    Ok(Exit::Done)
}
