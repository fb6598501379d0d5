//! Stories of orders that the shop cancels, of what a person finds about parked messages, and of
//! personal data that grows too old.

use quittance_deploy::demo::body::Ipn;
use quittance_tests::servers::smtp::Answer;
use quittance_tests::{SmtpSink, World, eventually};
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    money_for_a_cancelled_order_ships_nothing_and_is_told_to_a_person,
    a_cancel_frees_what_a_pending_payment_has_set_aside,
    a_pending_payment_for_a_cancelled_order_sets_nothing_aside,
    an_order_that_is_paid_is_not_cancelled_and_the_clerk_is_told_why,
    an_order_that_is_only_signed_is_cancelled_and_money_for_it_is_for_a_person,
    a_released_payment_is_listed_with_who_released_it_and_when,
    a_mail_that_was_given_up_is_found_with_its_payment,
    old_personal_data_is_removed_and_a_copy_of_the_old_message_has_no_second_effect,
);

/// A pipeline with a merchant to be told, and one more table of settings.
async fn start_with(engine: Engine, table: &str) -> anyhow::Result<Pipeline> {
    let world = match engine {
        Engine::Embedded => World::embedded()?,
        Engine::Cluster => World::cluster("cancel").await?,
    };
    let mut pipeline = Pipeline::prepare_in(engine, world.with_table(table)).await?;
    let more = [("QUITTANCE_NOTIFY__MERCHANT", "office@shop.example")];
    for stage in pipeline.stages() {
        pipeline.start_stage(stage, stage, &more).await?;
    }
    Ok(pipeline)
}

/// Registers order `id` of one pot.
async fn order(pipeline: &Pipeline, id: &str) -> anyhow::Result<()> {
    let terms = ["--id", id, "--total", "20.00", "--currency", "EUR"];
    let mut arguments = vec!["orders", "add", "--line", "POT=1"];
    arguments.extend(terms);
    pipeline.quittance(&arguments).await?;
    Ok(())
}

async fn cancel(pipeline: &Pipeline, id: &str) -> anyhow::Result<Value> {
    let arguments = [
        "orders",
        "cancel",
        id,
        "--because",
        "out of print",
        "--by",
        "kim",
    ];
    let mut told = pipeline.listing(&arguments).await?;
    anyhow::ensure!(told.len() == 1, "{told:?}");
    Ok(told.remove(0))
}

fn paid_for(txn: &str, order: &str) -> Ipn {
    Ipn::payment(txn, "POT", 1, "20.00").with("invoice", order)
}

fn pending_for(txn: &str, order: &str) -> Ipn {
    paid_for(txn, order)
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck")
}

fn flags(row: &Value) -> Vec<&str> {
    let flags = row["flags"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    flags.iter().filter_map(Value::as_str).collect()
}

/// The only mail goes to the merchant and gives this reason.
async fn merchant_is_told(pipeline: &Pipeline, reason: &str) -> anyhow::Result<()> {
    let mails = pipeline.mailed(1).await?;
    let mail = quittance_deploy::demo::mail::parse(&mails[0]);
    assert!(mail.to.contains("office@shop.example"), "{mail:?}");
    assert!(mail.text.contains(&format!("({reason})")), "{}", mail.text);
    Ok(())
}

async fn money_for_a_cancelled_order_ships_nothing_and_is_told_to_a_person(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start_with(engine, "").await?;
    order(&pipeline, "3001").await?;
    let told = cancel(&pipeline, "3001").await?;
    assert_eq!(
        (&told["outcome"], &told["by"]),
        (&"cancelled".into(), &"kim".into())
    );
    let again = cancel(&pipeline, "3001").await?;
    assert_eq!(
        again["outcome"], "cancelled_before",
        "cancelling again is no error"
    );

    pipeline.accept(&paid_for("TXCAN1", "3001")).await?;
    let row = pipeline.settled("TXCAN1", "completed").await?;
    assert_eq!(flags(&row), ["order_cancelled"]);
    merchant_is_told(&pipeline, "order_cancelled").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    assert_eq!(pipeline.mails()?.len(), 1, "nobody is thanked");

    let shown = pipeline.quittance(&["payments", "show", "TXCAN1"]).await?;
    for why in [
        "order_cancelled",
        "3001",
        "cancelled by kim",
        "out of print",
    ] {
        assert!(shown.contains(why), "{why:?} is missing in\n{shown}");
    }
    let listed = pipeline.listing(&["orders", "list"]).await?;
    assert_eq!(listed[0]["cancelled_by"], "kim");
    assert_eq!(listed[0]["settled_by"], "");
    let order = pipeline.quittance(&["orders", "show", "3001"]).await?;
    assert!(
        order.contains("out of print") && order.contains("20.00 EUR"),
        "{order}"
    );
    // The clerk refunds it; goods that never left do not come back.
    pipeline
        .accept(&Ipn::refund("TXCAN1R", "TXCAN1", "-20.00"))
        .await?;
    pipeline.settled("TXCAN1", "refunded").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    Ok(())
}

async fn a_cancel_frees_what_a_pending_payment_has_set_aside(engine: Engine) -> anyhow::Result<()> {
    let pipeline = start_with(engine, "").await?;
    order(&pipeline, "3002").await?;
    pipeline.accept(&pending_for("TXCAN2", "3002")).await?;
    pipeline.settled("TXCAN2", "pending").await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 1, 0));
    pipeline.mailed(1).await?;
    let told = cancel(&pipeline, "3002").await?;
    assert_eq!(told["payments"][0]["txn_id"], "TXCAN2");
    assert_eq!(told["payments"][0]["released"], 1);
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));

    pipeline.accept(&paid_for("TXCAN2", "3002")).await?;
    let row = pipeline.settled("TXCAN2", "completed").await?;
    assert_eq!(flags(&row), ["order_cancelled"]);
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    let mails = pipeline.mailed(2).await?;
    assert!(
        mails
            .iter()
            .any(|mail| mail.contains("office@shop.example"))
    );
    Ok(())
}

