//! One request: screen it, read it, publish it, answer. Nothing of a body reaches a log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use quittance_common::ids::MessageId;
use quittance_common::message::Message;
use quittance_common::queue::{Destination, PublishError, QueueId, Queues, WorkQueue};
use quittance_common::settings::Settings;
use quittance_common::telemetry::hop::Hop;
use quittance_common::trace::TraceContext;
use quittance_common::{clock, failpoint};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::accept::{self, Received, Refusal, Route};
use crate::metrics::IngestMetrics;

/// When the gateway may try again; `PayPal` keeps its own schedule.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("10");

/// How long a client may take to send a whole body: less than `PayPal`'s own 20 s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// What is read and thrown away after a refusal, so that the client, still sending, sees the
/// answer instead of a reset connection.
const DISCARD_LIMIT: usize = 16 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a message durable; in production [`publisher`].
pub type Publish =
    Arc<dyn Fn(Message) -> BoxFuture<'static, Result<(), PublishError>> + Send + Sync>;

/// Publishes to the verifier's queue.
pub fn publisher(queues: Queues) -> Publish {
    Arc::new(move |message| {
        let queues = queues.clone();
        Box::pin(async move {
            let verify = Destination::Queue(QueueId::Work(WorkQueue::Verify));
            queues.publish(&verify, message).await
        })
    })
}

/// What a request needs. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    settings: Arc<Settings>,
    publish: Publish,
    metrics: IngestMetrics,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    in_hand: TaskTracker,
    body_timeout: Duration,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Ingest")
            .field("in_hand", &self.in_hand.len())
            .finish_non_exhaustive()
    }
}

impl Ingest {
    /// Accepts until `stop`, then refuses.
    pub fn new(
        settings: Arc<Settings>,
        publish: Publish,
        metrics: IngestMetrics,
        stop: CancellationToken,
    ) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(settings.ingest.max_in_flight)),
            settings,
            publish,
            metrics,
            stop,
            in_hand: TaskTracker::new(),
            body_timeout: BODY_TIMEOUT,
        }
    }

    /// The same with another [`BODY_TIMEOUT`].
    #[must_use]
    pub fn with_body_timeout(self, body_timeout: Duration) -> Self {
        Self {
            body_timeout,
            ..self
        }
    }

    /// Waits until no request is in hand; only sensible after the stop.
    pub async fn idle(&self) {
        self.in_hand.close();
        self.in_hand.wait().await;
    }
}

/// `/ipn/{gateway}` and `/ipn/{gateway}/{account}`; everything else is `404`.
pub fn router(ingest: Ingest) -> Router {
    Router::new()
        .route("/ipn/{gateway}", any(default_account))
        .route("/ipn/{gateway}/{account}", any(named_account))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .with_state(ingest)
}

async fn default_account(
    State(ingest): State<Ingest>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let route = path
        .ok()
        .and_then(|Path(gateway)| accept::route(&ingest.settings, &gateway, None));
    answer(&ingest, route, request).await
}

async fn named_account(
    State(ingest): State<Ingest>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let route = path.ok().and_then(|Path((gateway, account))| {
        accept::route(&ingest.settings, &gateway, Some(&account))
    });
    answer(&ingest, route, request).await
}

/// Counts and answers one request.
async fn answer(ingest: &Ingest, route: Option<Route>, request: Request) -> Response {
    let start = Instant::now();
    let _counted = ingest.metrics.enter();
    let _held = ingest.in_hand.token();
    let outcome = if let Some(route) = &route {
        take(ingest, route, request).await
    } else {
        discard(request.into_body().into_data_stream()).await;
        Err(Refusal::Unknown)
    };
    ingest.metrics.count(route.as_ref(), outcome);
    match outcome {
        Ok(()) => {
            let seconds = start.elapsed().as_secs_f64();
            ingest.metrics.ack_seconds.observe(seconds);
            StatusCode::OK.into_response()
        }
        Err(refusal) => {
            tracing::debug!(reason = refusal.as_label(), "refused");
            refuse(refusal)
        }
    }
}

