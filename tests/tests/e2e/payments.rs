//! Stories of payments that come out right, whatever their order and however often they are told.

use bytes::Bytes;
use quittance_deploy::demo::body::Ipn;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    a_completed_payment_takes_stock_and_sends_one_mail,
    the_postback_repeats_the_exact_bytes_whatever_their_encoding,
    a_resend_has_no_second_effect,
    pending_then_completed_reserves_and_then_takes,
    a_late_pending_changes_nothing,
    a_full_refund_puts_the_stock_back,
    a_partial_refund_leaves_the_stock,
    a_refund_before_its_payment_comes_out_the_same,
    the_last_item_sold_twice_is_a_back_order,
);

fn effects(payment: &serde_json::Value, name: &str) -> usize {
    let effects = payment["effects"].as_array().cloned().unwrap_or_default();
    effects
        .iter()
        .filter(|effect| effect.as_str().is_some_and(|e| e.contains(name)))
        .count()
}

async fn a_completed_payment_takes_stock_and_sends_one_mail(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let answer = {
        let ipn = Ipn::payment("TXHAPPY1", "MUG", 2, "19.80").with("first_name", "Jürgen");
        let body = ipn.bytes();
        pipeline.sandbox.register(&body);
        pipeline.post_to("/ipn/paypal/default", &body).await?
    };
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text(),
        "",
        "the gateway is answered with nothing but the status"
    );
    let payment = pipeline.settled("TXHAPPY1", "completed").await?;
    assert_eq!(payment["amount"], "19.80");
    assert_eq!(payment["currency"], "EUR");
    assert_eq!(payment["gateway"], "paypal");
    assert_eq!(payment["account"], "default");
    assert_eq!(payment["events"], 1);
    let mails = pipeline.mailed(1).await?;
    assert!(mails[0].contains("Message-ID: <"), "{}", mails[0]);
    assert_eq!(pipeline.stock("MUG").await?, (8, 0, 0));
    pipeline.drained().await?;
    let logs = pipeline.logs()?;
    for private in ["buyer@example.net", "rgen", "Doe", "DEMOBUYER0001"] {
        assert!(
            !logs.contains(private),
            "personal data in the log: {private}\n{logs}"
        );
    }
    Ok(())
}

async fn the_postback_repeats_the_exact_bytes_whatever_their_encoding(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let base = |txn: &str| {
        String::from_utf8(Ipn::payment(txn, "MUG", 1, "9.90").bytes().to_vec()).unwrap()
    };
    // `+` and `%20`, hex in both cases, blank values, a bare key, CRLF in an address, a raw byte
    // above ASCII, the simulator's `%u`, doubled harmless keys: none of it may be normalised.
    let bodies: Vec<Bytes> = vec![
        Bytes::from(format!("{}&memo=a+b%20c%2Bd", base("TXBYTES1"))),
        Bytes::from(format!(
            "{}&memo=%c3%BC&address_street=1+Way%0D%0AFlat+2",
            base("TXBYTES2")
        )),
        Bytes::from(format!(
            "{}&memo=&bare&x=1&x=2&a%5B0%5D=1",
            base("TXBYTES3")
        )),
        [base("TXBYTES4").as_bytes(), b"&memo=caf\xe9&last=%u010D"]
            .concat()
            .into(),
    ];
    for body in &bodies {
        assert_eq!(pipeline.send_bytes(body.clone()).await?, 200);
    }
    for number in 1..=4 {
        pipeline
            .settled(&format!("TXBYTES{number}"), "completed")
            .await?;
    }
    let verified = pipeline.sandbox.postbacks();
    assert_eq!(
        verified.len(),
        bodies.len(),
        "each was verified at the first postback"
    );
    assert_eq!(pipeline.stock("MUG").await?, (6, 0, 0));
    Ok(())
}

