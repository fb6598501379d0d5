//! What the catalogue asks for a cart. Pure.

use quittance_common::event::Line;
use quittance_common::money::Money;
use quittance_common::refusal::RefusalCode;
use quittance_common::settings::Unmatched;

use super::price::Expectation;
use super::{Prices, Refusal};

/// What the catalogue asks for a cart.
pub(super) struct Asked {
    /// For the lines that it knows; `None` when it knows none.
    pub(super) total: Option<Money>,
    /// Whether it knows them all.
    pub(super) complete: bool,
}

/// Adds the prices up.
pub(super) fn asked(lines: &[Line], prices: &Prices) -> Result<Asked, Refusal> {
    let mut asked = Asked {
        total: None,
        complete: true,
    };
    for line in lines {
        let Some(price) = line.sku.as_ref().and_then(|sku| prices.get(sku)) else {
            asked.complete = false;
            continue;
        };
        let cost = price.checked_mul(i64::from(line.quantity));
        let sum = match asked.total {
            None => cost,
            Some(total) => cost.and_then(|cost| total.checked_add(cost)),
        };
        asked.total = Some(sum.ok_or_else(|| {
            Refusal::new(
                RefusalCode::CurrencyMismatch,
                "the items of the cart have prices that cannot be added",
            )
        })?);
    }
    Ok(asked)
}

/// What to hold a payment against that is for no order. `added` is what the message says was
/// added to the price of its items.
pub(super) fn expectation(
    lines: &[Line],
    added: Option<Money>,
    prices: &Prices,
    unmatched: Unmatched,
) -> Result<Expectation, Refusal> {
    let asked = asked(lines, prices)?;
    let Some(items) = asked.total else {
        return unmatched_item(unmatched)
            .map(|flag| Expectation::of_catalogue(None, Some(flag), None));
    };
    if !asked.complete {
        // An unknown item beside known ones does not make the known ones any cheaper.
        return Ok(Expectation::of_catalogue(
            Some(items),
            None,
            Some(unmatched),
        ));
    }
    // What was added is in the payment's currency; another one than the catalogue's is refused
    // with the amount itself.
    let total = added.and_then(|added| items.checked_add(added));
    Ok(Expectation::of_catalogue(
        Some(total.unwrap_or(items)),
        None,
        None,
    ))
}

/// The flag of a payment that nothing says the price of, where such are accepted.
pub(super) fn unmatched_item(unmatched: Unmatched) -> Result<&'static str, Refusal> {
    match unmatched {
        Unmatched::Accept => Ok("unmatched_item"),
        Unmatched::Quarantine => Err(Refusal::new(
            RefusalCode::UnmatchedItem,
            "no order, and not every item in the catalogue, to hold the amount against",
        )),
    }
}
