//! What the shop database promises, on whichever database it runs. Each function takes an open
//! [`Shop`] and names of its own, so that all of them can share one database.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "assertions"
)]

mod captures;
mod money;
mod orders;
mod retention;
mod settlements;
mod stories;
mod variants;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use quittance_common::claims::Fingerprint;
use quittance_common::clock;
use quittance_common::event::{
    Details, Environment, EventData, EventType, Line, OrderRef, Payer, PaymentEvent, Source,
    Subject,
};
use quittance_common::ids::{GatewayId, MessageId};
use quittance_common::money::Money;
use quittance_common::shop::announcement::{Announced, Begun};
use quittance_common::shop::{PaymentFilter, PaymentRow, ProductRow, Shop, StockRow};
use quittance_fulfiller::fulfil::{Applied, apply};

/// Tasks that do the same at once.
const TASKS: usize = 20;

/// Every promise, one after the other.
pub async fn all(shop: &Shop) {
    the_same_event_by_many_has_one_effect(shop).await;
    the_last_items_are_sold_once_and_the_rest_is_owed(shop).await;
    the_same_key_with_another_meaning_changes_nothing(shop).await;
    carts_with_the_same_items_in_another_order_do_not_deadlock(shop).await;
    events_of_one_payment_at_once_leave_what_they_would_leave_one_by_one(shop).await;
    a_refund_before_its_payment_ends_as_the_other_order(shop).await;
    captures_and_their_refunds_at_once_are_one_payment(shop).await;
    captures::a_capture_finds_what_was_authorised(shop).await;
    an_outbox_row_is_leased_to_one_relay_only(shop).await;
    a_notification_is_taken_in_hand_by_one_sender_only(shop).await;
    numbers_and_names_come_back_as_they_went_in(shop).await;
    money::verified_money_is_at_risk_until_the_books_have_it(shop).await;
    money::quarantined_money_is_at_risk_until_somebody_decides(shop).await;
    money::deleted_events_are_at_risk_no_longer_and_released_ones_still_are(shop).await;
    money::money_counts_once_a_payment_and_not_after_it_went_back(shop).await;
    money::money_that_went_back_is_at_risk_no_longer(shop).await;
    orders::an_order_is_cancelled_or_paid_and_never_both(shop).await;
    retention::old_personal_data_goes_and_effects_stay_single(shop).await;
    retention::an_old_parked_message_loses_its_bytes_and_keeps_its_reason(shop).await;
    settlements::of_many_payments_for_one_order_at_once_one_settles_it(shop).await;
    settlements::one_transaction_at_once_settles_one_order_of_many(shop).await;
    settlements::the_books_let_a_subject_settle_one_order(shop).await;
    variants::a_product_is_found_by_its_options_until_it_is_no_variant_any_more(shop).await;
    variants::an_import_that_leaves_open_which_product_is_meant_changes_nothing(shop).await;
    variants::the_items_of_one_auction_at_once_are_all_taken(shop).await;
    stories::a_refused_renewal_is_told_with_its_subscription(shop).await;
    stories::a_mail_that_was_given_up_is_told_as_such(shop).await;
    stories::a_withheld_effect_names_its_rule(shop).await;
    stories::values_longer_than_documented_are_stored_whole(shop).await;
}

/// A completed payment of `quantity` of each sku.
pub fn completed(txn: &str, skus: &[&str], quantity: u32) -> PaymentEvent {
    let mut event = event(EventType::Completed, txn, txn, 2000);
    event.data.lines = skus
        .iter()
        .map(|sku| Line {
            sku: Some(sku.parse().unwrap()),
            name: format!("A {sku}"),
            quantity,
            gross: None,
            options: Vec::new(),
        })
        .collect();
    event
}

