//! Events applied to a real database.

use std::collections::BTreeSet;

use quittance_common::event::EventType;
use quittance_common::shop::{PaymentFilter, PaymentRow};
use quittance_common::status::TxnType;

use super::*;
use crate::testing::{at, dispute, event, line, mugs, refund, shop};

async fn only_payment(shop: &Shop) -> PaymentRow {
    let mut rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

#[tokio::test]
async fn the_same_event_by_ten_tasks_and_two_processes_has_one_effect() {
    let folder = tempfile::tempdir().unwrap();
    let shops = [shop(&folder, 10).await, shop(&folder, 10).await];
    let completed = event(EventType::Completed, "T", "T");
    let tasks = (0..10).map(|n| apply(&shops[n % 2], &completed, at(1)));
    let results = futures_util::future::join_all(tasks).await;
    let new = results
        .iter()
        .filter(|result| matches!(result, Ok(Applied::New(_))))
        .count();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(new, 1);
    assert_eq!(mugs(&shops[0]).await, (8, 0, 0));
    assert_eq!(shops[0].outbox_depth().await.unwrap(), 2);
}

#[tokio::test]
async fn ten_buyers_of_the_last_three_are_all_served_or_back_ordered() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 3).await;
    let events: Vec<PaymentEvent> = (0..10)
        .map(|n| {
            let txn = format!("T{n}");
            let mut event = event(EventType::Completed, &txn, &txn);
            event.data.lines = vec![line("mug", 1)];
            event
        })
        .collect();
    let tasks = events.iter().map(|event| apply(&shop, event, at(1)));
    for result in futures_util::future::join_all(tasks).await {
        assert!(matches!(result, Ok(Applied::New(_))), "{result:?}");
    }
    assert_eq!(mugs(&shop).await, (0, 0, 7));
    let flagged = PaymentFilter {
        flag: Some("backorder".into()),
        ..PaymentFilter::default()
    };
    assert_eq!(shop.payments(&flagged).await.unwrap().len(), 7);
}

#[tokio::test]
async fn the_same_key_with_another_meaning_is_a_conflict_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let completed = event(EventType::Completed, "T", "T");
    apply(&shop, &completed, at(1)).await.unwrap();
    let mut other = completed.clone();
    other.fingerprint = quittance_common::claims::Fingerprint::of(b"another");
    other.data.lines = vec![line("mug", 5)];
    assert_eq!(
        apply(&shop, &other, at(2)).await.unwrap(),
        Applied::Conflict
    );
    assert_eq!(
        apply(&shop, &completed, at(3)).await.unwrap(),
        Applied::Duplicate
    );
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    assert_eq!(only_payment(&shop).await.events, 1);
}

#[tokio::test]
async fn pending_sets_aside_and_denied_gives_back() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    apply(&shop, &event(EventType::Pending, "T", "T"), at(1))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (10, 2, 0));
    apply(&shop, &event(EventType::Denied, "T", "T"), at(2))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    let row = only_payment(&shop).await;
    assert_eq!(
        (row.status.as_str(), row.amount.as_str()),
        ("denied", "20.00")
    );
    let effects: BTreeSet<&str> = row.effects.iter().map(String::as_str).collect();
    assert_eq!(
        effects,
        BTreeSet::from([
            "stock_reserved",
            "mail_pending",
            "stock_released",
            "mail_failed"
        ])
    );
}

#[tokio::test]
async fn an_item_that_the_catalogue_lacks_is_flagged_and_the_rest_is_sold() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let mut completed = event(EventType::Completed, "T", "T");
    completed.data.lines = vec![line("hat", 1), line("mug", 2)];
    apply(&shop, &completed, at(1)).await.unwrap();
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    let row = only_payment(&shop).await;
    assert_eq!(row.flags, ["unknown_item"]);
    assert!(row.effects.contains(&"stock_decremented".to_owned()));
}

