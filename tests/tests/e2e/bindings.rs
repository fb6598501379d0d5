//! Stories of what binds a payment: to its order and no other, to what was ordered, to what a
//! person released and nothing more, and to a shop database that has to be there.

use anyhow::Context as _;
use quittance_common::settings::Settings;
use quittance_common::shop::Shop;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::{ChaosProxy, Mode, Postgres, RabbitMq, Redis, World, eventually};
use serde_json::Value;
use sqlx::Connection as _;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

/// The secret of signed orders.
const SECRETS: &str = "[orders]\nsecret = \"the secret of the stories\"\n";

on_both_engines!(
    a_signed_order_buys_nothing_beside_another_orders_number,
    what_was_ordered_leaves_the_shelf_whatever_the_cart_says,
    a_released_order_is_still_held_against_the_amount,
    two_captures_of_one_order_are_one_payment,
    a_forged_mass_payment_is_one_decision_however_long_it_is,
    a_custom_that_no_database_can_store_blocks_nothing,
    an_order_in_the_url_of_a_notification_binds_nothing,
);

async fn start(engine: Engine) -> anyhow::Result<Pipeline> {
    let world = match engine {
        Engine::Embedded => World::embedded()?,
        Engine::Cluster => World::cluster("bindings").await?,
    };
    let mut pipeline = Pipeline::prepare_in(engine, world.with_table(SECRETS)).await?;
    pipeline.start_all().await?;
    Ok(pipeline)
}

/// `quittance orders {what}` with these terms, in EUR.
async fn order(
    pipeline: &Pipeline,
    what: &str,
    id: &str,
    total: &str,
    lines: &[&str],
) -> anyhow::Result<String> {
    let mut arguments = vec!["orders", what, "--id", id, "--total", total];
    arguments.extend(["--currency", "EUR"]);
    for line in lines {
        arguments.extend(["--line", line]);
    }
    Ok(pipeline.quittance(&arguments).await?.trim().to_owned())
}

/// Waits until the transaction is quarantined for `reason`.
async fn held(pipeline: &Pipeline, txn: &str, reason: &str) -> anyhow::Result<()> {
    eventually(&format!("{txn} is held: {reason}"), PATIENCE, async || {
        let rows = pipeline.listing(&["payments", "quarantined"]).await.ok()?;
        let found = |row: &&Value| row["txn_id"] == txn && row["reason"] == reason;
        rows.iter().find(found).map(|_| ())
    })
    .await
}

