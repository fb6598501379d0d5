//! `/return/{gateway}/{account}`: where a gateway sends the buyer back to.
//!
//! Of the URL, and of whatever a gateway posts there, only `tx` is used, and only to ask with. The
//! buyer may have written all of it.

pub mod cookie;
pub mod look;
pub mod page;
pub mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE,
    HeaderName, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use quittance_common::clock;
use quittance_common::gateway::paypal::pdt::Token;
use quittance_common::lookups::{KeptAnswer, LookupKey, Lookups};
use quittance_common::settings::{Account, Settings, StockDriver};
use quittance_common::shop::{Shop, ShopError};
use quittance_common::trace::{TRACEPARENT, TraceContext};
use tokio::sync::Semaphore;
use url::form_urlencoded;

use self::cookie::Signer;
use self::look::Looker;
use self::page::Pages;
use self::words::Language;
use crate::accept::{self, Route};
use crate::http::{BODY_TIMEOUT, Publish};
use crate::metrics::IngestMetrics;
use crate::receipt::{self, Booked, Handling, Receipt};
use crate::run::IngestError;

/// Everything from here, nothing inline, nobody's frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// Pages in the making at once; a page may wait for the gateway.
const AT_ONCE: usize = 256;

/// How long the books may take; a page without them is true, too.
const BOOKS: Duration = Duration::from_secs(2);

/// What the page needs. Cheap to clone.
#[derive(Clone)]
pub struct Returns(Arc<Inner>);

struct Inner {
    settings: Arc<Settings>,
    looker: Looker,
    shop: Shop,
    signer: Signer,
    pages: Pages,
    permits: Semaphore,
}

impl fmt::Debug for Returns {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Returns").finish_non_exhaustive()
    }
}

impl Returns {
    /// The page as the settings want it. Nothing is connected yet.
    ///
    /// # Errors
    /// When the shop's own templates cannot be used.
    pub fn new(
        settings: &Arc<Settings>,
        publish: Publish,
        metrics: &IngestMetrics,
    ) -> Result<Self, IngestError> {
        let lookups = Lookups::of(settings);
        Self::with(settings, lookups, publish, metrics)
    }

    /// The same with a look-up store of the caller's, which replicas share.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(
        settings: &Arc<Settings>,
        lookups: Lookups,
        publish: Publish,
        metrics: &IngestMetrics,
    ) -> Result<Self, IngestError> {
        let templates = settings.pdt.templates.as_deref();
        Ok(Self(Arc::new(Inner {
            looker: Looker::new(settings, lookups, publish, metrics.clone())?,
            shop: Shop::lazy(&settings.shop_database)?,
            signer: Signer::new(settings.pdt.cookie_secret.as_ref()),
            pages: Pages::new(&settings.notify.shop_name, templates)?,
            permits: Semaphore::new(AT_ONCE),
            settings: Arc::clone(settings),
        })))
    }

    /// Waits until no look-up is in flight; only sensible after the stop.
    pub async fn idle(&self) {
        self.0.looker.idle().await;
    }
}

/// `/return/{gateway}`, `/return/{gateway}/{account}`, and what the page loads.
pub fn router(returns: Returns) -> Router {
    Router::new()
        .route("/return/assets/receipt.css", get(style))
        .route("/return/assets/receipt.js", get(script))
        .route("/return/{gateway}/{account}", any(answer))
        .with_state(returns)
}

async fn style(State(returns): State<Returns>) -> Response {
    asset("text/css; charset=utf-8", returns.0.pages.style.clone())
}

async fn script(State(returns): State<Returns>) -> Response {
    asset(
        "text/javascript; charset=utf-8",
        returns.0.pages.script.clone(),
    )
}

fn asset(kind: &'static str, body: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "public, max-age=600"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body).into_response()
}

async fn answer(
    State(returns): State<Returns>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let route = path.ok().and_then(|Path((gateway, account))| {
        accept::route(&returns.0.settings, &gateway, Some(&account))
    });
    let Some(route) = route else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Ok(_permit) = returns.0.permits.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")]).into_response();
    };
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let mut response = match parts.method {
        Method::GET | Method::HEAD => returns.show(&route, query, &parts.headers).await,
        Method::POST => returns.see_other(query, body).await,
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD, POST")]).into_response(),
    };
    harden(response.headers_mut());
    response
}

