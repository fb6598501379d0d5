//! Stories of payments that are held against orders, and of what a person lets go on.

use std::time::Duration;

use quittance_deploy::demo::body::Ipn;
use quittance_tests::{World, eventually};
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

/// The secret of signed orders.
const SECRETS: &str = "[orders]\nsecret = \"the secret of the stories\"\n";

on_both_engines!(
    an_order_that_is_registered_by_command_decides_what_is_paid,
    a_signed_order_needs_no_registration_and_a_forged_one_is_held,
    a_second_payment_for_an_order_is_for_a_person_and_moves_no_stock,
    a_subscription_pays_its_order_once_and_renews_it_without_a_flag,
    a_quarantined_payment_goes_on_when_a_person_says_so,
    a_payment_to_somebody_else_can_be_released_and_a_forgery_cannot,
);

async fn start(engine: Engine) -> anyhow::Result<Pipeline> {
    let world = match engine {
        Engine::Embedded => World::embedded()?,
        Engine::Cluster => World::cluster("orders").await?,
    };
    let mut pipeline = Pipeline::prepare_in(engine, world.with_table(SECRETS)).await?;
    pipeline.start_all().await?;
    Ok(pipeline)
}

/// Waits until the transaction is listed as quarantined.
async fn quarantined(pipeline: &Pipeline, txn: &str) -> anyhow::Result<Value> {
    eventually(&format!("{txn} is quarantined"), PATIENCE, async || {
        let rows = pipeline.listing(&["payments", "quarantined"]).await.ok()?;
        rows.into_iter().find(|row| row["txn_id"] == txn)
    })
    .await
}

async fn add_order(
    pipeline: &Pipeline,
    id: &str,
    total: &str,
    lines: &[&str],
) -> anyhow::Result<()> {
    let mut arguments = vec![
        "orders",
        "add",
        "--id",
        id,
        "--total",
        total,
        "--currency",
        "EUR",
    ];
    for line in lines {
        arguments.extend(["--line", line]);
    }
    pipeline.quittance(&arguments).await?;
    Ok(())
}

fn has(list: &Value, entry: &str) -> bool {
    list.as_array()
        .is_some_and(|list| list.iter().any(|found| found == entry))
}

