//! Cancelled orders.

use quittance_common::clock;
use quittance_common::event::EventType;
use quittance_common::money::Money;
use quittance_common::order::Order;
use quittance_common::shop::{Cancelled, NewCancellation, Shop};
use quittance_fulfiller::fulfil::cancel_order;
use quittance_fulfiller::terms::Terms;

use super::{apply_at_last, completed, import, payment, stock};

/// A clerk and a payment at the same instant: either the order is paid and stays, or it is
/// cancelled and nothing of it is taken.
pub(super) async fn an_order_is_cancelled_or_paid_and_never_both(shop: &Shop) {
    const ROUNDS: i64 = 12;
    import(shop, &["cancelled"], 100).await;
    let mut sold = 0;
    for round in 0..ROUNDS {
        let (id, txn) = (format!("CANCEL-{round}"), format!("CANCEL-TX-{round}"));
        let order = Order {
            id: id.parse().unwrap(),
            total: Money::from_minor(2000, "EUR".parse().unwrap()),
            lines: [("cancelled".parse().unwrap(), 1)].into(),
        };
        // Every other one is signed only.
        if round % 2 == 0 {
            shop.add_orders(std::slice::from_ref(&order), clock::now())
                .await
                .unwrap();
        }
        let mut paid = completed(&txn, &["cancelled"], 1);
        paid.data.order.bound = Some(order.id.clone());
        let mut pending = paid.clone();
        pending.event_type = EventType::Pending;
        pending.key = format!("pp:sandbox:{txn}:payment.pending").parse().unwrap();
        apply_at_last(shop, &pending).await;
        let word = NewCancellation {
            by: "kim".into(),
            because: String::new(),
            at: clock::now(),
        };
        let terms = Terms::default();
        let (cancelled, _) = futures_util::join!(
            cancel_order(&terms, shop, &order.id, &word),
            apply_at_last(shop, &paid)
        );
        let flags = payment(shop, &txn).await.flags;
        match cancelled.unwrap().outcome {
            Cancelled::Paid { txn_id, .. } => {
                assert_eq!(txn_id, txn);
                assert!(flags.is_empty(), "{flags:?}");
                sold += 1;
            }
            Cancelled::Now | Cancelled::Unregistered => assert_eq!(flags, ["order_cancelled"]),
            Cancelled::Before { .. } => panic!("cancelled once"),
        }
    }
    let left = stock(shop, "cancelled").await;
    assert_eq!((left.on_hand, left.reserved), (100 - sold, 0));
}
