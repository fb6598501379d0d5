//! Orders that were cancelled, before and after their payments.

use quittance_common::money::Money;
use quittance_common::order::Order;
use quittance_common::shop::{Cancelled, NewCancellation};

use super::*;
use crate::announcement::News;
use crate::terms::StockBy;

fn word() -> NewCancellation {
    NewCancellation {
        by: "kim".into(),
        because: "out of print".into(),
        at: at(50),
    }
}

/// A shop with ten mugs and the order 1001.
async fn shop_with_order(folder: &tempfile::TempDir) -> Shop {
    let shop = shop(folder, 10).await;
    let order = Order {
        id: "1001".parse().unwrap(),
        total: Money::from_minor(2000, "EUR".parse().unwrap()),
        lines: [("mug".parse().unwrap(), 2)].into(),
    };
    shop.add_orders(&[order], at(0)).await.unwrap();
    shop
}

fn for_order(event_type: EventType, txn: &str) -> PaymentEvent {
    let mut event = event(event_type, txn, txn);
    event.data.order.bound = "1001".parse().ok();
    event
}

async fn cancelled(shop: &Shop, terms: &Terms) -> Cancellation {
    let id = "1001".parse().unwrap();
    cancel_order(terms, shop, &id, &word()).await.unwrap()
}

fn telling() -> Terms {
    Terms {
        tell_merchant: true,
        ..Terms::default()
    }
}

#[tokio::test]
async fn money_for_a_cancelled_order_ships_nothing_thanks_nobody_and_is_told_to_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_with_order(&folder).await;
    assert_eq!(cancelled(&shop, &telling()).await.outcome, Cancelled::Now);
    let paid = for_order(EventType::Completed, "T");
    apply_under(&telling(), &shop, &paid, at(60)).await.unwrap();
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    let row = only_payment(&shop).await;
    assert_eq!(
        (row.status.as_str(), row.flags),
        ("completed", vec!["order_cancelled".to_owned()])
    );
    let told: Vec<String> = announced(&shop, at(100))
        .await
        .iter()
        .map(|announcement| announcement.news.effect())
        .collect();
    assert_eq!(told, ["mail_merchant:order_cancelled"]);
    let story = shop.payment_story("T").await.unwrap().remove(0);
    let order = &story.related[0];
    assert_eq!(
        (order.relation.as_str(), order.id.as_str()),
        ("order", "1001")
    );
    assert!(
        order.status.starts_with("cancelled by kim at "),
        "{order:?}"
    );
    assert!(order.status.ends_with(": out of print"), "{order:?}");
    assert_eq!(shop.order_list().await.unwrap()[0].settled_by, "");
    // Given back, the buyer hears so.
    apply_under(&telling(), &shop, &refund("T", "R", 2000), at(70))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    let told = announced(&shop, at(1000)).await;
    assert!(
        told.iter().any(|a| a.news.effect() == "mail_refunded:R"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_cancel_frees_what_a_pending_payment_has_set_aside_and_a_late_completed_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_with_order(&folder).await;
    let pending = for_order(EventType::Pending, "T");
    apply(&shop, &pending, at(1)).await.unwrap();
    assert_eq!(mugs(&shop).await, (10, 2, 0));
    let done = cancelled(&shop, &Terms::default()).await;
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    assert_eq!(done.payments.len(), 1);
    assert_eq!(done.payments[0].status, "pending");
    assert_eq!(
        done.payments[0].done,
        [Done {
            effect: "stock_released",
            count: 2
        }]
    );
    assert_eq!(
        only_payment(&shop).await.flags,
        ["pending_for_cancelled_order"]
    );
    let paid = for_order(EventType::Completed, "T");
    apply(&shop, &paid, at(60)).await.unwrap();
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    assert_eq!(only_payment(&shop).await.flags, ["order_cancelled"]);
}

#[tokio::test]
async fn a_pending_payment_for_a_cancelled_order_sets_nothing_aside() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_with_order(&folder).await;
    cancelled(&shop, &telling()).await;
    let pending = for_order(EventType::Pending, "T");
    apply_under(&telling(), &shop, &pending, at(60))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    let told = announced(&shop, at(100)).await;
    let told: Vec<String> = told.iter().map(|a| a.news.effect()).collect();
    assert_eq!(told, ["mail_merchant:pending_for_cancelled_order"]);
}

#[tokio::test]
async fn a_paid_order_is_not_cancelled_and_nothing_of_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_with_order(&folder).await;
    let paid = for_order(EventType::Completed, "T");
    apply(&shop, &paid, at(1)).await.unwrap();
    let done = cancelled(&shop, &Terms::default()).await;
    assert_eq!(
        done.outcome,
        Cancelled::Paid {
            txn_id: "T".into(),
            status: "completed".into()
        }
    );
    assert!(done.payments.is_empty());
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    assert!(only_payment(&shop).await.flags.is_empty());
    assert_eq!(shop.order_list().await.unwrap()[0].cancelled_at, "");
}