async fn a_pending_payment_for_a_cancelled_order_sets_nothing_aside(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start_with(engine, "").await?;
    order(&pipeline, "3003").await?;
    cancel(&pipeline, "3003").await?;
    pipeline.accept(&pending_for("TXCAN3", "3003")).await?;
    let row = pipeline.settled("TXCAN3", "pending").await?;
    assert_eq!(flags(&row), ["pending_for_cancelled_order"]);
    merchant_is_told(&pipeline, "pending_for_cancelled_order").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    Ok(())
}

async fn an_order_that_is_paid_is_not_cancelled_and_the_clerk_is_told_why(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start_with(engine, "").await?;
    order(&pipeline, "3004").await?;
    pipeline.accept(&paid_for("TXCAN4", "3004")).await?;
    pipeline.settled("TXCAN4", "completed").await?;
    let refused = pipeline.quittance(&["orders", "cancel", "3004"]).await;
    let refused = refused.unwrap_err().to_string();
    for word in ["3004", "TXCAN4", "completed", "refund"] {
        assert!(refused.contains(word), "{word:?} is missing in {refused}");
    }
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    let row = pipeline.settled("TXCAN4", "completed").await?;
    assert!(flags(&row).is_empty(), "{row}");
    assert_eq!(
        pipeline.listing(&["orders", "list"]).await?[0]["cancelled_at"],
        ""
    );
    Ok(())
}

async fn an_order_that_is_only_signed_is_cancelled_and_money_for_it_is_for_a_person(
    engine: Engine,
) -> anyhow::Result<()> {
    let secret = "[orders]\nsecret = \"the secret of the cancellations\"\n";
    let pipeline = start_with(engine, secret).await?;
    let terms = ["--id", "3005", "--total", "20.00", "--currency", "EUR"];
    let sign = [&["orders", "sign", "--line", "POT=1"][..], &terms[..]].concat();
    let custom = pipeline.quittance(&sign).await?;
    let told = cancel(&pipeline, "3005").await?;
    assert_eq!(
        (&told["outcome"], &told["registered"]),
        (&"cancelled".into(), &false.into())
    );
    let paid = Ipn::payment("TXCAN5", "POT", 1, "20.00").with("custom", custom.trim());
    pipeline.accept(&paid).await?;
    let row = pipeline.settled("TXCAN5", "completed").await?;
    assert_eq!(flags(&row), ["order_cancelled"]);
    merchant_is_told(&pipeline, "order_cancelled").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    let order = pipeline.quittance(&["orders", "show", "3005"]).await?;
    assert!(
        order.contains("out of print") && order.contains("kim"),
        "{order}"
    );
    let listed = pipeline.listing(&["orders", "list"]).await?;
    assert_eq!(
        (&listed[0]["id"], &listed[0]["total"]),
        (&"3005".into(), &"".into())
    );
    let unknown = pipeline
        .quittance(&["orders", "show", "no-such-order"])
        .await;
    assert!(unknown.unwrap_err().to_string().contains("no-such-order"));
    Ok(())
}

