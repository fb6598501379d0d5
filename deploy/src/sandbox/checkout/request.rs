//! The variables of Payments Standard, read strictly: what `PayPal` would overlook or guess is a
//! problem here, because whoever develops against the stand-in wants to know. Pure.

use std::collections::BTreeMap;

use quittance_common::http::is_loopback;
use quittance_common::money::{Currency, Money};
use serde::Serialize;
use url::Url;

use super::super::merchant::Merchant;

/// The most lines of a cart.
const LINES: usize = 100;
/// The most characters of names, numbers and `invoice`.
const NAME: usize = 127;
/// The most characters of `custom`.
const CUSTOM: usize = 256;

/// What is wrong with a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// Its name.
    pub(crate) name: String,
    /// What about it.
    pub(crate) problem: String,
}

/// What a checkout may be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// Who can be paid.
    pub(crate) merchants: &'a [Merchant],
    /// Whether other machines than this one may be sent to.
    pub(crate) allow_remote: bool,
}

/// What is to be paid, to whom, and who is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purchase {
    pub(crate) merchant: Merchant,
    /// The merchant as the shop named it.
    pub(crate) business: String,
    pub(crate) kind: Kind,
    pub(crate) lines: Vec<Line>,
    /// On top of the lines.
    pub(crate) handling: Option<Money>,
    /// Off the sum of the lines.
    pub(crate) discount: Option<Money>,
    pub(crate) total: Money,
    pub(crate) invoice: Option<String>,
    pub(crate) custom: Option<String>,
    pub(crate) notify_url: Url,
    pub(crate) return_url: Url,
    pub(crate) cancel_url: Option<Url>,
    pub(crate) way_back: WayBack,
}

/// How a purchase was put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `_xclick`.
    Single,
    /// `_cart`, uploaded by the shop.
    Cart,
}

/// How the buyer's browser goes back: `rm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayBack {
    /// 0 and 1: by GET.
    Get,
    /// 2: by POST, with all variables.
    Post,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) number: String,
    pub(crate) quantity: u32,
    /// For all pieces.
    pub(crate) gross: Money,
}

/// Reads a query or a form.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub(crate) fn read(form: &[u8], rules: Rules<'_>) -> Result<Purchase, Vec<Problem>> {
    let mut variables = Variables::of(form);
    let purchase = purchase(&mut variables, rules);
    for name in std::mem::take(&mut variables.values).into_keys() {
        variables.problem(&name, "is not known to this checkout");
    }
    match purchase {
        Some(purchase) if variables.problems.is_empty() => Ok(purchase),
        _ => Err(variables.problems),
    }
}

/// Everything is read before anything is missed, so that all problems are told.
fn purchase(variables: &mut Variables, rules: Rules<'_>) -> Option<Purchase> {
    let kind = kind(variables);
    let business = variables.needed("business");
    let merchant = business.as_deref().and_then(|business| {
        let found = rules.merchants.iter().find(|own| own.is(business)).cloned();
        if found.is_none() {
            variables.problem(
                "business",
                "is not registered here: start the sandbox with --merchant ID,EMAIL",
            );
        }
        found
    });
    let charset = variables.needed("charset");
    if charset.is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        variables.problem("charset", "must be utf-8: nothing else is read here");
    }
    let currency = variables.needed("currency_code");
    let currency: Option<Currency> = currency.and_then(|text| {
        let currency = text.parse().ok();
        if currency.is_none() {
            variables.problem("currency_code", "is not three letters");
        }
        currency
    });
    let basket = match (kind, currency) {
        (Some(kind), Some(currency)) => basket(variables, kind, currency),
        _ => None,
    };
    let invoice = variables.text("invoice", NAME);
    let custom = variables.text("custom", CUSTOM);
    let notify_url = variables.url("notify_url", rules).needed(variables);
    let return_url = variables.url("return", rules).needed(variables);
    let cancel_url = variables.url("cancel_return", rules).optional();
    let way_back = way_back(variables);
    // Both only change what PayPal's own pages look like.
    variables.one_of("no_note", &["0", "1"]);
    variables.text("lc", 5);
    let (lines, handling, discount, total) = basket?;
    Some(Purchase {
        merchant: merchant?,
        business: business?,
        kind: kind?,
        lines,
        handling,
        discount,
        total,
        invoice,
        custom,
        notify_url: notify_url?,
        return_url: return_url?,
        cancel_url: cancel_url?,
        way_back: way_back?,
    })
}

