//! The books on a real file.

use super::*;
use crate::claims::Fingerprint;
use crate::clock::now;
use crate::event::{Details, Environment, EventData, EventType, PaymentEvent, Source, Subject};
use crate::ids::MessageId;
use crate::money::Money;
use std::collections::BTreeMap;

fn event(key: &str, meaning: &str) -> PaymentEvent {
    let txn: crate::ids::TxnId = "TXN1".parse().unwrap();
    PaymentEvent {
        key: key.parse().unwrap(),
        fingerprint: Fingerprint::of(meaning.as_bytes()),
        event_type: EventType::Completed,
        gateway: crate::ids::GatewayId::PayPal,
        account: "default".parse().unwrap(),
        received_at: now(),
        trace: None,
        data: EventData {
            message_id: MessageId::new(),
            source: Source::Ipn,
            environment: Environment::Sandbox,
            subject: Subject::Payment(txn.clone()),
            txn_id: Some(txn),
            parent_txn_id: None,
            txn_type: None,
            payment_status: None,
            pending_reason: None,
            reason_code: None,
            subscription: None,
            gross: None,
            asked: None,
            auction: None,
            terms: Vec::new(),
            fee: None,
            occurred_at: None,
            order: crate::event::OrderRef::default(),
            lines: Vec::new(),
            payer: crate::event::Payer::default(),
            flags: Vec::new(),
            details: Details::default(),
        },
    }
}

fn product(sku: &str, on_hand: u32) -> ProductRow {
    ProductRow {
        sku: sku.parse().unwrap(),
        name: "A mug".into(),
        price: Money::from_minor(1995, "EUR".parse().unwrap()),
        on_hand,
    }
}

async fn shop_in(folder: &tempfile::TempDir) -> Shop {
    Shop::open(&ShopDatabase::Sqlite(
        folder.path().join("a b?#%/shop.sqlite"),
    ))
    .await
    .unwrap()
}

#[tokio::test]
async fn a_database_is_opened_twice_and_keeps_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let first = shop_in(&folder).await;
    first
        .import_products(&[product("mug", 3)], now())
        .await
        .unwrap();
    let second = shop_in(&folder).await;
    assert_eq!(second.stock().await.unwrap()[0].on_hand, 3);
    assert!(folder.path().join("a b?#%/shop.sqlite").exists());
}

#[tokio::test]
async fn an_acknowledged_commit_is_synced_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_in(&folder).await;
    let pool = shop.pool().await.unwrap();
    let row = sqlx::query("PRAGMA synchronous")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(sqlx::Row::get::<i64, _>(&row, 0), 2);
    let row = sqlx::query("PRAGMA journal_mode")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(sqlx::Row::get::<String, _>(&row, 0), "wal");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_in(&folder).await;
    sqlx::query("INSERT INTO schema_version (version) VALUES (99)")
        .execute(shop.pool().await.unwrap())
        .await
        .unwrap();
    let path = folder.path().join("a b?#%/shop.sqlite");
    let error = Shop::open(&ShopDatabase::Sqlite(path)).await.unwrap_err();
    assert!(matches!(error, ShopError::NewerSchema { found: 99, .. }));
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_database_that_is_down_is_a_transient_error_and_no_reason_not_to_start() {
    let url = "postgres://nobody:secret@127.0.0.1:9/shop".to_owned();
    let shop = Shop::lazy(&ShopDatabase::Postgres(url.into())).unwrap();
    let error = shop.ping().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(!error.to_string().contains("secret"));
}

#[tokio::test]
async fn the_same_key_is_a_duplicate_or_a_conflict_by_its_meaning() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_in(&folder).await;
    for (meaning, expected) in [
        ("paid 10", Recorded::New),
        ("paid 10", Recorded::Duplicate),
        ("paid 99", Recorded::Conflict),
    ] {
        let event = event("pp:sandbox:TXN1:completed", meaning);
        let mut books = shop.begin(&event, now()).await.unwrap();
        assert_eq!(books.record(&event).await.unwrap(), expected);
        books.commit().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_committed_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_in(&folder).await;
    shop.import_products(&[product("mug", 3)], now())
        .await
        .unwrap();
    let event = event("key", "meaning");
    let mut books = shop.begin(&event, now()).await.unwrap();
    books.record(&event).await.unwrap();
    let lines = BTreeMap::from([("mug".parse().unwrap(), 2)]);
    books.hold(&lines, Hold::Taken).await.unwrap();
    drop(books);
    assert_eq!(shop.stock().await.unwrap()[0].on_hand, 3);
    assert!(
        shop.payments(&PaymentFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_outbox_row_is_leased_to_one_and_comes_again_when_the_lease_ends() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_in(&folder).await;
    let event = event("key", "meaning");
    let outgoing = Outgoing {
        id: event.message_id(),
        to: OutgoingTo::Notify,
        gateway: event.gateway,
        account: event.account.clone(),
        received_at: now().round(jiff::Unit::Millisecond).unwrap(),
        payload: "{}".into(),
    };
    let mut books = shop.begin(&event, now()).await.unwrap();
    books.enqueue(&outgoing).await.unwrap();
    books.enqueue(&outgoing).await.unwrap();
    books.commit().await.unwrap();

    let at = now();
    let lease = Duration::from_secs(30);
    assert_eq!(
        shop.lease_outbox(at, lease, 10).await.unwrap(),
        std::slice::from_ref(&outgoing)
    );
    assert!(shop.lease_outbox(at, lease, 10).await.unwrap().is_empty());
    let later = at.checked_add(lease.saturating_mul(2)).unwrap();
    assert_eq!(shop.lease_outbox(later, lease, 10).await.unwrap().len(), 1);
    shop.published(outgoing.id, later).await.unwrap();
    let much_later = later.checked_add(lease.saturating_mul(9)).unwrap();
    assert!(
        shop.lease_outbox(much_later, lease, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(shop.outbox_depth().await.unwrap(), 0);
}

#[tokio::test]
async fn prices_are_exact_and_what_is_not_sold_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop_in(&folder).await;
    shop.import_products(&[product("mug", 3)], now())
        .await
        .unwrap();
    let mug: crate::ids::Sku = "mug".parse().unwrap();
    let prices = shop
        .prices(&[mug.clone(), "hat".parse().unwrap()])
        .await
        .unwrap();
    assert_eq!(prices.len(), 1);
    assert_eq!(prices[&mug].to_string(), "19.95 EUR");
    let error = shop
        .set_stock(&"hat".parse().unwrap(), 1, now())
        .await
        .unwrap_err();
    assert!(matches!(error, ShopError::UnknownSku(_)));
}
