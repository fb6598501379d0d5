//! Connections: accepted, timed out when they dawdle, drained at the end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Door;

/// How long a client may take to send a request's head, an idle connection included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The wait after a failed accept: no file descriptors are left, and only time brings some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` to those whom `door` lets in until `stopped` resolves, then finishes what is being answered, at most
/// `grace`. New connections are answered until then, so that a late client hears `503` rather
/// than nothing.
pub async fn serve(
    listener: TcpListener,
    door: Door,
    router: Router,
    stopped: impl Future<Output = ()>,
    grace: Duration,
) -> io::Result<()> {
    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    let abandoned = CancellationToken::new();
    let mut stopped = pin!(stopped);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = door.next(&listener) => accepted,
        };
        match accepted {
            Ok((stream, peer, guest)) => {
                let serving = connection(stream, peer, router.clone(), closing.clone());
                let abandoned = abandoned.clone();
                connections.spawn(async move {
                    let _guest = guest;
                    tokio::select! {
                        () = abandoned.cancelled() => {}
                        () = serving => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    closing.cancel();
    connections.close();
    if tokio::time::timeout(grace, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(open = connections.len(), "connections cut at the stop");
    }
    abandoned.cancel();
    connections.wait().await;
    Ok(())
}

/// Serves one connection to its end; errors are the client's.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    closing: CancellationToken,
) {
    // Answers are one small packet each; waiting to fill it would only add to them.
    stream.set_nodelay(true).ok();
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = closing.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
