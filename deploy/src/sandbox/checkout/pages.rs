//! What the checkout shows.

use axum::http::StatusCode;
use axum::response::Response;
use quittance_common::money::Money;
use serde::Serialize;
use url::Url;

use super::payment::{Buyer, Country};
use super::request::{Problem, Purchase};
use crate::pages::{Template, page};

/// What the template is handed; what a page does not need is empty.
#[derive(Default, Serialize)]
struct View<'a> {
    page: &'static str,
    title: &'a str,
    text: &'a str,
    problems: &'a [Problem],
    /// Where the form goes; on the checkout itself, the checkout's name.
    action: &'a str,
    fields: &'a [(String, String)],
    shop: &'a str,
    shop_email: &'a str,
    items: Vec<Item<'a>>,
    handling: Option<String>,
    discount: Option<String>,
    total: String,
    invoice: Option<&'a str>,
    buyer: Option<BuyerView<'a>>,
    countries: Vec<CountryView>,
}

#[derive(Serialize)]
struct Item<'a> {
    name: &'a str,
    number: &'a str,
    quantity: u32,
    amount: String,
}

#[derive(Serialize)]
struct BuyerView<'a> {
    first_name: &'a str,
    last_name: &'a str,
    email: &'a str,
    street: &'a str,
    zip: &'a str,
    city: &'a str,
}

#[derive(Serialize)]
struct CountryView {
    code: &'static str,
    name: &'static str,
    chosen: bool,
}

/// The page on which the buyer chooses.
pub(super) fn checkout(id: &str, purchase: &Purchase, buyer: &Buyer) -> Response {
    let amount = |money: Option<Money>| money.map(|money| money.to_string());
    let view = View {
        page: "checkout",
        title: "Check out",
        action: id,
        shop: &purchase.merchant.name,
        shop_email: &purchase.merchant.email,
        items: purchase
            .lines
            .iter()
            .map(|line| Item {
                name: &line.name,
                number: &line.number,
                quantity: line.quantity,
                amount: line.gross.to_string(),
            })
            .collect(),
        handling: amount(purchase.handling),
        discount: amount(purchase.discount),
        total: purchase.total.to_string(),
        invoice: purchase.invoice.as_deref(),
        buyer: Some(BuyerView {
            first_name: &buyer.first_name,
            last_name: &buyer.last_name,
            email: &buyer.email,
            street: &buyer.street,
            zip: &buyer.zip,
            city: &buyer.city,
        }),
        countries: Country::ALL
            .into_iter()
            .map(|country| CountryView {
                code: country.code(),
                name: country.name(),
                chosen: country == buyer.country,
            })
            .collect(),
        ..View::default()
    };
    let mut to = vec![&purchase.return_url];
    to.extend(&purchase.cancel_url);
    page(StatusCode::OK, Template::Checkout, &view, &to)
}

/// All that is wrong with what the shop asked for.
pub(super) fn problems(problems: &[Problem]) -> Response {
    let view = View {
        page: "problems",
        title: "This payment cannot be shown",
        text: "The shop's link or form has variables that this checkout does not take:",
        problems,
        ..View::default()
    };
    page(StatusCode::BAD_REQUEST, Template::Checkout, &view, &[])
}

/// The way back by POST, which takes a click where there is no script.
pub(super) fn post_back(to: &Url, fields: &[(String, String)]) -> Response {
    let view = View {
        page: "post_back",
        title: "Thank you, you have paid",
        text: "The shop wants to be told by a form: please go back to it.",
        action: to.as_str(),
        fields,
        ..View::default()
    };
    page(StatusCode::OK, Template::Checkout, &view, &[to])
}

/// The buyer gave up, and the shop has no page for that.
pub(super) fn cancelled() -> Response {
    message(
        StatusCode::OK,
        "You have not paid",
        "You can close this page and go back to the shop.",
    )
}

/// No such checkout, or a form that is not ours.
pub(super) fn gone() -> Response {
    message(
        StatusCode::NOT_FOUND,
        "This checkout is not there",
        "It is too old, or the sandbox was started anew. Please begin again at the shop.",
    )
}

/// An `invoice` is paid once.
pub(super) fn paid_before(purchase: &Purchase) -> Response {
    let invoice = purchase.invoice.as_deref().unwrap_or_default();
    let text = format!("The invoice {invoice} has been paid before. You are not charged again.");
    message(StatusCode::CONFLICT, "This invoice has been paid", &text)
}

fn message(status: StatusCode, title: &str, text: &str) -> Response {
    let view = View {
        page: "message",
        title,
        text,
        ..View::default()
    };
    page(status, Template::Checkout, &view, &[])
}