/// The headers of every answer: not stored, not framed, not indexed, and the token in the URL told
/// to nobody.
fn harden(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (ROBOTS, "noindex, nofollow"),
        (VARY, "Accept, Accept-Language, Cookie"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

impl Returns {
    /// The page, as HTML or JSON.
    async fn show(&self, route: &Route, query: &str, headers: &HeaderMap) -> Response {
        let account = self.0.settings.account(route.gateway, &route.account);
        let (receipt, cookie) = match (token(query.as_bytes()), account) {
            (Some(token), Some(account)) => {
                let key = LookupKey {
                    gateway: route.gateway,
                    account: route.account.clone(),
                    token,
                };
                self.receipt(&key, account, headers).await
            }
            _ => (Receipt::unknown(), None),
        };
        let mut response = self.render(&receipt, headers);
        if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        response
    }

    fn render(&self, receipt: &Receipt, headers: &HeaderMap) -> Response {
        if wants_json(text(headers, &ACCEPT)) {
            let kind = [(CONTENT_TYPE, "application/json")];
            return (kind, page::json(receipt)).into_response();
        }
        let language = Language::of_header(text(headers, &ACCEPT_LANGUAGE));
        match self.0.pages.html(receipt, language) {
            Ok(html) => {
                let kind = [(CONTENT_TYPE, "text/html; charset=utf-8")];
                (kind, html).into_response()
            }
            Err(error) => {
                // The template's own error may quote a value.
                drop(error);
                tracing::error!(state = receipt.state.as_str(), "the return page failed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    /// What is known, and the cookie for the browser that came first.
    async fn receipt(
        &self,
        key: &LookupKey,
        account: &Account,
        headers: &HeaderMap,
    ) -> (Receipt, Option<String>) {
        let inner = &self.0;
        let now = clock::now();
        let known = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|header| inner.signer.recognises(header, key, now));
        let visit = TraceContext::parse(text(headers, &HeaderName::from_static(TRACEPARENT)));
        let heard = inner.looker.look(key, account, visit).await;
        let told = match &heard.answer {
            Some(KeptAnswer::Success { evidence, .. }) => receipt::told(evidence, key, account),
            _ => None,
        };
        // After the look-up: what came meanwhile by notification is to be seen.
        let booked = self.booked(key).await;
        let mut receipt = Receipt::of(key, booked, told, known || heard.first);
        if matches!(inner.settings.stock.driver, StockDriver::Http(_)) {
            // The books know what the shop was asked to set aside, not whether it did.
            receipt.handling = receipt
                .handling
                .filter(|handling| *handling != Handling::SetAside);
        }
        let is_tls = text(headers, &HeaderName::from_static("x-forwarded-proto")) == "https";
        let cookie = heard.first.then(|| inner.signer.cookie(key, now, is_tls));
        (receipt, cookie)
    }

    async fn booked(&self, key: &LookupKey) -> Option<Booked> {
        match tokio::time::timeout(BOOKS, self.read_books(key)).await {
            Ok(Ok(booked)) => booked,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a return page is shown without the books");
                None
            }
            Err(_elapsed) => {
                tracing::warn!("a return page is shown without the books: no answer in time");
                None
            }
        }
    }

    async fn read_books(&self, key: &LookupKey) -> Result<Option<Booked>, ShopError> {
        let shop = &self.0.shop;
        let stories = shop.payment_story(key.token.as_str()).await?;
        let booked = receipt::booked(stories.iter().map(|story| &story.payment), key);
        if booked.is_some() {
            return Ok(booked);
        }
        let parked = shop.parked_about(key.token.as_str()).await?;
        Ok(receipt::is_held(&parked, key).then_some(Booked::HELD))
    }

    /// A buyer who was sent back by POST comes without cookies and with fields that anybody may
    /// have written: they are sent on to the page, with the token alone.
    async fn see_other(&self, query: &str, body: Body) -> Response {
        let limit = self.0.settings.ingest.max_body;
        let reading = axum::body::to_bytes(body, limit);
        let body = tokio::time::timeout(BODY_TIMEOUT, reading).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let token = token(query.as_bytes()).or_else(|| token(&body));
        // Relative to this very URL, whatever proxies put before it.
        let location = token.map_or("?".to_owned(), |token| format!("?tx={}", token.as_str()));
        (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
    }
}

/// The one `tx` of a form, if it has the form of a token.
fn token(form: &[u8]) -> Option<Token> {
    let mut all = form_urlencoded::parse(form).filter(|(name, _)| name == "tx");
    let (_, token) = all.next()?;
    let single = all.next().is_none();
    token.parse().ok().filter(|_| single)
}

/// Whether JSON is asked for, and no page.
fn wants_json(accept: &str) -> bool {
    let asks = |kind: &str| {
        accept
            .split(',')
            .any(|range| range.split(';').next().map(str::trim) == Some(kind))
    };
    asks("application/json") && !asks("text/html")
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
