//! What has a row beside the payments: subscriptions, cases, payouts.

use quittance_common::status::TxnType;

use super::*;

async fn row(shop: &Shop, id: &str) -> PaymentRow {
    let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    rows.into_iter().find(|row| row.txn_id == id).unwrap()
}

fn renewal(txn: &str, subscription: &str) -> PaymentEvent {
    let mut renewal = event(EventType::Completed, txn, txn);
    renewal.data.txn_type = Some(TxnType::SubscrPayment);
    renewal.data.subscription = Some(subscription.into());
    renewal
}

#[tokio::test]
async fn a_renewal_before_its_signup_belongs_to_the_subscription_all_the_same() {
    let mut seen = Vec::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 10).await;
        let all = [
            lifecycle("I-1", &TxnType::SubscrSignup),
            renewal("T1", "I-1"),
            renewal("T2", "I-1"),
        ];
        for index in order {
            apply(&shop, &all[index], at(1)).await.unwrap();
        }
        let mut row = row(&shop, "I-1").await;
        row.updated_at = String::new();
        seen.push((row, mugs(&shop).await));
    }
    assert_eq!(seen[0].0.status, "active");
    assert_eq!(
        (seen[0].0.kind.as_str(), seen[0].0.events),
        ("subscription", 3)
    );
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[tokio::test]
async fn the_late_cancel_of_an_old_profile_does_not_touch_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in [
        lifecycle("I-OLD", &TxnType::SubscrSignup),
        lifecycle("I-NEW", &TxnType::SubscrSignup),
        renewal("T1", "I-NEW"),
        lifecycle("I-OLD", &TxnType::SubscrCancel),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    assert_eq!(row(&shop, "I-OLD").await.status, "canceled");
    assert_eq!(row(&shop, "I-NEW").await.status, "active");
}

#[tokio::test]
async fn a_case_has_a_row_and_a_state_of_its_own_and_moves_no_stock() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    apply(
        &shop,
        &dispute(EventType::DisputeOpened, "T", "PP-1"),
        at(1),
    )
    .await
    .unwrap();
    apply(&shop, &event(EventType::Completed, "T", "T"), at(2))
        .await
        .unwrap();
    assert_eq!(row(&shop, "PP-1").await.status, "open");
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    apply(
        &shop,
        &dispute(EventType::DisputeAdjusted, "T", "PP-1"),
        at(3),
    )
    .await
    .unwrap();
    let case = row(&shop, "PP-1").await;
    assert_eq!(
        (case.kind.as_str(), case.status.as_str(), case.events),
        ("case", "adjusted", 2)
    );
    assert_eq!(row(&shop, "T").await.status, "completed");
}

#[tokio::test]
async fn each_item_of_a_mass_payment_has_its_own_state_over_several_messages() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for (id, status) in [("M1", "Unclaimed"), ("M2", "Completed"), ("M1", "Returned")] {
        apply(&shop, &payout(id, status), at(1)).await.unwrap();
    }
    assert_eq!(row(&shop, "M1").await.status, "returned");
    assert_eq!(row(&shop, "M2").await.status, "completed");
    assert_eq!(
        mugs(&shop).await,
        (10, 0, 0),
        "the merchant pays: nothing is sold"
    );
}
