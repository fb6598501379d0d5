//! What a person decides about a payment that waits for one.

use quittance_common::shop::{NewResolution, Verdict};

use super::published::published;
use super::*;

fn word(verdict: Verdict, second: i64) -> NewResolution {
    NewResolution {
        verdict,
        by: "kim".into(),
        because: "the buyer has called".into(),
        at: at(second),
    }
}

async fn decide(shop: &Shop, txn: &str, verdict: Verdict, second: i64) -> Resolved {
    let subjects = shop.payments_named(txn).await.unwrap();
    resolve(
        &Terms::default(),
        shop,
        &subjects[0],
        &word(verdict, second),
    )
    .await
    .unwrap()
    .unwrap()
}

fn for_order(event_type: EventType, txn: &str) -> PaymentEvent {
    let mut event = event(event_type, txn, txn);
    event.data.order.bound = "1001".parse().ok();
    event
}

async fn row(shop: &Shop, txn: &str) -> PaymentRow {
    let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    rows.into_iter().find(|row| row.txn_id == txn).unwrap()
}

async fn told_of(shop: &Shop, txn: &str, now: i64) -> Vec<String> {
    let mut told: Vec<String> = announced(shop, at(now))
        .await
        .iter()
        .filter(|announcement| announcement.txn_id == txn)
        .map(|announcement| announcement.news.effect())
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn an_accepted_second_payment_gets_its_goods_and_thanks_once_and_is_published_for_its_order()
{
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in [
        for_order(EventType::Completed, "T1"),
        refund("T1", "R1", 2000),
        for_order(EventType::Completed, "T2"),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    assert_eq!(row(&shop, "T2").await.flags, ["order_already_paid"]);
    let done = decide(&shop, "T2", Verdict::Accepted, 50).await;
    assert!(matches!(done, Resolved::Now { .. }), "{done:?}");
    for second in [51, 52] {
        let again = decide(&shop, "T2", Verdict::Accepted, second).await;
        assert_eq!(again, Resolved::Before);
    }
    // A later word about it changes nothing of that.
    let mut late = for_order(EventType::Pending, "T2");
    late.key = "pp:sandbox:T2:pending:review".parse().unwrap();
    apply(&shop, &late, at(60)).await.unwrap();
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    assert_eq!(row(&shop, "T2").await.flags, ["accepted"]);
    assert_eq!(told_of(&shop, "T2", 100).await, ["mail_received"]);
    let published = published(&shop, at(1000)).await;
    let again: Vec<&PaymentEvent> = published
        .iter()
        .filter(|event| event.key.as_str().ends_with(":accepted"))
        .collect();
    assert_eq!(again.len(), 1, "{published:?}");
    assert_eq!(again[0].data.flags, ["accepted"]);
    assert!(again[0].data.order.bound.is_some());
    let story = shop.payment_story("T2").await.unwrap().remove(0);
    let decided = &story.resolutions[0];
    assert_eq!(
        (decided.verdict.as_str(), decided.by.as_str()),
        ("accepted", "kim")
    );
    assert_eq!(decided.because, "the buyer has called");
}

#[tokio::test]
async fn a_closed_payment_gives_back_what_it_holds_frees_its_order_and_tells_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    apply(&shop, &for_order(EventType::Completed, "T1"), at(1))
        .await
        .unwrap();
    apply(&shop, &for_order(EventType::Denied, "T1"), at(2))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (8, 0, 0), "kept for a person");
    let before = told_of(&shop, "T1", 10).await;
    decide(&shop, "T1", Verdict::Closed, 20).await;
    assert_eq!(
        decide(&shop, "T1", Verdict::Closed, 21).await,
        Resolved::Before
    );
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    assert_eq!(told_of(&shop, "T1", 100).await, before);
    assert_eq!(row(&shop, "T1").await.flags, ["closed"]);
    apply(&shop, &for_order(EventType::Completed, "T2"), at(30))
        .await
        .unwrap();
    assert!(row(&shop, "T2").await.flags.is_empty(), "the order is free");
    // Closed by mistake: both count then. Accepted, it is closed by a refund only.
    decide(&shop, "T1", Verdict::Accepted, 40).await;
    assert_eq!(mugs(&shop).await, (6, 0, 0));
    assert_eq!(
        decide(&shop, "T1", Verdict::Closed, 41).await,
        Resolved::Accepted
    );
    apply(&shop, &refund("T1", "R", 2000), at(50))
        .await
        .unwrap();
    assert_eq!(mugs(&shop).await, (8, 0, 0));
}

