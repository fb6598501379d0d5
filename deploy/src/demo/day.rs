//! The scripted day: every scenario, in the order in which it is played.

use std::collections::BTreeMap;

use quittance_common::ids::IdError;
use quittance_common::money::{Currency, Money, MoneyError};

use super::body::Ipn;
use super::scenario::{Odd, Outcome, Scenario, Step, StockChange, buyer, marker};
use crate::catalogue::Product;
use crate::sandbox::{Fault, Mode};

/// Reason codes as the verifier parks with them.
mod reason {
    pub(super) const INVALID: &str = "invalid";
    pub(super) const RECEIVER: &str = "receiver_mismatch";
    pub(super) const AMOUNT: &str = "amount_mismatch";
    pub(super) const ENVIRONMENT: &str = "environment_mismatch";
    pub(super) const AMBIGUOUS: &str = "ambiguous_field";
    pub(super) const UNKNOWN_STATUS: &str = "unknown_status";
}

/// The price of every demo product but the cart's, in EUR cents.
const PRICE: i64 = 990;
/// Pieces of every product in the morning.
const ON_HAND: u32 = 10;
/// Lines of the large cart.
const CART_LINES: u32 = 8;

/// Why the script cannot be written down: a mistake in this file.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// A sku.
    #[error("a sku of the demo {0}")]
    Sku(#[from] IdError),
    /// An amount.
    #[error("an amount of the demo: {0}")]
    Money(#[from] MoneyError),
}

/// A scenario in the making: one product, one buyer, one transaction, all named by the slug.
struct Draft(Scenario);

impl Draft {
    fn new(
        slug: &'static str,
        name: &'static str,
        story: &'static str,
    ) -> Result<Self, ScriptError> {
        let sku = sku_of(slug);
        Ok(Self(Scenario {
            name,
            story,
            slug,
            txn: format!("DEMO{}", slug.to_uppercase().replace('-', "")),
            products: vec![product(&sku, PRICE)?],
            steps: Vec::new(),
            expected: Outcome::default(),
        }))
    }

    /// Its payment: one piece of its product, completed, at the right price.
    fn paid(&self) -> Ipn {
        self.mine(Ipn::payment(&self.0.txn, &sku_of(self.0.slug), 1, "9.90"))
    }

    /// A refund of its payment.
    fn refunded(&self, gross: &str) -> Ipn {
        let txn = format!("{}R", self.0.txn);
        self.mine(Ipn::refund(&txn, &self.0.txn, gross))
    }

    /// Puts its buyer and marker into a message.
    fn mine(&self, ipn: Ipn) -> Ipn {
        ipn.with("payer_email", &buyer(self.0.slug))
            .with("custom", &marker(self.0.slug))
    }

    fn step(mut self, step: Step) -> Self {
        self.0.steps.push(step);
        self
    }

    fn sends(mut self, ipn: &Ipn) -> Self {
        self.0.expected.http.push(200);
        self.step(Step::Send(ipn.bytes()))
    }

    fn answers(mut self, odd: Odd, status: u16) -> Self {
        self.0.expected.http.push(status);
        self.step(Step::Request(odd))
    }

    /// The payment's last state.
    fn ends(mut self, status: &str) -> Self {
        self.0.expected.payment = Some(status.to_owned());
        self
    }

    fn sells(mut self, count: i64) -> Self {
        let change = StockChange::sold(count);
        self.0.expected.stock = BTreeMap::from([(sku_of(self.0.slug), change)]);
        self
    }

    fn mails(mut self, count: usize) -> Self {
        self.0.expected.mails = count;
        self
    }

    fn parked(mut self, reason: &str) -> Self {
        self.0.expected.quarantined = vec![reason.to_owned()];
        self
    }
}

/// The sku of a scenario's own product.
fn sku_of(slug: &str) -> String {
    format!("DEMO-{}", slug.to_uppercase())
}

fn product(sku: &str, cents: i64) -> Result<Product, ScriptError> {
    let euro: Currency = "EUR".parse()?;
    Ok(Product {
        sku: sku.parse()?,
        name: format!("Demo item {sku}"),
        price: Money::from_minor(cents, euro),
        on_hand: ON_HAND,
    })
}

/// The whole day.
///
/// # Errors
/// Only for a mistake in this file.
pub fn scenarios() -> Result<Vec<Scenario>, ScriptError> {
    let parts = [
        payments()?,
        refused()?,
        state_machine()?,
        refunds()?,
        outages()?,
        oddities()?,
    ];
    Ok(parts.into_iter().flatten().map(|draft| draft.0).collect())
}

/// Payments that are in order.
fn payments() -> Result<Vec<Draft>, ScriptError> {
    let happy = Draft::new("happy", "happy path", "one mug is paid")?;
    let paid = happy.paid();
    let happy = happy.sends(&paid).ends("completed").sells(1).mails(1);

    let twice = Draft::new(
        "resend",
        "duplicate by resend",
        "the gateway sends the same message a second time",
    )?;
    let paid = twice.paid();
    let twice = twice
        .sends(&paid)
        .step(Step::UntilStatus("completed"))
        .sends(&paid)
        .ends("completed")
        .sells(1)
        .mails(1);

    let mut ten = Draft::new(
        "ten",
        "ten copies at once",
        "ten copies of one message arrive in the same instant",
    )?;
    let paid = ten.paid().bytes();
    ten.0.expected.http = vec![200; 10];
    let ten = ten
        .step(Step::SendAtOnce(paid, 10))
        .ends("completed")
        .sells(1)
        .mails(1);

    let mut umlauts = Draft::new(
        "umlauts",
        "German umlauts",
        "Jürgen Groß pays; his name comes in windows-1252",
    )?;
    let paid = umlauts
        .paid()
        .with("first_name", "Jürgen")
        .with("last_name", "Groß")
        .with("residence_country", "DE");
    umlauts.0.expected.mail_says = Some("Jürgen Groß".to_owned());
    let umlauts = umlauts.sends(&paid).ends("completed").sells(1).mails(1);

    Ok(vec![happy, twice, ten, umlauts, cart()?])
}

/// A cart of eight lines: of line n, n pieces at n EUR each.
fn cart() -> Result<Draft, ScriptError> {
    let mut draft = Draft::new("cart", "eight-item cart", "a cart of eight lines is paid")?;
    let euro: Currency = "EUR".parse()?;
    let mut lines = Vec::new();
    let mut products = Vec::new();
    let mut total = Money::from_minor(0, euro);
    for number in 1..=CART_LINES {
        let sku = format!("DEMO-CART-{number}");
        let product = product(&sku, i64::from(number).saturating_mul(100))?;
        let line = product
            .price
            .checked_mul(i64::from(number))
            .ok_or(MoneyError::Range)?;
        total = total.checked_add(line).ok_or(MoneyError::Range)?;
        let sold = StockChange::sold(i64::from(number));
        draft.0.expected.stock.insert(sku.clone(), sold);
        lines.push((sku, number, line.value()));
        products.push(product);
    }
    draft.0.products = products;
    let ipn = draft.mine(Ipn::cart(&draft.0.txn, &lines, &total.value()));
    Ok(draft.sends(&ipn).ends("completed").mails(1))
}

/// Messages that must have no effect.
fn refused() -> Result<Vec<Draft>, ScriptError> {
    let forged = Draft::new(
        "forged",
        "forged message",
        "somebody posts a payment that the gateway never sent",
    )?;
    let paid = forged.paid().bytes();
    let mut forged = forged.step(Step::Forge(paid)).parked(reason::INVALID);
    forged.0.expected.http.push(200);

    let receiver = Draft::new(
        "receiver",
        "wrong receiver",
        "a genuine payment, to somebody else's account",
    )?;
    let paid = receiver
        .paid()
        .with("receiver_id", "SOMEBODYELSE1")
        .with("receiver_email", "thief@example.org")
        .with("business", "thief@example.org");
    let receiver = receiver.sends(&paid).parked(reason::RECEIVER);

    let price = Draft::new("price", "wrong price", "five cents for a mug of 9.90")?;
    let paid = price.paid().with("mc_gross", "0.05");
    let price = price.sends(&paid).parked(reason::AMOUNT);

    let test = Draft::new(
        "test-ipn",
        "sandbox message on a live account",
        "play money is offered for a real mug",
    )?;
    let paid = test.paid().with("test_ipn", "1");
    let test = test.sends(&paid).parked(reason::ENVIRONMENT);

    let twofold = Draft::new(
        "ambiguous",
        "ambiguous field",
        "the message names two amounts; which one counts is not guessed",
    )?;
    let paid = twofold.paid().with_another("mc_gross", "0.01");
    let twofold = twofold.sends(&paid).parked(reason::AMBIGUOUS);

    let status = Draft::new(
        "unknown",
        "unknown status",
        "a status that nobody has heard of goes to a person",
    )?;
    let paid = status.paid().with("payment_status", "Completed-Funds-Held");
    let status = status.sends(&paid).parked(reason::UNKNOWN_STATUS);

    Ok(vec![forged, receiver, price, test, twofold, status])
}

/// Payments that take their time.
fn state_machine() -> Result<Vec<Draft>, ScriptError> {
    let pending = |draft: &Draft| {
        draft
            .paid()
            .with("payment_status", "Pending")
            .with("pending_reason", "echeck")
    };

    let cleared = Draft::new(
        "cleared",
        "pending, then completed",
        "an eCheck clears: the mug is reserved, then sold once",
    )?;
    let (first, then) = (pending(&cleared), cleared.paid());
    let cleared = cleared
        .sends(&first)
        .step(Step::UntilStatus("pending"))
        .sends(&then)
        .ends("completed")
        .sells(1)
        .mails(2);

    let denied = Draft::new(
        "denied",
        "pending, then denied",
        "the payment is denied: the reservation is released",
    )?;
    let (first, then) = (
        pending(&denied),
        denied.paid().with("payment_status", "Denied"),
    );
    let denied = denied
        .sends(&first)
        .step(Step::UntilStatus("pending"))
        .sends(&then)
        .ends("denied")
        .mails(2);

    let mut open = Draft::new(
        "pending",
        "pending",
        "an eCheck is on its way: the mug is reserved and not sold",
    )?;
    let first = pending(&open);
    let reserved = StockChange {
        reserved: 1,
        ..StockChange::default()
    };
    open.0.expected.stock.insert(sku_of("pending"), reserved);
    let open = open.sends(&first).ends("pending").mails(1);

    Ok(vec![cleared, denied, open])
}

/// Money that goes back.
fn refunds() -> Result<Vec<Draft>, ScriptError> {
    let full = Draft::new(
        "refund",
        "refund in full",
        "the payment is refunded: the mug is back on the shelf",
    )?;
    let (paid, back) = (full.paid(), full.refunded("-9.90"));
    let full = full
        .sends(&paid)
        .step(Step::UntilStatus("completed"))
        .sends(&back)
        .ends("refunded")
        .mails(2);

    let part = Draft::new(
        "part",
        "refund in part",
        "three euros are refunded: the mug stays with the buyer",
    )?;
    let (paid, back) = (part.paid(), part.refunded("-3.00"));
    let part = part
        .sends(&paid)
        .step(Step::UntilStatus("completed"))
        .sends(&back)
        .ends("partially_refunded")
        .sells(1)
        .mails(2);

    let early = Draft::new(
        "early",
        "refund before payment",
        "the refund arrives first: in the end nothing is sold",
    )?;
    let (paid, back) = (early.paid(), early.refunded("-9.90"));
    let early = early
        .sends(&back)
        .step(Step::UntilIdle)
        .sends(&paid)
        .ends("refunded")
        .mails(2);

    Ok(vec![full, part, early])
}

/// A gateway that cannot be asked.
fn outages() -> Result<Vec<Draft>, ScriptError> {
    let outage = |slug, name, story, mode| -> Result<Draft, ScriptError> {
        let draft = Draft::new(slug, name, story)?;
        let paid = draft.paid();
        Ok(draft
            .step(Step::Fault(Fault::lasting(mode)))
            .sends(&paid)
            .step(Step::UntilAsked(2))
            .step(Step::Fault(Fault::default()))
            .ends("completed")
            .sells(1)
            .mails(1))
    };
    Ok(vec![
        outage(
            "outage",
            "gateway outage",
            "the gateway cannot be reached for a while; the message waits",
            Mode::Refuse,
        )?,
        outage(
            "html",
            "gateway answers HTML",
            "the gateway answers with an error page; that is neither yes nor no",
            Mode::Html,
        )?,
    ])
}

/// Requests that are no notifications.
fn oddities() -> Result<Vec<Draft>, ScriptError> {
    let odd = Draft::new(
        "odd",
        "no notification at all",
        "an empty form, one too large, JSON, and a GET are turned away",
    )?;
    Ok(vec![
        odd.answers(Odd::Empty, 400)
            .answers(Odd::Oversized, 413)
            .answers(Odd::NotAForm, 415)
            .answers(Odd::Get, 405),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_day_has_at_least_sixteen_scenarios() {
        assert!(scenarios().unwrap().len() >= 16);
    }

    #[test]
    fn no_two_scenarios_share_a_payment_a_product_a_buyer_or_a_marker() {
        let day = scenarios().unwrap();
        let unique = |all: Vec<String>| {
            let count = all.len();
            assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), count);
        };
        unique(day.iter().map(|s| s.txn.clone()).collect());
        unique(day.iter().map(Scenario::buyer).collect());
        let skus = day.iter().flat_map(|s| &s.products);
        unique(skus.map(|p| p.sku.to_string()).collect());
        for (one, other) in day.iter().flat_map(|a| day.iter().map(move |b| (a, b))) {
            let contained = other.marker().contains(&one.marker());
            assert_eq!(
                contained,
                one.slug == other.slug,
                "{} {}",
                one.slug,
                other.slug
            );
        }
    }

    #[test]
    fn every_message_names_its_buyer_and_a_transaction_id_that_paypal_could_give() {
        for scenario in scenarios().unwrap() {
            assert!(scenario.txn.len() <= 19, "{}", scenario.txn);
            for step in &scenario.steps {
                if let Step::Send(body) | Step::SendAtOnce(body, _) | Step::Forge(body) = step {
                    let text = std::str::from_utf8(body).unwrap();
                    assert!(text.contains(&format!("payer_email={}%40", scenario.slug)));
                    assert!(text.contains(&format!("custom={}", scenario.marker())));
                }
            }
        }
    }

    #[test]
    fn a_scenario_answers_every_request_and_touches_its_own_products_only() {
        for scenario in scenarios().unwrap() {
            let requests: usize = scenario
                .steps
                .iter()
                .map(|step| match step {
                    Step::Send(_) | Step::Forge(_) | Step::Request(_) => 1,
                    Step::SendAtOnce(_, copies) => *copies,
                    Step::Fault(_)
                    | Step::UntilAsked(_)
                    | Step::UntilStatus(_)
                    | Step::UntilIdle => 0,
                })
                .sum();
            assert_eq!(scenario.expected.http.len(), requests, "{}", scenario.name);
            for sku in scenario.expected.stock.keys() {
                assert!(scenario.products.iter().any(|p| p.sku.as_str() == sku));
            }
        }
    }
}
