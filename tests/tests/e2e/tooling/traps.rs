//! Traps 86 to 88: poison, the stampede after an outage, and the address that a merchant has left.

use std::time::Duration;

use anyhow::Context as _;
use quittance_deploy::demo::body::Ipn;
use quittance_deploy::sandbox::{Fault, Mode, Outcome};
use quittance_tests::eventually;

use super::{done, drain_file, each_applied_once, one_of_many, stock_many};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    trap_86_what_no_stage_can_read_is_parked_with_a_reason_and_goes_on_when_it_is_mended,
    trap_87_after_an_outage_the_gateway_is_asked_no_faster_than_allowed,
    trap_88_the_address_that_was_left_is_still_answered_and_doubles_nothing,
);

/// Trap 86: handed out again for ever, or thrown away.
async fn trap_86_what_no_stage_can_read_is_parked_with_a_reason_and_goes_on_when_it_is_mended(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let body = Ipn::payment("TX86", "MUG", 1, "9.90").bytes();
    pipeline.sandbox.register(&body);
    let file = drain_file(pipeline.world.folder(), &[body])?;
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(
        &file,
        text.replace("\"account\":\"default\"", "\"account\":\"nobodys\""),
    )?;
    let file = file.to_string_lossy();
    done(&pipeline, &["replay", &file, "--to", "verify"]).await?;
    let parked = eventually("it is parked", PATIENCE, async || {
        for queue in ["verify.dead", "quarantine"] {
            if pipeline.depth(queue).await.ok()? == 1 {
                return Some(queue);
            }
        }
        None
    })
    .await?;
    let row = done(&pipeline, &["peek", parked]).await?;
    let reason = row[0]["reason"].as_str().context("a reason")?;
    assert!(!reason.is_empty() && row[0]["txns"][0] == "TX86", "{row:?}");
    pipeline.drained().await?;
    assert_eq!(pipeline.sandbox.postbacks().len(), 0);
    let mend = ["--edit", "header:account=default"];
    let replay = [&["replay", parked, "--to", "verify"], &mend[..]].concat();
    done(&pipeline, &replay).await?;
    pipeline.settled("TX86", "completed").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert_eq!(pipeline.depth(parked).await?, 0);
    Ok(())
}

/// Trap 87: everything that has waited is asked for at once.
async fn trap_87_after_an_outage_the_gateway_is_asked_no_faster_than_allowed(
    engine: Engine,
) -> anyhow::Result<()> {
    const WAITING: usize = 40;
    const AT_ONCE: usize = 4;
    const POSTBACK: Duration = Duration::from_millis(200);
    let mut pipeline = Pipeline::prepare(engine).await?;
    for stage in pipeline.stages() {
        let limit = [("QUITTANCE_VERIFIER__CONCURRENCY", "4")];
        pipeline.start_stage(stage, stage, &limit).await?;
    }
    stock_many(&pipeline).await?;
    pipeline.sandbox.set_fault(Fault::lasting(Mode::Refuse));
    for number in 0..WAITING {
        // Accepted all the while.
        pipeline
            .accept(&one_of_many(&format!("TX87N{number}")))
            .await?;
    }
    eventually("the breaker is open", PATIENCE, async || {
        (pipeline.metric("quittance_breaker_state", &[]).await == 2).then_some(())
    })
    .await?;
    pipeline.sandbox.set_fault(Fault {
        millis: u64::try_from(POSTBACK.as_millis())?,
        ..Fault::lasting(Mode::Slow)
    });
    each_applied_once(&pipeline, WAITING).await?;
    let postbacks = pipeline.sandbox.postbacks();
    let mut answered: Vec<_> = postbacks
        .iter()
        .filter(|postback| postback.outcome == Outcome::Verified)
        .map(|postback| postback.at.as_millisecond())
        .collect();
    answered.sort_unstable();
    assert_eq!(answered.len(), WAITING);
    // With so many in hand at most, one more begins only when the first of them is answered.
    for window in answered.windows(AT_ONCE + 1) {
        let took = window[AT_ONCE] - window[0];
        assert!(
            took >= i64::try_from(POSTBACK.as_millis())? - 2,
            "{took} ms: {answered:?}"
        );
    }
    Ok(())
}

/// Trap 88: resends of messages in flight go to the address that was set when they were sent.
async fn trap_88_the_address_that_was_left_is_still_answered_and_doubles_nothing(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let (left, present) = ("/ipn/paypal", "/ipn/paypal/default");
    let both = Ipn::payment("TX88BOTH", "MUG", 1, "9.90").bytes();
    let late = Ipn::payment("TX88LATE", "MUG", 1, "9.90").bytes();
    for body in [&both, &late] {
        pipeline.sandbox.register(body);
    }
    for (path, body) in [(left, &both), (present, &both), (left, &late)] {
        assert_eq!(pipeline.post_to(path, body).await?.status, 200);
    }
    for txn in ["TX88BOTH", "TX88LATE"] {
        let payment = pipeline.settled(txn, "completed").await?;
        assert_eq!(payment["events"], 1);
    }
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (8, 0, 0));
    pipeline.mailed(2).await?;
    Ok(())
}