async fn a_released_payment_is_listed_with_who_released_it_and_when(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = start_with(engine, "").await?;
    pipeline
        .accept(&Ipn::payment("TXREL9", "POT", 1, "19.00"))
        .await?;
    let waiting = eventually("it is quarantined", PATIENCE, async || {
        let rows = pipeline.listing(&["payments", "quarantined"]).await.ok()?;
        rows.into_iter().find(|row| row["txn_id"] == "TXREL9")
    })
    .await?;
    assert_eq!(
        (&waiting["state"], &waiting["queue"]),
        (&"waiting".into(), &"quarantine".into())
    );
    let release = [
        "payments",
        "release",
        "TXREL9",
        "--because",
        "agreed",
        "--by",
        "kim",
    ];
    pipeline.quittance(&release).await?;
    pipeline.settled("TXREL9", "completed").await?;
    let all = pipeline
        .listing(&["payments", "quarantined", "--all"])
        .await?;
    assert_eq!(all.len(), 1);
    assert_eq!(
        (
            &all[0]["state"],
            &all[0]["decided_by"],
            &all[0]["decided_because"]
        ),
        (&"released".into(), &"kim".into(), &"agreed".into())
    );
    assert!(
        all[0]["decided_at"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );
    let people = pipeline.quittance(&["payments", "quarantined"]).await?;
    assert!(people.contains("1 more released"), "{people}");
    let shown = pipeline.quittance(&["payments", "show", "TXREL9"]).await?;
    assert!(shown.contains("released  kim"), "{shown}");
    assert_eq!(pipeline.depth("quarantine").await?, 1, "the copy stays");
    pipeline.drained().await?;
    // As the runbook says.
    if engine == Engine::Embedded {
        pipeline.take("quittance")?.terminate(PATIENCE).await?;
    }
    let queues = pipeline.listing(&["queues", "list"]).await?;
    let mut names = queues.iter().filter_map(|row| row["queue"].as_str());
    let name = names.find(|name| name.ends_with("quarantine"));
    let name = name.unwrap_or_default();
    let purge = [
        "queues",
        "purge",
        "quarantine",
        "--txn",
        "TXREL9",
        "--yes",
        name,
    ];
    pipeline.quittance(&purge).await?;
    assert_eq!(pipeline.depth("quarantine").await?, 0);
    Ok(())
}

async fn a_mail_that_was_given_up_is_found_with_its_payment(engine: Engine) -> anyhow::Result<()> {
    let sink = SmtpSink::start().await?;
    sink.answer(Answer::Refuse(554));
    let url = sink.url();
    let mut pipeline = Pipeline::prepare(engine).await?;
    for stage in pipeline.stages() {
        let more = [
            ("QUITTANCE_NOTIFY__DRIVER", "smtp"),
            ("QUITTANCE_NOTIFY__SMTP_URL", url.as_str()),
        ];
        pipeline.start_stage(stage, stage, &more).await?;
    }
    pipeline
        .accept(&Ipn::payment("TXNOMAIL", "MUG", 1, "9.90"))
        .await?;
    pipeline.parked("smtp_rejected", 1).await?;
    let rows = pipeline.listing(&["payments", "quarantined"]).await?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["txn_id"], &rows[0]["stage"], &rows[0]["queue"]),
        (
            &"TXNOMAIL".into(),
            &"notifier".into(),
            &"notify.dead".into()
        )
    );
    let shown = pipeline
        .quittance(&["payments", "show", "TXNOMAIL"])
        .await?;
    assert!(shown.contains("smtp_rejected"), "{shown}");
    assert!(!shown.contains("buyer@example.net"), "{shown}");
    let release = ["payments", "release", "TXNOMAIL", "--because", "again"];
    let refused = pipeline.quittance(&release).await.unwrap_err().to_string();
    assert!(refused.contains("queues replay"), "{refused}");
    Ok(())
}

async fn old_personal_data_is_removed_and_a_copy_of_the_old_message_has_no_second_effect(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = start_with(engine, "[retention]\npersonal_data = \"1s\"\n").await?;
    let paid = Ipn::payment("TXAGED", "POT", 1, "20.00");
    pipeline.accept(&paid).await?;
    pipeline.settled("TXAGED", "completed").await?;
    pipeline.mailed(1).await?;
    eventually("its personal data is removed", PATIENCE, async || {
        let story = pipeline
            .listing(&["payments", "show", "TXAGED"])
            .await
            .ok()?;
        let at = story.first()?["details_removed_at"].as_str()?.to_owned();
        (!at.is_empty()).then_some(())
    })
    .await?;
    let shown = pipeline.quittance(&["payments", "show", "TXAGED"]).await?;
    assert!(shown.contains("personal data removed"), "{shown}");
    // The gateway sends it again, and somebody replays it past the claims: nothing happens twice.
    pipeline.accept(&paid).await?;
    pipeline.drained().await?;
    if engine == Engine::Embedded {
        pipeline.take("quittance")?.terminate(PATIENCE).await?;
    }
    let replay = ["queues", "replay", "--archive", "--to", "verify"];
    let done = pipeline.listing(&replay).await?;
    assert!(done[0]["done"].as_u64() >= Some(1), "{done:?}");
    if engine == Engine::Embedded {
        pipeline.start_all().await?;
    }
    eventually("it is verified again", PATIENCE, async || {
        (pipeline.sandbox.postbacks().len() >= 2).then_some(())
    })
    .await?;
    // The books still know what a late refund is of.
    pipeline
        .accept(&Ipn::refund("TXAGEDR", "TXAGED", "-20.00"))
        .await?;
    pipeline.settled("TXAGED", "refunded").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    let row = pipeline.settled("TXAGED", "refunded").await?;
    assert_eq!(row["events"], 2);
    Ok(())
}