/// The answer to what is not accepted: a status and the headers that belong to it, no body.
fn refuse(refusal: Refusal) -> Response {
    let mut headers = HeaderMap::new();
    let status = refusal.status();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if refusal.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    (status, headers).into_response()
}

/// Reads a request and makes it durable.
async fn take(ingest: &Ingest, route: &Route, request: Request) -> Result<(), Refusal> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(address)| address.ip());
    let (parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let permit = match screen(ingest, &parts.method, &parts.headers) {
        Ok(permit) => permit,
        Err(refusal) => {
            discard(body).await;
            return Err(refusal);
        }
    };
    let reading = read(&mut body, ingest.settings.ingest.max_body);
    let bytes = match tokio::time::timeout(ingest.body_timeout, reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(refusal)) => {
            if refusal == Refusal::TooLarge {
                discard(body).await;
            }
            return Err(refusal);
        }
        Err(_elapsed) => return Err(Refusal::Slow),
    };
    let header = |name| text(&parts.headers, name);
    let received = Received {
        route: route.clone(),
        content_type: header(CONTENT_TYPE.as_str()).unwrap_or_default().to_owned(),
        peer,
        traceparent: header("traceparent").map(str::to_owned),
        at: clock::now(),
    };
    let incoming = received
        .traceparent
        .as_deref()
        .and_then(TraceContext::parse);
    let message = accept::notification(MessageId::new(), received, bytes);
    let mut hop = Hop::taken_in(&message, incoming);
    let log_span = hop.log_span();
    let published = make_durable(ingest, message).instrument(log_span).await;
    hop.ended(published.map_or_else(Refusal::as_label, |()| "accepted"));
    drop(permit);
    published
}

/// What can be said before the body is read, and the right to read it.
fn screen<'a>(
    ingest: &'a Ingest,
    method: &Method,
    headers: &HeaderMap,
) -> Result<tokio::sync::SemaphorePermit<'a>, Refusal> {
    let length = text(headers, CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    accept::screen(
        method == Method::POST,
        text(headers, CONTENT_TYPE.as_str()),
        length,
        ingest.settings.ingest.max_body,
    )?;
    if ingest.stop.is_cancelled() {
        return Err(Refusal::Draining);
    }
    ingest.permits.try_acquire().map_err(|_full| Refusal::Busy)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The whole body, also when its length was not announced.
async fn read(body: &mut BodyDataStream, max_body: usize) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_broken| Refusal::Broken)?;
        if whole.len().saturating_add(chunk.len()) > max_body {
            return Err(Refusal::TooLarge);
        }
        whole.extend_from_slice(&chunk);
    }
    if whole.is_empty() {
        return Err(Refusal::Empty);
    }
    Ok(whole.freeze())
}

/// Reads on for a while and forgets it.
async fn discard(mut body: BodyDataStream) {
    let mut left = DISCARD_LIMIT;
    let reading = async {
        while let Some(Ok(chunk)) = body.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(DISCARD_TIMEOUT, reading).await.ok();
}

/// Publishes and waits for the confirm. The one place that decides about `200`.
async fn make_durable(ingest: &Ingest, message: Message) -> Result<(), Refusal> {
    let id = message.id;
    let limit = ingest.settings.ingest.confirm_timeout;
    failpoint::hit("ingest.before_publish");
    let start = Instant::now();
    let published = tokio::time::timeout(limit, (ingest.publish)(message)).await;
    failpoint::hit("ingest.after_publish");
    let error = match published {
        Ok(Ok(())) => {
            let seconds = start.elapsed().as_secs_f64();
            let confirm = &ingest.metrics.shared.publish_confirm_seconds;
            confirm.observe(seconds);
            tracing::debug!(message.id = %id, "accepted");
            return Ok(());
        }
        Ok(Err(error)) => error,
        Err(_elapsed) => PublishError::Timeout(limit),
    };
    ingest
        .metrics
        .shared
        .publish_failures_total
        .with_label_values(&[error.as_label()])
        .inc();
    tracing::warn!(message.id = %id, %error, "not durable; answered 503");
    Err(Refusal::NotDurable)
}

#[cfg(test)]
mod tests;
