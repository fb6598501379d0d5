//! Stories of the books: captures, reservations, subscriptions, cases, payouts, and the whole story
//! of each as a person reads it.

use quittance_deploy::demo::body::{Ipn, RECEIVER_EMAIL};
use quittance_tests::eventually;
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    a_capture_before_its_authorisation_takes_the_goods_once,
    a_reservation_that_grew_too_old_is_released_and_a_late_payment_takes_the_goods,
    twenty_buyers_of_the_last_item_are_one_sale_and_nineteen_back_orders,
    the_story_of_a_payment_tells_every_message_effect_and_refund,
    a_subscription_is_told_whole_and_a_new_profile_outlives_the_old_ones_cancel,
    a_case_and_a_mass_payment_have_states_of_their_own,
);

impl Pipeline {
    async fn story(&self, id: &str) -> anyhow::Result<Value> {
        let mut stories = self.listing(&["payments", "show", id]).await?;
        anyhow::ensure!(stories.len() == 1, "{} stories of {id}", stories.len());
        Ok(stories.remove(0))
    }

    /// Waits until the row of `id` has that status and so many events.
    async fn told(&self, id: &str, status: &str, events: u64) -> anyhow::Result<Value> {
        eventually(&format!("{id} is {status}"), PATIENCE, async || {
            let row = self.payment(id).await.ok()??;
            (row["status"] == status && row["events"] == events).then_some(row)
        })
        .await
    }
}

/// The values of `member` in the rows of `table`.
fn column<'a>(story: &'a Value, table: &str, member: &str) -> Vec<&'a str> {
    let rows = story[table]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    rows.iter().filter_map(|row| row[member].as_str()).collect()
}

async fn a_capture_before_its_authorisation_takes_the_goods_once(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let capture = Ipn::payment("TXCAP1", "POT", 2, "40.00")
        .with("parent_txn_id", "TXAUTH1")
        .with("auth_id", "TXAUTH1")
        .with("transaction_entity", "payment");
    let authorization = Ipn::payment("TXAUTH1", "POT", 2, "40.00")
        .with("payment_status", "Pending")
        .with("pending_reason", "authorization")
        .with("transaction_entity", "auth");
    pipeline.accept(&capture).await?;
    pipeline.told("TXAUTH1", "completed", 1).await?;
    pipeline.accept(&authorization).await?;
    pipeline.told("TXAUTH1", "completed", 2).await?;
    pipeline
        .accept(&Ipn::refund("TXCAP1R", "TXCAP1", "-40.00"))
        .await?;
    pipeline.told("TXAUTH1", "refunded", 3).await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    assert!(
        pipeline.payment("TXCAP1").await?.is_none(),
        "one payment, not two"
    );
    let story = pipeline.story("TXCAP1R").await?;
    assert_eq!(story["txn_id"], "TXAUTH1");
    assert_eq!(column(&story, "related", "relation"), ["capture", "refund"]);
    Ok(())
}

async fn a_reservation_that_grew_too_old_is_released_and_a_late_payment_takes_the_goods(
    engine: Engine,
) -> anyhow::Result<()> {
    let world = match engine {
        Engine::Embedded => quittance_tests::World::embedded()?,
        Engine::Cluster => quittance_tests::World::cluster("books").await?,
    };
    let world = world.with_table("[fulfiller]\nreserve_for = \"2s\"\n");
    let mut pipeline = Pipeline::prepare_in(engine, world).await?;
    pipeline.start_all().await?;
    let completed = Ipn::payment("TXOLD1", "POT", 2, "40.00");
    let pending = completed
        .clone()
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck");
    pipeline.accept(&pending).await?;
    eventually("the reservation is released", PATIENCE, async || {
        let row = pipeline.payment("TXOLD1").await.ok()??;
        row["flags"]
            .as_array()?
            .contains(&Value::from("reservation_expired"))
            .then_some(())
    })
    .await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    pipeline.accept(&completed).await?;
    let row = pipeline.told("TXOLD1", "completed", 2).await?;
    assert_eq!(pipeline.stock("POT").await?, (8, 0, 0));
    assert_eq!(row["flags"], Value::Array(Vec::new()));
    let story = pipeline.story("TXOLD1").await?;
    assert_eq!(
        column(&story, "stock_moves", "movement"),
        ["stock_reserved", "stock_released", "stock_decremented"]
    );
    Ok(())
}

