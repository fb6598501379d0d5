//! The checkout, `GET|POST /cgi-bin/webscr` with `cmd=_xclick` or `_cart`: the page on which a buyer
//! pays, pays by eCheck, or gives up, and what follows from each.
//!
//! Works without a script. An open checkout is kept here under a name that nobody guesses, so that
//! a click too many is one payment and another site's form pays nothing.

mod pages;
mod payment;
mod request;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use quittance_common::clock;
use url::Url;

use self::payment::{Buyer, Country, Payment, Standing};
use self::request::{Purchase, Rules, WayBack};
use super::{Shared, form};

/// The most checkouts that are remembered; the oldest go first.
const REMEMBERED: usize = 1000;

/// Checkouts that were begun, and what was paid for.
#[derive(Debug, Default)]
pub(crate) struct Checkouts {
    all: HashMap<String, Checkout>,
    order: VecDeque<String>,
    /// The merchant's id and the `invoice`: each is paid once.
    paid: HashSet<(String, String)>,
}

/// One checkout.
#[derive(Debug, Clone)]
enum Checkout {
    /// The buyer has not chosen yet.
    Open(Box<Purchase>),
    /// The buyer has; choosing again leads to the same end.
    Done(Ending),
}

/// Where the buyer goes.
#[derive(Debug, Clone)]
enum Ending {
    /// By GET.
    See(Url),
    /// By POST.
    Post(Url, Vec<(String, String)>),
    /// Nowhere: the shop named no page for those who give up.
    Stay,
}

impl Checkouts {
    /// Keeps a checkout; gives the name by which it is chosen.
    fn open(&mut self, purchase: Purchase) -> String {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        let id = payment::random(26);
        self.order.push_back(id.clone());
        self.all
            .insert(id.clone(), Checkout::Open(Box::new(purchase)));
        id
    }

    /// Whether the merchant was paid for that `invoice` before.
    fn is_paid(&self, purchase: &Purchase) -> bool {
        invoice(purchase).is_some_and(|invoice| self.paid.contains(&invoice))
    }
}

fn invoice(purchase: &Purchase) -> Option<(String, String)> {
    let invoice = purchase.invoice.clone()?;
    Some((purchase.merchant.id.clone(), invoice))
}

/// Whether a form asks for a checkout.
pub(crate) fn is_asked_for(body: &[u8]) -> bool {
    let command = form::field(body, "cmd");
    matches!(command.as_deref(), Some("_xclick" | "_cart"))
}

/// `GET /cgi-bin/webscr?cmd=...`.
pub(crate) async fn by_get(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    begin(&shared, query.unwrap_or_default().as_bytes())
}

/// Shows the checkout of a form, or all that is wrong with it.
pub(crate) fn begin(shared: &Shared, form: &[u8]) -> Response {
    let rules = Rules {
        merchants: &shared.options.merchants,
        allow_remote: shared.options.allow_remote,
    };
    match request::read(form, rules) {
        Err(problems) => pages::problems(&problems),
        Ok(purchase) => {
            let mut checkouts = shared.checkouts();
            if checkouts.is_paid(&purchase) {
                return pages::paid_before(&purchase);
            }
            let id = checkouts.open(purchase.clone());
            pages::checkout(&id, &purchase, &Buyer::default())
        }
    }
}

/// `POST /checkout/{id}`: the buyer has chosen.
pub(crate) async fn choose(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let choice = form::field(&body, "choice").unwrap_or_default();
    let mut checkouts = shared.checkouts();
    let purchase = match checkouts.all.get(&id) {
        None => return pages::gone(),
        Some(Checkout::Done(ending)) => return go(ending),
        Some(Checkout::Open(purchase)) => Purchase::clone(purchase),
    };
    let standing = match choice.as_str() {
        "pay" => Some(Standing::Instant),
        "echeck" => Some(Standing::Echeck),
        "cancel" => None,
        _ => return pages::gone(),
    };
    let ending = match standing {
        None => purchase.cancel_url.map_or(Ending::Stay, Ending::See),
        Some(_) if checkouts.is_paid(&purchase) => return pages::paid_before(&purchase),
        Some(standing) => {
            checkouts.paid.extend(invoice(&purchase));
            let environment = shared.options.environment;
            let payment = Payment::new(purchase, buyer(&body), clock::now(), environment);
            let ending = way_back(&payment, standing);
            tell(&shared, payment, standing);
            ending
        }
    };
    let response = go(&ending);
    checkouts.all.insert(id, Checkout::Done(ending));
    response
}

/// What the tester wrote into the form; a field that is not there keeps its default.
fn buyer(body: &[u8]) -> Buyer {
    let default = Buyer::default();
    let text = |name: &str, default: String| {
        form::field(body, name).map_or(default, |text| text.trim().chars().take(127).collect())
    };
    Buyer {
        first_name: text("first_name", default.first_name),
        last_name: text("last_name", default.last_name),
        email: text("payer_email", default.email),
        street: text("address_street", default.street),
        zip: text("address_zip", default.zip),
        city: text("address_city", default.city),
        country: form::field(body, "address_country")
            .and_then(|code| Country::of_code(&code))
            .unwrap_or(default.country),
    }
}

fn way_back(payment: &Payment, standing: Standing) -> Ending {
    let mut url = payment.purchase.return_url.clone();
    match payment.purchase.way_back {
        WayBack::Get => {
            url.query_pairs_mut()
                .extend_pairs(payment.return_pairs(standing));
            Ending::See(url)
        }
        WayBack::Post => Ending::Post(url, payment.return_form(standing)),
    }
}

/// Makes the notification genuine, so that the return finds it, and sends it; for an eCheck the
/// second one, too, when the bank has paid.
fn tell(shared: &Shared, payment: Payment, standing: Standing) {
    let to = payment.purchase.notify_url.clone();
    let first = payment.message(standing);
    let id = shared.ledger().register(&first, Some(to.as_str()));
    let (shared, stop) = (shared.clone(), shared.stop.clone());
    let tasks = shared.resends.clone();
    let telling = async move {
        shared.deliver(id, to.clone(), first, true).await;
        if standing == Standing::Echeck {
            tokio::time::sleep(clears_after(&shared)).await;
            let second = payment.message(Standing::EcheckCleared);
            let id = shared.ledger().register(&second, Some(to.as_str()));
            shared.deliver(id, to, second, true).await;
        }
    };
    tasks.spawn(async move {
        stop.run_until_cancelled(telling).await;
    });
}

/// How long an eCheck takes, scaled as everything is.
fn clears_after(shared: &Shared) -> Duration {
    let options = &shared.options;
    let whole = options.echeck_clears_after;
    whole
        .checked_div(options.time_scale.max(1))
        .unwrap_or(whole)
}

fn go(ending: &Ending) -> Response {
    match ending {
        Ending::See(url) => {
            let location = [(header::LOCATION, url.as_str())];
            (StatusCode::SEE_OTHER, location).into_response()
        }
        Ending::Post(url, fields) => pages::post_back(url, fields),
        Ending::Stay => pages::cancelled(),
    }
}

/// What the pages look like.
pub(crate) async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, crate::pages::STYLE).into_response()
}