#[tokio::test]
async fn a_dispute_marks_its_payment_and_the_story_tells_everything() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in [
        dispute(EventType::DisputeOpened, "T", "PP-1"),
        event(EventType::Completed, "T", "T"),
        refund("T", "R1", 500),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    let stories = shop.payment_story("R1").await.unwrap();
    assert_eq!(stories.len(), 1);
    let story = &stories[0];
    assert_eq!(story.payment.status, "partially_refunded");
    assert_eq!(story.payment.refunded, "5.00");
    assert_eq!(story.payment.flags, ["disputed"]);
    assert_eq!(story.history.len(), 3);
    assert_eq!(story.stock_moves.len(), 1);
    assert_eq!(story.outbox_waiting, 5);
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
async fn what_was_sold_put_back_and_told_is_not_done_again_by_a_later_event() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in [
        event(EventType::Completed, "T", "T"),
        refund("T", "R", 2000),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    let later = dispute(EventType::DisputeOpened, "T", "PP-1");
    assert_eq!(
        apply(&shop, &later, at(2)).await.unwrap(),
        Applied::New(Vec::new())
    );
    let story = shop.payment_story("T").await.unwrap().remove(0);
    let moves: BTreeSet<&str> = story
        .stock_moves
        .iter()
        .map(|moved| moved.movement.as_str())
        .collect();
    assert_eq!(story.stock_moves.len(), 2);
    assert_eq!(
        moves,
        BTreeSet::from(["stock_decremented", "stock_restocked"])
    );
}

/// Everything that must come out the same whatever the order: what cannot be taken back. (That a
/// pending payment reserved and told so is true only when its event came first.)
async fn lasting(shop: &Shop) -> (PaymentRow, (i64, i64, i64)) {
    let mut row = only_payment(shop).await;
    row.effects.retain(|effect| {
        !["stock_reserved", "mail_pending", "stock_released"].contains(&effect.as_str())
    });
    row.effects.sort();
    row.updated_at = String::new();
    (row, mugs(shop).await)
}

fn permutations(items: &[PaymentEvent]) -> Vec<Vec<PaymentEvent>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    (0..items.len())
        .flat_map(|first| {
            let mut rest = items.to_vec();
            let head = rest.remove(first);
            permutations(&rest).into_iter().map(move |mut tail| {
                tail.insert(0, head.clone());
                tail
            })
        })
        .collect()
}

#[tokio::test]
async fn every_order_of_arrival_leaves_the_same_books_and_the_same_stock() {
    let pending = event(EventType::Pending, "T", "T");
    let completed = event(EventType::Completed, "T", "T");
    let cases = [
        vec![
            pending.clone(),
            completed.clone(),
            refund("T", "R1", 500),
            refund("T", "R2", 1500),
        ],
        vec![
            completed.clone(),
            refund("T", "R", 2000),
            dispute(EventType::DisputeOpened, "T", "C"),
        ],
        vec![
            pending,
            completed,
            event(EventType::Reversed, "T", "V"),
            event(EventType::ReversalCanceled, "T", "W"),
        ],
    ];
    for events in cases {
        let mut expected = None;
        for order in permutations(&events) {
            let folder = tempfile::tempdir().unwrap();
            let shop = shop(&folder, 1).await;
            for event in &order {
                assert!(matches!(
                    apply(&shop, event, at(9)).await.unwrap(),
                    Applied::New(_)
                ));
            }
            let outcome = lasting(&shop).await;
            let expected = expected.get_or_insert_with(|| outcome.clone());
            assert_eq!(&outcome, expected, "{order:?}");
        }
    }
}

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
async fn a_second_payment_for_a_settled_order_gets_no_goods_and_waits_for_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    apply(&shop, &for_order("T1", "1001"), at(1)).await.unwrap();
    let mut pending = event(EventType::Pending, "T2", "T2");
    pending.data.order.bound = "1001".parse().ok();
    apply(&shop, &pending, at(2)).await.unwrap();
    assert_eq!(mugs(&shop).await, (8, 2, 0));
    let second = apply(&shop, &for_order("T2", "1001"), at(3)).await.unwrap();
    assert_eq!(
        mugs(&shop).await,
        (8, 0, 0),
        "what it had reserved is free again"
    );
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
