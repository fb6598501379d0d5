//! Each effect once, whoever repeats what.

use super::*;

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
