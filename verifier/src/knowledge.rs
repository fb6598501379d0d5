//! What the shop database knows about what a notification names. Only asks.

use quittance_common::notification::Notification;
use quittance_common::settings::Account;
use quittance_common::shop::{Shop, ShopError};

use crate::checks::{self, Known};

/// Everything that [`checks::check`] holds `notification` against.
pub async fn known(
    shop: &Shop,
    notification: &Notification,
    account: &Account,
) -> Result<Known, ShopError> {
    let renewed = checks::renewed(notification);
    Ok(Known {
        prices: shop.prices(&checks::skus(notification)).await?,
        orders: shop.orders(&checks::order_refs(notification)).await?,
        subscriptions: shop
            .subscriptions_in_force(account.gateway, account.environment, &renewed)
            .await?,
    })
}