/// An event of `payment` whose own transaction is `txn`, without lines.
pub fn event(event_type: EventType, payment: &str, txn: &str, minor: i64) -> PaymentEvent {
    let key = format!("pp:sandbox:{txn}:{event_type}");
    PaymentEvent {
        fingerprint: Fingerprint::of(key.as_bytes()),
        key: key.parse().unwrap(),
        event_type,
        gateway: GatewayId::PayPal,
        account: "default".parse().unwrap(),
        received_at: clock::now(),
        trace: None,
        data: EventData {
            message_id: MessageId::from_name(&key),
            source: Source::Ipn,
            environment: Environment::Sandbox,
            subject: Subject::Payment(payment.parse().unwrap()),
            txn_id: Some(txn.parse().unwrap()),
            parent_txn_id: None,
            txn_type: None,
            payment_status: None,
            pending_reason: None,
            reason_code: None,
            subscription: None,
            gross: Some(Money::from_minor(minor, "EUR".parse().unwrap())),
            asked: None,
            auction: None,
            terms: Vec::new(),
            fee: None,
            occurred_at: None,
            order: OrderRef::default(),
            lines: Vec::new(),
            payer: Payer {
                email: Some("buyer@example.org".into()),
                ..Payer::default()
            },
            flags: Vec::new(),
            details: Details::default(),
        },
    }
}

async fn import(shop: &Shop, skus: &[&str], on_hand: u32) {
    let rows: Vec<ProductRow> = skus
        .iter()
        .map(|sku| ProductRow {
            sku: sku.parse().unwrap(),
            name: "Tasse „Grüße“ ☕".into(),
            price: Money::from_minor(1995, "EUR".parse().unwrap()),
            on_hand,
        })
        .collect();
    shop.import_products(&rows, clock::now()).await.unwrap();
}

async fn stock(shop: &Shop, sku: &str) -> StockRow {
    let rows = shop.stock().await.unwrap();
    rows.into_iter().find(|row| row.sku == sku).unwrap()
}

async fn payment(shop: &Shop, txn: &str) -> PaymentRow {
    let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    rows.into_iter().find(|row| row.txn_id == txn).unwrap()
}

/// Applies; a deadlock or a serialisation failure is tried again, as the ladder would.
async fn apply_at_last(shop: &Shop, event: &PaymentEvent) -> Applied {
    for _ in 0..20 {
        match apply(shop, event, clock::now()).await {
            Ok(applied) => return applied,
            Err(error) if error.is_transient() => {}
            Err(error) => panic!("{}: {error}", event.key),
        }
    }
    panic!("{}: transient errors only", event.key)
}

/// Twenty deliveries of one event at the same instant: one effect, the rest duplicates.
pub async fn the_same_event_by_many_has_one_effect(shop: &Shop) {
    import(shop, &["same"], 10).await;
    let event = completed("SAME", &["same"], 1);
    let applied = join_all((0..TASKS).map(|_| apply_at_last(shop, &event))).await;
    let new = applied
        .iter()
        .filter(|applied| matches!(applied, Applied::New(_)))
        .count();
    assert_eq!(new, 1, "{applied:?}");
    assert_eq!(stock(shop, "same").await.on_hand, 9);
    assert_eq!(payment(shop, "SAME").await.events, 1);
}

/// Twenty buyers of the last three: none left, seventeen owed, nobody refused.
pub async fn the_last_items_are_sold_once_and_the_rest_is_owed(shop: &Shop) {
    import(shop, &["last"], 3).await;
    let events: Vec<PaymentEvent> = (0..TASKS)
        .map(|n| completed(&format!("LAST{n}"), &["last"], 1))
        .collect();
    let applied = join_all(events.iter().map(|event| apply_at_last(shop, event))).await;
    assert!(applied.iter().all(|a| matches!(a, Applied::New(_))));
    let row = stock(shop, "last").await;
    assert_eq!((row.on_hand, row.backordered), (0, 17));
}

/// One key, two meanings: the first stays, the second is told apart from a duplicate.
pub async fn the_same_key_with_another_meaning_changes_nothing(shop: &Shop) {
    import(shop, &["meaning"], 10).await;
    let event = completed("MEANING", &["meaning"], 1);
    assert!(matches!(apply_at_last(shop, &event).await, Applied::New(_)));
    let mut other = completed("MEANING", &["meaning"], 5);
    other.fingerprint = Fingerprint::of(b"another meaning");
    assert_eq!(apply_at_last(shop, &other).await, Applied::Conflict);
    assert_eq!(apply_at_last(shop, &event).await, Applied::Duplicate);
    assert_eq!(stock(shop, "meaning").await.on_hand, 9);
}

