//! What was bought. Pure.
//!
//! The cart stands in the buyer's browser. Where the order names its items, these are what was
//! bought, and the cart may only agree; where it names none, the cart may not be worth more than
//! the order.

use std::cmp::Ordering;

use quittance_common::event::Line;
use quittance_common::ids::Reason;
use quittance_common::money::Money;
use quittance_common::order::{self, Quantities};
use quittance_common::refusal::RefusalCode;

use super::price::Expectation;
use super::{Prices, Refusal, catalogue};

/// Are these the items that should have been paid for? The flag, if any.
pub(super) fn check(
    expected: &Expectation,
    lines: &[Line],
    prices: &Prices,
) -> Result<Option<Reason>, Refusal> {
    let Some(total) = expected.total.filter(|_| expected.order.is_some()) else {
        // The catalogue's price is that of these very items.
        return Ok(None);
    };
    if expected.lines.is_empty() {
        return worth(total, lines, prices);
    }
    if names_no_items(lines, &expected.lines, prices) {
        return Ok(Some(Reason::of("items_not_told")));
    }
    if order::quantities(lines).as_ref() == Some(&expected.lines) {
        return Ok(None);
    }
    Err(mismatch(&expected.lines, lines))
}

/// The refusal of `lines` that are not what was `ordered`.
pub(super) fn mismatch(ordered: &Quantities, lines: &[Line]) -> Refusal {
    let found = order::quantities(lines);
    let found = found.map_or_else(|| "items without a sku".to_owned(), |found| listed(&found));
    let ordered = listed(ordered);
    Refusal::new(
        RefusalCode::ItemsMismatch,
        format!("ordered was {ordered}, paid was for {found}"),
    )
    .compared(&ordered, &found)
}

/// What was bought, where that is the order's word and not the message's.
pub(super) fn bought(expected: &Expectation, lines: &[Line]) -> Option<Vec<Line>> {
    if expected.lines.is_empty() || order::quantities(lines).as_ref() == Some(&expected.lines) {
        return None;
    }
    let lines = expected.lines.iter().map(|(sku, quantity)| Line {
        sku: Some(sku.clone()),
        name: String::new(),
        quantity: u32::try_from(*quantity).unwrap_or(u32::MAX),
        gross: None,
        options: Vec::new(),
    });
    Some(lines.collect())
}

/// Whether the message names the order ("Order 1001") and not what is in it: nothing at all,
/// nothing with a number, or one thing that neither the order nor the catalogue knows.
fn names_no_items(lines: &[Line], ordered: &Quantities, prices: &Prices) -> bool {
    if lines.iter().all(|line| line.sku.is_none()) {
        return true;
    }
    let [only] = lines else {
        return false;
    };
    let is_known = |sku| ordered.contains_key(sku) || prices.contains_key(sku);
    only.quantity == 1 && !only.sku.as_ref().is_some_and(is_known)
}

/// An order that names no items bought for `total` what is worth no more. The flag, if any.
fn worth(total: Money, lines: &[Line], prices: &Prices) -> Result<Option<Reason>, Refusal> {
    let asked = catalogue::asked(lines, prices)?;
    let not_checked = || Ok(Some(Reason::of("items_not_checked")));
    let Some(price) = asked.total else {
        let names_items = lines.iter().any(|line| line.sku.is_some());
        return if names_items { not_checked() } else { Ok(None) };
    };
    if price.currency() != total.currency() {
        return not_checked();
    }
    match price.minor().cmp(&total.minor()) {
        Ordering::Greater => Err(Refusal::new(
            RefusalCode::ItemsMismatch,
            format!(
                "the order names no items and asks {total}; those paid for cost {price} in the catalogue"
            ),
        )
        .compared(&format!("items worth {total}"), &format!("items worth {price}"))),
        Ordering::Less | Ordering::Equal if asked.complete => Ok(None),
        Ordering::Less | Ordering::Equal => not_checked(),
    }
}

fn listed(quantities: &Quantities) -> String {
    let items: Vec<String> = quantities
        .iter()
        .map(|(sku, quantity)| format!("{quantity} x {sku}"))
        .collect();
    items.join(", ")
}