#[tokio::test]
async fn a_payment_that_waits_for_no_decision_cannot_be_decided_about() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in [
        for_order(EventType::Completed, "T"),
        dispute(EventType::DisputeOpened, "T", "PP-1"),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    for verdict in [Verdict::Accepted, Verdict::Closed] {
        let refused = decide(&shop, "T", verdict, 2).await;
        let flags = BTreeSet::from(["disputed".to_owned()]);
        assert_eq!(refused, Resolved::Undecidable { flags });
    }
    assert_eq!(mugs(&shop).await, (8, 0, 0));
}

/// A decision between the events of a payment, at any place where there is one to be made, and the
/// events in any order.
#[tokio::test]
async fn a_decision_among_the_events_of_a_payment_ends_the_same_wherever_it_stands() {
    for verdict in [Verdict::Accepted, Verdict::Closed] {
        let mut seen = Vec::new();
        let events = [
            for_order(EventType::Pending, "T2"),
            for_order(EventType::Completed, "T2"),
            for_order(EventType::Denied, "T2"),
            refund("T2", "R", 500),
        ];
        for order in arrival::permutations(&events) {
            for place in 0..=order.len() {
                let folder = tempfile::tempdir().unwrap();
                let shop = shop(&folder, 10).await;
                apply(&shop, &for_order(EventType::Completed, "T1"), at(0))
                    .await
                    .unwrap();
                for event in &order[..place] {
                    apply(&shop, event, at(1)).await.unwrap();
                }
                let subjects = shop.payments_named("T2").await.unwrap();
                let Some(subject) = subjects.first() else {
                    continue;
                };
                let terms = Terms::default();
                let done = resolve(&terms, &shop, subject, &word(verdict, 5)).await;
                if !matches!(done.unwrap(), Some(Resolved::Now { .. })) {
                    continue;
                }
                for event in &order[place..] {
                    apply(&shop, event, at(9)).await.unwrap();
                }
                let row = row(&shop, "T2").await;
                let mut told = told_of(&shop, "T2", 100).await;
                // What was true on the way.
                told.retain(|effect| !["mail_pending", "mail_failed"].contains(&effect.as_str()));
                seen.push((row.status, row.refunded, row.flags, told, mugs(&shop).await));
            }
        }
        assert!(seen.len() > 20, "{}", seen.len());
        for one in &seen {
            assert_eq!(one, &seen[0]);
        }
        let (taken, told): (i64, &[&str]) = match verdict {
            Verdict::Accepted => (6, &["mail_received", "mail_refunded:R"]),
            Verdict::Closed | Verdict::Open => (8, &["mail_refunded:R"]),
        };
        assert_eq!(seen[0].3, told);
        assert_eq!(seen[0].4, (taken, 0, 0));
    }
}

#[tokio::test]
async fn of_many_who_accept_at_the_same_time_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for txn in ["T1", "T2"] {
        apply(&shop, &for_order(EventType::Completed, txn), at(1))
            .await
            .unwrap();
    }
    let tasks = (0..8).map(|second| decide(&shop, "T2", Verdict::Accepted, second));
    let all = futures_util::future::join_all(tasks).await;
    let now = all
        .iter()
        .filter(|done| matches!(done, Resolved::Now { .. }));
    assert_eq!(now.count(), 1);
    assert_eq!(mugs(&shop).await, (6, 0, 0));
}

/// An eCheck fails, the buyer pays again, and the eCheck completes after all.
#[tokio::test]
async fn a_late_completed_after_a_refusal_takes_no_goods_when_another_payment_settled_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in [
        for_order(EventType::Failed, "T1"),
        for_order(EventType::Completed, "T2"),
        for_order(EventType::Completed, "T1"),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    assert_eq!(
        row(&shop, "T1").await.flags,
        ["order_already_paid", "paid_after_denied"]
    );
}
