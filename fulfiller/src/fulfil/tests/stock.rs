//! What is set aside, taken and put back, and by whom.

use quittance_common::settings::Restock;

use super::*;
use crate::announcement::{News, StockRequest};
use crate::metrics::Metrics;
use crate::sweep::Sweeper;
use crate::terms::StockBy;

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
async fn a_shop_that_counts_its_own_stock_is_asked_for_each_step_once() {
    use EventType::{Completed, Denied, Pending};
    let terms = Terms {
        stock: StockBy::Http,
        ..Terms::default()
    };
    let of = |event_type| event(event_type, "T", "T");
    for (events, expected) in [
        (
            vec![of(Pending), of(Completed), refund("T", "R", 2000)],
            "reserve1 take2 restock3",
        ),
        (vec![refund("T", "R", 2000), of(Completed)], ""),
        (vec![of(Pending), of(Denied)], "release2 reserve1"),
        (vec![of(Completed), of(Pending), of(Completed)], "take1"),
        (vec![of(Denied)], ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 5).await;
        for event in &events {
            apply_under(&terms, &shop, event, at(1)).await.unwrap();
        }
        let mut asked = Vec::new();
        for announcement in announced(&shop, at(100)).await {
            if let News::Stock {
                request,
                sequence,
                items,
                reserve_until,
            } = &announcement.news
            {
                let fortnight = Duration::from_hours(24 * 14);
                assert_eq!(
                    *reserve_until,
                    (*request == StockRequest::Reserve).then(|| at(1) + fortnight)
                );
                assert_eq!(items[0].quantity, 2);
                assert_eq!(
                    announcement.payer,
                    quittance_common::event::Payer::default()
                );
                let request = serde_json::to_value(request).unwrap();
                asked.push(format!("{}{sequence}", request.as_str().unwrap()));
            }
        }
        asked.sort();
        let mut expected: Vec<&str> = expected.split_whitespace().collect();
        expected.sort_unstable();
        assert_eq!(asked, expected);
        assert_eq!(mugs(&shop).await, (5, 0, 0), "our own numbers stay");
    }
}

#[tokio::test]
async fn an_expired_reservation_is_released_once_and_a_late_completed_takes_the_stock() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 2).await;
    let metrics = Metrics::register(
        &prometheus::Registry::new(),
        Metrics::duplicates_total().unwrap(),
    )
    .unwrap();
    let day = 86_400;
    let sweeper = Sweeper::new(shop.clone(), Duration::from_hours(24 * 14), metrics);
    apply(&shop, &event(EventType::Pending, "T", "T"), at(0))
        .await
        .unwrap();
    assert_eq!(sweeper.sweep(at(13 * day)).await.unwrap(), 0);
    assert_eq!(mugs(&shop).await, (2, 2, 0), "an eCheck may take so long");
    assert_eq!(sweeper.sweep(at(15 * day)).await.unwrap(), 1);
    assert_eq!(sweeper.sweep(at(16 * day)).await.unwrap(), 0);
    assert_eq!(mugs(&shop).await, (2, 0, 0));
    let row = only_payment(&shop).await;
    assert_eq!(
        (row.status.as_str(), row.flags),
        ("pending", vec!["reservation_expired".into()])
    );
    // Another word about the pending payment does not set the goods aside again.
    let mut review = event(EventType::Pending, "T", "T");
    review.key = "pp:sandbox:T:pending:review".parse().unwrap();
    apply(&shop, &review, at(17 * day)).await.unwrap();
    assert_eq!(mugs(&shop).await, (2, 0, 0));
    apply(&shop, &event(EventType::Completed, "T", "T"), at(18 * day))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (0, 0, 0));
    assert!(only_payment(&shop).await.flags.is_empty());
}

#[tokio::test]
async fn an_expired_reservation_keeps_the_flags_that_its_goods_have() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    let mut pending = event(EventType::Pending, "T", "T");
    pending.data.lines = vec![line("hat", 1), line("mug", 2)];
    apply(&shop, &pending, at(0)).await.unwrap();
    assert_eq!(only_payment(&shop).await.flags, ["unknown_item"]);
    let stale = shop.stale_reservations(at(9), None, 10).await.unwrap();
    release_stale(&shop, &stale[0], at(9)).await.unwrap();
    assert_eq!(
        only_payment(&shop).await.flags,
        ["reservation_expired", "unknown_item"]
    );
}

