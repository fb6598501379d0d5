//! What was accepted is kept and can be played again.

use bytes::Bytes;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;
use serde_json::Value;

use super::{done, fix_catalogue, hand_over, take_back, unmatched};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(what_was_accepted_is_archived_and_replayed_without_a_second_effect,);

async fn what_was_accepted_is_archived_and_replayed_without_a_second_effect(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
    let body = Ipn::payment("TXARCH1", "MUG", 1, "9.90").bytes();
    let body: Bytes = [&body[..], b"&memo=caf\xe9"].concat().into();
    assert_eq!(pipeline.send_bytes(body.clone()).await?, 200);
    pipeline.settled("TXARCH1", "completed").await?;
    // Parked here, to be fulfilled from the archive.
    let new = unmatched("TXARCH2");
    pipeline.accept(&new).await?;
    pipeline.parked("unmatched_item", 1).await?;
    pipeline.drained().await?;
    let kept = pipeline
        .metric("quittance_archived_total", &["outcome=\"kept\""])
        .await;
    assert_eq!(kept, 2);

    let archive = ["replay", "--archive", "--to", "verify"];
    let early = [&archive[..], &["--dry-run", "--until", "1h"]].concat();
    assert_eq!(done(&pipeline, &early).await?, Vec::<Value>::new());
    let plan = [&archive[..], &["--dry-run", "--since", "1h"]].concat();
    assert_eq!(done(&pipeline, &plan).await?.len(), 2);

    fix_catalogue(&pipeline).await?;
    hand_over(&mut pipeline).await?;
    let told = done(&pipeline, &archive).await?;
    assert_eq!(told[0]["done"], 2);
    take_back(&mut pipeline).await?;
    pipeline.settled("TXARCH2", "completed").await?;
    eventually("all are verified again", PATIENCE, async || {
        (pipeline.sandbox.postbacks().len() == 4).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    pipeline.mailed(2).await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert_eq!(pipeline.stock("NEWITEM").await?, (9, 0, 0));
    Ok(())
}
