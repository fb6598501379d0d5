//! What the shop's own queues get.

use quittance_common::ids::OrderId;
use quittance_common::rules::{Criteria, NotifyRule, Rule, Rules, Ruling, StockRule};

use super::*;
use crate::terms::{StockBy, Terms};

/// The events that wait for `ipn.payments`, by id.
pub(super) async fn published(shop: &Shop, now: Timestamp) -> Vec<PaymentEvent> {
    let rows = shop
        .lease_outbox(now, Duration::from_secs(1), 100)
        .await
        .unwrap();
    let mut events: Vec<PaymentEvent> = rows
        .iter()
        .filter(|row| row.to != OutgoingTo::Notify)
        .map(|row| PaymentEvent::from_json(row.payload.as_bytes()).unwrap())
        .collect();
    events.sort_by(|a, b| a.key.cmp(&b.key));
    events
}

fn for_order(event_type: EventType, txn: &str) -> PaymentEvent {
    let mut event = event(event_type, txn, txn);
    event.data.order.bound = "1001".parse().ok();
    event
}

fn told(event: &PaymentEvent) -> (Option<&str>, Vec<&str>) {
    let order = &event.data.order.bound;
    let flags = event.data.flags.iter().map(String::as_str).collect();
    (order.as_ref().map(OrderId::as_str), flags)
}

#[tokio::test]
async fn a_second_payment_for_an_order_is_published_without_the_order_and_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for txn in ["T1", "T2"] {
        let mut completed = for_order(EventType::Completed, txn);
        completed.data.flags = vec!["overpaid".into()];
        apply(&shop, &completed, at(1)).await.unwrap();
    }
    let published = published(&shop, at(100)).await;
    let told: Vec<_> = published.iter().map(told).collect();
    assert_eq!(
        told,
        [
            (Some("1001"), vec!["overpaid"]),
            (None, vec!["order_already_paid", "overpaid"])
        ]
    );
}

#[tokio::test]
async fn a_payment_that_was_refused_as_well_is_published_without_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event_type in [EventType::Denied, EventType::Completed] {
        apply(&shop, &for_order(event_type, "T"), at(1))
            .await
            .unwrap();
    }
    let published = published(&shop, at(100)).await;
    let completed = published
        .iter()
        .find(|event| event.event_type == EventType::Completed);
    assert_eq!(told(completed.unwrap()), (None, vec!["paid_after_denied"]));
}

#[tokio::test]
async fn an_event_bound_to_another_order_than_the_settled_one_is_published_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    apply(&shop, &for_order(EventType::Completed, "T"), at(1))
        .await
        .unwrap();
    let mut other = for_order(EventType::Completed, "T");
    other.key = "pp:sandbox:T:completed:again".parse().unwrap();
    other.data.order.bound = "1002".parse().ok();
    apply(&shop, &other, at(2)).await.unwrap();
    let published = published(&shop, at(100)).await;
    let orders: Vec<_> = published.iter().map(|event| told(event).0).collect();
    assert_eq!(orders, [None, Some("1001")], "by key");
}

/// What was published of payments: id of the event, of the payment, whether it sold the goods.
async fn payments_told(shop: &Shop, now: Timestamp) -> Vec<(String, String, bool)> {
    let rows = shop
        .lease_outbox(now, Duration::from_secs(1), 100)
        .await
        .unwrap();
    let mut told: Vec<_> = rows
        .iter()
        .filter(|row| row.to != OutgoingTo::Notify)
        .map(|row| serde_json::from_str::<serde_json::Value>(&row.payload).unwrap())
        .map(|event| {
            let text = |member: &serde_json::Value| member.as_str().unwrap().to_owned();
            let payment = &event["data"]["payment"];
            let sold = payment["sold"].as_bool().unwrap();
            (text(&event["id"]), text(&payment["id"]), sold)
        })
        .collect();
    told.sort();
    told
}

fn by_http() -> Terms {
    Terms {
        stock: StockBy::Http,
        ..Terms::default()
    }
}

