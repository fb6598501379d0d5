//! What the books tell of authorisations.

use std::collections::BTreeSet;

use quittance_common::event::{Environment, EventType, PaymentEvent};
use quittance_common::ids::{GatewayId, TxnId};
use quittance_common::money::Money;
use quittance_common::shop::{Authorization, Shop};
use quittance_common::status::PendingReason;

use super::{apply_at_last, completed, import};

fn authorized(txn: &str, minor: i64, of: Option<&str>) -> PaymentEvent {
    let mut authorized = completed(txn, &["authorised"], 2);
    authorized.event_type = EventType::Pending;
    authorized.key = format!("pp:sandbox:{txn}:payment.pending").parse().unwrap();
    authorized.data.pending_reason = Some(PendingReason::Authorization);
    authorized.data.parent_txn_id = of.map(|of| of.parse().unwrap());
    authorized.data.gross = Some(eur(minor));
    authorized.data.asked = Some(eur(2000));
    authorized.data.order.bound = "order-authorised".parse().ok();
    authorized
}

fn eur(minor: i64) -> Money {
    Money::from_minor(minor, "EUR".parse().unwrap())
}

/// What a capture that names `parent` is held against.
async fn known(shop: &Shop, parent: &str, environment: Environment) -> Option<Authorization> {
    let parent: TxnId = parent.parse().unwrap();
    let parents = BTreeSet::from([&parent]);
    let mut found = shop
        .authorizations(GatewayId::PayPal, environment, &parents)
        .await
        .unwrap();
    found.remove(&parent)
}

/// The authorisation is found by the capture's parent; of one in parts it is the order above it, in
/// its own environment, whatever row its events stand in.
pub(super) async fn a_capture_finds_what_was_authorised(shop: &Shop) {
    const HERE: Environment = Environment::Sandbox;
    import(shop, &["authorised"], 100).await;
    assert_eq!(known(shop, "CAPTAUTH", HERE).await, None);
    apply_at_last(shop, &authorized("CAPTAUTH", 2000, None)).await;
    let found = known(shop, "CAPTAUTH", HERE).await.unwrap();
    assert_eq!(
        (found.gross, found.asked),
        (Some(eur(2000)), Some(eur(2000)))
    );
    assert_eq!(found.order, "order-authorised".parse().ok());
    assert_eq!(found.lines.len(), 1);
    assert_eq!(known(shop, "CAPTAUTH", Environment::Live).await, None);

    // Money that has come authorises nothing.
    apply_at_last(shop, &completed("CAPTPAID", &["authorised"], 1)).await;
    assert_eq!(known(shop, "CAPTPAID", HERE).await, None);

    apply_at_last(shop, &authorized("CAPTPART", 500, Some("CAPTORDER"))).await;
    let part = known(shop, "CAPTPART", HERE).await.unwrap();
    assert_eq!(part.gross, Some(eur(500)), "as far as the books know");
    apply_at_last(shop, &authorized("CAPTORDER", 2000, None)).await;
    let whole = known(shop, "CAPTPART", HERE).await.unwrap();
    assert_eq!(whole.gross, Some(eur(2000)));
    let circle = authorized("CAPTTURN", 700, Some("CAPTTURN"));
    apply_at_last(shop, &circle).await;
    assert!(known(shop, "CAPTTURN", HERE).await.is_some(), "and it ends");
}
