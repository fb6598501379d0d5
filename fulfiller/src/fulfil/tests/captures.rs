//! An authorisation and its captures are one payment.

use super::*;

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

/// What was set aside for a capture alone has grown too old, and then its authorisation is found.
#[tokio::test]
async fn the_open_reservation_of_an_authorisation_does_not_expire_with_that_of_its_capture() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    let day = 86_400;
    apply(&shop, &event(EventType::Pending, "C", "C"), at(0))
        .await
        .unwrap();
    let stale = shop.stale_reservations(at(day), None, 10).await.unwrap();
    release_stale(&shop, &stale[0], at(day)).await.unwrap();
    apply(&shop, &authorized("A"), at(2 * day)).await.unwrap();
    let mut review = capture("A", "C", 2000);
    review.event_type = EventType::Pending;
    review.key = "pp:sandbox:C:pending:review".parse().unwrap();
    apply(&shop, &review, at(3 * day)).await.unwrap();
    assert_eq!(mugs(&shop).await, (5, 2, 0));
    assert!(only_payment(&shop).await.flags.is_empty());
    let stale = shop
        .stale_reservations(at(4 * day), None, 10)
        .await
        .unwrap();
    assert_eq!(stale.len(), 1, "or it would be kept from others for ever");
    release_stale(&shop, &stale[0], at(4 * day)).await.unwrap();
    assert_eq!(mugs(&shop).await, (5, 0, 0));
}

#[tokio::test]
async fn payments_that_name_each_other_as_parents_are_no_endless_circle() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    apply(&shop, &capture("A", "B", 100), at(1)).await.unwrap();
    apply(&shop, &capture("B", "A", 100), at(2)).await.unwrap();
    assert_eq!(only_payment(&shop).await.events, 2);
}
