//! Stories of a gateway that is away, slow or confused: nothing is lost, nothing is guessed.

use quittance_deploy::demo::body::Ipn;
use quittance_deploy::sandbox::{Fault, Mode};
use quittance_tests::eventually;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    while_the_gateway_is_away_the_breaker_opens_and_no_attempt_is_spent,
    a_gateway_that_breaks_off_for_a_while_loses_nothing,
    crafted_messages_cannot_open_the_breaker_for_everybody,
    an_answer_that_is_no_verdict_is_asked_again_and_never_taken_for_one,
    an_invalid_that_turns_into_verified_is_fulfilled,
);

async fn while_the_gateway_is_away_the_breaker_opens_and_no_attempt_is_spent(
    engine: Engine,
) -> anyhow::Result<()> {
    let (pipeline, mut cable) = Pipeline::start_behind_proxy(engine).await?;
    cable.set(quittance_tests::Mode::Refuse).await?;
    outage(&pipeline, "TXAWAY", async || {
        cable.set(quittance_tests::Mode::Pass).await
    })
    .await?;
    let logs = pipeline.logs()?;
    assert!(
        logs.contains("gateway_unreachable"),
        "the outage is told:\n{logs}"
    );
    assert!(
        !logs.contains("attempt=1"),
        "an attempt was spent on a gateway that is away:\n{logs}"
    );
    Ok(())
}

async fn a_gateway_that_breaks_off_for_a_while_loses_nothing(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline.sandbox.set_fault(Fault::lasting(Mode::Refuse));
    outage(&pipeline, "TXBREAK", async || {
        pipeline.sandbox.set_fault(Fault::default());
        Ok(())
    })
    .await
}

/// Sends five payments into an outage, waits for the breaker, ends the outage, and asks for all
/// five, and for a breaker that is closed again.
async fn outage(
    pipeline: &Pipeline,
    name: &str,
    end: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for number in 0..5 {
        pipeline
            .accept(&Ipn::payment(&format!("{name}{number}"), "MUG", 1, "9.90"))
            .await?;
    }
    let breaker = async |level| {
        eventually(
            &format!("the breaker is at {level}"),
            PATIENCE,
            async || (pipeline.metric("quittance_breaker_state", &[]).await == level).then_some(()),
        )
        .await
    };
    breaker(2).await?;
    end().await?;
    for number in 0..5 {
        pipeline
            .settled(&format!("{name}{number}"), "completed")
            .await?;
    }
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (5, 0, 0));
    assert_eq!(pipeline.depth("verify.dead").await?, 0);
    breaker(0).await
}

async fn crafted_messages_cannot_open_the_breaker_for_everybody(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    // What an edge answers to a body that it finds suspicious.
    let suspicious = Fault {
        count: Some(4),
        ..Fault::lasting(Mode::Error403)
    };
    pipeline.sandbox.set_fault(suspicious);
    for number in 0..4 {
        pipeline
            .post(&Ipn::payment(&format!("TXCRAFT{number}"), "MUG", 1, "9.90").bytes())
            .await?;
    }
    eventually("all four have been asked for", PATIENCE, async || {
        (pipeline.sandbox.postbacks().len() >= 4).then_some(())
    })
    .await?;
    pipeline
        .accept(&Ipn::payment("TXHONEST", "MUG", 1, "9.90"))
        .await?;
    pipeline.settled("TXHONEST", "completed").await?;
    pipeline.parked("invalid", 4).await?;
    assert!(!pipeline.logs()?.contains("breaker_open"));
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