/// A shop that counts its own stock gets back what it was asked for, not what the payment says by
/// then.
#[tokio::test]
async fn a_shop_that_counts_its_own_stock_is_asked_for_added_goods_only_and_gets_all_back() {
    let terms = Terms {
        stock: StockBy::Http,
        ..Terms::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    let mut more = event(EventType::Completed, "T", "T");
    more.key = "pp:sandbox:T:completed:more".parse().unwrap();
    more.data.lines = vec![line("hat", 1), line("mug", 3)];
    // Of these two the fold takes the lines of the first key.
    for event in [
        event(EventType::Completed, "T", "T"),
        more,
        refund("T", "R", 2000),
    ] {
        apply_under(&terms, &shop, &event, at(1)).await.unwrap();
    }
    let mut asked: Vec<(u32, String)> = announced(&shop, at(100))
        .await
        .into_iter()
        .filter_map(|told| match told.news {
            News::Stock {
                request,
                sequence,
                items,
                ..
            } => {
                let items = items
                    .iter()
                    .map(|item| format!("{} {}", item.sku, item.quantity));
                let items: Vec<String> = items.collect();
                Some((sequence, format!("{request:?} {}", items.join(", "))))
            }
            _ => None,
        })
        .collect();
    asked.sort();
    let asked: Vec<&str> = asked.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(
        asked,
        ["Take mug 2", "Take hat 1, mug 1", "Restock hat 1, mug 3"]
    );
}

/// More rows than one page has.
#[tokio::test]
async fn the_sweeper_goes_from_page_to_page_until_nothing_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 500).await;
    for number in 0..130 {
        let txn = format!("P{number:03}");
        let mut pending = event(EventType::Pending, &txn, &txn);
        pending.data.lines = vec![line("mug", 1)];
        apply(&shop, &pending, at(0)).await.unwrap();
    }
    let metrics = Metrics::register(
        &prometheus::Registry::new(),
        Metrics::duplicates_total().unwrap(),
    )
    .unwrap();
    let sweeper = Sweeper::new(shop.clone(), Duration::from_secs(10), metrics);
    assert_eq!(sweeper.sweep(at(5)).await.unwrap(), 0);
    assert_eq!(mugs(&shop).await, (500, 130, 0));
    assert_eq!(sweeper.sweep(at(60)).await.unwrap(), 130);
    assert_eq!(mugs(&shop).await, (500, 0, 0));
    let first = shop.stale_reservations(at(60), None, 5).await.unwrap();
    assert!(first.is_empty(), "{first:?}");
}

#[tokio::test]
async fn a_payment_that_completed_while_the_sweeper_looked_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 2).await;
    let pending = event(EventType::Pending, "T", "T");
    apply(&shop, &pending, at(0)).await.unwrap();
    let stale = shop.stale_reservations(at(100), None, 10).await.unwrap();
    apply(&shop, &event(EventType::Completed, "T", "T"), at(101))
        .await
        .unwrap();
    assert_eq!(
        release_stale(&shop, &stale[0], at(102)).await.unwrap(),
        None
    );
    assert_eq!(mugs(&shop).await, (0, 0, 0));
}

#[tokio::test]
async fn a_shop_that_keeps_refunded_goods_off_the_shelf_has_them_put_back_by_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 2).await;
    let terms = Terms {
        restock: Restock::Never,
        ..Terms::default()
    };
    for event in [
        event(EventType::Completed, "T", "T"),
        refund("T", "R", 2000),
    ] {
        apply_under(&terms, &shop, &event, at(1)).await.unwrap();
    }
    assert_eq!(mugs(&shop).await, (0, 0, 0));
    assert_eq!(only_payment(&shop).await.status, "refunded");
}

#[tokio::test]
async fn setting_the_stock_below_what_is_reserved_leaves_no_number_below_zero() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 4).await;
    for txn in ["T1", "T2"] {
        apply(&shop, &event(EventType::Pending, txn, txn), at(1))
            .await
            .unwrap();
    }
    assert_eq!(mugs(&shop).await, (4, 4, 0));
    shop.set_stock(&"mug".parse().unwrap(), 1, at(2))
        .await
        .unwrap();
    apply(&shop, &event(EventType::Completed, "T1", "T1"), at(3))
        .await
        .unwrap();
    apply(&shop, &event(EventType::Completed, "T2", "T2"), at(4))
        .await
        .unwrap();
    assert_eq!(
        mugs(&shop).await,
        (0, 0, 3),
        "one was there, three are owed"
    );
    // More on the shelf fills no back-order by itself.
    shop.set_stock(&"mug".parse().unwrap(), 10, at(5))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (10, 0, 3));
}