#[tokio::test]
async fn of_an_authorisation_and_its_captures_one_event_sold_the_goods_whatever_came_first() {
    let events = [
        authorized("A"),
        capture("A", "C1", 1200),
        capture("A", "C2", 800),
    ];
    for terms in [Terms::default(), by_http()] {
        for order in arrival::permutations(&events) {
            let folder = tempfile::tempdir().unwrap();
            let shop = shop(&folder, 10).await;
            for event in &order {
                apply_under(&terms, &shop, event, at(1)).await.unwrap();
            }
            let told = payments_told(&shop, at(100)).await;
            assert_eq!(told.len(), 3);
            let first = order
                .iter()
                .find(|event| event.event_type == EventType::Completed)
                .unwrap();
            for (event, payment, sold) in told {
                assert_eq!(payment, "paypal:sandbox:payment:A");
                assert_eq!(sold, event == first.key.as_str(), "{event}");
            }
        }
    }
}

/// A capture that was sold before anybody knew that it is one.
#[tokio::test]
async fn a_capture_that_is_joined_to_its_authorisation_later_has_not_sold_again() {
    for terms in [Terms::default(), by_http()] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 10).await;
        let mut again = capture("A", "C", 2000);
        again.key = "pp:sandbox:C:completed:again".parse().unwrap();
        for event in [event(EventType::Completed, "C", "C"), again] {
            apply_under(&terms, &shop, &event, at(1)).await.unwrap();
        }
        let sold: Vec<_> = payments_told(&shop, at(100)).await;
        assert_eq!(
            sold,
            [
                (
                    "pp:sandbox:C:completed:again",
                    "paypal:sandbox:payment:A",
                    false
                ),
                (
                    "pp:sandbox:C:payment.completed",
                    "paypal:sandbox:payment:C",
                    true
                ),
            ]
            .map(|(event, payment, sold)| (event.to_owned(), payment.to_owned(), sold))
        );
    }
}

#[tokio::test]
async fn an_event_that_brings_further_goods_has_sold_those() {
    for terms in [Terms::default(), by_http()] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 10).await;
        let mut more = for_order(EventType::Completed, "T");
        more.key = "pp:sandbox:T:completed:more".parse().unwrap();
        more.data.lines = vec![line("mug", 2), line("hat", 1)];
        for event in [for_order(EventType::Completed, "T"), more] {
            apply_under(&terms, &shop, &event, at(1)).await.unwrap();
        }
        let told = payments_told(&shop, at(100)).await;
        assert!(told.iter().all(|(_, _, sold)| *sold), "{told:?}");
    }
}

#[tokio::test]
async fn what_was_given_back_before_it_was_paid_or_is_no_payment_for_its_order_has_not_sold() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in [
        refund("T1", "R", 2000),
        event(EventType::Completed, "T1", "T1"),
        for_order(EventType::Completed, "T2"),
        for_order(EventType::Completed, "T3"),
        for_order(EventType::Denied, "T4"),
        for_order(EventType::Completed, "T4"),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    let told = payments_told(&shop, at(100)).await;
    let sold: Vec<&str> = told
        .iter()
        .filter(|(_, _, sold)| *sold)
        .map(|(event, ..)| event.as_str())
        .collect();
    assert_eq!(sold, ["pp:sandbox:T2:payment.completed"]);
}

/// Somebody else counts and thanks: it is sold all the same.
#[tokio::test]
async fn a_payment_whose_stock_and_mail_a_rule_withholds_is_sold_once() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let quiet = Ruling::Process {
        stock: StockRule::Ignore,
        notify: NotifyRule::None,
    };
    let terms = Terms::ruled(Rules::new(vec![Rule {
        index: 0,
        when: Criteria::default(),
        then: quiet,
    }]));
    for event in [capture("A", "C1", 1200), capture("A", "C2", 800)] {
        apply_under(&terms, &shop, &event, at(1)).await.unwrap();
    }
    assert_eq!(mugs(&shop).await, (10, 0, 0));
    let told = payments_told(&shop, at(100)).await;
    let sold: Vec<bool> = told.iter().map(|(_, _, sold)| *sold).collect();
    assert_eq!(sold, [true, false]);
}
