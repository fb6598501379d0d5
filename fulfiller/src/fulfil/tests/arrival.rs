//! Every order of arrival, tried out.

use std::collections::BTreeMap;

use super::*;
use crate::announcement::{News, StockRequest};
use crate::terms::StockBy;

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
    // both, where a payment was refused as well as paid and is for a person. And that something was
    // owed, before all of the money went back.
    let refused = ["denied", "failed", "expired", "voided"].contains(&row.status.as_str());
    let contradictory = row.flags.contains(&"paid_after_denied".to_owned());
    let gone = row.status == "refunded";
    row.effects.retain(|effect| match effect.as_str() {
        "mail_failed" => refused,
        "mail_received" => !contradictory,
        "mail_backordered" => !contradictory && !gone,
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

/// Whom the customer's mails are about, without what is told on the way: that the payment was
/// pending, that its authorisation ended, and what a contradiction told before it was one. Each is
/// there once.
async fn told(shop: &Shop) -> Vec<String> {
    let row = only_payment(shop).await;
    let contradictory = row.flags.contains(&"paid_after_denied".to_owned());
    let refused = ["denied", "failed", "expired", "voided"].contains(&row.status.as_str());
    let mut told: Vec<String> = announced(shop, at(100))
        .await
        .iter()
        .map(|announcement| announcement.news.effect())
        .filter(|effect| match effect.as_str() {
            "mail_pending" => false,
            "mail_failed" => refused,
            "mail_received" => !contradictory,
            "mail_backordered" => !contradictory && row.status != "refunded",
            _ => true,
        })
        .collect();
    told.sort();
    let mut once = told.clone();
    once.dedup();
    assert_eq!(told, once, "told twice");
    told
}

pub(super) fn permutations(items: &[PaymentEvent]) -> Vec<Vec<PaymentEvent>> {
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

/// The sets of events whose every order is tried.
fn families() -> Vec<Vec<PaymentEvent>> {
    let pending = event(EventType::Pending, "T", "T");
    let completed = event(EventType::Completed, "T", "T");
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
        // Captured twice, and each capture has a fate of its own.
        vec![
            authorized("A"),
            capture("A", "C1", 1200),
            capture("A", "C2", 800),
            event(EventType::Reversed, "C2", "V"),
        ],
        vec![
            pending.clone(),
            completed.clone(),
            dispute(EventType::DisputeOpened, "T", "PP-1"),
            event(EventType::Reversed, "T", "V"),
        ],
        // Refunded in parts, then charged back, and the charge-back is lost.
        vec![
            completed.clone(),
            refund("T", "R1", 500),
            event(EventType::Reversed, "T", "V"),
            event(EventType::ReversalCanceled, "T", "W"),
        ],
        vec![
            completed.clone(),
            refund("T", "R1", 600),
            refund("T", "R2", 600),
            refund("T", "R3", 800),
        ],
        vec![pending, event(EventType::Noted, "T", "T"), completed],
    ]
}

/// The same of captures with fates of their own.
fn capture_families() -> Vec<Vec<PaymentEvent>> {
    vec![
        // The first capture is given back in full before the second is heard of.
        vec![
            authorized("A"),
            capture("A", "C1", 1200),
            refund("C1", "R1", 1200),
            capture("A", "C2", 800),
        ],
        // A capture is denied, and another one is not.
        vec![
            authorized("A"),
            denied_capture("A", "C1"),
            capture("A", "C2", 2000),
        ],
        // The authorisation ends while its capture is on its way.
        vec![
            authorized("A"),
            pending_capture("A", "C"),
            event(EventType::Voided, "A", "A"),
        ],
        vec![
            authorized("A"),
            pending_capture("A", "C"),
            event(EventType::Expired, "A", "A"),
            denied_capture("A", "C"),
        ],
    ]
}

fn pending_capture(authorization: &str, txn: &str) -> PaymentEvent {
    let mut pending = capture(authorization, txn, 2000);
    pending.event_type = EventType::Pending;
    pending.key = format!("pp:sandbox:{txn}:payment.pending").parse().unwrap();
    pending.data.pending_reason = Some(PendingReason::Echeck);
    pending
}

fn denied_capture(authorization: &str, txn: &str) -> PaymentEvent {
    let mut denied = capture(authorization, txn, 2000);
    denied.event_type = EventType::Denied;
    denied.key = format!("pp:sandbox:{txn}:payment.denied").parse().unwrap();
    denied
}

/// The same of payments that were refused, ended or taken back before they were paid.
fn refused_families() -> Vec<Vec<PaymentEvent>> {
    let pending = event(EventType::Pending, "T", "T");
    let completed = event(EventType::Completed, "T", "T");
    let refused = |event_type| event(event_type, "T", "T");
    vec![
        vec![authorized("A"), event(EventType::Voided, "A", "A")],
        vec![authorized("A"), event(EventType::Expired, "A", "A")],
        vec![
            pending.clone(),
            completed.clone(),
            refused(EventType::Denied),
            refund("T", "R", 2000),
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
    ]
}

#[tokio::test]
async fn every_order_of_arrival_leaves_the_same_books_stock_and_notifications() {
    for events in families()
        .into_iter()
        .chain(refused_families())
        .chain(capture_families())
    {
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
            let outcome = (lasting(&shop).await, told(&shop).await);
            let expected = expected.get_or_insert_with(|| outcome.clone());
            let keys: Vec<&str> = order.iter().map(|event| event.key.as_str()).collect();
            assert_eq!(&outcome, expected, "{keys:?}");
        }
    }
}

/// What is left in a shop of five mugs that does what it is asked for, each row's requests by
/// their numbers.
async fn counted_by_the_shop(shop: &Shop) -> i64 {
    let mut requests: Vec<(String, u32, StockRequest, i64)> = announced(shop, at(1000))
        .await
        .into_iter()
        .filter_map(|told| match told.news {
            News::Stock {
                request,
                sequence,
                items,
                ..
            } => Some((told.subject, sequence, request, items[0].quantity)),
            _ => None,
        })
        .collect();
    requests.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let numbers: BTreeSet<(&str, u32)> = requests
        .iter()
        .map(|(subject, sequence, ..)| (subject.as_str(), *sequence))
        .collect();
    assert_eq!(numbers.len(), requests.len(), "each has its own number");
    let (mut on_hand, mut held) = (5, BTreeMap::new());
    for (subject, _, request, count) in requests {
        let held: &mut (i64, i64) = held.entry(subject).or_default();
        match request {
            StockRequest::Reserve => held.0 += count,
            StockRequest::Release => held.0 -= count,
            StockRequest::Take => {
                held.0 = 0;
                held.1 += count;
            }
            StockRequest::Restock => held.1 -= count,
        }
        assert!(held.0 >= 0 && held.1 >= 0);
    }
    for (reserved, taken) in held.into_values() {
        on_hand -= reserved + taken;
    }
    on_hand
}

#[tokio::test]
async fn a_shop_that_counts_its_own_stock_ends_with_the_same_as_ours_in_every_order() {
    let terms = Terms {
        stock: StockBy::Http,
        ..Terms::default()
    };
    let mut joined = event(EventType::Pending, "C", "C");
    joined.received_at = at(0);
    let late = vec![joined, authorized("A"), capture("A", "C", 2000)];
    for events in families()
        .into_iter()
        .chain(refused_families())
        .chain(capture_families())
        .chain([late])
    {
        for order in permutations(&events) {
            let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let (ours, theirs) = (shop(&folders[0], 5).await, shop(&folders[1], 5).await);
            for event in &order {
                apply(&ours, event, at(1)).await.unwrap();
                apply_under(&terms, &theirs, event, at(1)).await.unwrap();
            }
            let (on_hand, reserved, _) = mugs(&ours).await;
            let keys: Vec<&str> = order.iter().map(|event| event.key.as_str()).collect();
            assert_eq!(
                counted_by_the_shop(&theirs).await,
                on_hand - reserved,
                "{keys:?}"
            );
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

#[tokio::test]
async fn late_events_of_a_lower_rank_are_recorded_and_change_nothing() {
    use EventType::{Completed, DisputeAdjusted, DisputeOpened, Noted, Pending};
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    apply(&shop, &event(Completed, "T", "T"), at(1))
        .await
        .unwrap();
    let before = only_payment(&shop).await;
    let (stock, told) = (mugs(&shop).await, announced(&shop, at(100)).await);
    let mut review = event(Pending, "T", "T");
    review.key = "pp:sandbox:T:pending:payment_review".parse().unwrap();
    for (late, nth) in [event(Pending, "T", "T"), review, event(Noted, "T", "T")]
        .iter()
        .zip(2_i64..)
    {
        let applied = apply(&shop, late, at(nth)).await.unwrap();
        assert_eq!(applied, Applied::New(Vec::new()), "{}", late.key);
        let after = only_payment(&shop).await;
        assert_eq!(after.events, nth, "it is recorded");
        let same = PaymentRow {
            events: before.events,
            updated_at: before.updated_at.clone(),
            ..after
        };
        assert_eq!(same, before);
        assert_eq!(mugs(&shop).await, stock);
    }
    let story = shop.payment_story("T").await.unwrap().remove(0);
    assert_eq!(story.history.len(), 4);
    assert_eq!(announced(&shop, at(1000)).await, told);
    // A refusal is no lower rank, and neither is a dispute: those a person sees.
    for loud in [
        dispute(DisputeOpened, "T", "PP-1"),
        dispute(DisputeAdjusted, "T", "PP-1"),
    ] {
        apply(&shop, &loud, at(9)).await.unwrap();
        assert!(!only_payment(&shop).await.flags.is_empty());
    }
}

/// Money that comes after a refusal or a cancel is never shipped by itself, and a person hears.
#[tokio::test]
async fn a_completed_after_a_refusal_goes_to_a_person() {
    use EventType::{Completed, Denied, Expired, Failed, Voided};
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    for refusal in [Denied, Failed, Expired, Voided] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 5).await;
        for event in [event(refusal, "T", "T"), event(Completed, "T", "T")] {
            apply_under(&terms, &shop, &event, at(1)).await.unwrap();
        }
        let told: Vec<String> = announced(&shop, at(100))
            .await
            .iter()
            .map(|announcement| announcement.news.effect())
            .collect();
        assert!(
            told.contains(&"mail_merchant:paid_after_denied".to_owned()),
            "{told:?}"
        );
        assert!(!told.contains(&"mail_received".to_owned()), "{told:?}");
    }
}