async fn twenty_buyers_of_the_last_item_are_one_sale_and_nineteen_back_orders(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let payments: Vec<Ipn> = (0..20)
        .map(|n| Ipn::payment(&format!("TXRUSH{n:02}"), "LAST", 1, "50.00"))
        .collect();
    let sent = futures_util::future::join_all(payments.iter().map(|ipn| pipeline.accept(ipn)));
    for result in sent.await {
        result?;
    }
    eventually("all twenty are booked", PATIENCE, async || {
        let stock = pipeline.stock("LAST").await.ok()?;
        (stock == (0, 0, 19)).then_some(())
    })
    .await?;
    let flagged = pipeline
        .listing(&[
            "payments",
            "list",
            "--flag",
            "backorder",
            "--kind",
            "payment",
        ])
        .await?;
    assert_eq!(flagged.len(), 19);
    assert_eq!(pipeline.metric("quittance_backorders_total", &[]).await, 19);
    Ok(())
}

async fn the_story_of_a_payment_tells_every_message_effect_and_refund(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let completed = Ipn::payment("TXTALE1", "POT", 1, "20.00");
    let pending = completed
        .clone()
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck");
    pipeline.accept(&pending).await?;
    pipeline.told("TXTALE1", "pending", 1).await?;
    pipeline.accept(&completed).await?;
    pipeline.told("TXTALE1", "completed", 2).await?;
    pipeline
        .accept(&Ipn::refund("TXTALE1R", "TXTALE1", "-5.00"))
        .await?;
    pipeline.told("TXTALE1", "partially_refunded", 3).await?;
    pipeline.mailed(3).await?;
    let story = eventually("every notification is recorded", PATIENCE, async || {
        let story = pipeline.story("TXTALE1").await.ok()?;
        (column(&story, "notifications", "outcome") == ["sent"; 3]).then_some(story)
    })
    .await?;
    assert_eq!(
        column(&story, "history", "event_type"),
        ["payment.pending", "payment.completed", "payment.refunded"]
    );
    assert_eq!(column(&story, "history", "source"), ["ipn"; 3]);
    assert_eq!(
        column(&story, "history", "reason"),
        ["echeck", "", "refund"]
    );
    assert_eq!(
        column(&story, "effect_states", "state")
            .iter()
            .filter(|state| **state == "sent")
            .count(),
        3
    );
    assert_eq!(column(&story, "related", "id"), ["TXTALE1R"]);
    let text = pipeline
        .quittance(&["payments", "show", "TXTALE1R"])
        .await?;
    for told in [
        "payment       TXTALE1\n",
        "status        partially_refunded\n",
        "refunded      5.00 EUR\n",
        "payment.refunded",
        "stock_decremented",
        "mail_refunded",
        "-5.00 EUR",
    ] {
        assert!(text.contains(told), "{told:?} is missing in\n{text}");
    }
    for private in ["buyer@example.net", "Jane", "DEMOBUYER0001"] {
        assert!(!text.contains(private), "{private} in\n{text}");
    }
    let unknown = pipeline.quittance(&["payments", "show", "TXNOBODY"]).await;
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("nothing is recorded")
    );
    Ok(())
}

/// A message about the life of subscription `id`, which carries no money.
fn lifecycle(id: &str, txn_type: &str) -> Ipn {
    Ipn::payment("", "MUG", 1, "")
        .with("payment_status", "")
        .with("txn_type", txn_type)
        .with("subscr_id", id)
        .with("subscr_date", "20:11:19 Oct 13, 2026 PDT")
        .with("mc_amount3", "9.90")
        .with("period3", "1 M")
}

