//! The demo's shop front: three products, a button, and what became of earlier orders. It registers
//! orders as any shop would, over HTTP with the admin listener's token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use quittance_common::ids::Sku;
use quittance_common::money::{Currency, Money};
use quittance_common::order::{Order, Quantities};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::pages::{STYLE, Template, page};
use crate::wiring::{Books, PaymentQuery, PaymentRow, StockRow};

/// The most pieces of one product in an order.
const MOST: u64 = 9;

/// How long registering may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The shop. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Front(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    books: Books,
    orders: Url,
    authorization: header::HeaderValue,
    checkout: Url,
    client: reqwest::Client,
    next: AtomicU32,
}

/// What the template is handed; what a page does not need is empty.
#[derive(Default, Serialize)]
struct View<'a> {
    page: &'static str,
    note: &'a str,
    products: Vec<Product<'a>>,
    orders: Vec<PastOrder>,
    order: &'a str,
    total: &'a str,
    url: &'a str,
    fields: &'a [(String, String)],
    action: &'a str,
    most: u64,
}

#[derive(Serialize)]
struct Product<'a> {
    sku: &'a str,
    name: &'a str,
    price: String,
    left: i64,
}

#[derive(Serialize)]
struct PastOrder {
    id: String,
    total: String,
    state: String,
}

/// What registering is answered with, as far as it is shown.
#[derive(Deserialize)]
struct Linked {
    url: String,
    action: String,
    fields: Vec<(String, String)>,
}

impl Front {
    /// The shop whose orders are registered at `admin` and paid at `checkout`.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub(super) fn new(
        books: Books,
        admin: SocketAddr,
        token: &str,
        checkout: Url,
    ) -> anyhow::Result<Self> {
        let mut authorization = header::HeaderValue::from_str(&format!("Bearer {token}"))?;
        authorization.set_sensitive(true);
        Ok(Self(Arc::new(Inner {
            books,
            orders: Url::parse(&format!("http://{admin}/orders"))?,
            authorization,
            checkout,
            client: crate::sandbox::client()?,
            next: AtomicU32::new(1001),
        })))
    }

    async fn shelf(&self, note: &str) -> anyhow::Result<Response> {
        let stock = self.0.books.stock().await?;
        let payments = self.0.books.payments(&PaymentQuery::default()).await?;
        let orders = self.0.books.order_list().await?;
        let orders = orders.into_iter().rev().map(|order| PastOrder {
            state: state(&order.settled_by, &payments),
            total: format!("{} {}", order.total, order.currency),
            id: order.id,
        });
        let view = View {
            page: "shelf",
            note,
            products: stock
                .iter()
                .map(|row| Product {
                    sku: &row.sku,
                    name: &row.name,
                    price: format!("{} {}", row.price, row.currency),
                    left: row.on_hand - row.reserved,
                })
                .collect(),
            orders: orders.collect(),
            most: MOST,
            ..View::default()
        };
        Ok(page(StatusCode::OK, Template::Shop, &view, &[]))
    }

    async fn order(&self, form: &[u8]) -> anyhow::Result<Response> {
        let wanted = wanted(form);
        if wanted.is_empty() {
            return self.shelf("Please choose at least one thing.").await;
        }
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let order = Order {
            id: format!("D-{number}").parse()?,
            total: total(&wanted, &self.0.books.stock().await?)?,
            lines: wanted,
        };
        let linked = self.register(&order).await?;
        let view = View {
            page: "order",
            order: order.id.as_str(),
            total: &order.total.to_string(),
            url: &linked.url,
            fields: &linked.fields,
            action: &linked.action,
            ..View::default()
        };
        Ok(page(
            StatusCode::OK,
            Template::Shop,
            &view,
            &[&self.0.checkout],
        ))
    }

    async fn register(&self, order: &Order) -> anyhow::Result<Linked> {
        let lines = order.lines.iter();
        let lines = lines.map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}));
        let body = json!({
            "id": order.id,
            "total": order.total.value(),
            "currency": order.total.currency(),
            "lines": lines.collect::<Vec<_>>(),
        });
        let answer = self
            .0
            .client
            .post(self.0.orders.clone())
            .header(header::AUTHORIZATION, &self.0.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .timeout(PATIENCE)
            .body(body.to_string())
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(
            status.is_success(),
            "registering was answered {status}: {text}"
        );
        Ok(serde_json::from_str(&text)?)
    }
}

/// The shop's pages.
pub(super) fn router(front: Front) -> Router {
    Router::new()
        .route("/", get(shelf))
        .route("/order", post(order).get(elsewhere))
        .route("/style.css", get(style))
        .with_state(front)
}

async fn shelf(State(front): State<Front>, RawQuery(query): RawQuery) -> Response {
    let note = match query.as_deref() {
        Some("given_up") => "You gave up at the checkout: nothing was paid.",
        _ => "",
    };
    answered(front.shelf(note).await)
}

async fn order(State(front): State<Front>, body: Bytes) -> Response {
    answered(front.order(&body).await)
}

/// A page that was made by a form and loaded anew.
async fn elsewhere() -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response()
}

async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, STYLE).into_response()
}

fn answered(made: anyhow::Result<Response>) -> Response {
    made.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "the demo shop failed");
        (StatusCode::INTERNAL_SERVER_ERROR, "the demo shop failed\n").into_response()
    })
}

/// What a form asks for: `quantity_SKU=2`. What cannot be read is none.
fn wanted(form: &[u8]) -> Quantities {
    form_urlencoded::parse(form)
        .filter_map(|(name, value)| {
            let sku: Sku = name.strip_prefix("quantity_")?.parse().ok()?;
            let quantity: u64 = value.trim().parse().ok()?;
            (1..=MOST).contains(&quantity).then_some((sku, quantity))
        })
        .collect()
}

/// What the shop itself says that it costs; the form has no say in it.
fn total(wanted: &Quantities, stock: &[StockRow]) -> anyhow::Result<Money> {
    let mut total: Option<Money> = None;
    for (sku, quantity) in wanted {
        let row = stock.iter().find(|row| row.sku == sku.as_str());
        let row = row.with_context(|| format!("there is no product `{sku}`"))?;
        let currency: Currency = row.currency.parse()?;
        let cost = Money::parse(&row.price, currency)?.checked_mul(i64::try_from(*quantity)?);
        let cost = cost.context("too much")?;
        total = match total {
            None => Some(cost),
            Some(total) => total.checked_add(cost),
        };
        anyhow::ensure!(total.is_some(), "the prices cannot be added");
    }
    total.context("an order of nothing")
}

/// How an order stands, in a word.
fn state(settled_by: &str, payments: &[PaymentRow]) -> String {
    let payment = payments
        .iter()
        .find(|payment| !settled_by.is_empty() && settled_by.ends_with(&payment.txn_id));
    payment.map_or_else(|| "open".to_owned(), |payment| payment.status.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock() -> Vec<StockRow> {
        vec![StockRow {
            sku: "MUG".to_owned(),
            price: "9.90".to_owned(),
            currency: "EUR".to_owned(),
            ..StockRow::default()
        }]
    }

    #[test]
    fn the_shop_reckons_with_its_own_prices_and_refuses_what_it_does_not_sell() {
        let two = wanted(b"quantity_MUG=2&quantity_POT=0&price=0.01&total=0.01");
        assert_eq!(total(&two, &stock()).unwrap().to_string(), "19.80 EUR");
        assert!(total(&wanted(b"quantity_HAT=1"), &stock()).is_err());
        assert!(wanted(b"quantity_MUG=-1&quantity_MUG=1e9&quantity_MUG=10").is_empty());
    }
}
