//! The return page in a real browser. With `RECEIPT_SCREENSHOTS` set to a folder, pictures of each
//! state are written there.

use std::time::Duration;

use quittance_deploy::demo::body::Ipn;
use quittance_tests::browser::Browser;

use crate::pipeline::{Engine, PATIENCE, Pipeline};
use crate::returns::start;

const LONG: Duration = Duration::from_mins(1);

fn url(pipeline: &Pipeline, tx: &str) -> String {
    let ingest = pipeline.world.ingest_url();
    format!("{ingest}/return/paypal/default?tx={tx}")
}

/// Pictures for the documentation, at a desktop's and a phone's width.
async fn picture(browser: &Browser, name: &str) -> anyhow::Result<()> {
    crate::buyer::picture(browser, &format!("return-{name}")).await
}

#[tokio::test]
async fn a_browser_shows_paid_and_a_name_with_a_script_as_text() -> anyhow::Result<()> {
    let pipeline = start(Engine::Embedded, &[]).await?;
    let ipn = Ipn::payment("TXBROWSER001", "MUG", 1, "9.90")
        .with("item_name", "Mug <script>document.title='owned'</script>")
        .with("address_name", "Jürgen <script>alert(1)</script> Groß")
        .with("address_street", "1 Main St\r\nFlat 2")
        .with("address_zip", "12345")
        .with("address_city", "Berlin")
        .with("address_country", "Germany");
    pipeline.sandbox.register(&ipn.bytes());
    let browser = Browser::start("en").await?;
    browser.open(&url(&pipeline, "TXBROWSER001")).await?;
    browser
        .shows("your payment has been made", PATIENCE)
        .await?;
    // The books take over by themselves, and the first browser keeps its view.
    browser
        .shows("The transaction has been completed. You need not", LONG)
        .await?;
    for text in [
        "9.90",
        "b***@example.net",
        "<script>alert(1)</script>",
        "1 Main St",
        "Flat 2",
    ] {
        browser.shows(text, Duration::from_secs(1)).await?;
    }
    let title = browser.script("return document.title").await?;
    assert!(
        title
            .as_str()
            .is_some_and(|title| title.contains("Thank you")),
        "{title}"
    );
    let ruled = "return getComputedStyle(document.querySelector('main')).borderTopStyle";
    assert_eq!(
        browser.script(ruled).await?,
        "solid",
        "the style is loaded under the policy"
    );
    picture(&browser, "paid").await
}

#[tokio::test]
async fn a_browser_sees_an_echeck_pending_turn_into_paid_by_itself() -> anyhow::Result<()> {
    let pipeline = start(Engine::Embedded, &[]).await?;
    let completed = Ipn::payment("TXBROWSER002", "MUG", 1, "9.90");
    let pending = completed
        .clone()
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck");
    pipeline.sandbox.register(&pending.bytes());
    let browser = Browser::start("de").await?;
    browser.open(&url(&pipeline, "TXBROWSER002")).await?;
    browser
        .shows("Ihre Zahlung ist unterwegs", PATIENCE)
        .await?;
    browser.shows("fünf bis acht Tage", PATIENCE).await?;
    browser.shows("9,90", PATIENCE).await?;
    assert_eq!(
        browser
            .script("return document.documentElement.lang")
            .await?,
        "de"
    );
    pipeline.settled("TXBROWSER002", "pending").await?;
    picture(&browser, "pending").await?;
    pipeline.accept(&completed).await?;
    browser.shows("Ihre Zahlung ist erfolgt", LONG).await?;
    Ok(())
}

#[tokio::test]
async fn a_browser_sees_what_was_paid_turn_into_refunded() -> anyhow::Result<()> {
    let pipeline = start(Engine::Embedded, &[]).await?;
    let paid = Ipn::payment("TXBROWSER004", "MUG", 1, "9.90");
    pipeline.accept(&paid).await?;
    pipeline.settled("TXBROWSER004", "completed").await?;
    let browser = Browser::start("en").await?;
    browser.open(&url(&pipeline, "TXBROWSER004")).await?;
    browser
        .shows("your payment has been made", PATIENCE)
        .await?;
    let back = Ipn::refund("TXBROWSER005", "TXBROWSER004", "-9.90");
    pipeline.accept(&back).await?;
    pipeline.settled("TXBROWSER004", "refunded").await?;
    browser.open(&url(&pipeline, "TXBROWSER004")).await?;
    browser
        .shows("Your payment has been refunded", PATIENCE)
        .await?;
    picture(&browser, "refunded").await
}

#[tokio::test]
async fn a_browser_that_nobody_told_anything_waits_and_then_sees_it() -> anyhow::Result<()> {
    let pipeline = start(Engine::Embedded, &[]).await?;
    let browser = Browser::start("en").await?;
    browser.open(&url(&pipeline, "short")).await?;
    browser.shows("We cannot tell", PATIENCE).await?;
    picture(&browser, "unknown").await?;
    browser.open(&url(&pipeline, "TXBROWSER003")).await?;
    browser
        .shows("We have not heard from PayPal yet", PATIENCE)
        .await?;
    picture(&browser, "waiting").await?;
    let failed = Ipn::payment("TXBROWSER003", "MUG", 1, "9.90").with("payment_status", "Failed");
    pipeline.accept(&failed).await?;
    browser.shows("did not succeed", LONG).await?;
    picture(&browser, "failed").await
}
