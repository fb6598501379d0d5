//! What the shop's own queues get.

use quittance_common::ids::OrderId;

use super::*;

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
