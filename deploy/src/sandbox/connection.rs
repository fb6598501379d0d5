//! Accepts connections by itself rather than through a server crate, because some faults act on
//! the connection: a reset is a closed socket with a zero linger.

use std::net::SocketAddr;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Lets a handler reset the connection that its request came by.
#[derive(Debug, Clone)]
pub(crate) struct Line(CancellationToken);

impl Line {
    /// Resets the connection: the peer sees RST, not an orderly end.
    pub(crate) fn reset(&self) {
        self.0.cancel();
    }
}

/// Serves `router` on every connection until `stop`; then closes them all.
pub(crate) async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(serve(stream, peer, router, stop));
                }
                // Out of file handles, or the peer has gone: neither ends the service.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::task::yield_now().await;
                }
            },
        }
    }
    connections.close();
    connections.wait().await;
}

/// Serves one connection until its end, a reset, or `stop`.
async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    let line = Line(stop.child_token());
    let service = TowerToHyperService::new(router.layer(Extension(line.clone())));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = &mut connection => {
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
        }
        () = line.0.cancelled() => {
            let stream = connection.into_parts().io.into_inner();
            // A socket that cannot be told to linger is closed in order: still no answer.
            stream.set_zero_linger().ok();
        }
    }
}
