//! Money at risk: paid, genuine, and without an effect. Pure; [`watch`] asks the books.

pub mod watch;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::ids::EventKey;
use quittance_common::money::{Currency, Money};
use quittance_common::rules::{Facts, Rules, Ruling};

/// How long a payment may take from the verifier to the books: the objective. What is on its way
/// for less is not at risk.
pub const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);

/// The most payments that are kept in mind: some ten megabytes.
const MOST: usize = 100_000;

/// The most currencies with a label of their own; the others share `other`.
const MOST_CURRENCIES: usize = 19;

/// Sums in minor units. Exact; a sum that 64 bits do not hold stays at their end.
pub type Sums = BTreeMap<Currency, i64>;

/// A payment that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// The event that tells it.
    pub key: EventKey,
    /// How much.
    pub gross: Money,
}

impl Paid {
    /// The payment that an event tells, if it is one that must come into the books: rules may say
    /// that an event is to be ignored.
    pub fn of(event: &PaymentEvent, rules: &Rules) -> Option<Self> {
        let ignored = rules.decide(&Facts::of(event)).ruling == Ruling::Ignore;
        let paid = event.event_type == EventType::Completed && !ignored;
        let gross = event.data.gross.filter(|_| paid)?;
        Some(Self {
            key: event.key.clone(),
            gross,
        })
    }
}

/// What this process has handed on and the books do not have yet.
#[derive(Debug, Default)]
pub struct Ledger {
    open: BTreeMap<EventKey, (Money, Timestamp)>,
}

impl Ledger {
    /// A payment went on its way at `at`. One that is known keeps its first moment. False when
    /// there are too many to keep it in mind.
    pub fn forwarded(&mut self, paid: Paid, at: Timestamp) -> bool {
        if self.open.len() >= MOST && !self.open.contains_key(&paid.key) {
            return false;
        }
        self.open.entry(paid.key).or_insert((paid.gross, at));
        true
    }

    /// What the books should be asked for.
    pub fn open(&self) -> Vec<EventKey> {
        self.open.keys().cloned().collect()
    }

    /// The books have these.
    pub fn applied(&mut self, keys: &BTreeSet<EventKey>) {
        self.open.retain(|key, _| !keys.contains(key));
    }

    /// What should be in the books by `now` and is not.
    pub fn overdue(&self, now: Timestamp) -> Sums {
        let late = |at: Timestamp| now.duration_since(at) >= ON_ITS_WAY;
        sums(
            self.open
                .values()
                .filter(|(_, at)| late(*at))
                .map(|(gross, _)| *gross),
        )
    }
}

/// Adds up by currency.
pub fn sums(amounts: impl IntoIterator<Item = Money>) -> Sums {
    let mut sums = Sums::new();
    for amount in amounts {
        let sum = sums.entry(amount.currency()).or_default();
        *sum = sum.saturating_add(amount.minor());
    }
    sums
}

/// Which currencies have a label: the first that were seen, so that whoever sends strange ones
/// cannot make ever more series.
#[derive(Debug, Default)]
pub struct Labels(BTreeSet<Currency>);

impl Labels {
    /// For the rest. Amounts of several currencies add up to no money, only to a sign.
    pub const OTHER: &'static str = "other";

    /// The value of each label, in whole units of the currency (euros, not cents); 0 for what was
    /// seen before and is gone.
    pub fn values(&mut self, sums: &Sums) -> BTreeMap<String, f64> {
        for currency in sums.keys() {
            if self.0.len() < MOST_CURRENCIES {
                self.0.insert(*currency);
            }
        }
        let known = self.0.iter().map(|currency| (currency.to_string(), 0));
        let mut hundredths: BTreeMap<String, i64> = known.collect();
        hundredths.insert(Self::OTHER.to_owned(), 0);
        for (currency, minor) in sums {
            let own = self.0.contains(currency).then_some(currency.as_str());
            let sum = hundredths.entry(own.unwrap_or(Self::OTHER).to_owned());
            let scale = if currency.exponent() == 0 { 100 } else { 1 };
            let sum = sum.or_default();
            *sum = sum.saturating_add(minor.saturating_mul(scale));
        }
        let units = |(label, sum): (String, i64)| (label, units(sum));
        hundredths.into_iter().map(units).collect()
    }
}

/// Hundredths as a number for display; never counted with.
fn units(hundredths: i64) -> f64 {
    let sign = if hundredths < 0 { "-" } else { "" };
    let (whole, rest) = (
        hundredths.unsigned_abs() / 100,
        hundredths.unsigned_abs() % 100,
    );
    format!("{sign}{whole}.{rest:02}")
        .parse()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn money(text: &str, currency: &str) -> Money {
        Money::parse(text, currency.parse().unwrap()).unwrap()
    }

    fn paid(key: &str, text: &str, currency: &str) -> Paid {
        Paid {
            key: key.parse().unwrap(),
            gross: money(text, currency),
        }
    }

    #[test]
    fn a_payment_is_at_risk_from_a_minute_after_it_went_on_until_the_books_have_it() {
        let mut ledger = Ledger::default();
        assert!(ledger.forwarded(paid("a", "19.95", "EUR"), at(0)));
        // Delivered again: it is not twice as much, and its minute does not begin anew.
        assert!(ledger.forwarded(paid("a", "19.95", "EUR"), at(50)));
        assert!(ledger.forwarded(paid("b", "500", "JPY"), at(30)));
        assert_eq!(ledger.overdue(at(59)), Sums::new());
        assert_eq!(ledger.overdue(at(60)), sums([money("19.95", "EUR")]));
        assert_eq!(
            ledger.overdue(at(90)),
            sums([money("19.95", "EUR"), money("500", "JPY")])
        );
        ledger.applied(&ledger.open().into_iter().take(1).collect());
        assert_eq!(ledger.overdue(at(90)), sums([money("500", "JPY")]));
    }

    #[test]
    fn amounts_are_shown_in_whole_units_and_fall_back_to_zero() {
        let mut labels = Labels::default();
        let values = labels.values(&sums([
            money("19.95", "EUR"),
            money("0.05", "EUR"),
            money("500", "JPY"),
        ]));
        assert_eq!(values["EUR"].to_string(), "20");
        assert_eq!(values["JPY"].to_string(), "500");
        let values = labels.values(&Sums::new());
        assert_eq!(values["EUR"].to_string(), "0");
    }

    #[test]
    fn there_are_never_more_than_twenty_labels() {
        let mut labels = Labels::default();
        let many = (b'A'..=b'Z').map(|letter| {
            let currency = format!("X{}X", char::from(letter));
            money("1.00", &currency)
        });
        let values = labels.values(&sums(many));
        assert_eq!(values.len(), 20);
        assert_eq!(values[Labels::OTHER].to_string(), "7");
    }
}
