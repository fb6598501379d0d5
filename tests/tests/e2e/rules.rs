//! Rules for events: what is ignored, only recorded, or done without a mail, seen from outside.

use bytes::Bytes;
use quittance_deploy::demo::body::{Ipn, RECEIVER_EMAIL, RECEIVER_ID};
use quittance_tests::{World, eventually};
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    rules_decide_what_is_ignored_only_recorded_and_done_without_a_mail,
    a_record_rule_holds_whatever_the_order_of_payment_and_refund,
);

const RULES: &str = "[[rule]]\nevent = \"subscription.*\"\naction = \"ignore\"\n\
    [[rule]]\nitem = \"PO*\"\naction = \"record\"\n\
    [[rule]]\naccount = \"default\"\nitem = \"MUG\"\nnotify = \"none\"\n";

async fn start(engine: Engine) -> anyhow::Result<Pipeline> {
    let world = match engine {
        Engine::Embedded => World::embedded()?,
        Engine::Cluster => World::cluster("rules").await?,
    };
    let mut pipeline = Pipeline::prepare_in(engine, world.with_table(RULES)).await?;
    pipeline.start_all().await?;
    Ok(pipeline)
}

fn signup() -> Bytes {
    let email = RECEIVER_EMAIL.replace('@', "%40");
    Bytes::from(format!(
        "txn_type=subscr_signup&subscr_id=S-RULES1&receiver_id={RECEIVER_ID}&business={email}\
         &receiver_email={email}&item_number=MUG&mc_amount3=9.90&mc_currency=EUR&period3=1+M&charset=windows-1252"
    ))
}

async fn ruled(pipeline: &Pipeline, action: &str) -> u64 {
    let label = format!("action=\"{action}\"");
    pipeline.metric("quittance_rules_total", &[&label]).await
}

fn effects(payment: &Value) -> Vec<&str> {
    let effects = payment["effects"].as_array();
    effects
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

async fn rules_decide_what_is_ignored_only_recorded_and_done_without_a_mail(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    assert_eq!(pipeline.send_bytes(signup()).await?, 200);
    for ipn in [
        Ipn::payment("TXRULE1", "POT", 1, "20.00"),
        Ipn::payment("TXRULE2", "MUG", 1, "9.90"),
        Ipn::payment("TXRULE3", "LAST", 1, "50.00"),
    ] {
        pipeline.accept(&ipn).await?;
    }
    let recorded = pipeline.settled("TXRULE1", "completed").await?;
    let quiet = pipeline.settled("TXRULE2", "completed").await?;
    let whole = pipeline.settled("TXRULE3", "completed").await?;
    eventually("the signup is settled", PATIENCE, async || {
        (ruled(&pipeline, "ignore").await == 1).then_some(())
    })
    .await?;
    pipeline.drained().await?;

    assert!(
        effects(&recorded).iter().all(|e| e.ends_with("_withheld")),
        "{recorded}"
    );
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    assert!(
        effects(&quiet).contains(&"mail_received_withheld"),
        "{quiet}"
    );
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert!(effects(&whole).contains(&"mail_received"), "{whole}");
    assert_eq!(pipeline.stock("LAST").await?, (0, 0, 0));
    let mails = pipeline.mailed(1).await?;
    assert!(mails[0].contains("LAST"), "{}", mails[0]);

    let payments = pipeline.listing(&["payments", "list"]).await?;
    assert_eq!(
        payments.len(),
        3,
        "the signup is in the books: {payments:?}"
    );
    assert_eq!(ruled(&pipeline, "record").await, 1);
    assert_eq!(ruled(&pipeline, "process").await, 2);
    let logs = pipeline.logs()?;
    let told = logs
        .lines()
        .filter(|line| line.contains("event withheld by a rule"))
        .collect::<Vec<_>>();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter().all(|line| line.contains("message.id=")),
        "{told:?}"
    );
    assert_eq!(
        pipeline.metric("quittance_dead_letters_total", &[]).await,
        0
    );

    // Whoever asks is told which rule it was.
    let signup = &pipeline.listing(&["payments", "show", "S-RULES1"]).await?[0];
    let decisions = signup["decisions"].as_array().into_iter().flatten();
    let ignored: Vec<&Value> = decisions
        .filter(|row| row["outcome"] == "ignored")
        .collect();
    assert_eq!(ignored.len(), 1, "{signup}");
    assert_eq!(ignored[0]["detail"], "rule.0 (event = subscription.*)");
    let pot = pipeline.quittance(&["payments", "show", "TXRULE1"]).await?;
    assert!(pot.contains("rule.1 (item = PO*)"), "{pot}");

    // What the command foretells is what happened.
    let file = pipeline.world.folder().join("pot.txt");
    std::fs::write(&file, Ipn::payment("TXRULE9", "POT", 1, "20.00").bytes())?;
    let rows = pipeline
        .listing(&["rules", "test", &file.to_string_lossy()])
        .await?;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["rule"], "rule.1", "{rows:?}");
    assert_eq!(rows[0]["outcome"], "record");
    let checks = rows[0]["checks"].to_string();
    assert!(checks.contains("price: held against 20.00 EUR"), "{checks}");
    let table = pipeline.listing(&["config", "check"]).await?;
    let first = table.iter().find(|row| row["rule"] == "rule.0");
    assert_eq!(first.map(|row| &row["action"]), Some(&"ignore".into()));
    Ok(())
}

async fn a_record_rule_holds_whatever_the_order_of_payment_and_refund(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let payment = Ipn::payment("TXRULE4", "POT", 1, "20.00");
    let refund = Ipn::refund("TXRULE4R", "TXRULE4", "-20.00");
    pipeline.accept(&refund).await?;
    eventually("the refund is recorded", PATIENCE, async || {
        pipeline.payment("TXRULE4").await.ok()?
    })
    .await?;
    pipeline.accept(&payment).await?;
    let payment = pipeline.settled("TXRULE4", "refunded").await?;
    pipeline.drained().await?;
    assert!(
        effects(&payment).iter().all(|e| e.ends_with("_withheld")),
        "{payment}"
    );
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    assert!(pipeline.mails()?.is_empty());
    Ok(())
}
