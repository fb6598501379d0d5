//! The stage as a task of a process.

use std::sync::Arc;

use quittance_common::runtime::Shell;
use quittance_common::settings::Settings;
use tokio::net::TcpListener;

use crate::connections::{self, Door};
use crate::http::{Ingest, publisher, router};
use crate::metrics::IngestMetrics;
use crate::returns::{self, Returns, page::PageError};
use crate::server;

/// Why ingest ended otherwise than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// A metric was registered twice; a bug.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// The templates of the return page cannot be used.
    #[error("the return page cannot be made")]
    Page(#[from] PageError),
    /// The HTTP client for look-ups cannot be made.
    #[error("look-ups cannot be made")]
    Client(#[from] quittance_common::http::ClientError),
    /// The shop database's settings cannot be used.
    #[error("the books cannot be read")]
    Shop(#[from] quittance_common::shop::ShopError),
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[from] std::io::Error),
}

/// Accepts notifications on `listener` until `shell.stop`; then answers `503` to new ones until
/// those in hand are answered, and ends within `shell.grace`.
///
/// Ready even while the broker is down: it then answers `503`, and the gateway sends again.
pub async fn run(
    settings: Arc<Settings>,
    shell: Shell,
    listener: TcpListener,
) -> Result<(), IngestError> {
    let metrics = IngestMetrics::register(&shell.metrics, &settings)?;
    let publish = publisher(shell.queues.clone());
    let returns = Returns::new(&settings, publish.clone(), &metrics)?;
    returns::look::warn_of_missing_tokens(&settings);
    let limit = connections::limit(settings.ingest.max_connections);
    metrics
        .connections_limit
        .set(i64::try_from(limit).unwrap_or(i64::MAX));
    let door = Door::new(limit, metrics.connections.clone());
    let ingest = Ingest::new(settings, publish, metrics, shell.stop.clone());
    // The listener is bound: whatever its servers do, ingest answers, if need be with 503.
    shell.readiness.require("listener", || true);
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "accepting notifications");
    }
    let stopped = {
        let (ingest, returns) = (ingest.clone(), returns.clone());
        let stop = shell.stop.clone();
        let grace = shell.grace;
        async move {
            stop.cancelled().await;
            let idle = async { tokio::join!(ingest.idle(), returns.idle()) };
            tokio::time::timeout(grace, idle).await.ok();
        }
    };
    // What is left after the first grace has had its time; the second is for closing.
    let routes = router(ingest).merge(returns::router(returns));
    server::serve(listener, door, routes, stopped, CLOSING).await?;
    Ok(())
}

/// How long connections without a request in hand may take to close.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(1);
