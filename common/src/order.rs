//! An order as the shop has it: what it costs and what is in it. Either registered in the shop
//! database, or carried by the payment itself in a signed `custom` ([`signature`]).

pub mod signature;

use std::collections::BTreeMap;

use crate::event::Line;
use crate::ids::{OrderId, Sku};
use crate::money::Money;

/// How many of each item.
pub type Quantities = BTreeMap<Sku, u64>;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The shop's own number.
    pub id: OrderId,
    /// What is to be paid, all in all.
    pub total: Money,
    /// What was ordered; empty when the shop does not say.
    pub lines: Quantities,
}

/// How many of each item `lines` name, whatever their order and however they are split; `None`
/// when a line names no sku, and so could be anything.
pub fn quantities(lines: &[Line]) -> Option<Quantities> {
    let mut all = Quantities::new();
    for line in lines {
        let count = all.entry(line.sku.clone()?).or_default();
        *count = count.saturating_add(u64::from(line.quantity));
    }
    Some(all)
}
