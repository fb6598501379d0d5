//! Events applied to a real database.

use std::collections::BTreeSet;
use std::time::Duration;

use quittance_common::event::EventType;
use quittance_common::settings::Restock;
use quittance_common::shop::{PaymentFilter, PaymentRow};
use quittance_common::status::{PendingReason, TxnType};

use super::*;
use crate::announcement::{Announcement, News};
use crate::metrics::Metrics;
use crate::sweep::Sweeper;
use crate::terms::StockBy;
use crate::testing::{at, capture, dispute, event, lifecycle, line, mugs, payout, refund, shop};

async fn only_payment(shop: &Shop) -> PaymentRow {
    let mut rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    rows.retain(|row| row.kind == "payment");
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

/// What the payment is, without what depends on the way there: that it was set aside, put back
/// and told about while it was pending, or while it looked refused.
async fn lasting(shop: &Shop) -> (PaymentRow, BTreeSet<String>, (i64, i64, i64)) {
    let mut row = only_payment(shop).await;
    let of_the_way = |effect: &String| {
        [
            "stock_reserved",
            "stock_released",
            "stock_decremented",
            "stock_backordered",
            "stock_restocked",
            "mail_pending",
        ]
        .contains(&effect.as_str())
    };
    row.effects.retain(|effect| !of_the_way(effect));
    // Told on the way: that an authorisation ended, while its capture was not known; and one of
    // both, where a payment was refused as well as paid and is for a person.
    let refused = ["denied", "failed", "expired", "voided"].contains(&row.status.as_str());
    let contradictory = row.flags.contains(&"paid_after_denied".to_owned());
    row.effects.retain(|effect| match effect.as_str() {
        "mail_failed" => refused,
        "mail_received" | "mail_backordered" => !contradictory,
        _ => true,
    });
    row.effects.sort();
    row.updated_at = String::new();
    let others = shop.payments(&PaymentFilter::default()).await.unwrap();
    let others = others
        .into_iter()
        .filter(|other| other.kind != "payment")
        .map(|other| format!("{} {} {:?}", other.txn_id, other.status, other.flags))
        .collect();
    (row, others, mugs(shop).await)
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

fn authorized(txn: &str) -> PaymentEvent {
    let mut authorized = event(EventType::Pending, txn, txn);
    authorized.data.pending_reason = Some(PendingReason::Authorization);
    authorized
}

/// The sets of events whose every order is tried.
fn families() -> Vec<Vec<PaymentEvent>> {
    let pending = event(EventType::Pending, "T", "T");
    let completed = event(EventType::Completed, "T", "T");
    let refused = |event_type| event(event_type, "T", "T");
    vec![
        vec![
            pending.clone(),
            completed.clone(),
            refund("T", "R1", 500),
            refund("T", "R2", 1500),
        ],
        vec![
            completed.clone(),
            refund("T", "R", 2000),
            dispute(EventType::DisputeOpened, "T", "PP-1"),
            dispute(EventType::DisputeAdjusted, "T", "PP-1"),
        ],
        vec![
            pending.clone(),
            completed.clone(),
            event(EventType::Reversed, "T", "V"),
            event(EventType::ReversalCanceled, "T", "W"),
        ],
        vec![
            completed.clone(),
            event(EventType::Reversed, "T", "V1"),
            event(EventType::ReversalCanceled, "T", "W"),
            event(EventType::Reversed, "T", "V2"),
        ],
        vec![
            authorized("A"),
            capture("A", "C", 2000),
            refund("C", "R", 500),
        ],
        vec![
            authorized("A"),
            capture("A", "C1", 1200),
            capture("A", "C2", 800),
            refund("C1", "R1", 1200),
        ],
        vec![
            authorized("A"),
            capture("A", "C", 2000),
            event(EventType::Voided, "A", "A"),
            dispute(EventType::DisputeOpened, "C", "PP-2"),
        ],
        vec![pending.clone(), refused(EventType::Denied)],
        vec![pending.clone(), refused(EventType::Failed)],
        vec![pending.clone(), refused(EventType::Expired)],
        vec![pending.clone(), refused(EventType::Voided)],
        vec![pending.clone(), event(EventType::Reversed, "T", "V")],
        vec![
            pending.clone(),
            refused(EventType::Denied),
            completed.clone(),
        ],
        vec![pending, event(EventType::Noted, "T", "T"), completed],
    ]
}

#[tokio::test]
async fn every_order_of_arrival_leaves_the_same_books_and_the_same_stock() {
    for events in families() {
        let mut expected = None;
        for mut order in permutations(&events) {
            for (event, second) in order.iter_mut().zip(0..) {
                event.received_at = at(second);
            }
            let folder = tempfile::tempdir().unwrap();
            let shop = shop(&folder, 1).await;
            for event in &order {
                let applied = apply(&shop, event, at(9)).await.unwrap();
                assert!(matches!(applied, Applied::New(_)));
                let again = apply(&shop, event, at(9)).await.unwrap();
                assert_eq!(again, Applied::Duplicate);
            }
            let outcome = lasting(&shop).await;
            let expected = expected.get_or_insert_with(|| outcome.clone());
            let keys: Vec<&str> = order.iter().map(|event| event.key.as_str()).collect();
            assert_eq!(&outcome, expected, "{keys:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_beside_a_completed_never_puts_sold_goods_back_whatever_the_order() {
    use EventType::{Completed, Denied, Expired, Failed, Pending, Voided};
    for refusal in [Denied, Failed, Expired, Voided] {
        let events = [Pending, Completed, refusal].map(|of| event(of, "T", "T"));
        for order in permutations(&events) {
            let folder = tempfile::tempdir().unwrap();
            let shop = shop(&folder, 9).await;
            for event in &order {
                apply(&shop, event, at(1)).await.unwrap();
            }
            assert_eq!(mugs(&shop).await, (7, 0, 0), "{order:?}");
            let row = only_payment(&shop).await;
            assert_eq!(row.flags, ["paid_after_denied"]);
            assert!(
                !row.effects.contains(&"stock_restocked".to_owned()),
                "{row:?}"
            );
        }
    }
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

#[tokio::test]
async fn a_paid_item_that_is_not_there_is_told_to_buyer_and_merchant_once() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    for late in [event(EventType::Completed, "T", "T"), refund("T", "R", 100)] {
        apply_under(&terms, &shop, &late, at(1)).await.unwrap();
    }
    let news: Vec<String> = announced(&shop, at(100))
        .await
        .iter()
        .map(|a| a.news.effect())
        .collect();
    let count = |effect: &str| news.iter().filter(|name| *name == effect).count();
    assert_eq!(count("mail_backordered"), 1, "{news:?}");
    assert_eq!(count("mail_merchant:backorder"), 1, "{news:?}");
}

#[tokio::test]
async fn each_new_flag_is_told_to_the_merchant_once_and_only_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 9).await;
    let reversed = || {
        let mut reversed = event(EventType::Reversed, "T", "V");
        reversed.data.lines = Vec::new();
        reversed
    };
    apply(&shop, &event(EventType::Completed, "T", "T"), at(1))
        .await
        .unwrap();
    apply(&shop, &reversed(), at(2)).await.unwrap();
    let of_merchant = |all: &[Announcement]| -> Vec<String> {
        let effects = all.iter().map(|a| a.news.effect());
        effects.filter(|e| e.starts_with("mail_merchant")).collect()
    };
    assert!(of_merchant(&announced(&shop, at(100)).await).is_empty());
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    let dispute = dispute(EventType::DisputeOpened, "T", "C");
    apply_under(&terms, &shop, &dispute, at(3)).await.unwrap();
    apply_under(&terms, &shop, &refund("T", "R", 100), at(4))
        .await
        .unwrap();
    let told = of_merchant(&announced(&shop, at(1000)).await);
    assert_eq!(told, ["mail_merchant:disputed+reversed"]);
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
        (
            vec![refund("T", "R", 2000), of(Completed)],
            "restock2 take1",
        ),
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
            } = &announcement.news
            {
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
async fn a_capture_is_handed_the_reservation_of_its_authorisation() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 2).await;
    apply(&shop, &authorized("A"), at(1)).await.unwrap();
    assert_eq!(mugs(&shop).await, (2, 2, 0));
    apply(&shop, &capture("A", "C", 2000), at(2)).await.unwrap();
    assert_eq!(mugs(&shop).await, (0, 0, 0), "taken, and nothing set aside");
    let row = only_payment(&shop).await;
    assert_eq!((row.txn_id.as_str(), row.events), ("A", 2));
    let by_capture = shop.payment_story("C").await.unwrap();
    assert_eq!(by_capture[0].payment.txn_id, "A");
}

#[tokio::test]
async fn a_pending_capture_that_named_no_authorisation_is_joined_to_it_later() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    apply(&shop, &event(EventType::Pending, "C", "C"), at(1))
        .await
        .unwrap();
    apply(&shop, &authorized("A"), at(2)).await.unwrap();
    assert_eq!(
        mugs(&shop).await,
        (5, 4, 0),
        "two payments, as far as is known"
    );
    apply(&shop, &capture("A", "C", 2000), at(3)).await.unwrap();
    assert_eq!(mugs(&shop).await, (3, 0, 0));
    assert_eq!(only_payment(&shop).await.events, 3);
}

#[tokio::test]
async fn payments_that_name_each_other_as_parents_are_no_endless_circle() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    apply(&shop, &capture("A", "B", 100), at(1)).await.unwrap();
    apply(&shop, &capture("B", "A", 100), at(2)).await.unwrap();
    assert_eq!(only_payment(&shop).await.events, 2);
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
async fn a_payment_that_completed_while_the_sweeper_looked_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 2).await;
    let pending = event(EventType::Pending, "T", "T");
    apply(&shop, &pending, at(0)).await.unwrap();
    let stale = shop.stale_reservations(at(100), 10).await.unwrap();
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

#[tokio::test]
async fn the_items_of_one_auction_tell_the_whole_amount_and_it_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let item = event(EventType::Completed, "T", "T");
    apply(&shop, &item, at(1)).await.unwrap();
    let mut other_item = item;
    other_item.data.lines = vec![line("mug", 1)];
    assert_eq!(
        apply(&shop, &other_item, at(2)).await.unwrap(),
        Applied::Duplicate
    );
    assert_eq!(only_payment(&shop).await.amount, "20.00");
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
