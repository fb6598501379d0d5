//! A buyer at the stand-in's checkout, by HTTP and in a browser, and a shop that sells by links.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use quittance_deploy::sandbox::Options;
use quittance_tests::browser::Browser;
use quittance_tests::http;
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::pipeline::{Engine, Pipeline};
use crate::returns::{COOKIES, TOKEN};

/// The token of `POST /orders`.
pub(crate) const ADMIN_TOKEN: &str = "the-token-of-the-shop-0123456789abcdef";
/// The secret of signed orders.
pub(crate) const ORDER_SECRET: &str = "the secret of the links";

/// How long the stand-in's bank takes.
const ECHECK: Duration = Duration::from_secs(4);

/// A pipeline that sells by links: it looks up returns, signs orders and takes them by HTTP.
pub(crate) async fn shop(engine: Engine, more: &[(&str, &str)]) -> anyhow::Result<Pipeline> {
    let world = Pipeline::world(engine).await?;
    let url = world.ingest_url();
    let orders = format!("[orders]\nsecret = \"{ORDER_SECRET}\"\ncancel_url = \"{url}/basket\"\n");
    let world = world
        .with_top(&format!("public_url = \"{url}\""))
        .with_table(&orders);
    let options = Options {
        echeck_clears_after: ECHECK,
        ..Options::default()
    };
    let mut pipeline = Pipeline::prepare_beside(engine, world, options).await?;
    let mut environment = vec![TOKEN, COOKIES, ("QUITTANCE_ADMIN__TOKEN", ADMIN_TOKEN)];
    environment.extend(more);
    for stage in pipeline.stages() {
        pipeline.start_stage(stage, stage, &environment).await?;
    }
    Ok(pipeline)
}

/// Registers an order by HTTP; the status and the answer.
pub(crate) async fn post_order(
    pipeline: &Pipeline,
    id: &str,
    total: &str,
    lines: &[(&str, u32)],
) -> anyhow::Result<(u16, Value)> {
    let lines = lines.iter();
    let lines = lines.map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}));
    let lines: Vec<Value> = lines.collect();
    let order = json!({"id": id, "total": total, "currency": "EUR", "lines": lines});
    let headers =
        format!("Authorization: Bearer {ADMIN_TOKEN}\r\nContent-Type: application/json\r\n");
    let admin = pipeline.admin_of(pipeline.binary_of("ingest"))?;
    let body = order.to_string();
    let answer = http::once(admin, "POST", "/orders", &headers, body.as_bytes()).await?;
    Ok((answer.status, serde_json::from_slice(&answer.body)?))
}

/// Registers an order and gives the URL of its link.
pub(crate) async fn link(
    pipeline: &Pipeline,
    id: &str,
    total: &str,
    lines: &[(&str, u32)],
) -> anyhow::Result<String> {
    let (status, answer) = post_order(pipeline, id, total, lines).await?;
    anyhow::ensure!(status == 200, "{status}: {answer}");
    Ok(answer["url"].as_str().context("a url")?.to_owned())
}

/// Follows a link and chooses, as a browser without a script would; where it is sent back to.
pub(crate) async fn choose(url: &str, fields: &[(&str, &str)]) -> anyhow::Result<Url> {
    let url = Url::parse(url)?;
    let at = address(&url)?;
    let page = http::once(at, "GET", &target(&url), "", b"").await?;
    anyhow::ensure!(page.status == 200, "{}: {}", page.status, page.text());
    let page = page.text();
    let (_, rest) = page.split_once("/checkout/").context("no form")?;
    let (id, _) = rest.split_once('"').context("no form")?;
    let form = Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
    let path = format!("/checkout/{id}");
    let sent = http::once(at, "POST", &path, headers, form.as_bytes()).await?;
    anyhow::ensure!(sent.status == 303, "{}: {}", sent.status, sent.text());
    Ok(Url::parse(sent.header("location").context("nowhere")?)?)
}

/// What the page that the buyer comes back to says to a program.
pub(crate) async fn come_back(url: &Url) -> anyhow::Result<Value> {
    let accept = "Accept: application/json\r\n";
    let answer = http::once(address(url)?, "GET", &target(url), accept, b"").await?;
    anyhow::ensure!(answer.status == 200, "{}", answer.status);
    Ok(serde_json::from_slice(&answer.body)?)
}

/// The token of a return.
pub(crate) fn token(url: &Url) -> anyhow::Result<String> {
    let pair = url.query_pairs().find(|(name, _)| name == "tx");
    Ok(pair.context("no token")?.1.into_owned())
}

fn address(url: &Url) -> anyhow::Result<SocketAddr> {
    let addresses = url.socket_addrs(|| None)?;
    addresses.first().copied().context("no address")
}

fn target(url: &Url) -> String {
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// Pictures for the documentation, at a desktop's and a phone's width, in the folder that
/// `RECEIPT_SCREENSHOTS` names; nothing without it. What is too wide for a phone fails always.
pub(crate) async fn picture(browser: &Browser, name: &str) -> anyhow::Result<()> {
    let folder = std::env::var_os("RECEIPT_SCREENSHOTS").map(PathBuf::from);
    for (device, width, height) in [("desktop", 1280, 800), ("phone", 390, 800)] {
        browser.resize(width, height).await?;
        let overflow = "return document.documentElement.scrollWidth > window.innerWidth";
        assert_eq!(browser.script(overflow).await?, false, "{name} at {width}");
        if let Some(folder) = &folder {
            let tall = "return document.documentElement.scrollHeight";
            let tall = browser.script(tall).await?.as_u64().unwrap_or_default();
            let tall = u32::try_from(tall)?.max(height);
            browser.resize(width, tall).await?;
            let path = folder.join(format!("{name}-{device}.png"));
            browser.screenshot(&path).await?;
        }
    }
    browser.resize(1280, 800).await
}
