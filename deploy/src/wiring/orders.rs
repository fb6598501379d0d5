//! Orders and quarantined payments, as far as the command needs them.

use quittance_common::clock;
use quittance_common::ids::{OrderId, TxnId};
use quittance_common::order::Order;
use quittance_common::order::link::Link;
use quittance_common::order::register::register;
use quittance_common::settings::{Account, Settings};
use quittance_common::shop::{
    Dismissed, NewCancellation, NewDismissal, NewRelease, OrderRow, ParkedRow, ReleaseOutcome,
};
use quittance_fulfiller::fulfil::{Cancellation, cancel_order};
use quittance_fulfiller::terms::Terms;

use super::Books;

impl Books {
    /// Registers orders; all or none.
    ///
    /// # Errors
    /// Also when one is registered with other terms.
    pub async fn add_orders(&self, orders: &[Order]) -> anyhow::Result<()> {
        Ok(self.shop.add_orders(orders, clock::now()).await?)
    }

    /// Registers an order and gives the link by which it is paid to `account`.
    ///
    /// # Errors
    /// Also when it is registered with other terms, or there is no link to be had.
    pub async fn add_linked_order(
        &self,
        settings: &Settings,
        order: &Order,
        account: &Account,
    ) -> anyhow::Result<Link> {
        Ok(register(&self.shop, settings, order, account, clock::now()).await?)
    }

    /// Every registered order, by id.
    pub async fn order_list(&self) -> anyhow::Result<Vec<OrderRow>> {
        Ok(self.shop.order_list().await?)
    }

    /// Cancels an order, and takes back what its payments in progress hold.
    ///
    /// # Errors
    /// Also when no such order is registered.
    pub async fn cancel_order(
        &self,
        settings: &Settings,
        id: &OrderId,
        by: String,
        because: String,
    ) -> anyhow::Result<Cancellation> {
        let at = clock::now();
        let word = NewCancellation { by, because, at };
        Ok(cancel_order(&Terms::of(settings), &self.shop, id, &word).await?)
    }

    /// Everything that was parked, with what has become of it, newest first.
    pub async fn ever_parked(&self) -> anyhow::Result<Vec<ParkedRow>> {
        Ok(self.shop.ever_parked().await?)
    }

    /// Dismisses what waits of `txn`; what that was.
    pub async fn dismiss(
        &self,
        txn: &TxnId,
        by: String,
        because: String,
    ) -> anyhow::Result<Dismissed> {
        let at = clock::now();
        let word = NewDismissal { by, because, at };
        Ok(self.shop.dismiss(txn.as_str(), &word).await?)
    }

    /// Releases what waits and names `txn`; empty when nothing does.
    pub async fn release(
        &self,
        txn: &TxnId,
        by: String,
        because: String,
    ) -> anyhow::Result<Vec<ReleaseOutcome>> {
        let at = clock::now();
        let release = NewRelease { by, because, at };
        Ok(self.shop.release(txn.as_str(), &release).await?)
    }
}
