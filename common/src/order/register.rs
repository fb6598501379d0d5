//! Registers an order and makes its payment link: what the command and the HTTP interface do alike.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Order;
use super::link::{Link, LinkError};
use super::wanted::{self, Wanted, WantedError};
use crate::ids::{OrderId, Sku};
use crate::settings::{Account, Settings};
use crate::shop::{Shop, ShopError};

/// Why an order was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There is no link to be had for it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The shop has cancelled it.
    #[error("order `{0}` is cancelled: money that comes for it is for a person, so it has no link")]
    Cancelled(OrderId),
    /// A line names no product.
    #[error(transparent)]
    Wanted(#[from] WantedError),
    /// The shop database failed, or has an order of that id with other terms.
    #[error(transparent)]
    Shop(#[from] ShopError),
}

/// The products that `wanted` names in the catalogue of `shop`, and how many of each.
///
/// # Errors
/// [`RegisterError::Wanted`] when one of them names none.
pub async fn products(shop: &Shop, wanted: &[Wanted]) -> Result<Vec<(Sku, u64)>, RegisterError> {
    let variants = shop.variants(wanted.iter().map(|line| &line.item)).await?;
    Ok(wanted::products(wanted, &variants)?)
}

/// Registers `order` and gives the link by which it is paid to `account`. Nothing is registered
/// when there is no link; one that is there with the same terms is left as it is, and gets the
/// same link while prices and settings stay the same.
///
/// # Errors
/// [`ShopError::OrderDiffers`] when one is there with other terms.
pub async fn register(
    shop: &Shop,
    settings: &Settings,
    order: &Order,
    account: &Account,
    now: Timestamp,
) -> Result<Link, RegisterError> {
    let there = shop.orders(&BTreeSet::from([order.id.clone()])).await?;
    if there.get(&order.id).is_some_and(|there| there != order) {
        // Said before anything about prices: it is the first thing to know.
        return Err(ShopError::OrderDiffers(order.id.to_string()).into());
    }
    if shop.is_cancelled(&order.id).await? {
        return Err(RegisterError::Cancelled(order.id.clone()));
    }
    let offers = shop.offers(order.lines.keys()).await?;
    let link = Link::of(order, account, &offers, settings)?;
    shop.add_orders(std::slice::from_ref(order), now).await?;
    Ok(link)
}
