//! Money at risk: paid, genuine, and without an effect. Pure; [`watch`] asks the books.

pub mod watch;

use std::collections::{BTreeMap, BTreeSet};

use quittance_common::money::{Currency, Money};

/// The most currencies with a label of their own; the others share `other`.
const MOST_CURRENCIES: usize = 19;

/// Sums in minor units. Exact; a sum that 64 bits do not hold stays at their end.
pub type Sums = BTreeMap<Currency, i64>;

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

    fn money(text: &str, currency: &str) -> Money {
        Money::parse(text, currency.parse().unwrap()).unwrap()
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
