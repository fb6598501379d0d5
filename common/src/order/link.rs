//! A payment link: an order as the variables of `PayPal` Payments Standard, as a URL and as an HTML
//! form. Pure.
//!
//! One item, or an order that names none, is a `_xclick`; several are an uploaded `_cart`. The items
//! have their catalogue prices; what the order asks beyond them stands in the link as handling, what
//! it asks less as a discount, so that the link always asks for exactly the order's total. A buyer
//! can change all of it on the way: `invoice` and the signed `custom` are what a payment is held
//! against.

use std::collections::HashMap;

use serde::Serialize;
use url::Url;

use super::Order;
use super::signature::{self, SignError};
use crate::html::escaped;
use crate::ids::{GatewayId, Sku};
use crate::money::{Currency, Money};
use crate::settings::{Account, Settings};

/// The most characters that `PayPal` keeps of `item_name` and `item_number`.
const LONGEST: usize = 127;

/// A product as a link offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// For people.
    pub name: String,
    /// What one costs.
    pub price: Money,
}

/// The products that an order names, as far as the catalogue has them.
pub type Offers = HashMap<Sku, Offer>;

/// Why there is no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Nobody said where the buyer and the gateway find us.
    #[error(
        "public_url is not set: a payment link names the address under which buyers and the \
         gateway reach ingest, such as `https://shop.example/`"
    )]
    PublicUrl,
    /// An item's price is not known.
    #[error(
        "item `{0}` has no price in the catalogue in the order's currency: import it \
         (`quittance stock import`), or register the order without items"
    )]
    NoPrice(Sku),
    /// The gateway would cut the sku, and the payment would be for something else.
    #[error("item `{0}`: the gateway keeps 127 characters of an item number, and it is longer")]
    SkuTooLong(Sku),
    /// The prices of the items cannot be added up.
    #[error("the items of the order cost more than can be counted")]
    Range,
    /// The order cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Where a buyer pays, and what the gateway is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The gateway's checkout.
    action: Url,
    /// The variables, in order.
    fields: Vec<(String, String)>,
}

/// A registered order and its link as JSON: an interface.
#[derive(Debug, Serialize)]
pub struct LinkedOrder<'a> {
    order: &'a str,
    account: &'a str,
    total: String,
    currency: Currency,
    /// For `GET`: a link in a mail or a redirect.
    url: String,
    /// For `POST`, with `fields`; carts of many items are too long for a URL.
    action: &'a str,
    fields: &'a [(String, String)],
    /// The same as HTML.
    form: String,
}

impl Link {
    /// The link of `order` to be paid to `account`.
    ///
    /// # Errors
    /// When a setting or a price is missing, or the gateway would cut what it is told.
    pub fn of(
        order: &Order,
        account: &Account,
        offers: &Offers,
        settings: &Settings,
    ) -> Result<Self, LinkError> {
        let public_url = settings.public_url.as_ref().ok_or(LinkError::PublicUrl)?;
        let GatewayId::PayPal = account.gateway;
        let basket = Basket::of(order, offers)?;
        let mut fields = basket.fields(business(account), order);
        let mut put = |name: &str, value: String| fields.push((name.to_owned(), value));
        put("invoice", order.id.to_string());
        if let Some(secret) = settings.orders.secrets.first() {
            put("custom", signature::sign(order, secret)?);
        }
        put("notify_url", ours(public_url, "ipn", account));
        put("return", ours(public_url, "return", account));
        if let Some(url) = &settings.orders.cancel_url {
            put("cancel_return", url.to_string());
        }
        // Back by GET: our page believes nothing but the token, and a POST from another site would
        // come without the buyer's cookies.
        put("rm", "1".to_owned());
        put("no_note", "1".to_owned());
        Ok(Self {
            action: account.checkout_url.clone(),
            fields,
        })
    }

    /// The gateway's checkout, without the variables.
    pub const fn action(&self) -> &Url {
        &self.action
    }

    /// The variables, in order.
    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// All of it as one URL.
    pub fn url(&self) -> Url {
        let mut url = self.action.clone();
        url.query_pairs_mut().extend_pairs(&self.fields);
        url
    }

    /// All of it as an HTML form with one button; every value is escaped.
    pub fn form(&self) -> String {
        let mut form = format!(
            "<form action=\"{}\" method=\"post\" accept-charset=\"utf-8\">\n",
            escaped(self.action.as_str())
        );
        for (name, value) in &self.fields {
            let (name, value) = (escaped(name), escaped(value));
            form.push_str("<input type=\"hidden\" name=\"");
            form.push_str(&name);
            form.push_str("\" value=\"");
            form.push_str(&value);
            form.push_str("\">\n");
        }
        form.push_str("<button type=\"submit\">Pay with PayPal</button>\n</form>\n");
        form
    }