fn kind(variables: &mut Variables) -> Option<Kind> {
    let command = variables.needed("cmd")?;
    let upload = variables.take("upload");
    match command.as_str() {
        "_xclick" => {
            if upload.is_some() {
                variables.problem("upload", "belongs to cmd=_cart only");
            }
            Some(Kind::Single)
        }
        "_cart" => {
            if upload.as_deref() != Some("1") {
                variables.problem("upload", "must be 1: only uploaded carts are known here");
            }
            Some(Kind::Cart)
        }
        _ => {
            variables.problem("cmd", "must be _xclick or _cart");
            None
        }
    }
}

fn way_back(variables: &mut Variables) -> Option<WayBack> {
    match variables.one_of("rm", &["0", "1", "2"])?.as_deref() {
        Some("2") => Some(WayBack::Post),
        _ => Some(WayBack::Get),
    }
}

type Basket = (Vec<Line>, Option<Money>, Option<Money>, Money);

fn basket(variables: &mut Variables, kind: Kind, currency: Currency) -> Option<Basket> {
    let (lines, handling, discount) = match kind {
        Kind::Single => {
            let line = line(variables, "", currency);
            (line.map(|line| vec![line]), "handling", None)
        }
        Kind::Cart => {
            let lines = cart_lines(variables, currency);
            (lines, "handling_cart", Some("discount_amount_cart"))
        }
    };
    let handling = variables.money(handling, currency).ok()?;
    let discount = match discount {
        Some(name) => variables.money(name, currency).ok()?,
        None => None,
    };
    let lines = lines?;
    let minor = |money: Option<Money>| money.map_or(0, Money::minor);
    let sum = lines
        .iter()
        .try_fold(0_i64, |sum, line| sum.checked_add(line.gross.minor()));
    let off = minor(discount);
    if sum.is_none_or(|sum| off >= sum) {
        let name = if off > 0 {
            "discount_amount_cart"
        } else {
            "amount"
        };
        variables.problem(name, "leaves nothing to pay, or more than can be counted");
        return None;
    }
    let total = sum?.checked_sub(off)?.checked_add(minor(handling))?;
    let total = Money::from_minor(total, currency);
    Some((lines, handling, discount, total))
}

/// The lines from 1 on, until a number has neither name nor amount.
fn cart_lines(variables: &mut Variables, currency: Currency) -> Option<Vec<Line>> {
    let mut lines = Some(Vec::new());
    for number in 1..=LINES {
        let end = format!("_{number}");
        let here = ["item_name", "amount", "item_number", "quantity"]
            .iter()
            .any(|stem| variables.values.contains_key(&format!("{stem}{end}")));
        if !here {
            break;
        }
        match (line(variables, &end, currency), &mut lines) {
            (Some(line), Some(lines)) => lines.push(line),
            (None, _) => lines = None,
            (Some(_), None) => {}
        }
    }
    if lines.as_ref().is_some_and(Vec::is_empty) {
        variables.problem("item_name_1", "is missing: the cart is empty");
        return None;
    }
    lines
}

/// The line whose variables end so.
fn line(variables: &mut Variables, end: &str, currency: Currency) -> Option<Line> {
    let name_key = format!("item_name{end}");
    let name = variables.text(&name_key, NAME);
    if name.is_none() {
        variables.problem(&name_key, "is missing");
    }
    let number = variables.text(&format!("item_number{end}"), NAME);
    let amount_key = format!("amount{end}");
    let unit = variables.money(&amount_key, currency).ok()?;
    if unit.is_none() {
        variables.problem(&amount_key, "is missing");
    }
    let quantity_key = format!("quantity{end}");
    let quantity = match variables.take(&quantity_key) {
        None => Some(1),
        Some(text) => text.parse().ok().filter(|quantity| *quantity > 0_u32),
    };
    if quantity.is_none() {
        variables.problem(&quantity_key, "is not a whole number from 1");
    }
    let (unit, quantity) = (unit?, quantity?);
    let gross = unit.checked_mul(i64::from(quantity));
    if gross.is_none() {
        variables.problem(&amount_key, "is more than can be counted");
    }
    Some(Line {
        name: name?,
        number: number.unwrap_or_default(),
        quantity,
        gross: gross?,
    })
}

