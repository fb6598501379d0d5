//! `POST /orders` on the admin listener: a shop registers an order and gets its payment link.
//!
//! Only where `admin.token` is set, and only for who bears it. The interface is JSON both ways; it
//! is told in `docs/links.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use hmac::{Hmac, Mac as _};
use quittance_common::clock;
use quittance_common::ids::{AccountId, GatewayId, OrderId, Sku};
use quittance_common::money::Currency;
use quittance_common::order::register::{self, RegisterError};
use quittance_common::order::wanted::Wanted;
use quittance_common::order::{Order, TermsError};
use quittance_common::settings::{Account, Settings};
use quittance_common::shop::{Shop, ShopError};
use quittance_common::variant::Selection;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha512};

use crate::http::BODY_TIMEOUT;
use crate::run::IngestError;

/// The most bytes of an order.
const LARGEST_ORDER: usize = 64 * 1024;

/// An order as a shop writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedOrder {
    id: OrderId,
    total: String,
    currency: Currency,
    #[serde(default)]
    lines: Vec<WantedLine>,
    account: Option<AccountId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedLine {
    sku: Sku,
    /// What selects a variant of the item `sku`: name and selection.
    #[serde(default)]
    options: BTreeMap<String, String>,
    quantity: u32,
}

impl From<WantedLine> for Wanted {
    fn from(line: WantedLine) -> Self {
        let options = line.options.iter();
        let options = options.map(|(name, selection)| (name.as_str(), selection.as_str()));
        Self {
            options: Selection::of(options),
            item: line.sku,
            quantity: u64::from(line.quantity),
        }
    }
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("a bearer token is needed: `Authorization: Bearer ...` with the value of admin.token")]
    Unauthorized,
    #[error("the body must be JSON, with `Content-Type: application/json`")]
    NotJson,
    #[error("the body is larger than 65,536 bytes, or did not come in time")]
    Body,
    #[error("the order cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error(transparent)]
    Terms(#[from] TermsError),
    #[error("there is no account `{0}`")]
    NoAccount(AccountId),
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl Refused {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreadable(_) | Self::Terms(_) | Self::NoAccount(_) => StatusCode::BAD_REQUEST,
            Self::Register(
                RegisterError::Cancelled(_) | RegisterError::Shop(ShopError::OrderDiffers(_)),
            ) => StatusCode::CONFLICT,
            Self::Register(RegisterError::Link(_) | RegisterError::Wanted(_)) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Register(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.status();
        let told = if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(error = %self, "an order was not registered");
            "the shop database does not answer; the same request may be sent again".to_owned()
        } else {
            self.to_string()
        };
        let mut response = (status, Json(json!({ "error": told }))).into_response();
        let header: Option<(HeaderName, &'static str)> = match status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer realm=\"quittance\"")),
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "5")),
            _ => None,
        };
        if let Some((name, value)) = header {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What a request needs.
struct Desk {
    settings: Settings,
    shop: Shop,
    door: Door,
}

/// The route, where the settings have a token for it; nothing otherwise. Nothing is connected yet.
///
/// # Errors
/// When the shop database's settings cannot be used.
pub fn router(settings: &Settings) -> Result<Router, IngestError> {
    let Some(token) = &settings.admin.token else {
        return Ok(Router::new());
    };
    let desk = Arc::new(Desk {
        door: Door::new(token),
        shop: Shop::lazy(&settings.shop_database)?,
        settings: settings.clone(),
    });
    Ok(Router::new()
        .route("/orders", post(register_order))
        .with_state(desk))
}

async fn register_order(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match desk.register(&parts.headers, body).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    };
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

impl Desk {
    async fn register(&self, headers: &HeaderMap, body: Body) -> Result<Response, Refused> {
        if !self.door.admits(headers) {
            return Err(Refused::Unauthorized);
        }
        if !is_json(headers) {
            return Err(Refused::NotJson);
        }
        let reading = axum::body::to_bytes(body, LARGEST_ORDER);
        let body = tokio::time::timeout(BODY_TIMEOUT, reading).await;
        let body = body.ok().and_then(Result::ok).ok_or(Refused::Body)?;
        let wanted: WantedOrder = serde_json::from_slice(&body)?;
        let account = self.account(wanted.account)?;
        let lines: Vec<Wanted> = wanted.lines.into_iter().map(Wanted::from).collect();
        let lines = register::products(&self.shop, &lines).await?;
        let order = Order::of_terms(wanted.id, &wanted.total, wanted.currency, lines)?;
        let now = clock::now();
        let link = register::register(&self.shop, &self.settings, &order, account, now).await?;
        Ok(Json(link.linked(&order, account)).into_response())
    }

    /// The account that is named; without a name `default`, or the only one that there is.
    fn account(&self, name: Option<AccountId>) -> Result<&Account, Refused> {
        let accounts = &self.settings.accounts;
        let Some(name) = name else {
            if let [only] = &accounts[..] {
                return Ok(only);
            }
            let named_default = accounts.iter().find(|own| own.id.as_str() == "default");
            return named_default
                .ok_or_else(|| Refused::Unreadable(serde::de::Error::missing_field("account")));
        };
        let found = self.settings.account(GatewayId::PayPal, &name);
        found.ok_or(Refused::NoAccount(name))
    }
}

/// Lets in who bears the token.
struct Door {
    mac: Hmac<Sha256>,
    token: Vec<u8>,
}

impl Door {
    fn new(token: &SecretString) -> Self {
        let random: [u8; 32] = rand::random();
        // A digest of exactly one block: a key of that size cannot be refused.
        let mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&Sha512::digest(random));
        let tag = mac.clone().chain_update(token.expose_secret().as_bytes());
        Self {
            token: tag.finalize().into_bytes().to_vec(),
            mac,
        }
    }

    /// The MACs of both are compared, in constant time: how long it takes says nothing about the
    /// token, neither its length nor how much of it was right.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let Some((scheme, token)) = given.and_then(|given| given.split_at_checked(7)) else {
            return false;
        };
        let same = self.mac.clone().chain_update(token);
        let same = same.verify_slice(&self.token).is_ok();
        same && scheme.eq_ignore_ascii_case(b"Bearer ")
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests;