    /// What a shop is answered that has registered `order`.
    pub fn linked<'a>(&'a self, order: &'a Order, account: &'a Account) -> LinkedOrder<'a> {
        LinkedOrder {
            order: order.id.as_str(),
            account: account.id.as_str(),
            total: order.total.value(),
            currency: order.total.currency(),
            url: self.url().into(),
            action: self.action.as_str(),
            fields: &self.fields,
            form: self.form(),
        }
    }
}

/// Whom the link pays: the account's id where one is known, which never changes; else an address.
/// Receivers are kept in lower case, and the gateway writes its ids in upper case.
fn business(account: &Account) -> String {
    let ids = account.receivers.iter().filter(|name| !name.contains('@'));
    ids.map(|id| id.to_ascii_uppercase())
        .next()
        .or_else(|| account.receivers.first().cloned())
        .unwrap_or_default()
}

/// A URL of ours that concerns `account`.
fn ours(public_url: &Url, what: &str, account: &Account) -> String {
    let (gateway, account) = (account.gateway, &account.id);
    format!("{public_url}{what}/{gateway}/{account}")
}

/// What the link asks for.
struct Basket<'a> {
    lines: Vec<Line<'a>>,
    /// What the total is beyond the lines, in minor units; negative where it is less.
    beyond: i64,
}

struct Line<'a> {
    name: String,
    sku: Option<&'a Sku>,
    quantity: u64,
    unit: Money,
}

impl<'a> Basket<'a> {
    fn of(order: &'a Order, offers: &'a Offers) -> Result<Self, LinkError> {
        if order.lines.is_empty() {
            return Ok(Self {
                lines: vec![Line {
                    name: cut(&format!("Order {}", order.id)),
                    sku: None,
                    quantity: 1,
                    unit: order.total,
                }],
                beyond: 0,
            });
        }
        let lines = order
            .lines
            .iter()
            .map(|(sku, quantity)| Line::of(order, sku, *quantity, offers.get(sku)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut beyond = order.total.minor();
        for line in &lines {
            let cost = i64::try_from(line.quantity)
                .ok()
                .and_then(|quantity| line.unit.checked_mul(quantity))
                .ok_or(LinkError::Range)?;
            beyond = beyond.checked_sub(cost.minor()).ok_or(LinkError::Range)?;
        }
        Ok(Self { lines, beyond })
    }

    /// The variables that say what is bought, from whom.
    fn fields(&self, business: String, order: &Order) -> Vec<(String, String)> {
        // A discount on the whole exists for carts only.
        let single = match &self.lines[..] {
            [line] if self.beyond >= 0 => Some(line),
            _ => None,
        };
        let mut fields = Vec::new();
        let mut put = |name: String, value: String| fields.push((name, value));
        if single.is_some() {
            put("cmd".to_owned(), "_xclick".to_owned());
        } else {
            put("cmd".to_owned(), "_cart".to_owned());
            put("upload".to_owned(), "1".to_owned());
        }
        put("business".to_owned(), business);
        let currency = order.total.currency();
        put("currency_code".to_owned(), currency.as_str().to_owned());
        put("charset".to_owned(), "utf-8".to_owned());
        for (number, line) in (1_usize..).zip(&self.lines) {
            let end = single.map_or_else(|| format!("_{number}"), |_| String::new());
            put(format!("item_name{end}"), line.name.clone());
            if let Some(sku) = line.sku {
                put(format!("item_number{end}"), sku.to_string());
            }
            put(format!("amount{end}"), line.unit.value());
            put(format!("quantity{end}"), line.quantity.to_string());
        }
        let beyond = Money::from_minor(self.beyond, currency).abs().value();
        match (self.beyond, single) {
            (0, _) => {}
            (1.., Some(_)) => put("handling".to_owned(), beyond),
            (1.., None) => put("handling_cart".to_owned(), beyond),
            (..0, _) => put("discount_amount_cart".to_owned(), beyond),
        }
        fields
    }
}

impl<'a> Line<'a> {
    fn of(
        order: &Order,
        sku: &'a Sku,
        quantity: u64,
        offer: Option<&Offer>,
    ) -> Result<Self, LinkError> {
        if sku.as_str().chars().count() > LONGEST {
            return Err(LinkError::SkuTooLong(sku.clone()));
        }
        let currency = order.total.currency();
        let known = offer.filter(|offer| offer.price.currency() == currency);
        // The only item of an order costs what the order costs, if that can be divided.
        let divided = || {
            let pieces = i64::try_from(quantity).ok()?;
            let minor = order.total.minor();
            let even = order.lines.len() == 1 && minor.checked_rem(pieces)? == 0;
            even.then(|| minor.checked_div(pieces))?
        };
        let unit = known
            .map(|offer| offer.price)
            .or_else(|| divided().map(|minor| Money::from_minor(minor, currency)))
            .ok_or_else(|| LinkError::NoPrice(sku.clone()))?;
        Ok(Self {
            name: cut(offer.map_or(sku.as_str(), |offer| &offer.name)),
            sku: Some(sku),
            quantity,
            unit,
        })
    }
}

/// What the gateway would keep of a name.
fn cut(name: &str) -> String {
    name.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
