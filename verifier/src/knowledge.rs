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
    let captured = checks::captured(notification);
    let variants = shop.variants(checks::items(notification)).await?;
    Ok(Known {
        prices: shop.prices(&checks::skus(notification, &variants)).await?,
        variants,
        orders: shop.orders(&checks::order_refs(notification)).await?,
        subscriptions: shop
            .subscriptions_in_force(account.gateway, account.environment, &renewed)
            .await?,
        authorizations: shop
            .authorizations(account.gateway, account.environment, &captured)
            .await?,
    })
}
