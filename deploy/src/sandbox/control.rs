//! The stand-in's own interface: send, register, break, look.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use bytes::Bytes;
use quittance_common::html::escaped;
use quittance_common::http::is_loopback;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Shared;
use super::fault::Fault;

/// `POST /control/register`: bytes that become genuine without being sent. One of the two bodies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterOrder {
    body: Option<String>,
    body_base64: Option<String>,
}

/// `POST /control/send`: bytes that become genuine and are posted to a listener.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendOrder {
    to: String,
    body: Option<String>,
    body_base64: Option<String>,
    /// Whether it is sent again, on the schedule, until it is taken.
    #[serde(default)]
    resend: bool,
}

/// Why an order cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("give exactly one of `body` and `body_base64`")]
    Body,
    #[error("`body_base64` is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("`to` is not a URL: {0}")]
    To(#[from] url::ParseError),
    #[error(
        "`to` names another machine: the sandbox sends to this one only, unless it is started \
         with --allow-remote"
    )]
    Remote,
}

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        let error = json!({ "error": self.to_string() });
        (StatusCode::BAD_REQUEST, Json(error)).into_response()
    }
}

/// Lets nobody in who does not ask this machine by one of its loopback names: a page of a stranger
/// in a browser here could otherwise give orders under a name of its own that points here.
pub(crate) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let asked = host
        .and_then(|host| host.to_str().ok())
        .and_then(|host| Url::parse(&format!("http://{host}/")).ok());
    if shared.options.allow_remote || asked.is_some_and(|url| is_loopback(&url)) {
        return next.run(request).await;
    }
    let error = "the sandbox is controlled as `localhost` only, unless it is started with \
                 --allow-remote";
    let error = json!({ "error": error });
    (StatusCode::FORBIDDEN, Json(error)).into_response()
}

/// The exact bytes that an order means.
fn bytes_of(text: Option<String>, base64: Option<String>) -> Result<Bytes, OrderError> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(base64)) => Ok(base64::engine::general_purpose::STANDARD
            .decode(base64)?
            .into()),
        (None, None) | (Some(_), Some(_)) => Err(OrderError::Body),
    }
}

/// Makes bytes genuine.
pub(crate) async fn register(
    State(shared): State<Shared>,
    Json(order): Json<RegisterOrder>,
) -> Result<Response, OrderError> {
    let body = bytes_of(order.body, order.body_base64)?;
    let id = shared.ledger().register(&body, None);
    Ok(Json(json!({ "id": id })).into_response())
}

/// Makes bytes genuine and posts them; answers how the listener took the first post.
pub(crate) async fn send(
    State(shared): State<Shared>,
    Json(order): Json<SendOrder>,
) -> Result<Response, OrderError> {
    let body = bytes_of(order.body, order.body_base64)?;
    let to = Url::parse(&order.to)?;
    if !shared.options.allow_remote && !is_loopback(&to) {
        return Err(OrderError::Remote);
    }
    let (id, post) = shared.send(to, body, order.resend).await;
    Ok(Json(json!({ "id": id, "status": post.status, "error": post.error })).into_response())
}

/// Orders a fault, or its end.
pub(crate) async fn faults(State(shared): State<Shared>, Json(fault): Json<Fault>) -> Json<Fault> {
    shared.set_fault(fault);
    Json(fault)
}

/// What the endpoint was asked.
pub(crate) async fn postbacks(State(shared): State<Shared>) -> Response {
    let ledger = shared.ledger();
    let list = ledger.postbacks();
    Json(json!({ "count": list.len(), "postbacks": list })).into_response()
}

/// What was sent and registered.
pub(crate) async fn sent(State(shared): State<Shared>) -> Response {
    let ledger = shared.ledger();
    let list = ledger.sent();
    Json(json!({ "count": list.len(), "sent": list })).into_response()
}

/// A page for people: what was sent.
pub(crate) async fn page(State(shared): State<Shared>) -> Response {
    let mut page = String::from(
        "<!doctype html><meta charset=utf-8><title>Quittance sandbox</title>\
         <h1>Quittance sandbox</h1><table><tr><th>#<th>transaction<th>bytes<th>to<th>answers",
    );
    for sent in shared.ledger().sent() {
        let answers: Vec<String> = sent
            .posts
            .iter()
            .map(|post| {
                post.status
                    .map_or_else(|| "none".to_owned(), |s| s.to_string())
            })
            .collect();
        page.push_str("<tr>");
        for cell in [
            sent.id.to_string(),
            sent.txn_id.clone().unwrap_or_default(),
            sent.bytes.to_string(),
            sent.to.clone().unwrap_or_default(),
            answers.join(" "),
        ] {
            page.push_str("<td>");
            page.push_str(&escaped(&cell));
        }
    }
    page.push_str("</table>");
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (kind, page).into_response()
}
