//! One item of an auction of several: the message tells one item, and the amount of them all. Pure.
//!
//! What the whole of it costs is known when every item has been told: the books add that up.

use quittance_common::event::Line;
use quittance_common::ids::Reason;

use super::price::Expectation;
use super::{Prices, Refusal, items};

/// Whether a flag of the amount says anything. The catalogue's price is that of one item: that more
/// was paid does not.
pub(super) fn is_worth_a_flag(flag: &Reason, expected: &Expectation) -> bool {
    expected.order.is_some() || flag.as_str() != "overpaid"
}

/// Is the item one of those that should have been paid for? The flag, if any.
pub(super) fn check(
    expected: &Expectation,
    lines: &[Line],
    prices: &Prices,
) -> Result<Option<Reason>, Refusal> {
    if expected.order.is_none() || expected.lines.is_empty() {
        let flag = items::check(expected, lines, prices)?;
        // What the other items are worth nobody can say.
        let not_checked = expected.order.is_some();
        return Ok(flag.or_else(|| not_checked.then(|| Reason::of("items_not_checked"))));
    }
    let is_ordered = lines.iter().all(|line| {
        let ordered = line.sku.as_ref().and_then(|sku| expected.lines.get(sku));
        ordered.is_some_and(|ordered| u64::from(line.quantity) <= *ordered)
    });
    if is_ordered {
        return Ok(None);
    }
    Err(items::mismatch(&expected.lines, lines))
}
