//! Stories of a gateway that is away, slow or confused: nothing is lost, nothing is guessed.

use quittance_deploy::demo::body::Ipn;
use quittance_deploy::sandbox::{Fault, Mode};
use quittance_tests::eventually;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    while_the_gateway_is_away_the_breaker_opens_and_no_attempt_is_spent,
    an_answer_that_is_no_verdict_is_asked_again_and_never_taken_for_one,
    an_invalid_that_turns_into_verified_is_fulfilled,
);

async fn while_the_gateway_is_away_the_breaker_opens_and_no_attempt_is_spent(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline.sandbox.set_fault(Fault::lasting(Mode::Refuse));
    for number in 0..5 {
        let ipn = Ipn::payment(&format!("TXAWAY{number}"), "MUG", 1, "9.90");
        pipeline.accept(&ipn).await?;
    }
    eventually("the breaker is open", PATIENCE, async || {
        (pipeline.metric("quittance_breaker_state", &[]).await == 2).then_some(())
    })
    .await?;
    pipeline.sandbox.set_fault(Fault::default());
    for number in 0..5 {
        pipeline
            .settled(&format!("TXAWAY{number}"), "completed")
            .await?;
    }
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (5, 0, 0));
    assert_eq!(pipeline.depth("verify.dead").await?, 0);
    eventually("the breaker is closed again", PATIENCE, async || {
        (pipeline.metric("quittance_breaker_state", &[]).await == 0).then_some(())
    })
    .await?;
    Ok(())
}

async fn an_answer_that_is_no_verdict_is_asked_again_and_never_taken_for_one(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let confused = [
        Mode::Html,
        Mode::Garbage,
        Mode::Empty,
        Mode::Error500,
        Mode::Redirect,
        Mode::Reset,
    ];
    for (number, mode) in confused.into_iter().enumerate() {
        let asked_before = pipeline.sandbox.postbacks().len();
        pipeline.sandbox.set_fault(Fault {
            count: Some(1),
            ..Fault::lasting(mode)
        });
        let txn = format!("TXNOISE{number}");
        pipeline
            .accept(&Ipn::payment(&txn, "MUG", 1, "9.90"))
            .await?;
        pipeline.settled(&txn, "completed").await?;
        let asked = pipeline.sandbox.postbacks().len() - asked_before;
        assert!(
            asked >= 2,
            "{mode:?}: verified without a verdict after {asked} postbacks"
        );
    }
    assert_eq!(pipeline.stock("MUG").await?, (4, 0, 0));
    pipeline.mailed(6).await?;
    Ok(())
}

async fn an_invalid_that_turns_into_verified_is_fulfilled(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline.sandbox.set_fault(Fault {
        count: Some(1),
        ..Fault::lasting(Mode::Invalid)
    });
    pipeline
        .accept(&Ipn::payment("TXFLAP", "MUG", 1, "9.90"))
        .await?;
    pipeline.settled("TXFLAP", "completed").await?;
    assert_eq!(pipeline.sandbox.postbacks().len(), 2);
    assert_eq!(pipeline.depth("quarantine").await?, 0);
    Ok(())
}
