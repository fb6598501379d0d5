//! Stories of messages that must have no effect: forged, misdirected, ambiguous, wrong in price.

use anyhow::Context as _;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    a_message_that_the_gateway_never_sent_is_quarantined_after_a_second_look,
    money_for_somebody_else_is_quarantined_although_it_is_genuine,
    a_sandbox_message_on_a_live_account_is_quarantined,
    a_price_changed_in_the_browser_is_quarantined,
    a_price_changed_before_it_is_authorised_does_not_pass_by_its_capture,
    a_capture_that_overtakes_its_authorisation_waits_for_it,
    a_deciding_field_that_is_there_twice_is_quarantined_and_never_guessed,
    an_unknown_status_goes_to_a_person,
    the_same_transaction_with_another_amount_is_a_conflict,
);

/// Nothing was recorded, nothing taken, nobody told.
async fn nothing_happened(pipeline: &Pipeline) -> anyhow::Result<()> {
    pipeline.drained().await?;
    assert_eq!(
        pipeline.listing(&["payments", "list"]).await?,
        Vec::<serde_json::Value>::new()
    );
    assert_eq!(pipeline.stock("MUG").await?, (10, 0, 0));
    assert_eq!(pipeline.mails()?, Vec::<String>::new());
    Ok(())
}

async fn a_message_that_the_gateway_never_sent_is_quarantined_after_a_second_look(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let forged = Ipn::payment("TXFORGED", "MUG", 1, "9.90").bytes();
    assert_eq!(
        pipeline.post(&forged).await?,
        200,
        "a forger learns nothing"
    );
    pipeline.parked("invalid", 1).await?;
    assert_eq!(
        pipeline.sandbox.postbacks().len(),
        2,
        "asked once more before it was final"
    );
    assert_eq!(pipeline.depth("quarantine").await?, 1);
    nothing_happened(&pipeline).await
}

async fn money_for_somebody_else_is_quarantined_although_it_is_genuine(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let theirs = Ipn::payment("TXTHEIRS", "MUG", 1, "9.90")
        .with("receiver_id", "EVESACCOUNT01")
        .with("receiver_email", "eve@else.example")
        .with("business", "eve@else.example");
    pipeline.accept(&theirs).await?;
    pipeline.parked("receiver_mismatch", 1).await?;
    nothing_happened(&pipeline).await
}

async fn a_sandbox_message_on_a_live_account_is_quarantined(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::payment("TXTEST", "MUG", 1, "9.90").with("test_ipn", "1"))
        .await?;
    pipeline.parked("environment_mismatch", 1).await?;
    nothing_happened(&pipeline).await
}

async fn a_price_changed_in_the_browser_is_quarantined(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::payment("TXCHEAP", "MUG", 1, "0.05"))
        .await?;
    pipeline.parked("amount_mismatch", 1).await?;
    let yen = Ipn::payment("TXYEN", "MUG", 1, "990").with("mc_currency", "JPY");
    pipeline.accept(&yen).await?;
    pipeline.parked("currency_mismatch", 1).await?;
    nothing_happened(&pipeline).await
}

/// Authorises `gross` for order 1001 of one pot.
fn authorization(txn: &str, gross: &str) -> Ipn {
    Ipn::payment(txn, "POT", 1, gross)
        .with("invoice", "1001")
        .with("payment_status", "Pending")
        .with("pending_reason", "authorization")
        .with("transaction_entity", "auth")
}

fn capture(txn: &str, of: &str, gross: &str) -> Ipn {
    Ipn::payment(txn, "POT", 1, gross)
        .with("invoice", "1001")
        .with("parent_txn_id", of)
        .with("auth_id", of)
        .with("transaction_entity", "payment")
}

/// A pipeline whose shop has registered order 1001.
async fn with_order(engine: Engine) -> anyhow::Result<Pipeline> {
    let pipeline = Pipeline::start(engine).await?;
    let terms = ["--id", "1001", "--total", "237.75", "--currency", "EUR"];
    let mut arguments = vec!["orders", "add", "--line", "POT=1"];
    arguments.extend(terms);
    pipeline.quittance(&arguments).await?;
    Ok(pipeline)
}