/// What was given and is not read yet, and what is wrong with the rest.
struct Variables {
    values: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

/// A URL, which may have been left out.
enum UrlGiven<'a> {
    Url(Url),
    Missing(&'a str),
    Wrong,
}

impl UrlGiven<'_> {
    fn needed(self, variables: &mut Variables) -> Option<Url> {
        match self {
            Self::Url(url) => Some(url),
            Self::Missing(name) => {
                variables.problem(name, "is missing");
                None
            }
            Self::Wrong => None,
        }
    }

    /// `None` when it is wrong.
    #[expect(
        clippy::option_option,
        reason = "the outer one is a problem that is noted, the inner one a URL that was left out"
    )]
    fn optional(self) -> Option<Option<Url>> {
        match self {
            Self::Url(url) => Some(Some(url)),
            Self::Missing(_) => Some(None),
            Self::Wrong => None,
        }
    }
}

impl Variables {
    fn of(form: &[u8]) -> Self {
        let mut variables = Self {
            values: BTreeMap::new(),
            problems: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(form) {
            let before = variables
                .values
                .insert(name.clone().into_owned(), value.into_owned());
            if before.is_some() {
                variables.problem(&name, "is there twice");
            }
        }
        variables
    }

    fn problem(&mut self, name: &str, problem: &str) {
        self.problems.push(Problem {
            name: name.to_owned(),
            problem: problem.to_owned(),
        });
    }

    /// A value; a blank one is none.
    fn take(&mut self, name: &str) -> Option<String> {
        let value = self.values.remove(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn needed(&mut self, name: &str) -> Option<String> {
        let value = self.take(name);
        if value.is_none() {
            self.problem(name, "is missing");
        }
        value
    }

    /// A text that need not be there.
    fn text(&mut self, name: &str, most: usize) -> Option<String> {
        let text = self.take(name)?;
        if text.chars().count() > most {
            self.problem(name, &format!("is longer than {most} characters"));
        }
        Some(text)
    }

    /// One of few words, or nothing; `None` for any other.
    #[expect(
        clippy::option_option,
        reason = "the outer one is a problem that is noted, the inner one a value that was left out"
    )]
    fn one_of(&mut self, name: &str, words: &[&str]) -> Option<Option<String>> {
        let value = self.take(name);
        if value
            .as_deref()
            .is_some_and(|value| !words.contains(&value))
        {
            self.problem(name, &format!("must be one of {}", words.join(", ")));
            return None;
        }
        Some(value)
    }

    /// An amount that need not be there; an error when it is wrong.
    fn money(&mut self, name: &str, currency: Currency) -> Result<Option<Money>, ()> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match Money::parse(&text, currency) {
            Ok(money) if money.minor() > 0 => Ok(Some(money)),
            Ok(_) => {
                self.problem(name, "must be more than zero");
                Err(())
            }
            Err(error) => {
                self.problem(name, &format!("is no amount of {currency}: {error}"));
                Err(())
            }
        }
    }

    fn url<'a>(&mut self, name: &'a str, rules: Rules<'_>) -> UrlGiven<'a> {
        let Some(text) = self.take(name) else {
            return UrlGiven::Missing(name);
        };
        let url = Url::parse(&text).ok();
        let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
            self.problem(name, "is not an http:// or https:// URL");
            return UrlGiven::Wrong;
        };
        if !rules.allow_remote && !is_loopback(&url) {
            self.problem(
                name,
                "names another machine: the sandbox sends to this one only, unless it is started \
                 with --allow-remote",
            );
            return UrlGiven::Wrong;
        }
        UrlGiven::Url(url)
    }
}

#[cfg(test)]
mod tests;
