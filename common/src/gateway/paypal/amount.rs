//! Amounts: `mc_gross` and `mc_currency`, exact or not at all.
//!
//! `payment_gross` and `payment_fee` are the deprecated US-dollar spellings, blank for any other
//! currency (IPN and PDT variables, developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables); they
//! count only where the `mc_` field is not there at all.

use super::super::ReadError;
use super::fields::Fields;
use crate::money::{Currency, Money, MoneyError};

/// `mc_currency`; `None` when missing or blank.
pub(super) fn currency(fields: &Fields) -> Result<Option<Currency>, ReadError> {
    currency_named(fields, "mc_currency")
}

/// The currency in the field `name`; `None` when missing or blank.
pub(super) fn currency_named(fields: &Fields, name: &str) -> Result<Option<Currency>, ReadError> {
    fields
        .text(name)
        .map(|text| text.parse().map_err(|error| unreadable(name, error)))
        .transpose()
}

/// The amount in the field `name`; `None` when it, or the currency, is missing or blank.
pub(super) fn money_named(
    fields: &Fields,
    name: &str,
    currency: Option<Currency>,
) -> Result<Option<Money>, ReadError> {
    fields
        .text(name)
        .zip(currency)
        .map(|(text, currency)| {
            Money::parse(text, currency).map_err(|error| unreadable(name, error))
        })
        .transpose()
}

/// The amount in `name`, or in `dollars` when there is no field `name` and the currency is USD.
pub(super) fn money_or_dollars(
    fields: &Fields,
    name: &str,
    dollars: &str,
    currency: Option<Currency>,
) -> Result<Option<Money>, ReadError> {
    let is_usd = currency.is_some_and(|currency| currency.as_str() == "USD");
    if fields.get(name).is_none() && is_usd {
        money_named(fields, dollars, currency)
    } else {
        money_named(fields, name, currency)
    }
}

/// The payment's full amount, before the fee; negative for refunds and reversals.
pub(super) fn gross(fields: &Fields) -> Result<Option<Money>, ReadError> {
    money_or_dollars(fields, "mc_gross", "payment_gross", currency(fields)?)
}

/// `PayPal`'s fee. Nothing is decided by it, so one that cannot be read is left out.
pub(super) fn fee(fields: &Fields) -> Option<Money> {
    let currency = currency(fields).ok()?;
    money_or_dollars(fields, "mc_fee", "payment_fee", currency).ok()?
}

/// What is added to the price of the items; each in its total's two spellings, of which a cart
/// writes the first. The sums of the lines (`mc_shipping1`) are parts of these and not added again.
const ADDED: [&[&str]; 4] = [
    &["mc_shipping", "shipping"],
    &["mc_handling", "handling_amount"],
    &["tax"],
    &["insurance_amount"],
];

/// Shipping, handling, tax and insurance together. They only ever raise what is expected, so one
/// that is negative or cannot be read is left out: the payment then seems too high, never right.
pub(super) fn added(fields: &Fields) -> Option<Money> {
    let currency = currency(fields).ok()??;
    ADDED
        .iter()
        .filter_map(|spellings| {
            let name = spellings.iter().find(|name| fields.text(name).is_some())?;
            money_named(fields, name, Some(currency)).ok()?
        })
        .filter(|money| money.minor() > 0)
        .try_fold(None, |sum: Option<Money>, money| match sum {
            None => Some(Some(money)),
            Some(sum) => sum.checked_add(money).map(Some),
        })?
}

/// Says which field and why, never the value.
fn unreadable(name: &str, error: MoneyError) -> ReadError {
    ReadError::Field {
        field: name.to_owned(),
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> Result<Option<String>, String> {
        gross(&Fields::parse(body.as_bytes()))
            .map(|money| money.map(|money| money.to_string()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_dollar_spelling_counts_only_without_the_other_and_only_in_dollars() {
        for (body, expected) in [
            ("mc_gross=19.95&mc_currency=USD", Some("19.95 USD")),
            ("mc_gross=-5&mc_currency=eur", Some("-5.00 EUR")),
            ("payment_gross=3,99&mc_currency=USD", Some("3.99 USD")),
            (
                "mc_gross=7.00&payment_gross=3.99&mc_currency=USD",
                Some("7.00 USD"),
            ),
            ("mc_gross=&payment_gross=3.99&mc_currency=USD", None),
            ("payment_gross=3.99&mc_currency=EUR", None),
            ("payment_gross=3.99", None),
            ("mc_gross=3.99", None),
            ("mc_currency=USD", None),
        ] {
            assert_eq!(shown(body), Ok(expected.map(str::to_owned)), "{body}");
        }
    }

    #[test]
    fn an_amount_that_cannot_be_read_is_an_error_that_does_not_show_it() {
        for body in [
            "mc_gross=1,234.50&mc_currency=USD",
            "mc_gross=1e3&mc_currency=USD",
            "mc_gross=500.50&mc_currency=JPY",
            "mc_gross=%2B5&mc_currency=USD",
        ] {
            let error = shown(body).unwrap_err();
            assert!(error.contains("`mc_gross`"), "{error}");
            assert!(!error.contains("500.50") && !error.contains("1e3"));
        }
        assert!(
            shown("mc_gross=1&mc_currency=US$")
                .unwrap_err()
                .contains("`mc_currency`")
        );
    }

    #[test]
    fn shipping_handling_and_tax_are_added_once_and_discounts_never() {
        let minor = |body: &str| {
            let fields = Fields::parse(format!("mc_currency=EUR&{body}").as_bytes());
            added(&fields).map(Money::minor)
        };
        assert_eq!(minor("mc_shipping=4.90&shipping=4.90&tax=1.00"), Some(590));
        assert_eq!(minor("mc_handling=1.00&mc_shipping1=4.90"), Some(100));
        assert_eq!(minor("shipping=2.00&discount=9.00&tax=-3.00"), Some(200));
        assert_eq!(minor("mc_shipping=0.00&tax=abc"), None);
    }

    #[test]
    fn a_fee_that_cannot_be_read_blocks_nothing() {
        let fields = Fields::parse(b"mc_fee=x&mc_currency=USD");
        assert_eq!(fee(&fields), None);
        let fields = Fields::parse(b"payment_fee=0.30&mc_currency=USD");
        assert_eq!(fee(&fields).map(Money::minor), Some(30));
    }
}