#[tokio::test]
async fn cancelling_again_changes_nothing_and_finishes_what_a_crash_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_with_order(&folder).await;
    let pending = for_order(EventType::Pending, "T");
    apply(&shop, &pending, at(1)).await.unwrap();
    // The process dies between the word and the stock.
    let id = "1001".parse().unwrap();
    shop.cancel_order(&id, &word()).await.unwrap();
    assert_eq!(mugs(&shop).await, (10, 2, 0));
    let other = NewCancellation {
        by: "lee".into(),
        because: "again".into(),
        at: at(90),
    };
    for _ in 0..2 {
        let done = cancel_order(&Terms::default(), &shop, &id, &other)
            .await
            .unwrap();
        assert!(
            matches!(&done.outcome, Cancelled::Before { by, .. } if by == "kim"),
            "{done:?}"
        );
        assert_eq!(mugs(&shop).await, (10, 0, 0));
    }
    let row = shop.order_list().await.unwrap().remove(0);
    assert_eq!(
        (row.cancelled_by.as_str(), row.cancelled_because.as_str()),
        ("kim", "out of print")
    );
}

/// A signed order needs no registration, and can be off all the same.
#[tokio::test]
async fn an_order_that_is_only_signed_is_cancelled_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let pending = for_order(EventType::Pending, "T");
    apply(&shop, &pending, at(1)).await.unwrap();
    assert!(
        shop.order_list().await.unwrap().is_empty(),
        "not registered"
    );
    let done = cancelled(&shop, &Terms::default()).await;
    assert_eq!(done.outcome, Cancelled::Unregistered);
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    let again = cancelled(&shop, &Terms::default()).await;
    assert!(matches!(again.outcome, Cancelled::Before { .. }));
    let paid = for_order(EventType::Completed, "T");
    apply(&shop, &paid, at(60)).await.unwrap();
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    assert_eq!(only_payment(&shop).await.flags, ["order_cancelled"]);
    let row = shop.order_list().await.unwrap().remove(0);
    assert_eq!((row.id.as_str(), row.total.as_str()), ("1001", ""));
    assert_eq!(
        (row.cancelled_by.as_str(), row.cancelled_because.as_str()),
        ("kim", "out of print")
    );
    assert_eq!(row.registered_at, "");
    // To the checks it is no order with terms of its own.
    let id = "1001".parse().unwrap();
    assert!(shop.is_cancelled(&id).await.unwrap());
    assert!(shop.orders(&[id].into()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_signed_order_that_is_paid_is_not_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let paid = for_order(EventType::Completed, "T");
    apply(&shop, &paid, at(1)).await.unwrap();
    let done = cancelled(&shop, &Terms::default()).await;
    assert!(matches!(done.outcome, Cancelled::Paid { .. }), "{done:?}");
    assert!(shop.order_list().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_order_that_is_registered_after_it_was_cancelled_stays_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    cancelled(&shop, &Terms::default()).await;
    let order = Order {
        id: "1001".parse().unwrap(),
        total: Money::from_minor(2000, "EUR".parse().unwrap()),
        lines: [("mug".parse().unwrap(), 2)].into(),
    };
    for _ in 0..2 {
        let orders = std::slice::from_ref(&order);
        shop.add_orders(orders, at(60)).await.unwrap();
    }
    let row = shop.order_list().await.unwrap().remove(0);
    assert_eq!(
        (row.total.as_str(), row.lines),
        ("20.00", vec!["mug=2".to_owned()])
    );
    assert_eq!(row.cancelled_by, "kim");
    let other = Order {
        total: Money::from_minor(1, "EUR".parse().unwrap()),
        ..order
    };
    assert!(shop.add_orders(&[other], at(61)).await.is_err());
}

#[tokio::test]
async fn a_shop_that_counts_its_own_stock_is_asked_to_release_a_cancelled_order_once() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_with_order(&folder).await;
    let terms = Terms {
        stock: StockBy::Http,
        ..Terms::default()
    };
    let pending = for_order(EventType::Pending, "T");
    apply_under(&terms, &shop, &pending, at(1)).await.unwrap();
    for _ in 0..2 {
        cancelled(&shop, &terms).await;
    }
    let asked: Vec<&'static str> = announced(&shop, at(100))
        .await
        .iter()
        .filter(|told| matches!(told.news, News::Stock { .. }))
        .map(|told| told.news.hook_type())
        .collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.contains(&"stock.release"), "{asked:?}");
}

/// A cancel at any place among the events of a payment, in any order: the same in the end.
#[tokio::test]
async fn a_cancel_before_or_between_the_events_of_a_payment_ends_the_same() {
    let events = [
        for_order(EventType::Pending, "T"),
        for_order(EventType::Completed, "T"),
        refund("T", "R", 500),
    ];
    let mut seen = Vec::new();
    for order in arrival::permutations(&events) {
        let paid = order
            .iter()
            .position(|event| event.event_type == EventType::Completed)
            .unwrap();
        // Once it is paid it cannot be cancelled any more.
        for cancel_at in 0..=paid {
            let folder = tempfile::tempdir().unwrap();
            let shop = shop_with_order(&folder).await;
            for (place, event) in order.iter().enumerate() {
                if place == cancel_at {
                    cancelled(&shop, &Terms::default()).await;
                }
                apply(&shop, event, at(9)).await.unwrap();
            }
            let row = only_payment(&shop).await;
            let mut told: Vec<String> = announced(&shop, at(100))
                .await
                .iter()
                .map(|told| told.news.effect())
                .filter(|effect| effect != "mail_pending")
                .collect();
            told.sort();
            seen.push((row.status, row.refunded, row.flags, told, mugs(&shop).await));
        }
    }
    assert!(seen.len() > 6);
    for one in &seen {
        assert_eq!(one, &seen[0]);
    }
    assert_eq!(seen[0].2, ["order_cancelled"]);
    assert_eq!(seen[0].3, ["mail_refunded:R"]);
}