fn flags(payment: &Value) -> Vec<&str> {
    let flags = payment["flags"].as_array().map(Vec::as_slice);
    flags
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

async fn a_signed_order_buys_nothing_beside_another_orders_number(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    order(&pipeline, "add", "1002", "500.00", &["LAST=1"]).await?;
    let custom = order(&pipeline, "sign", "1001", "20.00", &["POT=1"]).await?;
    let pay = |txn: &str| Ipn::payment(txn, "POT", 1, "20.00").with("custom", &custom);
    pipeline
        .accept(&pay("TXBIND1").with("invoice", "1002"))
        .await?;
    held(&pipeline, "TXBIND1", "order_ambiguous").await?;
    // What the shop has registered since is newer than what the buyer's browser carries.
    order(&pipeline, "add", "1001", "35.00", &["POT=1"]).await?;
    pipeline.accept(&pay("TXBIND2")).await?;
    held(&pipeline, "TXBIND2", "order_differs").await?;
    // A number that is nobody's order does no harm, and the mail names the order that was found.
    let custom = order(&pipeline, "sign", "1003", "20.00", &["POT=1"]).await?;
    let own = Ipn::payment("TXBIND3", "POT", 1, "20.00")
        .with("custom", &custom)
        .with("invoice", "R-77");
    pipeline.accept(&own).await?;
    pipeline.settled("TXBIND3", "completed").await?;
    let mail = pipeline.mailed(1).await?.remove(0);
    assert!(mail.contains("1003") && !mail.contains("R-77"), "{mail}");
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert_eq!(pipeline.stock("LAST").await?, (1, 0, 0));
    Ok(())
}

async fn what_was_ordered_leaves_the_shelf_whatever_the_cart_says(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    order(&pipeline, "add", "1001", "29.90", &["POT=1", "MUG=2"]).await?;
    let summary = Ipn::payment("TXITEM1", "", 1, "29.90")
        .with("item_name", "Order 1001")
        .with("invoice", "1001");
    pipeline.accept(&summary).await?;
    pipeline.settled("TXITEM1", "completed").await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert_eq!(pipeline.stock("MUG").await?, (8, 0, 0));

    order(&pipeline, "add", "1002", "20.00", &[]).await?;
    let greedy = Ipn::payment("TXITEM2", "POT", 8, "20.00").with("invoice", "1002");
    pipeline.accept(&greedy).await?;
    held(&pipeline, "TXITEM2", "items_mismatch").await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

/// Trap 41: whoever posts chooses the URL; only the message was verified.
async fn an_order_in_the_url_of_a_notification_binds_nothing(engine: Engine) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    order(&pipeline, "add", "1001", "20.00", &["POT=1"]).await?;
    let body = Ipn::payment("TXURL1", "POT", 1, "20.00").bytes();
    pipeline.sandbox.register(&body);
    let path = "/ipn/paypal/default?invoice=1001&custom=1001&item_number=LAST&mc_gross=0.01";
    assert_eq!(pipeline.post_to(path, &body).await?.status, 200);
    let payment = pipeline.settled("TXURL1", "completed").await?;
    assert_eq!(payment["amount"], "20.00");
    let orders = pipeline.listing(&["orders", "list"]).await?;
    assert_eq!(orders[0]["settled_by"], "", "{orders:?}");
    assert_eq!(pipeline.stock("LAST").await?, (1, 0, 0));
    // The message itself does bind.
    let named = Ipn::payment("TXURL2", "POT", 1, "20.00").with("invoice", "1001");
    pipeline.accept(&named).await?;
    pipeline.settled("TXURL2", "completed").await?;
    let orders = pipeline.listing(&["orders", "list"]).await?;
    let settled_by = orders[0]["settled_by"].as_str().unwrap_or_default();
    assert!(settled_by.ends_with(":TXURL2"), "{orders:?}");
    Ok(())
}

async fn a_released_order_is_still_held_against_the_amount(engine: Engine) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    order(&pipeline, "add", "1001", "20.00", &["POT=1"]).await?;
    order(&pipeline, "add", "1002", "20.00", &["POT=1"]).await?;
    let both = |txn: &str, gross: &str| {
        Ipn::payment(txn, "POT", 1, gross)
            .with("invoice", "1001")
            .with("custom", "1002")
    };
    for (txn, gross) in [("TXFREE1", "0.05"), ("TXFREE2", "20.00")] {
        pipeline.accept(&both(txn, gross)).await?;
        held(&pipeline, txn, "order_ambiguous").await?;
        let release = [
            "payments",
            "release",
            txn,
            "--because",
            "the buyer's own words",
        ];
        pipeline.quittance(&release).await?;
    }
    held(&pipeline, "TXFREE1", "amount_mismatch").await?;
    let payment = pipeline.settled("TXFREE2", "completed").await?;
    assert_eq!(flags(&payment), ["order_ambiguous", "released"]);
    let waiting = pipeline.listing(&["payments", "list", "--flagged"]).await?;
    assert!(waiting.is_empty(), "a person has decided: {waiting:?}");
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

async fn two_captures_of_one_order_are_one_payment(engine: Engine) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    order(&pipeline, "add", "1001", "20.00", &["POT=1"]).await?;
    let message =
        |txn: &str, gross: &str| Ipn::payment(txn, "POT", 1, gross).with("invoice", "1001");
    let authorization = message("TXPART", "20.00")
        .with("payment_status", "Pending")
        .with("pending_reason", "authorization")
        .with("transaction_entity", "auth");
    let capture = |txn: &str, gross: &str| {
        message(txn, gross)
            .with("parent_txn_id", "TXPART")
            .with("auth_id", "TXPART")
            .with("transaction_entity", "payment")
    };
    pipeline.accept(&authorization).await?;
    pipeline.settled("TXPART", "pending").await?;
    pipeline.accept(&capture("TXPART1", "12.00")).await?;
    let part = pipeline.settled("TXPART", "completed").await?;
    assert_eq!(part["amount"], "12.00", "{part}");
    assert_eq!(flags(&part), ["partial_capture", "partly_captured"]);
    pipeline.accept(&capture("TXPART2", "8.00")).await?;
    let captured = async |amount: &str| {
        eventually(&format!("captured {amount}"), PATIENCE, async || {
            let row = pipeline.payment("TXPART").await.ok()??;
            (row["amount"] == amount).then_some(row)
        })
        .await
    };
    let whole = captured("20.00").await?;
    assert_eq!(
        (&whole["status"], flags(&whole)),
        (&"completed".into(), vec![])
    );
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0), "goods once");
    let orders = pipeline.listing(&["orders", "list"]).await?;
    let by = orders[0]["settled_by"].as_str().unwrap_or_default();
    assert!(by.ends_with(":TXPART"), "{by}");
    // A third one is money that nobody owed.
    pipeline.accept(&capture("TXPART3", "5.00")).await?;
    let more = captured("25.00").await?;
    assert!(flags(&more).contains(&"over_captured"), "{more}");
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