async fn a_subscription_is_told_whole_and_a_new_profile_outlives_the_old_ones_cancel(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let renewal = Ipn::payment("TXRENEW1", "MUG", 1, "9.90")
        .with("txn_type", "subscr_payment")
        .with("subscr_id", "I-NEW1");
    // The payment overtakes the sign-up; the old profile's cancel comes last.
    pipeline.accept(&renewal).await?;
    let early = pipeline.told("I-NEW1", "active", 1).await?;
    assert_eq!(early["flags"][0], "signup_not_seen");
    pipeline
        .accept(&lifecycle("I-NEW1", "subscr_signup"))
        .await?;
    pipeline
        .accept(&lifecycle("I-OLD1", "subscr_signup"))
        .await?;
    pipeline.accept(&lifecycle("I-NEW1", "subscr_eot")).await?;
    pipeline
        .accept(&lifecycle("I-OLD1", "subscr_cancel"))
        .await?;
    pipeline.told("I-OLD1", "canceled", 2).await?;
    let row = pipeline.told("I-NEW1", "active", 3).await?;
    assert_eq!(row["flags"][0], "end_of_term", "and no revoke by itself");
    assert_eq!(row["kind"], "subscription");
    let story = pipeline.story("I-NEW1").await?;
    let mut types = column(&story, "history", "txn_type");
    types.sort_unstable();
    assert_eq!(types, ["subscr_eot", "subscr_payment", "subscr_signup"]);
    assert_eq!(column(&story, "related", "id"), ["TXRENEW1"]);
    assert_eq!(
        column(&pipeline.story("TXRENEW1").await?, "related", "id"),
        ["I-NEW1"]
    );
    let listed = pipeline
        .listing(&["payments", "list", "--kind", "subscription"])
        .await?;
    assert_eq!(listed.len(), 2);
    assert_eq!(
        pipeline.stock("MUG").await?,
        (9, 0, 0),
        "one renewal, one sale"
    );
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    Ok(())
}

async fn a_case_and_a_mass_payment_have_states_of_their_own(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    let case = |txn_type: &str| {
        Ipn::payment("TXCASE1", "MUG", 1, "")
            .with("payment_status", "")
            .with("txn_type", txn_type)
            .with("case_id", "PP-D-0042")
            .with("case_type", "chargeback")
            .with("reason_code", "unauthorized")
    };
    pipeline.accept(&case("new_case")).await?;
    pipeline.told("PP-D-0042", "open", 1).await?;
    pipeline
        .accept(&Ipn::payment("TXCASE1", "MUG", 1, "9.90"))
        .await?;
    let payment = pipeline.told("TXCASE1", "completed", 2).await?;
    assert_eq!(payment["flags"][0], "disputed");
    pipeline.accept(&case("adjustment")).await?;
    pipeline.told("PP-D-0042", "adjusted", 2).await?;
    let story = pipeline.story("PP-D-0042").await?;
    assert_eq!(story["kind"], "case");
    assert_eq!(
        column(&story, "history", "txn_type"),
        ["new_case", "adjustment"]
    );
    assert_eq!(column(&story, "related", "id"), ["TXCASE1"]);
    assert_eq!(
        pipeline.stock("MUG").await?,
        (9, 0, 0),
        "a case moves no stock"
    );

    let batch = |status: &str, first: &str| {
        Ipn::payment("", "", 1, "")
            .with("payment_status", status)
            .with("txn_type", "masspay")
            .with("payer_email", RECEIVER_EMAIL)
            .with("payer_id", quittance_deploy::demo::body::RECEIVER_ID)
            .with("masspay_txn_id_1", "MPAY01")
            .with("mc_gross_1", "3.00")
            .with("mc_currency_1", "EUR")
            .with("receiver_email_1", "helper@example.org")
            .with("status_1", first)
            .with("masspay_txn_id_2", "MPAY02")
            .with("mc_gross_2", "4.00")
            .with("mc_currency_2", "EUR")
            .with("receiver_email_2", "other@example.org")
            .with("status_2", "Completed")
    };
    pipeline.accept(&batch("Processed", "Unclaimed")).await?;
    pipeline.told("MPAY01", "unclaimed", 1).await?;
    pipeline.accept(&batch("Completed", "Completed")).await?;
    pipeline.told("MPAY01", "completed", 2).await?;
    let other = pipeline.told("MPAY02", "completed", 1).await?;
    assert_eq!(
        (other["kind"].as_str(), other["amount"].as_str()),
        (Some("payout"), Some("4.00"))
    );
    Ok(())
}
