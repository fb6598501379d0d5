//! Stories of orders that are sold by link: registered by command or by HTTP, paid at the stand-in's
//! checkout, told by notification and by the buyer's return.

use std::time::Duration;

use quittance_tests::browser::Browser;
use quittance_tests::{eventually, http};
use serde_json::Value;
use url::Url;

use crate::buyer::{
    ADMIN_TOKEN, ORDER_SECRET, choose, come_back, link, picture, post_order, shop, token,
};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};
use crate::returns::{COOKIES, IDENTITY};

on_both_engines!(
    a_link_by_http_leads_through_the_checkout_to_a_settled_order,
    a_link_by_command_for_a_cart_with_a_discount_leads_to_a_settled_order,
    an_amount_that_is_changed_in_the_link_is_held_and_not_shown_as_paid,
    an_echeck_is_pending_and_then_settles_the_order_by_itself,
    trap_80_no_secret_and_nothing_of_the_buyer_is_in_any_log_line_of_a_whole_purchase,
);

const LONG: Duration = Duration::from_mins(1);

/// Waits until the page says so and the books agree.
async fn confirmed(url: &Url, state: &str) -> anyhow::Result<Value> {
    eventually(&format!("the page says {state}"), PATIENCE, async || {
        let page = come_back(url).await.ok()?;
        (page["state"] == state && page["confirmed"] == true).then_some(page)
    })
    .await
}

/// Waits until the order is settled by that transaction.
async fn order_settled(pipeline: &Pipeline, id: &str, txn: &str) -> anyhow::Result<()> {
    eventually(&format!("{id} is settled by {txn}"), PATIENCE, async || {
        let orders = pipeline.listing(&["orders", "list"]).await.ok()?;
        let order = orders.into_iter().find(|order| order["id"] == id)?;
        let by = order["settled_by"].as_str()?.to_owned();
        by.ends_with(txn).then_some(())
    })
    .await
}

async fn a_link_by_http_leads_through_the_checkout_to_a_settled_order(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = shop(engine, &[]).await?;
    let url = link(&pipeline, "L-1", "24.70", &[("MUG", 2)]).await?;
    assert!(url.contains("custom=q1."), "the order is signed: {url}");
    let back = choose(&url, &[("choice", "pay")]).await?;
    let txn = token(&back)?;
    let page = confirmed(&back, "paid").await?;
    assert_eq!(
        (&page["amount"], &page["currency"]),
        (&"24.70".into(), &"EUR".into())
    );
    let payment = pipeline.settled(&txn, "completed").await?;
    assert_eq!(payment["flags"], Value::Array(Vec::new()), "{payment}");
    order_settled(&pipeline, "L-1", &txn).await?;
    assert_eq!(pipeline.stock("MUG").await?, (8, 0, 0));
    pipeline.drained().await?;
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    // The same order again is the same link, and another one under its number is refused.
    assert_eq!(link(&pipeline, "L-1", "24.70", &[("MUG", 2)]).await?, url);
    assert_eq!(
        post_order(&pipeline, "L-1", "0.70", &[("MUG", 2)]).await?.0,
        409
    );
    Ok(())
}

