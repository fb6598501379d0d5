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

/// An authorisation of half of the order `O` at the gateway.
fn part(txn: &str) -> PaymentEvent {
    let mut part = authorized(txn);
    part.data.gross = Some(eur(1000));
    part.data.parent_txn_id = Some("O".parse().unwrap());
    part
}

/// Before their authorisations tell that they belong together, captures of two are two payments,
/// and the buyer may hear of each: books and stock end the same in every order.
#[tokio::test]
async fn captures_of_two_authorisations_of_one_order_are_one_payment_in_every_order() {
    let events = [
        part("A1"),
        part("A2"),
        capture("A1", "C1", 1000),
        capture("A2", "C2", 1000),
    ];
    for order in arrival::permutations(&events) {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 5).await;
        for event in &order {
            apply(&shop, event, at(1)).await.unwrap();
        }
        let row = only_payment(&shop).await;
        assert_eq!(
            (
                row.txn_id.as_str(),
                row.status.as_str(),
                row.amount.as_str()
            ),
            ("O", "completed", "20.00")
        );
        assert!(row.flags.is_empty(), "{:?}", row.flags);
        assert_eq!(mugs(&shop).await, (3, 0, 0));
    }
}

#[tokio::test]
async fn goods_that_only_the_second_capture_names_are_taken_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 9).await;
    let of = |txn: &str, lines| {
        let mut capture = capture("A", txn, 1000);
        capture.data.lines = lines;
        capture
    };
    for capture in [
        of("C1", vec![line("pot", 1)]),
        of("C2", vec![line("mug", 2)]),
        of("C3", vec![line("mug", 2)]),
    ] {
        apply(&shop, &capture, at(1)).await.unwrap();
    }
    assert_eq!(mugs(&shop).await, (7, 0, 0));
}
