//! Stories of a clerk who asks what has become of a payment, a subscription, a case or a payout.

use bytes::Bytes;
use quittance_deploy::demo::body::{Ipn, RECEIVER_EMAIL, RECEIVER_ID};
use quittance_tests::{eventually, process};
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};
use crate::returns;

on_both_engines!(
    a_refused_renewal_and_a_refused_capture_are_told_where_they_belong,
    a_payment_heard_by_ipn_pdt_and_replay_tells_each_way,
    an_authorisation_tells_that_a_capture_is_due_and_what_is_known_of_it,
    a_closed_case_waits_for_nobody,
);

async fn shown(pipeline: &Pipeline, id: &str) -> anyhow::Result<Value> {
    let mut stories = pipeline.listing(&["payments", "show", id]).await?;
    anyhow::ensure!(stories.len() == 1, "{stories:?}");
    Ok(stories.remove(0))
}

fn column<'a>(story: &'a Value, table: &str, name: &str) -> Vec<&'a str> {
    let rows = story[table].as_array().into_iter().flatten();
    rows.filter_map(|row| row[name].as_str()).collect()
}

fn fact<'a>(story: &'a Value, name: &str) -> Option<&'a str> {
    let mut facts = story["facts"].as_array().into_iter().flatten();
    facts.find(|fact| fact["name"] == name)?["value"].as_str()
}

/// Waits until the story has a parked message of this reason.
async fn refused(pipeline: &Pipeline, id: &str, reason: &str) -> anyhow::Result<Value> {
    eventually(&format!("{id} tells {reason}"), PATIENCE, async || {
        let story = shown(pipeline, id).await.ok()?;
        (column(&story, "parked", "reason") == [reason]).then_some(story)
    })
    .await
}

fn signup(id: &str, more: &str) -> Bytes {
    let email = RECEIVER_EMAIL.replace('@', "%40");
    Bytes::from(format!(
        "txn_type=subscr_signup&subscr_id={id}&receiver_id={RECEIVER_ID}&business={email}\
         &receiver_email={email}&item_number=MUG&mc_amount3=9.90&mc_currency=EUR&period3=1+M\
         &subscr_date=20%3A11%3A19+Oct+13%2C+2026+PDT&charset=windows-1252{more}"
    ))
}

async fn a_refused_renewal_and_a_refused_capture_are_told_where_they_belong(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    // Trap 33: what a subscription's buyer logs in with is nobody's business.
    let secret = "&username=ada-secret-name&password=ada-secret-word";
    assert_eq!(pipeline.send_bytes(signup("I-CLERK1", secret)).await?, 200);
    eventually("the sign-up is in the books", PATIENCE, async || {
        pipeline.payment("I-CLERK1").await.ok()?
    })
    .await?;
    let renewal = Ipn::payment("TXRENEW1", "MUG", 1, "0.90")
        .with("txn_type", "subscr_payment")
        .with("subscr_id", "I-CLERK1");
    pipeline.accept(&renewal).await?;
    let story = refused(&pipeline, "I-CLERK1", "amount_mismatch").await?;
    assert_eq!(column(&story, "decisions", "txn_id"), ["", "TXRENEW1"]);
    assert_eq!(column(&story, "parked", "merchant_told"), ["no"]);
    assert_eq!(fact(&story, "price"), Some("9.90 EUR for 1 M"));
    assert_eq!(fact(&story, "since"), Some("2026-10-14T03:11:19.000Z"));
    let text = pipeline
        .quittance(&["payments", "show", "I-CLERK1"])
        .await?;
    for place in [text, story.to_string(), pipeline.logs()?] {
        assert!(!place.contains("ada-secret"), "{place}");
    }

    let authorized = Ipn::payment("TXAUTH1", "POT", 1, "20.00")
        .with("payment_status", "Pending")
        .with("pending_reason", "authorization");
    pipeline.accept(&authorized).await?;
    pipeline.settled("TXAUTH1", "pending").await?;
    let capture = Ipn::payment("TXCAPT1", "POT", 1, "20.00")
        .with("mc_currency", "USD")
        .with("parent_txn_id", "TXAUTH1");
    pipeline.accept(&capture).await?;
    let story = refused(&pipeline, "TXAUTH1", "currency_mismatch").await?;
    assert_eq!(story["status"], "pending");
    assert_eq!(column(&story, "parked", "txn_id"), ["TXCAPT1"]);
    Ok(())
}