async fn a_link_by_command_for_a_cart_with_a_discount_leads_to_a_settled_order(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = shop(engine, &[]).await?;
    let add = [
        "orders",
        "add",
        "--id",
        "L-2",
        "--total",
        "35.00",
        "--currency",
        "EUR",
        "--line",
        "MUG=2",
        "--line",
        "POT=1",
        "--link",
    ];
    let told = pipeline.quittance(&add).await?;
    let url = told.lines().next().unwrap_or_default().to_owned();
    assert!(
        told.contains("<form action=") && url.contains("cmd=_cart"),
        "{told}"
    );
    assert_eq!(
        pipeline.quittance(&add).await?,
        told,
        "a repeat says the same"
    );
    let json = pipeline.listing(&add).await?;
    assert_eq!(json[0]["url"], url);
    let back = choose(&url, &[("choice", "pay")]).await?;
    let txn = token(&back)?;
    confirmed(&back, "paid").await?;
    order_settled(&pipeline, "L-2", &txn).await?;
    assert_eq!(pipeline.stock("MUG").await?, (8, 0, 0));
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

async fn an_amount_that_is_changed_in_the_link_is_held_and_not_shown_as_paid(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = shop(engine, &[]).await?;
    let url = link(&pipeline, "L-3", "9.90", &[("MUG", 1)]).await?;
    let cheap = url.replace("amount=9.90", "amount=0.01");
    assert_ne!(cheap, url);
    let back = choose(&cheap, &[("choice", "pay")]).await?;
    let txn = token(&back)?;
    let held = eventually("the payment is held", PATIENCE, async || {
        let rows = pipeline.listing(&["payments", "quarantined"]).await.ok()?;
        rows.into_iter().find(|row| row["txn_id"] == txn.as_str())
    })
    .await?;
    assert_eq!(held["reason"], "amount_mismatch");
    assert_eq!(
        (&held["expected"], &held["found"]),
        (&"9.90 EUR".into(), &"0.01 EUR".into())
    );
    let page = come_back(&back).await?;
    assert_eq!(
        (&page["state"], &page["handling"]),
        (&"pending".into(), &"held".into()),
        "{page}"
    );
    pipeline.drained().await?;
    let orders = pipeline.listing(&["orders", "list"]).await?;
    assert_eq!(orders[0]["settled_by"], "");
    assert_eq!(pipeline.stock("MUG").await?, (10, 0, 0));
    assert!(pipeline.mails()?.is_empty());
    // The items and the currency are bound as well.
    let more = url
        .replace("quantity=1", "quantity=9")
        .replace("amount=9.90", "amount=1.10");
    let more = more.replace("invoice=L-3", "invoice=L-4");
    let back = choose(&more, &[("choice", "pay")]).await?;
    let txn = token(&back)?;
    let held = eventually("the payment is held", PATIENCE, async || {
        let rows = pipeline.listing(&["payments", "quarantined"]).await.ok()?;
        rows.into_iter().find(|row| row["txn_id"] == txn.as_str())
    })
    .await?;
    assert_eq!(held["reason"], "items_mismatch");
    Ok(())
}

async fn an_echeck_is_pending_and_then_settles_the_order_by_itself(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = shop(engine, &[]).await?;
    let url = link(&pipeline, "L-5", "20.00", &[("POT", 1)]).await?;
    let back = choose(&url, &[("choice", "echeck")]).await?;
    let txn = token(&back)?;
    let page = come_back(&back).await?;
    assert_eq!(
        (&page["state"], &page["reason"]),
        (&"pending".into(), &"echeck".into())
    );
    pipeline.settled(&txn, "completed").await?;
    confirmed(&back, "paid").await?;
    order_settled(&pipeline, "L-5", &txn).await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(2).await?.len(), 2);
    Ok(())
}