async fn a_price_changed_before_it_is_authorised_does_not_pass_by_its_capture(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = with_order(engine).await?;
    pipeline.accept(&authorization("TXAUTH5C", "0.05")).await?;
    pipeline.parked("amount_mismatch", 1).await?;
    // The merchant captures it by routine.
    pipeline
        .accept(&capture("TXCAP5C", "TXAUTH5C", "0.05"))
        .await?;
    pipeline.parked("amount_mismatch", 2).await?;
    nothing_happened(&pipeline).await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    let held = pipeline.listing(&["payments", "quarantined"]).await?;
    let held = held.iter().find(|row| row["txn_id"] == "TXCAP5C");
    let held = held.context("the capture waits for a person")?;
    assert_eq!(held["reason"], "authorization_unknown");
    assert_eq!(
        (&held["expected"], &held["found"]),
        (&"237.75 EUR".into(), &"0.05 EUR".into())
    );
    let orders = pipeline.listing(&["orders", "list"]).await?;
    assert_eq!(orders[0]["settled_by"], "");
    // A person may know better.
    let because = ["--because", "a replacement, as agreed"];
    let mut release = vec!["payments", "release", "TXCAP5C"];
    release.extend(because);
    pipeline.quittance(&release).await?;
    pipeline.settled("TXAUTH5C", "completed").await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

async fn a_capture_that_overtakes_its_authorisation_waits_for_it(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = with_order(engine).await?;
    pipeline
        .accept(&capture("TXEARLY", "TXLATE", "100.00"))
        .await?;
    eventually("the capture waits", PATIENCE, async || {
        (pipeline.metric("quittance_retries_total", &[]).await > 0).then_some(())
    })
    .await?;
    pipeline.accept(&authorization("TXLATE", "237.75")).await?;
    let row = pipeline.settled("TXLATE", "completed").await?;
    assert_eq!(row["amount"], "100.00", "{row}");
    assert_eq!(row["flags"].as_array().map(Vec::len), Some(2), "{row}");
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

async fn a_deciding_field_that_is_there_twice_is_quarantined_and_never_guessed(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let fields = [
        ("txn_id", "TXOTHER"),
        ("payment_status", "Completed"),
        ("mc_gross", "9.90"),
        ("mc_currency", "EUR"),
        ("receiver_id", "DEMOSHOP00001"),
        ("receiver_email", "pay@shop.example"),
        ("business", "pay@shop.example"),
        ("item_number", "MUG"),
        ("quantity", "1"),
    ];
    for (field, value) in fields {
        let ipn = Ipn::payment(&format!("TX2{field}").replace('_', ""), "MUG", 1, "9.90");
        pipeline.accept(&ipn.with_another(field, value)).await?;
    }
    for field in ["parent_txn_id", "test_ipn", "custom", "invoice"] {
        let ipn = Ipn::payment(&format!("TX2{field}").replace('_', ""), "MUG", 1, "9.90");
        pipeline
            .accept(&ipn.with_another(field, "0").with_another(field, "0"))
            .await?;
    }
    pipeline.parked("ambiguous_field", 13).await?;
    nothing_happened(&pipeline).await
}

async fn an_unknown_status_goes_to_a_person(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let held =
        Ipn::payment("TXHELD", "MUG", 1, "9.90").with("payment_status", "Completed-Funds-Held");
    pipeline.accept(&held).await?;
    pipeline.parked("unknown_status", 1).await?;
    nothing_happened(&pipeline).await
}

async fn the_same_transaction_with_another_amount_is_a_conflict(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::payment("TXCONF", "MUG", 1, "9.90"))
        .await?;
    pipeline.settled("TXCONF", "completed").await?;
    pipeline
        .accept(&Ipn::payment("TXCONF", "MUG", 2, "19.80"))
        .await?;
    pipeline.parked("conflict", 1).await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    Ok(())
}
