//! What the merchant hears of a message that was refused.

use quittance_deploy::demo::body::Ipn;

use super::start_with;
use crate::pipeline::{Engine, Pipeline, on_both_engines};

on_both_engines!(
    a_payment_in_quarantine_is_told_to_the_merchant_and_to_nobody_else,
    a_refused_message_that_comes_again_and_again_is_one_mail_and_one_row,
);

async fn a_payment_in_quarantine_is_told_to_the_merchant_and_to_nobody_else(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    let more = [("QUITTANCE_NOTIFY__MERCHANT", "office@shop.example")];
    start_with(&mut pipeline, &more).await?;
    pipeline
        .accept(&Ipn::payment("TXLOW", "MUG", 1, "0.05"))
        .await?;
    let mails = pipeline.mailed(1).await?;
    let mail = quittance_deploy::demo::mail::parse(&mails[0]);
    assert!(mail.to.contains("office@shop.example"), "{mail:?}");
    for told in [
        "(amount_mismatch)",
        "Expected: 9.90 EUR",
        "Found: 0.05 EUR",
        "Transaction: TXLOW",
        "quittance payments show TXLOW",
        "quittance payments release TXLOW --because",
    ] {
        assert!(mail.text.contains(told), "{told}: {}", mail.text);
    }
    // What the mail says to type is understood.
    let story = pipeline.quittance(&["payments", "show", "TXLOW"]).await?;
    assert!(story.contains("amount_mismatch"), "{story}");
    pipeline
        .quittance(&["payments", "release", "TXLOW", "--because", "agreed"])
        .await?;
    pipeline.settled("TXLOW", "completed").await?;
    Ok(())
}

async fn a_refused_message_that_comes_again_and_again_is_one_mail_and_one_row(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    let more = [("QUITTANCE_NOTIFY__MERCHANT", "office@shop.example")];
    start_with(&mut pipeline, &more).await?;
    let low = Ipn::payment("TXMANY", "MUG", 1, "0.01");
    for _ in 0..12 {
        pipeline.accept(&low).await?;
    }
    pipeline.parked("amount_mismatch", 12).await?;
    pipeline.mailed(1).await?;
    pipeline.drained().await?;
    pipeline.mailed(1).await?;
    let rows = pipeline.listing(&["payments", "quarantined"]).await?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["txn_id"], &rows[0]["copies"]),
        (&"TXMANY".into(), &12.into())
    );
    assert_eq!(
        pipeline.depth("quarantine").await?,
        12,
        "nothing is dropped"
    );
    pipeline
        .quittance(&["payments", "release", "TXMANY", "--because", "a gift"])
        .await?;
    pipeline.settled("TXMANY", "completed").await?;
    pipeline.accept(&low).await?;
    pipeline.drained().await?;
    assert!(
        pipeline
            .listing(&["payments", "quarantined"])
            .await?
            .is_empty()
    );
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    Ok(())
}