async fn a_payment_heard_by_ipn_pdt_and_replay_tells_each_way(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = returns::start(engine, &[]).await?;
    let ipn = Ipn::payment("TXTHREEWAYS1", "MUG", 1, "9.90");
    pipeline.accept(&ipn).await?;
    pipeline.settled("TXTHREEWAYS1", "completed").await?;
    returns::visit(pipeline.world.ingest(), "TXTHREEWAYS1").await?;
    let told = async |way: &str, outcome: &str| {
        eventually(&format!("{way} is {outcome}"), PATIENCE, async || {
            let story = shown(&pipeline, "TXTHREEWAYS1").await.ok()?;
            let ways = column(&story, "decisions", "source");
            let outcomes = column(&story, "decisions", "outcome");
            let mut both = ways.into_iter().zip(outcomes);
            both.any(|both| both == (way, outcome)).then_some(())
        })
        .await
    };
    told("ipn", "verified").await?;
    told("pdt", "duplicate").await?;
    // Each replay is decided anew, and told anew.
    let replay = ["queues", "replay", "--archive", "--to", "verify", "--json"];
    pipeline.quittance(&replay).await?;
    told("replay", "verified").await?;
    let story = shown(&pipeline, "TXTHREEWAYS1").await?;
    assert_eq!(column(&story, "history", "source"), ["ipn"], "one event");
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    let text = pipeline
        .quittance(&["payments", "show", "TXTHREEWAYS1"])
        .await?;
    for way in ["ipn", "pdt", "replay"] {
        assert!(text.contains(&format!("  {way}  ")), "{way} in\n{text}");
    }
    Ok(())
}

async fn an_authorisation_tells_that_a_capture_is_due_and_what_is_known_of_it(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let authorized = Ipn::payment("TXAUTH2", "POT", 1, "20.00")
        .with("payment_status", "Pending")
        .with("pending_reason", "authorization")
        .with("invoice", "INV-77")
        .with("auth_exp", "20:12:59 Feb 11, 2026 PST");
    pipeline.accept(&authorized).await?;
    pipeline.settled("TXAUTH2", "pending").await?;
    let text = pipeline.quittance(&["payments", "show", "TXAUTH2"]).await?;
    for told in [
        "invoice       INV-77 (not registered)\n",
        "capture due   until 2026-02-12T04:12:59.000Z\n",
    ] {
        assert!(text.contains(told), "{told:?} is missing in\n{text}");
    }
    // Trap 70: orders are held against what was paid, accounts kept by what was settled.
    let capture = Ipn::payment("TXCAPT2", "POT", 1, "20.00")
        .with("parent_txn_id", "TXAUTH2")
        .with("mc_fee", "0.88")
        .with("settle_amount", "21.76")
        .with("settle_currency", "USD")
        .with("exchange_rate", "1.0888");
    pipeline.accept(&capture).await?;
    pipeline.settled("TXAUTH2", "completed").await?;
    let story = shown(&pipeline, "TXAUTH2").await?;
    assert_eq!(story["amount"], "20.00");
    assert_eq!(fact(&story, "capture due"), None, "{story}");
    let settled = column(&story, "history", "settled");
    assert_eq!(settled, ["", "21.76 USD at 1.0888"]);
    assert_eq!(column(&story, "history", "fee")[1], "0.88 EUR");
    assert!(
        column(&story, "history", "occurred_at")
            .iter()
            .all(|at| !at.is_empty())
    );
    Ok(())
}

async fn a_closed_case_waits_for_nobody(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let paid = Ipn::payment("TXCASE1", "MUG", 1, "9.90");
    pipeline.accept(&paid).await?;
    pipeline.settled("TXCASE1", "completed").await?;
    let step = |txn_type: &str, reason: &str| {
        let email = RECEIVER_EMAIL.replace('@', "%40");
        Bytes::from(format!(
            "txn_type={txn_type}&case_type=complaint&reason_code={reason}&case_id=PP-D-77\
             &txn_id=TXCASE1&receiver_id={RECEIVER_ID}&business={email}&receiver_email={email}\
             &charset=windows-1252"
        ))
    };
    let flagged = async || -> anyhow::Result<Vec<String>> {
        let rows = pipeline
            .listing(&["payments", "list", "--flagged", "--kind", "case"])
            .await?;
        Ok(rows.iter().map(|row| row["txn_id"].to_string()).collect())
    };
    assert_eq!(
        pipeline.send_bytes(step("new_case", "non_receipt")).await?,
        200
    );
    pipeline.settled("PP-D-77", "open").await?;
    assert_eq!(flagged().await?, ["\"PP-D-77\""]);
    assert_eq!(
        pipeline
            .send_bytes(step("adjustment", "non_receipt"))
            .await?,
        200
    );
    pipeline.settled("PP-D-77", "adjusted").await?;
    assert!(flagged().await?.is_empty());
    let text = pipeline.quittance(&["payments", "show", "PP-D-77"]).await?;
    assert!(
        text.contains("notes         adjusted:non_receipt\n"),
        "{text}"
    );
    assert!(text.contains("case type     complaint\n"), "{text}");
    assert!(!text.contains("for a person"), "{text}");
    // What a list leaves out is told beside it.
    let words = [
        "payments",
        "list",
        "--limit",
        "1",
        "--json",
        "--config",
        "quittance.toml",
    ];
    let cut = process::run("quittance", &words, pipeline.world.folder(), PATIENCE).await?;
    assert_eq!(String::from_utf8(cut.stdout)?.lines().count(), 1);
    let told = String::from_utf8(cut.stderr)?;
    assert!(told.contains("there are more: a greater --limit"), "{told}");
    Ok(())
}
