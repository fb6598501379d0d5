//! An order as the shop has it: what it costs and what is in it. Either registered in the shop
//! database, or carried by the payment itself in a signed `custom` ([`signature`]). [`link`] makes it
//! something that a buyer can click, [`register`] does both at once; [`wanted`] is what it is made of.

pub mod link;
pub mod register;
pub mod signature;
pub mod wanted;

use std::collections::BTreeMap;

use crate::event::Line;
use crate::ids::{OrderId, Sku};
use crate::money::{Currency, Money, MoneyError};

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

/// Why terms are no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// The total cannot be read as an amount of that currency.
    #[error("`{total}` is no amount of {currency}: {problem}")]
    Total {
        /// As it was given.
        total: String,
        /// The currency of the order.
        currency: Currency,
        /// Why.
        problem: MoneyError,
    },
    /// An order of nothing.
    #[error("the total `{0}` must be more than zero")]
    NotPositive(String),
    /// None of an item.
    #[error("the quantity of `{0}` must be more than zero")]
    NoQuantity(Sku),
}

impl Order {
    /// Puts an order together from a shop's words. An item that is named twice is ordered twice.
    ///
    /// # Errors
    /// What is wrong with the total or with a quantity.
    pub fn of_terms(
        id: OrderId,
        total: &str,
        currency: Currency,
        lines: impl IntoIterator<Item = (Sku, u64)>,
    ) -> Result<Self, TermsError> {
        let parsed = Money::parse(total, currency).map_err(|problem| TermsError::Total {
            total: total.to_owned(),
            currency,
            problem,
        })?;
        if parsed.minor() <= 0 {
            return Err(TermsError::NotPositive(total.to_owned()));
        }
        let mut quantities = Quantities::new();
        for (sku, quantity) in lines {
            if quantity == 0 {
                return Err(TermsError::NoQuantity(sku));
            }
            let count = quantities.entry(sku).or_default();
            *count = count.saturating_add(quantity);
        }
        Ok(Self {
            id,
            total: parsed,
            lines: quantities,
        })
    }
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