/// Carts that name the same products in opposite orders, all at once: the first attempt of each
/// succeeds, because products are locked in one order.
pub async fn carts_with_the_same_items_in_another_order_do_not_deadlock(shop: &Shop) {
    import(shop, &["cart-a", "cart-b", "cart-c"], 100).await;
    let events: Vec<PaymentEvent> = (0..TASKS)
        .map(|n| {
            let mut skus = ["cart-a", "cart-b", "cart-c"];
            skus.rotate_left(n % 3);
            completed(&format!("CART{n}"), &skus, 2)
        })
        .collect();
    let tasks = events.iter().map(|event| apply(shop, event, clock::now()));
    for result in join_all(tasks).await {
        assert!(matches!(result, Ok(Applied::New(_))), "{result:?}");
    }
    for sku in ["cart-a", "cart-b", "cart-c"] {
        assert_eq!(stock(shop, sku).await.on_hand, 60);
    }
}

/// Pending, completed and two partial refunds of one payment, all at the same instant.
pub async fn events_of_one_payment_at_once_leave_what_they_would_leave_one_by_one(shop: &Shop) {
    import(shop, &["once"], 5).await;
    let mut pending = completed("ONCE", &["once"], 2);
    pending.event_type = EventType::Pending;
    pending.key = "pp:sandbox:ONCE:payment.pending".parse().unwrap();
    let events = [
        pending,
        completed("ONCE", &["once"], 2),
        event(EventType::Refunded, "ONCE", "ONCE-R1", -500),
        event(EventType::Refunded, "ONCE", "ONCE-R2", -500),
    ];
    join_all(events.iter().map(|event| apply_at_last(shop, event))).await;
    let row = payment(shop, "ONCE").await;
    assert_eq!((row.status.as_str(), row.events), ("partially_refunded", 4));
    assert_eq!(
        (row.amount.as_str(), row.refunded.as_str()),
        ("20.00", "10.00")
    );
    let stock = stock(shop, "once").await;
    assert_eq!((stock.on_hand, stock.reserved), (3, 0));
}

/// A full refund that overtakes its payment: recorded, and resolved when the payment comes.
pub async fn a_refund_before_its_payment_ends_as_the_other_order(shop: &Shop) {
    import(shop, &["order"], 5).await;
    let mut seen = Vec::new();
    for (txn, refund_first) in [("ORDER1", true), ("ORDER2", false)] {
        let refund = event(EventType::Refunded, txn, &format!("{txn}-R"), -2000);
        let mut events = [completed(txn, &["order"], 2), refund];
        if refund_first {
            events.reverse();
        }
        for event in &events {
            apply_at_last(shop, event).await;
        }
        let mut row = payment(shop, txn).await;
        row.effects.sort();
        // Goods that were paid back before they were sold never moved; the others came back.
        let mut due = vec!["mail_received", "mail_refunded"];
        if !refund_first {
            due.extend(["stock_decremented", "stock_restocked"]);
        }
        assert_eq!(row.effects, due);
        seen.push((row.status, row.flags));
        assert_eq!(stock(shop, "order").await.on_hand, 5);
    }
    assert_eq!(seen.first(), seen.last());
    assert_eq!(seen.first().unwrap().0, "refunded");
}

