//! The private listener of every process: is it alive, is it ready, what are its numbers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Whether this process should get work: every named condition holds, and it is not draining.
/// Cheap to clone; every clone is the same.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Default)]
struct Inner {
    conditions: Mutex<Vec<Condition>>,
    draining: AtomicBool,
}

struct Condition {
    name: String,
    holds: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Readiness")
            .field("missing", &self.missing())
            .finish()
    }
}

impl Readiness {
    /// Not ready until something is required and holds: a process that has just begun to answer
    /// probes has not begun to work.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on not ready unless `holds` answers true; it is asked at each probe and must not
    /// block.
    pub fn require(
        &self,
        name: impl Into<String>,
        holds: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        let condition = Condition {
            name: name.into(),
            holds: Box::new(holds),
        };
        self.conditions().push(condition);
    }

    /// From now on not ready, whatever the conditions say: the process is about to end.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether [`Self::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// The names of what does not hold now; empty means ready.
    pub fn missing(&self) -> Vec<String> {
        let conditions = self.conditions();
        if conditions.is_empty() {
            return vec!["starting".to_owned()];
        }
        let mut missing: Vec<String> = conditions
            .iter()
            .filter(|condition| !(condition.holds)())
            .map(|condition| condition.name.clone())
            .collect();
        drop(conditions);
        if self.is_draining() {
            missing.push("draining".to_owned());
        }
        missing
    }

    fn conditions(&self) -> std::sync::MutexGuard<'_, Vec<Condition>> {
        // A list that is only pushed to is right even after a panic.
        self.0
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
struct ReadyReport {
    ready: bool,
    missing: Vec<String>,
}

/// `/livez`, `/readyz` and `/metrics`.
///
/// Live means that the process turns over; it never looks at a server, because a restart does not
/// mend a broker.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(|| async { "live\n" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let missing = readiness.missing();
    let (status, ready) = if missing.is_empty() {
        (StatusCode::OK, true)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, false)
    };
    (status, Json(ReadyReport { ready, missing })).into_response()
}

async fn render(State(metrics): State<Metrics>) -> Response {
    match metrics.render() {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Serves [`router`], and the stage's own `routes`, until `stop`; probes still get their answer
/// while the process drains, so `stop` is the very end.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    routes: Router,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    axum::serve(listener, router(readiness, metrics).merge(routes))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::QueueNames;

    async fn status_and_body(url: &str) -> (u16, String) {
        let second = std::time::Duration::from_secs(5);
        let client = crate::http::client(second, second).unwrap();
        let answer = client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn a_process_that_lacks_something_or_drains_is_alive_but_not_ready() {
        let readiness = Readiness::new();
        assert_eq!(readiness.missing(), ["starting"]);
        let subscribed = Arc::new(AtomicBool::new(false));
        let condition = Arc::clone(&subscribed);
        readiness.require("consumer ipn.verify", move || {
            condition.load(Ordering::Acquire)
        });
        let metrics = Metrics::new(&QueueNames::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(
            listener,
            readiness.clone(),
            metrics,
            Router::new(),
            stop.clone(),
        ));

        let (status, body) = status_and_body(&format!("{url}/readyz")).await;
        assert_eq!(status, 503);
        assert_eq!(body, r#"{"ready":false,"missing":["consumer ipn.verify"]}"#);
        subscribed.store(true, Ordering::Release);
        assert_eq!(status_and_body(&format!("{url}/readyz")).await.0, 200);
        readiness.drain();
        let (status, body) = status_and_body(&format!("{url}/readyz")).await;
        assert_eq!((status, body.contains("draining")), (503, true));

        assert_eq!(status_and_body(&format!("{url}/livez")).await.0, 200);
        let (_, text) = status_and_body(&format!("{url}/metrics")).await;
        assert!(text.contains("quittance_build_info"));
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