/// The shop database of a pipeline, beside its processes.
async fn books(pipeline: &Pipeline) -> anyhow::Result<Shop> {
    let path = pipeline.world.folder().join("quittance.toml");
    let settings = Settings::load(Some(&path), &std::collections::BTreeMap::new())?;
    Ok(Shop::open(&settings.shop_database).await?)
}

async fn a_forged_mass_payment_is_one_decision_however_long_it_is(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let flood = |items: u32| {
        let items: Vec<String> = (1..=items)
            .map(|n| format!("&masspay_txn_id_{n}=FLOOD{n:04}&status_{n}=x"))
            .collect();
        format!("txn_type=masspay{}", items.concat())
    };
    assert_eq!(pipeline.post(flood(200).as_bytes()).await?, 200);
    pipeline.parked("invalid", 1).await?;
    let shop = books(&pipeline).await?;
    let decided = async |n: u32| -> anyhow::Result<usize> {
        Ok(shop.decisions(&format!("FLOOD{n:04}")).await?.len())
    };
    assert_eq!(decided(1).await?, 1);
    for n in 2..=200 {
        assert_eq!(decided(n).await?, 0, "item {n}");
    }
    // Genuine, and more than there can be: for a person.
    assert_eq!(pipeline.send_bytes(flood(1200).into()).await?, 200);
    pipeline.parked("unreadable_field", 1).await?;
    assert_eq!(decided(1).await?, 1);
    shop.close().await;
    Ok(())
}

async fn a_custom_that_no_database_can_store_blocks_nothing(engine: Engine) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let odd = Ipn::payment("TXNUL1", "POT", 1, "20.00")
        .with("custom", "a\0b")
        .with("invoice", "c\0d");
    pipeline.accept(&odd).await?;
    pipeline.settled("TXNUL1", "completed").await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

#[tokio::test]
async fn what_the_shop_database_refuses_for_good_is_parked_and_not_asked_for_ever()
-> anyhow::Result<()> {
    let shop = Postgres::shared()
        .await?
        .database("bindings_refusing")
        .await?;
    let amqp = RabbitMq::shared().await?.vhost("bindings_refusing").await?;
    let world = World::cluster_on(&amqp, &Redis::shared().await?, &shop)?;
    let mut pipeline = Pipeline::prepare_in(Engine::Cluster, world).await?;
    pipeline.start_all().await?;
    // The checks look for the variants of an item; waiting brings no table back.
    sqlx::any::install_default_drivers();
    let mut database = sqlx::AnyConnection::connect(&shop).await?;
    sqlx::query("ALTER TABLE product_variant RENAME TO elsewhere")
        .execute(&mut database)
        .await?;
    database.close().await?;
    pipeline
        .accept(&Ipn::payment("TXREFUSED", "POT", 1, "20.00"))
        .await?;
    pipeline.parked("other", 1).await?;
    pipeline.drained().await?;
    assert!(pipeline.sandbox.postbacks().len() <= 5);
    Ok(())
}

#[tokio::test]
async fn a_shop_database_that_is_away_has_nothing_posted_back_again_and_again() -> anyhow::Result<()>
{
    let databases = Postgres::shared().await?;
    let url = databases.database("bindings_away").await?;
    let mut way = ChaosProxy::start(databases.address()).await?;
    let (there, here) = (databases.address().to_string(), way.address().to_string());
    let amqp = RabbitMq::shared().await?.vhost("bindings_away").await?;
    let redis = Redis::shared().await?;
    let world = World::cluster_on(&amqp, &redis, &url.replace(&there, &here))?;
    let mut pipeline = Pipeline::prepare_in(Engine::Cluster, world).await?;
    pipeline.start_all().await?;

    way.set(Mode::Refuse).await?;
    pipeline
        .accept(&Ipn::payment("TXAWAY1", "POT", 1, "20.00"))
        .await?;
    eventually("it waits for the database", PATIENCE, async || {
        (pipeline.metric("quittance_retries_total", &[]).await > 0).then_some(())
    })
    .await?;
    assert_eq!(pipeline.sandbox.postbacks().len(), 1);
    let later: Vec<String> = (2..=6).map(|n| format!("TXAWAY{n}")).collect();
    for txn in &later {
        pipeline
            .accept(&Ipn::payment(txn, "POT", 1, "20.00"))
            .await?;
    }
    way.set(Mode::Pass).await?;
    for txn in later.iter().map(String::as_str).chain(["TXAWAY1"]) {
        pipeline
            .settled(txn, "completed")
            .await
            .context("it goes on by itself")?;
    }
    // What came while the database was away was not asked about before it was there again.
    assert_eq!(pipeline.sandbox.postbacks().len(), 1 + 1 + later.len());
    Ok(())
}
