//! Auctions of several items: each item has a message, which shows the amount of the whole.

use quittance_common::event::AuctionItem;
use quittance_common::shop::ProductRow;

use super::*;
use crate::announcement::News;
use crate::testing::eur;

/// `pieces` of `sku`, one of two items of auction `txn` over 30.00 EUR.
fn part(event_type: EventType, txn: &str, sku: &str, pieces: u32) -> PaymentEvent {
    let mut part = event(event_type, txn, txn);
    part.key = format!("{}:auction:{sku}", part.key).parse().unwrap();
    part.data.gross = Some(eur(3000));
    part.data.lines = vec![line(sku, pieces)];
    part.data.asked = Some(eur(i64::from(pieces) * 1000));
    part.data.auction = Some(AuctionItem {
        items: 2,
        item: sku.to_owned(),
    });
    part
}

fn mug() -> PaymentEvent {
    part(EventType::Completed, "T", "mug", 2)
}

fn pot() -> PaymentEvent {
    part(EventType::Completed, "T", "pot", 1)
}

/// Ten mugs and ten pots.
async fn fair(folder: &tempfile::TempDir) -> Shop {
    let shop = shop(folder, 10).await;
    let pot = ProductRow {
        sku: "pot".parse().unwrap(),
        name: "A pot".into(),
        price: eur(1000),
        on_hand: 10,
    };
    shop.import_products(&[pot], at(0)).await.unwrap();
    shop
}

/// `(on_hand, reserved)` of mugs and pots.
async fn shelf(shop: &Shop) -> [(i64, i64); 2] {
    let rows = shop.stock().await.unwrap();
    [0, 1].map(|nth: usize| (rows[nth].on_hand, rows[nth].reserved))
}

/// Applies them one by one and gives the shelf, the payment and the names of the buyer's mails.
async fn after(events: &[PaymentEvent]) -> ([(i64, i64); 2], PaymentRow, Vec<&'static str>) {
    let folder = tempfile::tempdir().unwrap();
    let shop = fair(&folder).await;
    for (event, second) in events.iter().zip(1..) {
        apply(&shop, event, at(second)).await.unwrap();
    }
    let announced = announced(&shop, at(60)).await;
    let mut mails: Vec<_> = announced.iter().map(|told| told.news.name()).collect();
    mails.sort_unstable();
    (shelf(&shop).await, only_payment(&shop).await, mails)
}

#[tokio::test]
async fn the_items_of_one_auction_are_taken_once_in_either_order_and_the_amount_counts_once() {
    for events in [
        [mug(), pot(), mug()],
        [mug(), mug(), pot()],
        [pot(), mug(), pot()],
        [pot(), pot(), mug()],
    ] {
        let (shelf, payment, mails) = after(&events).await;
        assert_eq!(shelf, [(8, 0), (9, 0)]);
        assert_eq!(
            (payment.amount.as_str(), payment.status.as_str()),
            ("30.00", "completed")
        );
        assert!(payment.flags.is_empty(), "{:?}", payment.flags);
        assert_eq!(mails, ["mail_received"], "one mail, not one an item");
    }
}

#[tokio::test]
async fn a_refund_in_full_puts_every_item_back_whenever_it_comes() {
    let back = || refund("T", "R", 3000);
    // The refund comes first, in between and last; the items in either order.
    for (place, mug_first) in [0, 1, 2]
        .into_iter()
        .flat_map(|place| [(place, true), (place, false)])
    {
        let mut events = if mug_first {
            vec![mug(), pot()]
        } else {
            vec![pot(), mug()]
        };
        events.insert(place, back());
        let (shelf, payment, mails) = after(&events).await;
        assert_eq!(shelf, [(10, 0), (10, 0)]);
        assert_eq!(payment.status, "refunded");
        assert!(payment.flags.is_empty(), "{:?}", payment.flags);
        assert_eq!(mails, ["mail_received", "mail_refunded"]);
    }
}

#[tokio::test]
async fn an_item_that_is_missing_is_for_a_person_and_the_others_are_taken() {
    let (shelf, payment, mails) = after(&[pot(), pot()]).await;
    assert_eq!(shelf, [(10, 0), (9, 0)]);
    assert_eq!(payment.amount, "30.00");
    assert_eq!(payment.flags, ["auction_incomplete"]);
    assert_eq!(mails, ["mail_received"]);
}

#[tokio::test]
async fn items_that_cost_more_than_was_paid_are_for_a_person() {
    let mugs = part(EventType::Completed, "T", "mug", 3);
    let (_, payment, _) = after(&[mugs.clone(), pot()]).await;
    assert_eq!(payment.flags, ["auction_short"]);
    // Held against an order the checks have compared the whole of it.
    let [mugs, pot] = [mugs, pot()].map(|mut event| {
        event.data.order.bound = "1001".parse().ok();
        event.data.asked = Some(eur(3000));
        event
    });
    let (_, payment, _) = after(&[mugs, pot]).await;
    assert!(payment.flags.is_empty(), "{:?}", payment.flags);
}

#[tokio::test]
async fn pending_items_are_set_aside_each_and_all_sold_when_the_transaction_is_paid() {
    let pending = |sku, pieces| part(EventType::Pending, "T", sku, pieces);
    let (shelf, payment, _) = after(&[pending("pot", 1), pending("mug", 2)]).await;
    assert_eq!(shelf, [(10, 2), (10, 1)]);
    assert_eq!(payment.status, "pending");
    for events in [
        [pending("mug", 2), pending("pot", 1), mug(), pot()],
        [pot(), pending("mug", 2), pending("pot", 1), mug()],
    ] {
        assert_eq!(after(&events).await.0, [(8, 0), (9, 0)]);
        // One transaction has one state: what is paid is paid for all of its items.
        assert_eq!(after(&events[..3]).await.0, [(8, 0), (9, 0)]);
    }
    let denied = part(EventType::Denied, "T", "mug", 2);
    let (shelf, payment, _) = after(&[pending("mug", 2), pending("pot", 1), denied]).await;
    assert_eq!(shelf, [(10, 0), (10, 0)]);
    assert!(payment.flags.is_empty(), "{:?}", payment.flags);
}

#[tokio::test]
async fn an_item_that_an_older_build_has_recorded_stays_sold() {
    let mut before = mug();
    before.key = "pp:sandbox:T:completed:".parse().unwrap();
    before.data.auction = None;
    before.data.asked = None;
    let (shelf, payment, _) = after(&[before, pot(), mug()]).await;
    assert_eq!(shelf, [(8, 0), (9, 0)]);
    assert!(payment.flags.is_empty(), "{:?}", payment.flags);
}

#[tokio::test]
async fn the_buyer_is_told_every_item_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let shop = fair(&folder).await;
    let skus = |told: &Announcement| -> Vec<String> {
        let skus = told.lines.iter().filter_map(|line| line.sku.as_ref());
        skus.map(ToString::to_string).collect()
    };
    apply(&shop, &mug(), at(1)).await.unwrap();
    apply(&shop, &pot(), at(2)).await.unwrap();
    apply(&shop, &refund("T", "R", 3000), at(3)).await.unwrap();
    let announced = announced(&shop, at(60)).await;
    assert_eq!(announced[0].news, News::Received);
    assert_eq!(
        skus(&announced[0]),
        Vec::<String>::new(),
        "one of two was known"
    );
    assert_eq!(announced[1].news.name(), "mail_refunded");
    assert_eq!(skus(&announced[1]), ["mug", "pot"]);
}
