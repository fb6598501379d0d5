//! Money: whole minor units and a currency. Exact, never a float, never added across currencies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an amount or a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// Not three ASCII letters.
    #[error("a currency is three letters")]
    Currency,
    /// Not `-?digits[.digits]` (a comma in place of the point where it can only be one).
    #[error("an amount is digits with at most one decimal point")]
    Form,
    /// More decimals than the currency has.
    #[error("more decimals than the currency has")]
    Decimals,
    /// Too large for 64 bits of minor units.
    #[error("the amount is too large")]
    Range,
}

/// An ISO 4217 code, upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Decimals of the minor unit at `PayPal`: it knows none for JPY, HUF and TWD (ISO 4217 gives
    /// the last two two decimals), two for all others that it offers.
    pub fn exponent(&self) -> u32 {
        match &self.0 {
            b"JPY" | b"HUF" | b"TWD" => 0,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match text.trim().as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|l| l.is_ascii_alphabetic()) => {
                Ok(Self([*a, *b, *c].map(|l| l.to_ascii_uppercase())))
            }
            _ => Err(MoneyError::Currency),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;

    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// An exact amount. Equality asks for amount and currency together, so 500 JPY never equals
/// 500 USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "MoneyText", into = "MoneyText")]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// The JSON form: `{"value": "19.95", "currency": "USD"}`.
#[derive(Serialize, Deserialize)]
struct MoneyText {
    value: String,
    currency: Currency,
}

impl TryFrom<MoneyText> for Money {
    type Error = MoneyError;

    fn try_from(text: MoneyText) -> Result<Self, MoneyError> {
        Self::parse(&text.value, text.currency)
    }
}

impl From<Money> for MoneyText {
    fn from(money: Money) -> Self {
        Self {
            value: money.value(),
            currency: money.currency,
        }
    }
}

impl Money {
    /// So many minor units (cents) of `currency`.
    pub const fn from_minor(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Minor units (cents).
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Reads `PayPal`'s form of an amount: `-?digits[.digits]`, at most the currency's decimals
    /// (further zeros are no further decimals for a currency without any). A comma stands for the
    /// point where it can be nothing else: once, with one or two digits behind it (`3,99`).
    /// No sign `+`, no exponent, no thousands separator, no spaces inside.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let text = text.trim();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once(['.', ',']) {
            Some((_, "")) => return Err(MoneyError::Form),
            Some((whole, fraction)) => (whole, fraction),
            None => (digits, ""),
        };
        let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
            return Err(MoneyError::Form);
        }
        if digits.contains(',') && fraction.len() > 2 {
            return Err(MoneyError::Form);
        }
        let exponent = currency.exponent();
        let minor = minor_units(whole, fraction, exponent)?;
        let minor = if negative {
            minor.checked_neg().ok_or(MoneyError::Range)?
        } else {
            minor
        };
        Ok(Self { minor, currency })
    }

    /// The amount with a point and the currency's decimals, without the currency: `-19.95`.
    pub fn value(self) -> String {
        let exponent = usize::try_from(self.currency.exponent()).unwrap_or(2);
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = format!(
            "{:0width$}",
            self.minor.unsigned_abs(),
            width = exponent.saturating_add(1)
        );
        let (whole, fraction) = digits
            .split_at_checked(digits.len().saturating_sub(exponent))
            .unwrap_or((&digits, ""));
        if fraction.is_empty() {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{fraction}")
        }
    }

    /// The sum, if both are of one currency and it fits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        (self.currency == other.currency)
            .then(|| self.minor.checked_add(other.minor))
            .flatten()
            .map(|minor| Self {
                minor,
                currency: self.currency,
            })
    }

    /// So many times the amount, if it fits.
    pub fn checked_mul(self, times: i64) -> Option<Self> {
        let minor = self.minor.checked_mul(times)?;
        Some(Self {
            minor,
            currency: self.currency,
        })
    }

    /// The amount without its sign.
    #[must_use]
    pub fn abs(self) -> Self {
        Self {
            minor: self.minor.saturating_abs(),
            currency: self.currency,
        }
    }

    /// Whether less than nothing: a refund or a reversal.
    pub const fn is_negative(self) -> bool {
        self.minor < 0
    }
}

/// Minor units of `whole.fraction`, both digits only.
fn minor_units(whole: &str, fraction: &str, exponent: u32) -> Result<i64, MoneyError> {
    let decimals = usize::try_from(exponent).unwrap_or(2);
    let (kept, beyond) = fraction
        .split_at_checked(decimals)
        .unwrap_or((fraction, ""));
    if !beyond.bytes().all(|b| b == b'0') || (decimals > 0 && !beyond.is_empty()) {
        return Err(MoneyError::Decimals);
    }
    let text = format!("{whole}{kept:0<decimals$}");
    text.parse()
        .map_err(|_: std::num::ParseIntError| MoneyError::Range)
}

impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.value(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(text: &str) -> Result<i64, MoneyError> {
        Money::parse(text, "USD".parse().unwrap()).map(Money::minor)
    }

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        assert_eq!(usd("19.95"), Ok(1995));
        assert_eq!(usd("-0.5"), Ok(-50));
        assert_eq!(usd("10"), Ok(1000));
        assert_eq!(usd("3,99"), Ok(399));
        for bad in [
            "", "-", ".5", "5.", "1e3", "1,234.50", "1,234", "+5", "1 0", "0x1", "１",
        ] {
            assert_eq!(usd(bad), Err(MoneyError::Form), "{bad}");
        }
        assert_eq!(usd("55.199"), Err(MoneyError::Decimals));
        assert_eq!(usd("99999999999999999999"), Err(MoneyError::Range));
    }

    #[test]
    fn a_currency_without_decimals_takes_only_zeros_behind_the_point() {
        for code in ["JPY", "HUF", "TWD"] {
            let currency: Currency = code.to_ascii_lowercase().parse().unwrap();
            assert_eq!(Money::parse("500", currency).unwrap().minor(), 500);
            assert_eq!(Money::parse("500.00", currency).unwrap().minor(), 500);
            let odd = Money::parse("500.50", currency);
            assert_eq!(odd, Err(MoneyError::Decimals), "{code}");
            let shown = Money::from_minor(500, currency).to_string();
            assert_eq!(shown, format!("500 {code}"));
        }
    }

    #[test]
    fn the_same_number_in_another_currency_is_another_amount() {
        let yen = Money::from_minor(500, "JPY".parse().unwrap());
        let dollars = Money::from_minor(500, "USD".parse().unwrap());
        assert_ne!(yen, dollars);
        assert_eq!(yen.checked_add(dollars), None);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_the_identity(minor in any::<i64>(), zero in any::<bool>()) {
            prop_assume!(minor != i64::MIN);
            let currency = if zero { "JPY" } else { "EUR" }.parse().unwrap();
            let money = Money::from_minor(minor, currency);
            prop_assert_eq!(Money::parse(&money.value(), currency), Ok(money));
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            Money::parse(&text, "EUR".parse().unwrap()).ok();
            text.parse::<Currency>().ok();
        }
    }
}
