//! Stories of money that was paid and has no effect yet: what is shown of it, and how it ends.

use anyhow::Context as _;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    quarantined_money_is_shown_over_a_restart_until_a_person_dismisses_it,
    quarantined_money_that_the_gateway_gives_back_is_at_risk_no_longer,
    what_is_purged_from_the_quarantine_waits_for_nobody_any_more,
);

const MONEY: &str = "quittance_money_at_risk{currency=\"EUR\",state=\"quarantined\"}";
const WAITING: &str = "quittance_waiting_for_a_person{queue=\"quarantine\"}";

/// Waits until the process that verifies shows that value of a gauge.
async fn shows(pipeline: &Pipeline, gauge: &str, value: &str) -> anyhow::Result<()> {
    let line = format!("{gauge} {value}");
    eventually(&line, PATIENCE, async || {
        let texts = pipeline.scrapes().await.ok()?;
        let mut lines = texts.iter().flat_map(|text| text.lines());
        lines.any(|shown| shown == line).then_some(())
    })
    .await
}

async fn quarantined_money_is_shown_over_a_restart_until_a_person_dismisses_it(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::payment("TXLITTLE", "MUG", 1, "0.10"))
        .await?;
    pipeline.parked("amount_mismatch", 1).await?;
    shows(&pipeline, MONEY, "0.1").await?;
    shows(&pipeline, WAITING, "1").await?;

    let binary = pipeline.binary_of("verifier");
    pipeline.take(binary)?.terminate(PATIENCE).await?;
    pipeline.start_stage(binary, binary, &[]).await?;
    shows(&pipeline, MONEY, "0.1").await?;

    let without_reason = ["payments", "dismiss", "TXLITTLE", "--because", " "];
    assert!(pipeline.quittance(&without_reason).await.is_err());
    let dismiss = [
        "payments",
        "dismiss",
        "TXLITTLE",
        "--by",
        "kim",
        "--because",
    ];
    let words = [&dismiss[..], &["paid back"]].concat();
    let said = pipeline.quittance(&words).await?;
    assert!(
        said.contains("dismissed TXLITTLE (amount_mismatch) by kim"),
        "{said}"
    );
    shows(&pipeline, MONEY, "0").await?;
    shows(&pipeline, WAITING, "0").await?;
    let waiting = pipeline.listing(&["payments", "quarantined"]).await?;
    assert!(waiting.is_empty(), "{waiting:?}");
    let all = ["payments", "quarantined", "--all"];
    let all = pipeline.listing(&all).await?;
    let row = all.first().context("it is told who dismissed it")?;
    assert_eq!(
        (&row["state"], &row["decided_by"]),
        (&"dismissed".into(), &"kim".into())
    );
    let shown = pipeline
        .quittance(&["payments", "show", "TXLITTLE"])
        .await?;
    assert!(shown.contains("paid back"), "{shown}");
    // Nothing is left to dismiss or release.
    assert!(pipeline.quittance(&words).await.is_err());
    Ok(())
}

async fn quarantined_money_that_the_gateway_gives_back_is_at_risk_no_longer(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::payment("TXBACK", "MUG", 1, "0.20"))
        .await?;
    pipeline.parked("amount_mismatch", 1).await?;
    shows(&pipeline, MONEY, "0.2").await?;
    pipeline
        .accept(&Ipn::refund("TXBACKR", "TXBACK", "-0.20"))
        .await?;
    shows(&pipeline, MONEY, "0").await
}

async fn what_is_purged_from_the_quarantine_waits_for_nobody_any_more(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    for txn in ["TXGONE", "TXSTAYS"] {
        pipeline
            .accept(&Ipn::payment(txn, "MUG", 1, "0.30"))
            .await?;
    }
    pipeline.parked("amount_mismatch", 2).await?;
    shows(&pipeline, MONEY, "0.6").await?;
    let queues = pipeline.listing(&["queues", "list"]).await?;
    let mut names = queues.iter().filter_map(|row| row["queue"].as_str());
    let queue = names.find(|name| name.ends_with("quarantine"));
    let queue = queue.context("its name")?;
    let purge = ["queues", "purge", "quarantine", "--txn", "TXGONE", "--yes"];
    pipeline.quittance(&[&purge[..], &[queue]].concat()).await?;
    shows(&pipeline, MONEY, "0.3").await?;
    let waiting = pipeline.listing(&["payments", "quarantined"]).await?;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["txn_id"], "TXSTAYS");
    let all = ["payments", "quarantined", "--all"];
    let all = pipeline.listing(&all).await?;
    let gone = all.iter().find(|row| row["txn_id"] == "TXGONE");
    assert_eq!(gone.context("it is told")?["state"], "dismissed");
    Ok(())
}
