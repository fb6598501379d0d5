//! Events applied to a real database.

mod arrival;
mod auctions;
mod beside;
mod cancel;
mod captures;
mod once;
mod orders;
mod published;
mod resolve;
mod series;
mod stock;
mod told;

use std::collections::BTreeSet;
use std::time::Duration;

use quittance_common::event::EventType;
use quittance_common::shop::{OutgoingTo, PaymentFilter, PaymentRow};
use quittance_common::status::PendingReason;

use super::*;
use crate::announcement::Announcement;
use crate::testing::{
    at, capture, dispute, eur, event, lifecycle, line, mugs, payout, refund, shop,
};

async fn only_payment(shop: &Shop) -> PaymentRow {
    let mut rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    rows.retain(|row| row.kind == "payment");
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn authorized(txn: &str) -> PaymentEvent {
    let mut authorized = event(EventType::Pending, txn, txn);
    authorized.data.pending_reason = Some(PendingReason::Authorization);
    authorized
}

/// What waits in the outbox for `ipn.notify`, in the order in which it was queued.
async fn announced(shop: &Shop, now: Timestamp) -> Vec<Announcement> {
    let rows = shop
        .lease_outbox(now, Duration::from_secs(1), 100)
        .await
        .unwrap();
    rows.iter()
        .filter(|row| row.to == OutgoingTo::Notify)
        .map(|row| serde_json::from_str(&row.payload).unwrap())
        .collect()
}