/// An authorisation, its two captures, a refund and a dispute of them, all at the same instant: one
/// payment whose goods are taken once.
pub async fn captures_and_their_refunds_at_once_are_one_payment(shop: &Shop) {
    import(shop, &["captured"], 100).await;
    for round in 0..5 {
        let id = |name: &str| format!("{name}-{round}");
        let mut authorized = completed(&id("AUTH"), &["captured"], 2);
        authorized.event_type = EventType::Pending;
        authorized.key = format!("pp:sandbox:{}:payment.pending", id("AUTH"))
            .parse()
            .unwrap();
        let capture = |name: &str, minor: i64| {
            let mut capture = completed(&id(name), &["captured"], 2);
            capture.data.parent_txn_id = Some(id("AUTH").parse().unwrap());
            capture.data.gross = Some(Money::from_minor(minor, "EUR".parse().unwrap()));
            capture
        };
        let events = [
            event(EventType::Refunded, &id("CAP1"), &id("CAP1-R"), -500),
            capture("CAP1", 1200),
            capture("CAP2", 800),
            authorized,
            event(EventType::Reversed, &id("CAP2"), &id("CAP2-V"), -800),
        ];
        join_all(events.iter().map(|event| apply_at_last(shop, event))).await;
        let row = payment(shop, &id("AUTH")).await;
        assert_eq!(
            (row.status.as_str(), row.events),
            ("reversed", 5),
            "{row:?}"
        );
        assert_eq!(
            (row.amount.as_str(), row.refunded.as_str()),
            ("20.00", "5.00")
        );
        let stock = stock(shop, "captured").await;
        assert_eq!((stock.on_hand, stock.reserved), (98 - 2 * round, 0));
    }
    let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    assert!(!rows.iter().any(|row| row.txn_id.starts_with("CAP")));
}

/// Many relays at once: every row once, none twice.
pub async fn an_outbox_row_is_leased_to_one_relay_only(shop: &Shop) {
    for n in 0..TASKS {
        apply_at_last(shop, &completed(&format!("LEASE{n}"), &[], 1)).await;
    }
    let waiting = shop.outbox_depth().await.unwrap();
    let now = clock::now();
    let leases = (0..TASKS).map(|_| shop.lease_outbox(now, Duration::from_secs(30), 1000));
    let mut ids = Vec::new();
    for rows in join_all(leases).await {
        ids.extend(rows.unwrap().into_iter().map(|row| row.id));
    }
    let distinct: HashSet<MessageId> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len(), "leased twice");
    assert_eq!(u64::try_from(ids.len()).unwrap(), waiting);
    for id in ids {
        shop.published(id, clock::now()).await.unwrap();
    }
    assert_eq!(shop.outbox_depth().await.unwrap(), 0);
}

/// Ten deliveries of one notification at once: one is sent, and never another.
pub async fn a_notification_is_taken_in_hand_by_one_sender_only(shop: &Shop) {
    let id = MessageId::from_name("contract: one sender");
    let lease = Duration::from_secs(30);
    let now = clock::now();
    let begin = |at| shop.begin_announcement(id, "s", "mail_received", at, lease);
    let answers = join_all((0..TASKS).map(|_| begin(now))).await;
    let mine = answers
        .into_iter()
        .filter(|answer| *answer.as_ref().unwrap() == Begun::Mine)
        .count();
    assert_eq!(mine, 1, "taken in hand by several");
    assert!(!shop.is_announced(id).await.unwrap());
    let later = now.checked_add(lease).unwrap();
    assert_eq!(begin(later).await.unwrap(), Begun::Mine);
    shop.give_up_announcement(id, now).await.unwrap();
    assert_eq!(begin(later).await.unwrap(), Begun::Busy);
    shop.record_announcement(id, "s", "mail_received", Announced::Sent, later)
        .await
        .unwrap();
    assert!(shop.is_announced(id).await.unwrap());
    let much_later = later.checked_add(lease).unwrap();
    assert_eq!(begin(much_later).await.unwrap(), Begun::Before);
}

/// Text of any script, exact prices, and skus with odd characters.
pub async fn numbers_and_names_come_back_as_they_went_in(shop: &Shop) {
    let sku = "Größe M / 100% 'x'";
    import(shop, &[sku], 7).await;
    let row = stock(shop, sku).await;
    assert_eq!(row.name, "Tasse „Grüße“ ☕");
    assert_eq!(
        (row.price.as_str(), row.currency.as_str()),
        ("19.95", "EUR")
    );
    shop.set_stock(&sku.parse().unwrap(), 2, clock::now())
        .await
        .unwrap();
    assert_eq!(stock(shop, sku).await.on_hand, 2);
}
