//! One payment settles one order, and one order is settled by one payment.

use quittance_common::status::TxnType;

use super::*;
use crate::terms::Terms;

fn for_order(txn: &str, order: &str) -> PaymentEvent {
    let mut event = event(EventType::Completed, txn, txn);
    event.data.order.bound = order.parse().ok();
    event
}

async fn flags_of(shop: &Shop, txn: &str) -> Vec<String> {
    let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    let row = rows.into_iter().find(|row| row.txn_id == txn).unwrap();
    row.flags
}

#[tokio::test]
async fn a_second_payment_for_the_same_order_is_flagged_and_a_renewal_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for (txn, txn_type) in [
        ("T1", TxnType::WebAccept),
        ("T2", TxnType::WebAccept),
        ("T3", TxnType::SubscrPayment),
    ] {
        let mut completed = event(EventType::Completed, txn, txn);
        let is_renewal = txn_type == TxnType::SubscrPayment;
        completed.data.order.bound = "A-1".parse().ok().filter(|_| !is_renewal);
        completed.data.order.invoice = Some("A-1".into());
        completed.data.txn_type = Some(txn_type);
        apply(&shop, &completed, at(1)).await.unwrap();
    }
    // A further event of the first does not make it the second.
    apply(&shop, &refund("T1", "R1", 500), at(2)).await.unwrap();
    let twice = PaymentFilter {
        flag: Some("order_already_paid".into()),
        ..PaymentFilter::default()
    };
    let flagged = shop.payments(&twice).await.unwrap();
    let flagged: Vec<&str> = flagged.iter().map(|row| row.txn_id.as_str()).collect();
    assert_eq!(flagged, ["T2"]);
}

#[tokio::test]
async fn a_second_payment_for_a_settled_order_gets_no_goods_and_waits_for_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    apply(&shop, &for_order("T1", "1001"), at(1)).await.unwrap();
    let second = apply(&shop, &for_order("T2", "1001"), at(3)).await.unwrap();
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    assert_eq!(flags_of(&shop, "T2").await, ["order_already_paid"]);
    assert!(flags_of(&shop, "T1").await.is_empty());
    let Applied::New(done) = second else {
        panic!("{second:?}")
    };
    assert!(
        !done.iter().any(|done| done.effect == "mail_received"),
        "{done:?}"
    );
    // Given back, it is told, and the first payment keeps its goods.
    apply(&shop, &refund("T2", "R2", 2000), at(4))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (8, 0, 0));
}

fn pending_for_order(txn: &str, order: &str) -> PaymentEvent {
    let mut pending = event(EventType::Pending, txn, txn);
    pending.data.order.bound = order.parse().ok();
    pending
}

/// Or the buyer of the last item but one could keep the last from everybody, by a second eCheck.
#[tokio::test]
async fn a_pending_payment_for_a_settled_order_sets_nothing_aside_and_promises_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 4).await;
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    apply(&shop, &for_order("T1", "1001"), at(1)).await.unwrap();
    apply_under(&terms, &shop, &pending_for_order("T2", "1001"), at(2))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (2, 0, 0), "free for others");
    assert_eq!(flags_of(&shop, "T2").await, ["pending_for_paid_order"]);
    let told: Vec<String> = announced(&shop, at(50))
        .await
        .iter()
        .filter(|told| told.txn_id == "T2")
        .map(|told| told.news.effect())
        .collect();
    assert_eq!(told, ["mail_merchant:pending_for_paid_order"]);
    apply(&shop, &for_order("T2", "1001"), at(3)).await.unwrap();
    assert_eq!(mugs(&shop).await, (2, 0, 0));
    assert_eq!(flags_of(&shop, "T2").await, ["order_already_paid"]);
}

#[tokio::test]
async fn what_a_pending_payment_has_set_aside_is_free_with_its_next_word_once_another_has_paid() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    apply(&shop, &pending_for_order("T2", "1001"), at(1))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (10, 2, 0));
    apply(&shop, &for_order("T1", "1001"), at(2)).await.unwrap();
    let mut review = pending_for_order("T2", "1001");
    review.key = "pp:sandbox:T2:pending:review".parse().unwrap();
    apply(&shop, &review, at(3)).await.unwrap();
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    assert_eq!(flags_of(&shop, "T2").await, ["pending_for_paid_order"]);
}

#[tokio::test]
async fn a_transaction_that_settled_an_order_cannot_settle_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    apply(&shop, &for_order("T1", "1001"), at(1)).await.unwrap();
    let mut replayed = for_order("T1", "1002");
    replayed.key = "pp:sandbox:T1:completed:again".parse().unwrap();
    replayed.received_at = at(-60);
    apply(&shop, &replayed, at(2)).await.unwrap();
    assert_eq!(flags_of(&shop, "T1").await, ["settles_another_order"]);
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    apply(&shop, &for_order("T3", "1002"), at(3)).await.unwrap();
    assert!(
        flags_of(&shop, "T3").await.is_empty(),
        "its own payment settles it"
    );
    assert_eq!(mugs(&shop).await, (6, 0, 0));
}

#[tokio::test]
async fn of_two_payments_for_one_order_at_the_same_time_one_gets_the_goods() {
    let folder = tempfile::tempdir().unwrap();
    let shops = [shop(&folder, 10).await, shop(&folder, 10).await];
    let events: Vec<PaymentEvent> = (0..6)
        .map(|n| for_order(&format!("T{n}"), "1001"))
        .collect();
    let tasks = events
        .iter()
        .enumerate()
        .map(|(n, event)| apply(&shops[n % 2], event, at(1)));
    for result in futures_util::future::join_all(tasks).await {
        assert!(matches!(result, Ok(Applied::New(_))), "{result:?}");
    }
    assert_eq!(mugs(&shops[0]).await, (8, 0, 0));
    let flagged = PaymentFilter {
        flag: Some("order_already_paid".into()),
        ..PaymentFilter::default()
    };
    assert_eq!(shops[0].payments(&flagged).await.unwrap().len(), 5);
}

/// Anybody can write the number of somebody else's order into the invoice of what he pays himself.
#[tokio::test]
async fn an_invoice_that_no_check_has_bound_settles_nothing_and_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for txn in ["EVE1", "EVE2"] {
        let mut eve = event(EventType::Completed, txn, txn);
        eve.data.order.invoice = Some("1001".into());
        apply(&shop, &eve, at(1)).await.unwrap();
    }
    assert_eq!(mugs(&shop).await, (6, 0, 0), "both were paid for");
    assert!(flags_of(&shop, "EVE1").await.is_empty());
    assert_eq!(flags_of(&shop, "EVE2").await, ["invoice_already_paid"]);
    let mut bob = for_order("BOB", "1001");
    bob.data.order.invoice = Some("1001".into());
    let Applied::New(done) = apply(&shop, &bob, at(2)).await.unwrap() else {
        panic!("new")
    };
    assert!(done.iter().any(|done| done.effect == "mail_received"));
    assert!(flags_of(&shop, "BOB").await.is_empty());
    assert_eq!(mugs(&shop).await, (4, 0, 0));
}

#[tokio::test]
async fn an_order_that_is_paid_to_two_accounts_is_settled_once() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for (txn, account) in [("T1", "eu"), ("T2", "us")] {
        let mut paid = for_order(txn, "1001");
        paid.account = account.parse().unwrap();
        apply(&shop, &paid, at(1)).await.unwrap();
    }
    assert_eq!(flags_of(&shop, "T2").await, ["order_already_paid"]);
    assert_eq!(mugs(&shop).await, (8, 0, 0));
}