async fn a_resend_has_no_second_effect(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let first = Ipn::payment("TXAGAIN1", "MUG", 1, "9.90");
    pipeline.accept(&first).await?;
    pipeline.settled("TXAGAIN1", "completed").await?;
    let again = first
        .with("resend", "true")
        .with("ipn_track_id", "another0track");
    pipeline.accept(&again).await?;
    quittance_tests::eventually("the copy is counted as a duplicate", PATIENCE, async || {
        (pipeline.metric("quittance_duplicates_total", &[]).await >= 1).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    Ok(())
}

async fn pending_then_completed_reserves_and_then_takes(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let completed = Ipn::payment("TXPEND1", "POT", 2, "40.00");
    let pending = completed
        .clone()
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck");
    pipeline.accept(&pending).await?;
    pipeline.settled("TXPEND1", "pending").await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 2, 0));
    pipeline.accept(&completed).await?;
    let payment = pipeline.settled("TXPEND1", "completed").await?;
    assert_eq!(payment["events"], 2);
    assert_eq!(pipeline.stock("POT").await?, (8, 0, 0));
    pipeline.mailed(2).await?;
    Ok(())
}

async fn a_late_pending_changes_nothing(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let completed = Ipn::payment("TXLATE1", "POT", 1, "20.00");
    pipeline.accept(&completed).await?;
    pipeline.settled("TXLATE1", "completed").await?;
    let late = completed
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck");
    pipeline.accept(&late).await?;
    quittance_tests::eventually("the late message is recorded", PATIENCE, async || {
        let payment = pipeline.payment("TXLATE1").await.ok()??;
        (payment["events"] == 2).then_some(())
    })
    .await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.settled("TXLATE1", "completed").await?["events"], 2);
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    Ok(())
}

async fn a_full_refund_puts_the_stock_back(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::payment("TXREF1", "POT", 1, "20.00"))
        .await?;
    pipeline.settled("TXREF1", "completed").await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    pipeline
        .accept(&Ipn::refund("TXREF1R", "TXREF1", "-20.00"))
        .await?;
    let payment = pipeline.settled("TXREF1", "refunded").await?;
    assert_eq!(effects(&payment, "restock"), 1, "{payment}");
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    pipeline.mailed(2).await?;
    Ok(())
}

async fn a_partial_refund_leaves_the_stock(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::payment("TXPART1", "POT", 1, "20.00"))
        .await?;
    pipeline.settled("TXPART1", "completed").await?;
    pipeline
        .accept(&Ipn::refund("TXPART1A", "TXPART1", "-5.00"))
        .await?;
    pipeline.settled("TXPART1", "partially_refunded").await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    // The rest makes it a full one.
    pipeline
        .accept(&Ipn::refund("TXPART1B", "TXPART1", "-15.00"))
        .await?;
    pipeline.settled("TXPART1", "refunded").await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    Ok(())
}

async fn a_refund_before_its_payment_comes_out_the_same(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    pipeline
        .accept(&Ipn::refund("TXEARLY1R", "TXEARLY1", "-20.00"))
        .await?;
    quittance_tests::eventually("the refund is recorded", PATIENCE, async || {
        pipeline.payment("TXEARLY1").await.ok()?
    })
    .await?;
    pipeline
        .accept(&Ipn::payment("TXEARLY1", "POT", 1, "20.00"))
        .await?;
    pipeline.settled("TXEARLY1", "refunded").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    Ok(())
}

async fn the_last_item_sold_twice_is_a_back_order(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    for txn in ["TXLAST1", "TXLAST2"] {
        pipeline
            .accept(&Ipn::payment(txn, "LAST", 1, "50.00"))
            .await?;
    }
    for txn in ["TXLAST1", "TXLAST2"] {
        pipeline.settled(txn, "completed").await?;
    }
    assert_eq!(
        pipeline.stock("LAST").await?,
        (0, 0, 1),
        "a paid order is never refused"
    );
    Ok(())
}
