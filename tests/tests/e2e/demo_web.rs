//! `quittance demo --web`: a whole purchase by clicks, and an orderly end.

use std::time::Duration;

use quittance_tests::browser::Browser;
use quittance_tests::{Process, eventually};

use crate::buyer::picture;
use crate::pipeline::PATIENCE;

const LONG: Duration = Duration::from_mins(1);

/// The shop's URL, once it is told.
async fn url_of(process: &Process) -> anyhow::Result<String> {
    eventually("the demo tells its URL", PATIENCE, async || {
        let told = process.output().ok()?;
        let line = told
            .lines()
            .find_map(|line| line.strip_prefix("demo shop on "))?;
        told.contains("Ctrl-C ends it").then(|| line.to_owned())
    })
    .await
}

#[tokio::test]
async fn a_purchase_is_clicked_through_and_the_demo_ends_cleanly_when_told() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let arguments = ["demo", "--web"];
    let mut process = Process::spawn("quittance", "demo", &arguments, &[], folder.path())?;
    let shop = url_of(&process).await?;
    let browser = Browser::start("en").await?;
    browser.open(&shop).await?;
    browser.shows("What would you like?", PATIENCE).await?;
    browser.shows("20 left", PATIENCE).await?;
    browser.fill("input[name=quantity_MUG]", "2").await?;
    browser.fill("input[name=quantity_POSTER]", "1").await?;
    picture(&browser, "shop").await?;
    browser.click("button.main").await?;
    browser.shows("Order D-1001: 34.80 EUR", PATIENCE).await?;
    picture(&browser, "shop-order").await?;
    browser.click("button.main").await?;
    browser.shows("Pay 34.80 EUR", PATIENCE).await?;
    browser.click("button[value=pay]").await?;
    browser
        .shows("your payment has been made", PATIENCE)
        .await?;
    browser.shows("You need not do anything more", LONG).await?;
    browser.open(&shop).await?;
    browser.shows("18 left", PATIENCE).await?;
    browser.shows("completed", PATIENCE).await?;

    // Giving up leads back to the shop.
    browser.click("button.main").await?;
    browser.shows("Order D-1002", PATIENCE).await?;
    browser.click("button.main").await?;
    browser.click("button[value=cancel]").await?;
    browser
        .shows("You gave up at the checkout", PATIENCE)
        .await?;
    picture(&browser, "shop-after").await?;

    let told = process.output()?;
    let data = told
        .lines()
        .find_map(|line| line.strip_prefix("books and mail are in "));
    let data = data
        .and_then(|line| line.split(' ').next())
        .unwrap_or_default()
        .to_owned();
    assert!(std::path::Path::new(&data).is_dir(), "{told}");
    let status = process.terminate(PATIENCE).await?;
    assert!(status.success(), "{status}: {}", process.output()?);
    assert!(
        !std::path::Path::new(&data).exists(),
        "the folder goes with it"
    );
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_the_demo_too() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let arguments = ["demo", "--web"];
    let mut process = Process::spawn("quittance", "demo", &arguments, &[], folder.path())?;
    url_of(&process).await?;
    let status = process.interrupt(PATIENCE).await?;
    assert!(status.success(), "{status}: {}", process.output()?);
    Ok(())
}