async fn trap_80_no_secret_and_nothing_of_the_buyer_is_in_any_log_line_of_a_whole_purchase(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = shop(engine, &[("QUITTANCE_LOG__FILTER", "trace")]).await?;
    let url = link(&pipeline, "L-6", "9.90", &[("MUG", 1)]).await?;
    let admin = pipeline.admin_of(pipeline.binary_of("ingest"))?;
    let wrong = "Authorization: Bearer a-wrong-token-that-somebody-tries\r\n";
    let refused = http::once(admin, "POST", "/orders", wrong, b"{}").await?;
    assert_eq!(refused.status, 401);
    let buyer = [
        ("choice", "pay"),
        ("first_name", "Privata"),
        ("last_name", "Quidnunc"),
        ("payer_email", "privata@mailbox.example"),
        ("address_street", "7 Hidden Lane"),
        ("address_city", "Nowhereville"),
    ];
    let back = choose(&url, &buyer).await?;
    let path = format!("{}?{}", back.path(), back.query().unwrap_or_default());
    let page = http::once(pipeline.world.ingest(), "GET", &path, "", b"").await?;
    assert!(page.text().contains("7 Hidden Lane"), "{}", page.text());
    // A return by POST, with everything that a gateway would write into it.
    let form = format!("tx={}&payer_email=privata%40mailbox.example", token(&back)?);
    let posted = pipeline
        .post_to("/return/paypal/default", form.as_bytes())
        .await?;
    assert_eq!(posted.status, 303);
    pipeline.settled(&token(&back)?, "completed").await?;
    pipeline.drained().await?;
    pipeline.mailed(1).await?;
    for stage in pipeline.stages() {
        // The end writes out whatever is still to be written.
        let mut process = pipeline.take(stage)?;
        process.terminate(PATIENCE).await?;
        let logs = process.output()?;
        assert!(logs.contains("TRACE"), "{stage} is at its loudest");
        for private in [
            ADMIN_TOKEN,
            "a-wrong-token",
            ORDER_SECRET,
            IDENTITY,
            COOKIES.1,
            "rivata",
            "uidnunc",
            "mailbox.example",
            "idden Lane",
            "idden+Lane",
            "owhereville",
        ] {
            let line = logs.lines().find(|line| line.contains(private));
            assert!(
                line.is_none(),
                "`{private}` is in the log of {stage}: {line:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn orders_are_registered_at_ingest_alone() -> anyhow::Result<()> {
    let pipeline = shop(Engine::Cluster, &[]).await?;
    for (stage, status) in [("ingest", 401), ("verifier", 404), ("fulfiller", 404)] {
        let admin = pipeline.admin_of(stage)?;
        let answer = http::once(admin, "POST", "/orders", "", b"{}").await?;
        assert_eq!(answer.status, status, "{stage}");
        if status == 401 {
            assert!(answer.header("www-authenticate").is_some());
        }
    }
    // The public listener knows nothing of orders.
    let public = http::once(pipeline.world.ingest(), "POST", "/orders", "", b"{}").await?;
    assert_eq!(public.status, 404);
    Ok(())
}

#[tokio::test]
async fn a_link_without_the_setting_that_it_needs_says_which() -> anyhow::Result<()> {
    let pipeline = Pipeline::prepare(Engine::Embedded).await?;
    let add = [
        "orders",
        "add",
        "--id",
        "L-7",
        "--total",
        "1",
        "--currency",
        "EUR",
        "--link",
    ];
    let refused = pipeline.quittance(&add).await;
    let told = refused
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(told.contains("public_url is not set"), "{told}");
    assert!(pipeline.listing(&["orders", "list"]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_browser_pays_comes_back_and_sees_paid_and_a_name_with_a_script_is_text()
-> anyhow::Result<()> {
    let pipeline = shop(Engine::Embedded, &[]).await?;
    let url = link(&pipeline, "B-1", "32.00", &[("MUG", 1), ("POT", 1)]).await?;
    let browser = Browser::start("en").await?;
    browser.open(&url).await?;
    browser.shows("You pay to Demo shop", PATIENCE).await?;
    for text in [
        "1 × Mug",
        "1 × Pot",
        "20.00 EUR",
        "Handling",
        "2.10 EUR",
        "Pay 32.00 EUR",
    ] {
        browser.shows(text, PATIENCE).await?;
    }
    picture(&browser, "checkout").await?;
    browser
        .fill(
            "input[name=first_name]",
            "<script>document.title='owned'</script>",
        )
        .await?;
    browser
        .fill("input[name=address_street]", "1 <b>Main</b> St")
        .await?;
    browser.click("button[value=pay]").await?;
    browser
        .shows("your payment has been made", PATIENCE)
        .await?;
    browser
        .shows("<script>document.title='owned'</script> Doe", PATIENCE)
        .await?;
    browser.shows("1 <b>Main</b> St", PATIENCE).await?;
    browser
        .shows("The transaction has been completed. You need not", LONG)
        .await?;
    browser.shows("32.00", PATIENCE).await?;
    let title = browser.script("return document.title").await?;
    assert!(
        title
            .as_str()
            .is_some_and(|title| title.contains("Thank you")),
        "{title}"
    );
    let txn = token(&Url::parse(&browser.url().await?)?)?;
    order_settled(&pipeline, "B-1", &txn).await
}

#[tokio::test]
async fn a_browser_pays_by_echeck_sees_pending_and_sees_it_turn_into_paid_by_itself()
-> anyhow::Result<()> {
    let pipeline = shop(Engine::Embedded, &[]).await?;
    let url = link(&pipeline, "B-2", "9.90", &[("MUG", 1)]).await?;
    let browser = Browser::start("en").await?;
    browser.open(&url).await?;
    browser.click("button[value=echeck]").await?;
    browser
        .shows("your payment is on its way", PATIENCE)
        .await?;
    browser.shows("five to eight days", PATIENCE).await?;
    browser.shows("your payment has been made", LONG).await
}

#[tokio::test]
async fn a_browser_that_pays_less_than_was_asked_sees_that_a_person_looks_at_it()
-> anyhow::Result<()> {
    let pipeline = shop(Engine::Embedded, &[]).await?;
    let url = link(&pipeline, "B-5", "9.90", &[("MUG", 1)]).await?;
    let browser = Browser::start("en").await?;
    browser
        .open(&url.replace("amount=9.90", "amount=0.99"))
        .await?;
    browser.click("button[value=pay]").await?;
    browser.shows("does not match your order", LONG).await?;
    browser
        .shows("your payment is on its way", PATIENCE)
        .await?;
    let text = browser.text().await?;
    assert!(!text.contains("has been made"), "{text}");
    picture(&browser, "return-held").await
}

#[tokio::test]
async fn a_browser_that_gives_up_goes_to_the_shops_page_and_nothing_is_paid() -> anyhow::Result<()>
{
    let pipeline = shop(Engine::Embedded, &[]).await?;
    let url = link(&pipeline, "B-3", "9.90", &[("MUG", 1)]).await?;
    let browser = Browser::start("en").await?;
    browser.open(&url).await?;
    browser.click("button[value=cancel]").await?;
    let basket = format!("{}/basket", pipeline.world.ingest_url());
    eventually("the browser is at the basket", PATIENCE, async || {
        (browser.url().await.ok()? == basket).then_some(())
    })
    .await?;
    assert!(pipeline.sandbox.sent().is_empty());
    let wrong = url
        .replace("charset=utf-8", "charset=klingon")
        .replace("rm=1", "rm=7");
    browser.open(&wrong).await?;
    browser
        .shows("This payment cannot be shown", PATIENCE)
        .await?;
    browser.shows("must be utf-8", PATIENCE).await?;
    browser.shows("must be one of 0, 1, 2", PATIENCE).await?;
    picture(&browser, "checkout-problems").await
}

#[tokio::test]
async fn trap_82_a_browser_that_is_sent_back_by_post_comes_to_the_page_by_get() -> anyhow::Result<()>
{
    let pipeline = shop(Engine::Embedded, &[]).await?;
    let url = link(&pipeline, "B-4", "9.90", &[("MUG", 1)]).await?;
    let browser = Browser::start("en").await?;
    browser.open(&url.replace("rm=1", "rm=2")).await?;
    browser.click("button[value=pay]").await?;
    browser
        .shows("The shop wants to be told by a form", PATIENCE)
        .await?;
    browser.click("button.main").await?;
    browser
        .shows("your payment has been made", PATIENCE)
        .await?;
    let at = Url::parse(&browser.url().await?)?;
    let names: Vec<String> = at
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    assert_eq!(names, ["tx"], "the token alone: {at}");
    browser.shows("You need not do anything more", LONG).await
}
