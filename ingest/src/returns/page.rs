//! The page: a receipt in a language, as HTML by a template or as JSON.

use std::path::Path;

use bytes::Bytes;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use quittance_common::status::PendingReason;
use serde::Serialize;

use super::words::{self, Labels, Language};
use crate::receipt::{Amount, Details, Handling, Item, Receipt, State};

const TEMPLATE: &str = "receipt.html";
const STYLE: &str = "receipt.css";
const SCRIPT: &str = "receipt.js";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// A file of `pdt.templates` cannot be read.
    #[error("`{file}` in pdt.templates cannot be read: it must be a file in UTF-8")]
    File {
        /// Its name.
        file: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The template cannot be understood, or failed on a receipt.
    #[error("the template `receipt.html` cannot be used: {0}")]
    Template(#[from] minijinja::Error),
}

/// The template and what it needs.
#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    shop: String,
    /// `receipt.css`.
    pub style: Bytes,
    /// `receipt.js`.
    pub script: Bytes,
}

/// What a template is handed, the same for every state. Names are an interface: shops write
/// templates of their own.
#[derive(Serialize)]
struct View<'a> {
    lang: &'static str,
    shop: &'a str,
    state: &'static str,
    confirmed: bool,
    handling: Option<&'static str>,
    open: bool,
    seen: String,
    title: &'static str,
    lead: &'static str,
    reason: Option<&'a str>,
    next: Vec<&'static str>,
    amount: Option<String>,
    transaction: Option<&'a str>,
    email: Option<&'a str>,
    address: &'a [String],
    items: Vec<ItemView<'a>>,
    labels: Labels,
}

#[derive(Serialize)]
struct ItemView<'a> {
    quantity: u32,
    name: &'a str,
    amount: Option<String>,
}

/// The same for programs.
#[derive(Serialize)]
struct Json<'a> {
    state: &'static str,
    confirmed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    handling: Option<Handling>,
    seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer_email: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    address: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<ItemView<'a>>,
}

impl Pages {
    /// The pages of `shop`: each file of `folder` that is there stands in for the built-in one.
    pub fn new(shop: &str, folder: Option<&Path>) -> Result<Self, PageError> {
        let template = file(
            folder,
            TEMPLATE,
            include_str!("../../templates/receipt.html"),
        )?;
        let style = file(folder, STYLE, include_str!("../../templates/receipt.css"))?;
        let script = file(folder, SCRIPT, include_str!("../../templates/receipt.js"))?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // The name's ending makes every value escaped.
        environment.add_template_owned(TEMPLATE, template)?;
        let pages = Self {
            environment,
            shop: shop.to_owned(),
            style: style.into(),
            script: script.into(),
        };
        // A name that is mistyped in a template is found at the start, not by a buyer.
        for receipt in [Receipt::unknown(), sample()] {
            pages.html(&receipt, Language::English)?;
        }
        Ok(pages)
    }

    /// The page.
    pub fn html(&self, receipt: &Receipt, language: Language) -> Result<String, PageError> {
        let details = receipt.details.as_ref();
        let items = details.map_or(&[][..], |details| &details.items);
        let view = View {
            lang: language.code(),
            shop: &self.shop,
            state: receipt.state.as_str(),
            confirmed: receipt.confirmed,
            handling: receipt.handling.map(Handling::as_str),
            open: receipt.is_open(),
            seen: seen(receipt),
            title: words::title(language, receipt.state),
            lead: words::lead(language, receipt),
            reason: receipt.reason.as_ref().map(PendingReason::as_str),
            next: words::next(language, receipt),
            amount: receipt
                .amount
                .as_ref()
                .map(|amount| language.amount(amount)),
            transaction: receipt.transaction.as_deref(),
            email: details.and_then(|details| details.email.as_deref()),
            address: details.map_or(&[][..], |details| &details.address),
            items: items
                .iter()
                .map(|item| ItemView {
                    quantity: item.quantity,
                    name: &item.name,
                    amount: item.amount.as_ref().map(|amount| language.amount(amount)),
                })
                .collect(),
            labels: words::labels(language),
        };
        Ok(self
            .environment
            .get_template(TEMPLATE)?
            .render(Serde(&view))?)
    }
}

/// The receipt as JSON.
pub fn json(receipt: &Receipt) -> String {
    let details = receipt.details.as_ref();
    let items = details.map_or(&[][..], |details| &details.items);
    let json = Json {
        state: receipt.state.as_str(),
        confirmed: receipt.confirmed,
        handling: receipt.handling,
        seen: seen(receipt),
        reason: receipt.reason.as_ref().map(PendingReason::as_str),
        amount: receipt.amount.as_ref().map(|amount| amount.value.as_str()),
        currency: receipt
            .amount
            .as_ref()
            .map(|amount| amount.currency.as_str()),
        transaction: receipt.transaction.as_deref(),
        payer_email: details.and_then(|details| details.email.as_deref()),
        address: details.map_or(&[][..], |details| &details.address),
        items: items
            .iter()
            .map(|item| ItemView {
                quantity: item.quantity,
                name: &item.name,
                amount: item.amount.as_ref().map(|amount| amount.value.clone()),
            })
            .collect(),
    };
    serde_json::to_string(&json).unwrap_or_else(|_| "{}".to_owned())
}

/// A receipt with everything that a template can show.
fn sample() -> Receipt {
    let amount = Amount {
        value: "1.00".to_owned(),
        currency: "EUR".to_owned(),
    };
    let item = |amount| Item {
        quantity: 1,
        name: "item".to_owned(),
        amount,
    };
    Receipt {
        state: State::Pending,
        confirmed: false,
        handling: Some(Handling::SetAside),
        reason: Some(PendingReason::Echeck),
        amount: Some(amount.clone()),
        transaction: Some("transaction".to_owned()),
        details: Some(Details {
            email: Some("e-mail".to_owned()),
            address: vec!["address".to_owned()],
            items: vec![item(Some(amount)), item(None)],
        }),
    }
}

/// What the script compares: it changes when the page would say something else.
fn seen(receipt: &Receipt) -> String {
    let by = if receipt.confirmed {
        "books"
    } else {
        "gateway"
    };
    let state = receipt.state.as_str();
    match receipt.handling {
        Some(handling) => format!("{state}-{by}-{}", handling.as_str()),
        None => format!("{state}-{by}"),
    }
}

/// The file of the folder, or the text that is built in.
fn file(
    folder: Option<&Path>,
    name: &'static str,
    built_in: &'static str,
) -> Result<String, PageError> {
    let Some(path) = folder.map(|folder| folder.join(name)) else {
        return Ok(built_in.to_owned());
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(built_in.to_owned()),
        Err(source) => Err(PageError::File { file: name, source }),
    }
}

#[cfg(test)]
mod tests;
