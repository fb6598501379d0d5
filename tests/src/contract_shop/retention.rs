//! Personal data that grows too old goes; exactly-once stays.

use std::time::Duration;

use bytes::Bytes;
use quittance_common::clock;
use quittance_common::disposition::Lot;
use quittance_common::event::EventType;
use quittance_common::ids::{GatewayId, MessageId, Reason};
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::shop::{NewDecision, NewParked, Shop};
use quittance_common::stage::StageName;
use quittance_fulfiller::fulfil::Applied;

use super::{apply_at_last, completed, event, import, payment, stock};

/// Old events lose who paid and what he wrote; a copy of one is still known, a late refund still
/// finds its payment, and younger ones are left alone.
pub(super) async fn old_personal_data_goes_and_effects_stay_single(shop: &Shop) {
    import(shop, &["aged"], 10).await;
    let year = Duration::from_hours(24 * 365);
    let now = clock::now();
    let mut old = completed("AGED-1", &["aged"], 2);
    old.received_at = now - year;
    old.data.payer.name = Some("Old Buyer".into());
    old.data.order.custom = Some("ring twice".into());
    old.data.order.invoice = Some("AGED-ORDER".into());
    let young = completed("AGED-2", &["aged"], 1);
    for event in [&old, &young] {
        assert!(matches!(apply_at_last(shop, event).await, Applied::New(_)));
    }
    let before = now - Duration::from_hours(24 * 300);
    let sweeps = [
        shop.remove_personal_data(before, now),
        shop.remove_personal_data(before, now),
    ];
    let removed = futures_util::future::join_all(sweeps).await;
    let events: u64 = removed.iter().map(|one| one.as_ref().unwrap().events).sum();
    assert_eq!(events, 1, "once, however many sweep");

    assert_eq!(apply_at_last(shop, &old).await, Applied::Duplicate);
    assert_eq!(stock(shop, "aged").await.on_hand, 7);
    let of = async |txn: &str| shop.payment_story(txn).await.unwrap().remove(0);
    let aged = of("AGED-1").await;
    assert!(!aged.details_removed_at.is_empty());
    assert_eq!(
        (aged.payment.status.as_str(), aged.payment.amount.as_str()),
        ("completed", "20.00")
    );
    assert!(of("AGED-2").await.details_removed_at.is_empty());

    // A second payment with its invoice, and a refund of it, are what they would have been.
    let mut second = completed("AGED-3", &["aged"], 1);
    second.data.order.invoice = Some("AGED-ORDER".into());
    apply_at_last(shop, &second).await;
    assert_eq!(
        payment(shop, "AGED-3").await.flags,
        ["invoice_already_paid"]
    );
    let refund = event(EventType::Refunded, "AGED-1", "AGED-1R", -2000);
    apply_at_last(shop, &refund).await;
    assert_eq!(payment(shop, "AGED-1").await.status, "refunded");
    assert_eq!(stock(shop, "aged").await.on_hand, 8);
}

/// A parked message loses its bytes and headers, and keeps what was decided.
pub(super) async fn an_old_parked_message_loses_its_bytes_and_keeps_its_reason(shop: &Shop) {
    let now = clock::now();
    let message = Message {
        id: MessageId::from_name("contract: parked for a year"),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".into(),
        timestamp: now,
        headers: Headers {
            gateway: Some(GatewayId::PayPal),
            account: "default".parse().ok(),
            remote_addr: "192.0.2.7".parse().ok(),
            ..Headers::default()
        },
        body: Bytes::from_static(b"txn_id=AGED-P&first_name=Jo"),
    };
    let decision = NewDecision {
        message_id: message.id,
        at: now - Duration::from_hours(24 * 400),
        stage: StageName::Verifier,
        about: vec![("AGED-P".into(), "AGED-P".into())],
        outcome: "refused",
        reason: Some(Reason::of("amount_mismatch")),
        detail: "asked 20.00 EUR, paid was 0.05 EUR".into(),
        source: None,
        attempt: 0,
        replay_id: None,
        gateway: message.headers.gateway,
        account: message.headers.account.clone(),
        meaning: None,
        parked: Some(NewParked {
            message,
            lot: Lot::Quarantine,
            expected: Some("20.00 EUR".into()),
            found: Some("0.05 EUR".into()),
        }),
        paid: Vec::new(),
    };
    shop.record_decision(&decision).await.unwrap();
    let before = now - Duration::from_hours(24 * 365);
    let removed = shop.remove_personal_data(before, now).await.unwrap();
    assert_eq!(removed.messages, 1);
    let row = shop.parked_about("AGED-P").await.unwrap().remove(0);
    assert_eq!(
        (row.reason.as_str(), row.found.as_str()),
        ("amount_mismatch", "0.05 EUR")
    );
    assert!(!row.details_removed_at.is_empty() && !row.can_be_released());
}
