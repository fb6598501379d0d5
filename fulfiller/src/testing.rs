//! Events and shops for this crate's unit tests.

use jiff::Timestamp;
use quittance_common::claims::Fingerprint;
use quittance_common::event::{
    Details, Environment, EventData, EventType, Line, OrderRef, Payer, PaymentEvent, Source,
    Subject,
};
use quittance_common::ids::{GatewayId, MessageId, TxnId};
use quittance_common::money::Money;
use quittance_common::settings::ShopDatabase;
use quittance_common::shop::{ProductRow, Shop};
use quittance_common::status::{PaymentStatus, PendingReason, TxnType};

/// Seconds after the first instant of 2026.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600_i64.saturating_add(seconds)).unwrap()
}

pub(crate) fn eur(minor: i64) -> Money {
    Money::from_minor(minor, "EUR".parse().unwrap())
}

/// An event of payment `payment` whose own transaction is `txn`; its key is made of `txn` and type.
pub(crate) fn event(event_type: EventType, payment: &str, txn: &str) -> PaymentEvent {
    let key = format!("pp:sandbox:{txn}:{event_type}");
    let is_payments_own = payment == txn;
    PaymentEvent {
        fingerprint: Fingerprint::of(key.as_bytes()),
        key: key.parse().unwrap(),
        event_type,
        gateway: GatewayId::PayPal,
        account: "default".parse().unwrap(),
        received_at: at(0),
        trace: None,
        data: EventData {
            message_id: MessageId::from_name(&key),
            source: Source::Ipn,
            environment: Environment::Sandbox,
            subject: Subject::Payment(payment.parse().unwrap()),
            txn_id: Some(txn.parse().unwrap()),
            parent_txn_id: (!is_payments_own).then(|| payment.parse().unwrap()),
            txn_type: None,
            payment_status: None,
            pending_reason: (event_type == EventType::Pending).then_some(PendingReason::Echeck),
            reason_code: None,
            subscription: None,
            gross: Some(eur(2000)),
            asked: None,
            auction: None,
            terms: Vec::new(),
            fee: None,
            occurred_at: None,
            order: OrderRef::default(),
            lines: if is_payments_own {
                vec![line("mug", 2)]
            } else {
                Vec::new()
            },
            payer: Payer {
                email: Some("buyer@example.org".into()),
                name: Some("Jo Doe".into()),
                ..Payer::default()
            },
            flags: Vec::new(),
            details: Details::default(),
        },
    }
}

pub(crate) fn refund(payment: &str, txn: &str, minor: i64) -> PaymentEvent {
    let mut refund = event(EventType::Refunded, payment, txn);
    refund.data.gross = Some(eur(minor.saturating_neg()));
    refund
}

/// A dispute about `payment`: its own subject is the case, its transaction the payment's.
pub(crate) fn dispute(event_type: EventType, payment: &str, case: &str) -> PaymentEvent {
    let mut dispute = event(event_type, payment, payment);
    dispute.key = format!("pp:sandbox:case:{case}:{event_type}")
        .parse()
        .unwrap();
    dispute.data.subject = Subject::Case(case.into());
    dispute.data.txn_id = Some(payment.parse::<TxnId>().unwrap());
    dispute.data.gross = None;
    dispute.data.lines = Vec::new();
    dispute
}

pub(crate) fn line(sku: &str, quantity: u32) -> Line {
    Line {
        sku: Some(sku.parse().unwrap()),
        name: format!("A {sku}"),
        quantity,
        gross: None,
        options: Vec::new(),
    }
}

/// A shop on a file in `folder`, with `on_hand` mugs.
pub(crate) async fn shop(folder: &tempfile::TempDir, on_hand: u32) -> Shop {
    let database = ShopDatabase::Sqlite(folder.path().join("shop.sqlite"));
    let shop = Shop::open(&database).await.unwrap();
    let mug = ProductRow {
        sku: "mug".parse().unwrap(),
        name: "A mug".into(),
        price: eur(1000),
        on_hand,
    };
    shop.import_products(&[mug], at(0)).await.unwrap();
    shop
}

/// `(on_hand, reserved, backordered)` of the mugs.
pub(crate) async fn mugs(shop: &Shop) -> (i64, i64, i64) {
    let row = shop.stock().await.unwrap().remove(0);
    (row.on_hand, row.reserved, row.backordered)
}

/// A message about the life of subscription `id`.
pub(crate) fn lifecycle(id: &str, txn_type: &TxnType) -> PaymentEvent {
    let mut event = event(EventType::SubscriptionChanged, id, id);
    event.key = format!("pp:sandbox:sub:{id}:{}", txn_type.as_str())
        .parse()
        .unwrap();
    event.data.subject = Subject::Subscription(id.into());
    event.data.txn_type = Some(txn_type.clone());
    event.data.txn_id = None;
    event.data.gross = None;
    event.data.lines = Vec::new();
    event
}

/// One status of item `id` of a mass payment.
pub(crate) fn payout(id: &str, status: &str) -> PaymentEvent {
    let mut event = event(EventType::PayoutItem, id, id);
    event.key = format!("pp:sandbox:mp:{id}:{status}").parse().unwrap();
    event.data.subject = Subject::Payout(id.into());
    event.data.payment_status = Some(PaymentStatus::parse(status));
    event.data.lines = Vec::new();
    event
}

/// Captures `minor` of the authorisation `authorization`.
pub(crate) fn capture(authorization: &str, txn: &str, minor: i64) -> PaymentEvent {
    let mut capture = event(EventType::Completed, txn, txn);
    capture.data.parent_txn_id = Some(authorization.parse().unwrap());
    capture.data.gross = Some(eur(minor));
    capture
}