async fn an_order_that_is_registered_by_command_decides_what_is_paid(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    // Cheaper than the catalogue: the order says so.
    add_order(&pipeline, "1001", "15.00", &["POT=1"]).await?;
    let right = Ipn::payment("TXORD1", "POT", 1, "15.00").with("invoice", "1001");
    pipeline.accept(&right).await?;
    pipeline.settled("TXORD1", "completed").await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    let orders = pipeline.listing(&["orders", "list"]).await?;
    assert!(
        orders[0]["settled_by"]
            .as_str()
            .is_some_and(|by| by.ends_with("TXORD1")),
        "{orders:?}"
    );

    add_order(&pipeline, "1002", "20.00", &["POT=1"]).await?;
    let other_items = Ipn::payment("TXORD2", "POT", 5, "20.00").with("custom", "1002");
    pipeline.accept(&other_items).await?;
    let held = quarantined(&pipeline, "TXORD2").await?;
    assert_eq!(held["reason"], "items_mismatch");
    assert_eq!(
        (&held["expected"], &held["found"]),
        (&"1 x POT".into(), &"5 x POT".into())
    );
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

async fn a_signed_order_needs_no_registration_and_a_forged_one_is_held(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let sign = [
        "orders",
        "sign",
        "--id",
        "S-1",
        "--total",
        "15.00",
        "--currency",
        "EUR",
        "--line",
        "POT=1",
    ];
    let custom = pipeline.quittance(&sign).await?.trim().to_owned();
    let genuine = Ipn::payment("TXSIG1", "POT", 1, "15.00").with("custom", &custom);
    pipeline.accept(&genuine).await?;
    pipeline.settled("TXSIG1", "completed").await?;
    // The buyer writes a smaller total into the signed text.
    let forged = custom.replace(".1500.", ".15.");
    let forged = Ipn::payment("TXSIG2", "POT", 1, "0.15").with("custom", &forged);
    pipeline.accept(&forged).await?;
    let held = quarantined(&pipeline, "TXSIG2").await?;
    assert_eq!(held["reason"], "order_signature_invalid");
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

async fn a_second_payment_for_an_order_is_for_a_person_and_moves_no_stock(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    add_order(&pipeline, "2001", "20.00", &[]).await?;
    for txn in ["TXTWICE1", "TXTWICE2"] {
        let payment = Ipn::payment(txn, "POT", 1, "20.00").with("invoice", "2001");
        pipeline.accept(&payment).await?;
        pipeline.settled(txn, "completed").await?;
    }
    let second = pipeline.settled("TXTWICE2", "completed").await?;
    assert!(has(&second["flags"], "order_already_paid"), "{second}");
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    Ok(())
}

async fn a_subscription_pays_its_order_once_and_renews_it_without_a_flag(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    add_order(&pipeline, "1001", "20.00", &["POT=1"]).await?;
    let paid = |txn: &str, txn_type: &str| {
        Ipn::payment(txn, "POT", 1, "20.00")
            .with("invoice", "1001")
            .with("txn_type", txn_type)
    };
    for txn in ["TXSUB1", "TXSUB2"] {
        let renewal = paid(txn, "subscr_payment").with("subscr_id", "I-STORY1");
        pipeline.accept(&renewal).await?;
        let row = pipeline.settled(txn, "completed").await?;
        assert_eq!(row["flags"], Value::Array(Vec::new()), "{row}");
    }
    assert_eq!(pipeline.stock("POT").await?, (8, 0, 0));
    for (txn, txn_type) in [("TXSUB3", "web_accept"), ("TXSUB4", "merch_pmt")] {
        pipeline.accept(&paid(txn, txn_type)).await?;
        let row = pipeline.settled(txn, "completed").await?;
        assert!(has(&row["flags"], "order_already_paid"), "{row}");
    }
    assert_eq!(pipeline.stock("POT").await?, (8, 0, 0));
    let told = pipeline.listing(&["orders", "list"]).await?.remove(0);
    let by = told["settled_by"].as_str().unwrap_or_default();
    assert!(by.ends_with(":TXSUB1"), "{by}");
    Ok(())
}

async fn a_quarantined_payment_goes_on_when_a_person_says_so(engine: Engine) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let short = Ipn::payment("TXREL1", "POT", 1, "19.00").with("first_name", "J\u{f6}rg");
    pipeline.accept(&short).await?;
    let held = quarantined(&pipeline, "TXREL1").await?;
    assert_eq!(held["reason"], "amount_mismatch");
    assert_eq!(
        (&held["expected"], &held["found"]),
        (&"20.00 EUR".into(), &"19.00 EUR".into())
    );
    let because = [
        "payments",
        "release",
        "TXREL1",
        "--because",
        "agreed",
        "--by",
        "kim",
    ];
    let said = pipeline.quittance(&because).await?;
    assert!(said.contains("by kim"), "{said}");
    let payment = pipeline.settled("TXREL1", "completed").await?;
    pipeline.drained().await?;
    // It has waited for a person, which tells nothing of how long the stages take.
    let timed = pipeline.metric("quittance_event_age_seconds_count", &["\"fulfiller\""]);
    assert_eq!(timed.await, 0);
    for flag in ["released", "amount_mismatch"] {
        assert!(has(&payment["flags"], flag), "{payment}");
    }
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert!(
        pipeline
            .listing(&["payments", "quarantined"])
            .await?
            .is_empty()
    );
    assert!(
        pipeline.quittance(&because).await.is_err(),
        "there is nothing left to release"
    );
    // The gateway's resend of the released message is a duplicate.
    pipeline.accept(&short).await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    Ok(())
}

async fn a_payment_to_somebody_else_can_be_released_and_a_forgery_cannot(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let elsewhere = Ipn::payment("TXREL2", "POT", 1, "20.00")
        .with("receiver_id", "OTHERSHOP0001")
        .with("receiver_email", "other@shop.example")
        .with("business", "other@shop.example");
    pipeline.accept(&elsewhere).await?;
    assert_eq!(
        quarantined(&pipeline, "TXREL2").await?["reason"],
        "receiver_mismatch"
    );
    let release = |txn| {
        [
            "payments",
            "release",
            txn,
            "--because",
            "our second account",
        ]
    };
    pipeline.quittance(&release("TXREL2")).await?;
    pipeline.settled("TXREL2", "completed").await?;

    let forged = Ipn::payment("TXFORGED", "POT", 1, "20.00").bytes();
    assert_eq!(pipeline.post(&forged).await?, 200);
    assert_eq!(
        quarantined(&pipeline, "TXFORGED").await?["reason"],
        "invalid"
    );
    let refused = pipeline.quittance(&release("TXFORGED")).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("only the gateway")));
    tokio::time::timeout(Duration::from_secs(20), pipeline.drained()).await??;
    assert_eq!(pipeline.payment("TXFORGED").await?, None);
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}
