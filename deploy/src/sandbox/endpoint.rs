//! The gateway's endpoint, `POST /cgi-bin/webscr`: postbacks and PDT look-ups, with the faults that
//! were ordered. A buyer's browser that brings a payment form is led to the checkout.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use quittance_common::clock;

use super::checkout;
use super::connection::Line;
use super::fault::{Fault, Mode};
use super::ledger::{Ledger, Lookup, Outcome, POSTBACK_PREFIX, Postback, sha256_hex};
use super::{Shared, form};

/// A postback is at most a message of 64 KiB and its prefix; PDT is smaller. Beyond, `413`.
const LARGEST_BODY: usize = 1024 * 1024;

/// How long the first half of an answer has to leave before the connection is reset.
const HALF_ANSWER: Duration = Duration::from_millis(20);

/// The page that the real gateway shows now and then in place of an answer.
const FATAL_FAILURE: &str = "<html> <body>Fatal Failure <br></body> </html>";

/// Answers one request to the endpoint.
pub(crate) async fn webscr(
    State(shared): State<Shared>,
    Extension(line): Extension<Line>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if checkout::is_asked_for(&body) {
        return checkout::begin(&shared, &body);
    }
    let fault = shared.take_fault();
    if fault.mode == Mode::Slow {
        tokio::time::sleep(fault.wait()).await;
    }
    let (outcome, response) = match broken(fault, &line) {
        Some(response) => (Outcome::Fault, response),
        None => healthy(&shared, &head.headers, &body),
    };
    shared.ledger().asked(Postback {
        number: 0,
        at: clock::now(),
        sha256: sha256_hex(body.strip_prefix(POSTBACK_PREFIX).unwrap_or(&body)),
        headers: head_pairs(&head.headers),
        version: format!("{:?}", head.version),
        outcome,
    });
    if fault.mode == Mode::Refuse {
        line.reset();
        // The reset drops the connection and this future with it.
        std::future::pending::<()>().await;
    }
    response
}

/// What an endpoint in order answers.
fn healthy(shared: &Shared, headers: &HeaderMap, body: &Bytes) -> (Outcome, Response) {
    let agent = headers.get(header::USER_AGENT);
    if agent.is_none_or(|agent| agent.as_bytes().trim_ascii().is_empty()) {
        let page = "<html><body>Access Denied</body></html>";
        return (Outcome::Forbidden, html(StatusCode::FORBIDDEN, page));
    }
    let (outcome, text) = answer(&mut shared.ledger(), body, &shared.options.identity_token);
    (outcome, html(StatusCode::OK, text))
}

/// The words of the answer, by the bytes alone.
fn answer(ledger: &mut Ledger, body: &[u8], identity_token: &str) -> (Outcome, Bytes) {
    if let Some(message) = body.strip_prefix(POSTBACK_PREFIX) {
        return if ledger.is_genuine(message) {
            (Outcome::Verified, Bytes::from_static(b"VERIFIED"))
        } else {
            (Outcome::Invalid, Bytes::from_static(b"INVALID"))
        };
    }
    if form::field(body, "cmd").as_deref() != Some("_notify-synch") {
        return (
            Outcome::NotUnderstood,
            Bytes::from_static(FATAL_FAILURE.as_bytes()),
        );
    }
    let tx = form::field(body, "tx").unwrap_or_default();
    let at = form::field(body, "at").unwrap_or_default();
    let fail = |code: &'static str| (Outcome::Fail, Bytes::from(format!("FAIL\nError: {code}\n")));
    match ledger.look_up(&tx, &at, identity_token) {
        Lookup::Success(message) => (Outcome::Success, form::success_lines(&message)),
        Lookup::WrongToken => fail("4020"),
        Lookup::Unknown => fail("4002"),
        Lookup::TooOften => fail("4003"),
    }
}

/// The answer of an endpoint out of order; `None` when the fault leaves the answer alone.
fn broken(fault: Fault, line: &Line) -> Option<Response> {
    Some(match fault.mode {
        Mode::Ok | Mode::Slow => return None,
        // Never seen: the connection is reset before it can leave.
        Mode::Refuse => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mode::Html => html(StatusCode::OK, FATAL_FAILURE),
        Mode::Invalid => html(StatusCode::OK, "INVALID"),
        Mode::Reset => half_an_answer(line.clone()),
        Mode::Error403 => html(StatusCode::FORBIDDEN, FATAL_FAILURE),
        Mode::Error500 => html(StatusCode::INTERNAL_SERVER_ERROR, FATAL_FAILURE),
        Mode::Redirect => (
            StatusCode::FOUND,
            [(header::LOCATION, "/cgi-bin/elsewhere")],
        )
            .into_response(),
        Mode::Empty => html(StatusCode::OK, ""),
        Mode::Garbage => html(
            StatusCode::OK,
            &b"\x00\xffUNVERIFIED VERIFIED\x00INVALID"[..],
        ),
        Mode::RetryAfter => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, fault.retry_after_seconds().to_string())],
        )
            .into_response(),
    })
}

/// Promises eight bytes, gives four, and resets the connection.
fn half_an_answer(line: Line) -> Response {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"VERI"))]);
    let then = futures_util::stream::once(async move {
        tokio::time::sleep(HALF_ANSWER).await;
        line.reset();
        std::future::pending().await
    });
    (
        StatusCode::OK,
        [
            (header::CONTENT_LENGTH, "8"),
            (header::CONTENT_TYPE, "text/html"),
        ],
        Body::from_stream(first.chain(then)),
    )
        .into_response()
}

/// An answer in the media type that the real endpoint uses for everything.
fn html(status: StatusCode, body: impl Into<Body>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/html; charset=UTF-8")];
    (status, kind, body.into()).into_response()
}

/// Headers as text pairs.
fn head_pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect()
}
