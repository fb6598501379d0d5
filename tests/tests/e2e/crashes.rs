//! Stories of processes that die: at every step between taking a message and acking it, by
//! `SIGKILL`, and by `SIGTERM` with work in hand. One effect afterwards, always.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use anyhow::Context;
use quittance_deploy::demo::body::Ipn;
use quittance_deploy::sandbox::{Fault, Mode};
use quittance_tests::eventually;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    ingest_killed_at_any_step_loses_nothing,
    the_verifier_killed_at_any_step_has_one_effect,
    the_fulfiller_killed_at_any_step_has_one_effect,
    the_notifier_killed_at_any_step_sends_one_mail,
    a_stop_with_work_in_hand_finishes_or_leaves_it_and_exits_cleanly,
);

/// Kills the process of `stage` at each of `steps` in turn, each with a payment of its own, starts
/// it again, and asks for exactly one effect.
async fn killed_at(
    engine: Engine,
    stage: &'static str,
    steps: &[&'static str],
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    let victim = pipeline.binary_of(stage);
    for other in pipeline.stages() {
        if *other != victim {
            pipeline.start_stage(other, other, &[]).await?;
        }
    }
    for (number, step) in steps.iter().enumerate() {
        let txn = format!("TXKILL{number}");
        let ipn = Ipn::payment(&txn, "MUG", 1, "9.90");
        let failpoint = format!("{step}=return");
        pipeline
            .start_stage(victim, victim, &[("FAILPOINTS", &failpoint)])
            .await?;
        // Ingest may die before it has answered; then the gateway sends again.
        let accepted = pipeline.send(&ipn).await.is_ok_and(|status| status == 200);
        let status = pipeline.take(victim)?.wait(PATIENCE).await.context(*step)?;
        assert_eq!(
            status.signal(),
            Some(9),
            "{step}: the process was to die there"
        );
        pipeline.start_stage(victim, victim, &[]).await?;
        if !accepted {
            pipeline.accept(&ipn).await?;
        }
        pipeline.settled(&txn, "completed").await.context(*step)?;
        pipeline.mailed(number + 1).await.context(*step)?;
        pipeline.drained().await.context(*step)?;
        let sold = i64::try_from(number + 1)?;
        assert_eq!(pipeline.stock("MUG").await?, (10 - sold, 0, 0), "{step}");
        let mut process = pipeline.take(victim)?;
        assert!(
            process.terminate(PATIENCE).await?.success(),
            "{step}: a clean stop"
        );
    }
    Ok(())
}

async fn ingest_killed_at_any_step_loses_nothing(engine: Engine) -> anyhow::Result<()> {
    killed_at(
        engine,
        "ingest",
        &["ingest.before_publish", "ingest.after_publish"],
    )
    .await
}

async fn the_verifier_killed_at_any_step_has_one_effect(engine: Engine) -> anyhow::Result<()> {
    let steps = [
        "verifier.before_postback",
        "verifier.after_postback",
        "verifier.after_claim",
        "verifier.after_handle",
        "verifier.after_publish",
        "verifier.before_ack",
    ];
    killed_at(engine, "verifier", &steps).await
}

async fn the_fulfiller_killed_at_any_step_has_one_effect(engine: Engine) -> anyhow::Result<()> {
    let steps = [
        "fulfiller.before_commit",
        "fulfiller.after_commit",
        "fulfiller.after_handle",
        "fulfiller.after_publish",
        "fulfiller.before_ack",
    ];
    killed_at(engine, "fulfiller", &steps).await
}

async fn the_notifier_killed_at_any_step_sends_one_mail(engine: Engine) -> anyhow::Result<()> {
    let steps = [
        "notifier.after_send",
        "notifier.after_handle",
        "notifier.before_ack",
    ];
    killed_at(engine, "fulfiller", &steps).await
}

async fn a_stop_with_work_in_hand_finishes_or_leaves_it_and_exits_cleanly(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
    let slow = Fault {
        millis: 1000,
        ..Fault::lasting(Mode::Slow)
    };
    pipeline.sandbox.set_fault(slow);
    for number in 0..8 {
        pipeline
            .accept(&Ipn::payment(&format!("TXSTOP{number}"), "MUG", 1, "9.90"))
            .await?;
    }
    eventually("a postback is under way", PATIENCE, async || {
        (pipeline
            .metric("quittance_in_flight", &["stage=\"verifier\""])
            .await
            > 0)
        .then_some(())
    })
    .await?;
    let victim = pipeline.binary_of("verifier");
    let mut process = pipeline.take(victim)?;
    let status = process.terminate(Duration::from_secs(15)).await?;
    assert!(status.success(), "a stop is not a failure: {status}");
    pipeline.sandbox.set_fault(Fault::default());
    pipeline.start_stage(victim, victim, &[]).await?;
    for number in 0..8 {
        pipeline
            .settled(&format!("TXSTOP{number}"), "completed")
            .await?;
    }
    pipeline.mailed(8).await?;
    assert_eq!(pipeline.stock("MUG").await?, (2, 0, 0));
    Ok(())
}
