//! Races for orders: one payment settles an order, and a payment settles one order.

use futures_util::future::join_all;
use quittance_common::clock;
use quittance_common::event::PaymentEvent;
use quittance_common::shop::{PaymentFilter, Settlement, Shop};
use quittance_fulfiller::fulfil::Applied;

use super::{TASKS, apply_at_last, completed, import, payment, stock};

fn for_order(txn: &str, sku: &str, order: &str) -> PaymentEvent {
    let mut event = completed(txn, &[sku], 1);
    event.data.order.bound = order.parse().ok();
    event
}

/// Twenty payments for one order at the same instant: one settles it and gets the goods, the others
/// are kept, flagged, and get nothing.
pub(super) async fn of_many_payments_for_one_order_at_once_one_settles_it(shop: &Shop) {
    import(shop, &["settled"], 100).await;
    let events: Vec<PaymentEvent> = (0..TASKS)
        .map(|n| for_order(&format!("SETTLES{n}"), "settled", "order-settled"))
        .collect();
    let applied = join_all(events.iter().map(|event| apply_at_last(shop, event))).await;
    assert!(applied.iter().all(|a| matches!(a, Applied::New(_))));
    let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    let rows = rows.iter().filter(|row| row.txn_id.starts_with("SETTLES"));
    let (settled, late): (Vec<_>, Vec<_>) = rows.partition(|row| row.flags.is_empty());
    assert_eq!((settled.len(), late.len()), (1, TASKS - 1));
    for row in late {
        assert_eq!(row.flags, ["order_already_paid"]);
        assert_eq!(row.status, "completed", "the money came all the same");
    }
    assert_eq!(stock(shop, "settled").await.on_hand, 99);
}

/// Twenty messages of one transaction, each bound to another order, at the same instant: it settles
/// one, and the other orders are still open.
pub(super) async fn one_transaction_at_once_settles_one_order_of_many(shop: &Shop) {
    import(shop, &["one-order"], 100).await;
    let events: Vec<PaymentEvent> = (0..TASKS)
        .map(|n| {
            let mut event = for_order("ONEORDER", "one-order", &format!("order-of-many-{n}"));
            event.key = format!("pp:sandbox:ONEORDER:payment.completed:{n}")
                .parse()
                .unwrap();
            event
        })
        .collect();
    let applied = join_all(events.iter().map(|event| apply_at_last(shop, event))).await;
    assert!(applied.iter().all(|a| matches!(a, Applied::New(_))));
    assert_eq!(
        payment(shop, "ONEORDER").await.flags,
        ["settles_another_order"]
    );
    assert_eq!(stock(shop, "one-order").await.on_hand, 99);
    // Whoever pays for the orders now settles all of them but the one.
    let later: Vec<PaymentEvent> = (0..TASKS)
        .map(|n| {
            for_order(
                &format!("PAYSLATER{n}"),
                "one-order",
                &format!("order-of-many-{n}"),
            )
        })
        .collect();
    join_all(later.iter().map(|event| apply_at_last(shop, event))).await;
    let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    let late = rows
        .iter()
        .filter(|row| row.txn_id.starts_with("PAYSLATER") && row.flags == ["order_already_paid"]);
    assert_eq!(
        late.count(),
        1,
        "of all orders the transaction had settled one"
    );
}

/// The same of the books alone, where a transaction asks for one order after another.
pub(super) async fn the_books_let_a_subject_settle_one_order(shop: &Shop) {
    let event = completed("BOOKSONE", &[], 1);
    let tasks = (0..TASKS).map(|n| {
        let event = &event;
        async move {
            let mut books = shop.begin(event, clock::now()).await.unwrap();
            let order = format!("order-of-books-{n}");
            let settlement = books.settle_order(&order, None).await.unwrap();
            let again = books.settle_order(&order, None).await.unwrap();
            assert_eq!(settlement, again);
            books.commit().await.unwrap();
            settlement
        }
    });
    let settlements = join_all(tasks).await;
    let count = |wanted| settlements.iter().filter(|one| **one == wanted).count();
    assert_eq!(count(Settlement::Settled), 1, "{settlements:?}");
    assert_eq!(count(Settlement::AnotherOrder), TASKS - 1);
}
