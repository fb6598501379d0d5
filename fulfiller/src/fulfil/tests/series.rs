//! The payments of a subscription, and those by a billing agreement, for an order.

use quittance_common::order::Order;
use quittance_common::shop::{Cancelled, NewCancellation, Verdict};
use quittance_common::status::TxnType;

use super::published::published;
use super::*;

fn renewal(txn: &str, subscription: &str) -> PaymentEvent {
    let mut renewal = event(EventType::Completed, txn, txn);
    renewal.data.txn_type = Some(TxnType::SubscrPayment);
    renewal.data.subscription = Some(subscription.into());
    renewal.data.order.held_against = "1001".parse().ok();
    renewal.data.order.invoice = Some("1001".into());
    renewal
}

fn once(txn: &str, txn_type: &TxnType) -> PaymentEvent {
    let mut once = event(EventType::Completed, txn, txn);
    once.data.txn_type = Some(txn_type.clone());
    once.data.order.bound = "1001".parse().ok();
    once.data.order.invoice = Some("1001".into());
    once
}

/// The books of ten mugs after `events`, with order 1001 of two.
async fn after(folder: &tempfile::TempDir, events: &[PaymentEvent]) -> Shop {
    let shop = shop(folder, 10).await;
    let order = Order {
        id: "1001".parse().unwrap(),
        total: eur(2000),
        lines: [("mug".parse().unwrap(), 2)].into(),
    };
    shop.add_orders(&[order], at(0)).await.unwrap();
    for event in events {
        apply(&shop, event, at(1)).await.unwrap();
    }
    shop
}

/// The payments that somebody has to decide about, each with its flags.
async fn flagged(shop: &Shop) -> Vec<(String, Vec<String>)> {
    let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    let rows = rows.into_iter().filter(|row| row.kind == "payment");
    let mut flagged: Vec<_> = rows
        .filter(|row| !row.flags.is_empty())
        .map(|row| (row.txn_id, row.flags))
        .collect();
    flagged.sort();
    flagged
}

async fn cancel(shop: &Shop) -> Cancelled {
    let word = NewCancellation {
        by: "kim".into(),
        because: String::new(),
        at: at(5),
    };
    let id = "1001".parse().unwrap();
    let done = cancel_order(&Terms::default(), shop, &id, &word).await;
    done.unwrap().outcome
}

#[tokio::test]
async fn a_subscription_settles_its_order_once_whichever_of_its_payments_comes_first() {
    let all = [
        renewal("T1", "S-1"),
        renewal("T2", "S-1"),
        renewal("T3", "S-1"),
    ];
    for order in arrival::permutations(&all) {
        let folder = tempfile::tempdir().unwrap();
        let shop = after(&folder, &order).await;
        assert_eq!(flagged(&shop).await, []);
        assert_eq!(mugs(&shop).await, (4, 0, 0), "each has its goods");
        let told = published(&shop, at(100)).await;
        let orders: Vec<&str> = told
            .iter()
            .filter(|event| event.data.order.bound.is_some())
            .map(|event| event.key.as_str())
            .collect();
        assert_eq!(orders, [order[0].key.as_str()], "the order is paid once");
        // By another way it is not paid again.
        apply(&shop, &once("W", &TxnType::WebAccept), at(2))
            .await
            .unwrap();
        let twice = vec!["order_already_paid".to_owned()];
        assert_eq!(flagged(&shop).await, [("W".to_owned(), twice)]);
        assert_eq!(mugs(&shop).await, (4, 0, 0));
        assert!(matches!(cancel(&shop).await, Cancelled::Paid { .. }));
    }
}

#[tokio::test]
async fn an_order_that_is_paid_is_not_paid_again_by_a_subscription_or_by_another_one() {
    let twice = || vec!["order_already_paid".to_owned()];
    for first in [once("W", &TxnType::WebAccept), renewal("W", "S-2")] {
        let folder = tempfile::tempdir().unwrap();
        let shop = after(
            &folder,
            &[first, renewal("T1", "S-1"), renewal("T2", "S-1")],
        )
        .await;
        let expected = [("T1".to_owned(), twice()), ("T2".to_owned(), twice())];
        assert_eq!(flagged(&shop).await, expected);
        assert_eq!(mugs(&shop).await, (8, 0, 0));
    }
}

#[tokio::test]
async fn a_payment_by_a_billing_agreement_settles_its_order_like_any_other() {
    let by_agreement = |txn: &str| {
        let mut payment = once(txn, &TxnType::MerchPmt);
        payment.data.subscription = Some("B-1".into());
        payment
    };
    let folder = tempfile::tempdir().unwrap();
    let shop = after(&folder, &[by_agreement("T1"), by_agreement("T2")]).await;
    let twice = vec!["order_already_paid".to_owned()];
    assert_eq!(flagged(&shop).await, [("T2".to_owned(), twice)]);
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    let told = published(&shop, at(100)).await;
    let orders = told.iter().map(|event| event.data.order.bound.is_some());
    assert_eq!(orders.collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_subscription_to_an_order_that_was_cancelled_ships_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shop = after(&folder, &[]).await;
    assert_eq!(cancel(&shop).await, Cancelled::Now);
    let cancelled = || vec!["order_cancelled".to_owned()];
    for payment in [
        renewal("T1", "S-1"),
        renewal("T2", "S-1"),
        once("T3", &TxnType::MerchPmt),
    ] {
        apply(&shop, &payment, at(9)).await.unwrap();
    }
    let expected = ["T1", "T2", "T3"].map(|txn| (txn.to_owned(), cancelled()));
    assert_eq!(flagged(&shop).await, expected);
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    let told = published(&shop, at(100)).await;
    assert!(told.iter().all(|event| event.data.order.bound.is_none()));
}

#[tokio::test]
async fn a_pending_payment_of_a_subscription_gives_back_what_it_holds_when_its_order_is_cancelled()
{
    let mut pending = renewal("T1", "S-1");
    pending.event_type = EventType::Pending;
    let folder = tempfile::tempdir().unwrap();
    let shop = after(&folder, &[pending]).await;
    assert_eq!(mugs(&shop).await, (10, 2, 0));
    assert_eq!(cancel(&shop).await, Cancelled::Now);
    assert_eq!(mugs(&shop).await, (10, 0, 0));
}

#[tokio::test]
async fn a_subscription_that_a_person_accepts_is_published_for_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let events = [once("W", &TxnType::WebAccept), renewal("T1", "S-1")];
    let shop = after(&folder, &events).await;
    let subject = shop.payments_named("T1").await.unwrap().remove(0);
    let word = quittance_common::shop::NewResolution {
        verdict: Verdict::Accepted,
        by: "kim".into(),
        because: "the buyer wants both".into(),
        at: at(9),
    };
    resolve(&Terms::default(), &shop, &subject, &word)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(mugs(&shop).await, (6, 0, 0));
    let told = published(&shop, at(100)).await;
    let again = told
        .iter()
        .find(|event| event.key.as_str().ends_with(":accepted"))
        .unwrap();
    assert!(again.data.order.bound.is_some());
}
