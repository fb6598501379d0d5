//! Stories of buyers who come back: by PDT and IPN, in any order, on two replicas; one effect,
//! always.

use std::net::{Ipv4Addr, SocketAddr};

use quittance_deploy::demo::body::Ipn;
use quittance_deploy::sandbox::Outcome;
use quittance_tests::{Postgres, RabbitMq, World, eventually, http, ports};
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    trap_71_pdt_before_ipn_has_one_effect,
    trap_71_pdt_after_ipn_has_one_effect,
    trap_71_ipn_and_pdt_at_the_same_instant_on_two_replicas_have_one_effect,
    trap_81_pdt_pending_and_then_ipn_completed_reserves_and_then_takes,
    a_transaction_of_another_account_has_no_effect_and_shows_nothing,
    trap_77_ten_refreshes_and_a_replayed_token_cause_one_look_up_and_one_effect,
    another_orders_token_changes_nothing_and_tells_no_address,
    a_second_payment_for_an_order_is_shown_as_paid_and_in_review,
    trap_79_a_return_without_tx_is_a_page_and_what_was_posted_is_not_processed,
    trap_82_a_cross_site_post_without_cookies_ends_at_the_page_of_the_first_browser,
    trap_80_neither_the_identity_token_nor_the_buyer_is_in_any_log_line,
);

/// The identity token of the stand-in.
pub(crate) const IDENTITY: &str = "sandbox-identity-token";
pub(crate) const TOKEN: (&str, &str) = ("QUITTANCE_ACCOUNT__0__PDT_TOKEN", IDENTITY);
pub(crate) const COOKIES: (&str, &str) = (
    "QUITTANCE_PDT__COOKIE_SECRET",
    "0123456789abcdef0123456789abcdef",
);

/// A pipeline whose account may look up.
pub(crate) async fn start(engine: Engine, more: &[(&str, &str)]) -> anyhow::Result<Pipeline> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    let mut environment = vec![TOKEN, COOKIES];
    environment.extend(more);
    for stage in pipeline.stages() {
        pipeline.start_stage(stage, stage, &environment).await?;
    }
    Ok(pipeline)
}

/// What the return page says to a program.
pub(crate) async fn visit(at: SocketAddr, tx: &str) -> anyhow::Result<Value> {
    let path = format!("/return/paypal/default?tx={tx}&st=Completed&amt=0.01&cc=USD");
    let answer = http::once(at, "GET", &path, "Accept: application/json\r\n", b"").await?;
    assert_eq!(answer.status, 200);
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Visits until the page says so.
async fn shown(at: SocketAddr, tx: &str, state: &str, confirmed: bool) -> anyhow::Result<Value> {
    eventually(&format!("the page says {state}"), PATIENCE, async || {
        let page = visit(at, tx).await.ok()?;
        (page["state"] == state && page["confirmed"] == confirmed).then_some(page)
    })
    .await
}

/// Waits for a line in the log: lines are written by a task of their own.
async fn logged(pipeline: &Pipeline, words: &str) -> anyhow::Result<()> {
    eventually(&format!("`{words}` is logged"), PATIENCE, async || {
        pipeline.logs().ok()?.contains(words).then_some(())
    })
    .await
}

fn look_ups(pipeline: &Pipeline) -> usize {
    let asked = pipeline.sandbox.postbacks();
    let looked = asked
        .iter()
        .filter(|asked| matches!(asked.outcome, Outcome::Success | Outcome::Fail));
    looked.count()
}

/// The one payment, its one event, and what it did to 10 mugs.
async fn one_effect(pipeline: &Pipeline, txn: &str) -> anyhow::Result<()> {
    let payment = pipeline.settled(txn, "completed").await?;
    pipeline.drained().await?;
    assert_eq!(payment["events"], 1, "{payment}");
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    let payments = pipeline.listing(&["payments", "list"]).await?;
    assert_eq!(payments.len(), 1);
    Ok(())
}

async fn trap_71_pdt_before_ipn_has_one_effect(engine: Engine) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    let ipn = Ipn::payment("TXPDTBEFORE1", "MUG", 1, "9.90");
    pipeline.sandbox.register(&ipn.bytes());
    let page = visit(pipeline.world.ingest(), "TXPDTBEFORE1").await?;
    assert_eq!(
        (page["state"].as_str(), page["amount"].as_str()),
        (Some("paid"), Some("9.90"))
    );
    let payment = pipeline.settled("TXPDTBEFORE1", "completed").await?;
    assert_eq!(payment["events"], 1);
    pipeline.accept(&ipn).await?;
    eventually("the notification is a duplicate", PATIENCE, async || {
        (pipeline.metric("quittance_duplicates_total", &[]).await >= 1).then_some(())
    })
    .await?;
    one_effect(&pipeline, "TXPDTBEFORE1").await?;
    shown(pipeline.world.ingest(), "TXPDTBEFORE1", "paid", true).await?;
    Ok(())
}

async fn trap_71_pdt_after_ipn_has_one_effect(engine: Engine) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    pipeline
        .accept(&Ipn::payment("TXPDTAFTER01", "MUG", 1, "9.90"))
        .await?;
    pipeline.settled("TXPDTAFTER01", "completed").await?;
    let page = visit(pipeline.world.ingest(), "TXPDTAFTER01").await?;
    assert_eq!(
        (page["state"].as_str(), page["confirmed"].as_bool()),
        (Some("paid"), Some(true))
    );
    eventually("the evidence is a duplicate", PATIENCE, async || {
        (pipeline.metric("quittance_duplicates_total", &[]).await >= 1).then_some(())
    })
    .await?;
    one_effect(&pipeline, "TXPDTAFTER01").await
}

async fn trap_71_ipn_and_pdt_at_the_same_instant_on_two_replicas_have_one_effect(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = start(engine, &[]).await?;
    let mut other = pipeline.world.ingest();
    if engine == Engine::Cluster {
        other = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let listen = other.to_string();
        let environment = [
            TOKEN,
            COOKIES,
            ("QUITTANCE_INGEST__LISTEN", listen.as_str()),
        ];
        pipeline
            .start_stage("ingest", "ingest-2", &environment)
            .await?;
    }
    let ipn = Ipn::payment("TXPDTSAME001", "MUG", 1, "9.90");
    pipeline.sandbox.register(&ipn.bytes());
    let first = pipeline.world.ingest();
    let (one, two, sent, three) = tokio::join!(
        visit(first, "TXPDTSAME001"),
        visit(other, "TXPDTSAME001"),
        pipeline.send(&ipn),
        visit(other, "TXPDTSAME001"),
    );
    assert_eq!(sent?, 200);
    for page in [one?, two?, three?] {
        assert_eq!(page["state"], "paid");
    }
    assert_eq!(look_ups(&pipeline), 1, "two replicas, one look-up");
    one_effect(&pipeline, "TXPDTSAME001").await
}

async fn trap_81_pdt_pending_and_then_ipn_completed_reserves_and_then_takes(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    let completed = Ipn::payment("TXPDTECHECK1", "POT", 1, "20.00");
    let pending = completed
        .clone()
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck");
    pipeline.sandbox.register(&pending.bytes());
    let page = visit(pipeline.world.ingest(), "TXPDTECHECK1").await?;
    assert_eq!(
        (page["state"].as_str(), page["reason"].as_str()),
        (Some("pending"), Some("echeck"))
    );
    pipeline.settled("TXPDTECHECK1", "pending").await?;
    assert_eq!(pipeline.stock("POT").await?, (10, 1, 0));
    pipeline.accept(&completed).await?;
    pipeline.settled("TXPDTECHECK1", "completed").await?;
    shown(pipeline.world.ingest(), "TXPDTECHECK1", "paid", true).await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    pipeline.mailed(2).await?;
    assert_eq!(look_ups(&pipeline), 1);
    Ok(())
}

async fn a_transaction_of_another_account_has_no_effect_and_shows_nothing(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    let theirs = Ipn::payment("TXPDTTHEIRS1", "MUG", 1, "9.90")
        .with("receiver_id", "SOMEBODYELSE1")
        .with("receiver_email", "other@shop.example")
        .with("business", "other@shop.example");
    pipeline.sandbox.register(&theirs.bytes());
    let page = visit(pipeline.world.ingest(), "TXPDTTHEIRS1").await?;
    assert_eq!(
        (page["state"].as_str(), page.get("amount")),
        (Some("unknown"), None)
    );
    pipeline.parked("receiver_mismatch", 1).await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("MUG").await?, (10, 0, 0));
    assert!(pipeline.listing(&["payments", "list"]).await?.is_empty());
    Ok(())
}

async fn trap_77_ten_refreshes_and_a_replayed_token_cause_one_look_up_and_one_effect(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    let at = pipeline.world.ingest();
    let ipn = Ipn::payment("TXPDTREPLAY1", "MUG", 1, "9.90");
    pipeline.sandbox.register(&ipn.bytes());
    let visits = (0..10).map(|_| visit(at, "TXPDTREPLAY1"));
    for page in futures_util::future::join_all(visits).await {
        assert_eq!(page?["state"], "paid");
    }
    assert_eq!(look_ups(&pipeline), 1);
    one_effect(&pipeline, "TXPDTREPLAY1").await?;
    for _ in 0..8 {
        visit(at, "TXPDTREPLAY1").await?;
    }
    assert_eq!(look_ups(&pipeline), 1);
    one_effect(&pipeline, "TXPDTREPLAY1").await
}

async fn another_orders_token_changes_nothing_and_tells_no_address(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    let at = pipeline.world.ingest();
    let theirs = Ipn::payment("TXPDTFIRST01", "MUG", 1, "9.90")
        .with("address_name", "Jane Doe")
        .with("address_street", "1 Main St");
    pipeline.sandbox.register(&theirs.bytes());
    let first = http::once(at, "GET", "/return/paypal/default?tx=TXPDTFIRST01", "", b"").await?;
    assert!(first.text().contains("1 Main St"));
    let cookie = first.header("set-cookie").unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    one_effect(&pipeline, "TXPDTFIRST01").await?;
    // Somebody with an order of the same price comes back with the other buyer's token.
    let again = "/return/paypal/default?tx=TXPDTFIRST01&cm=order-2&amt=9.90";
    let second = http::once(at, "GET", again, "", b"").await?;
    assert!(!second.text().contains("Main St") && !second.text().contains("buyer"));
    assert_eq!(second.header("set-cookie"), None);
    let known = format!("Cookie: {cookie}\r\n");
    let back = http::once(at, "GET", again, &known, b"").await?;
    assert!(
        back.text().contains("1 Main St"),
        "the first browser still sees it"
    );
    one_effect(&pipeline, "TXPDTFIRST01").await
}

async fn a_second_payment_for_an_order_is_shown_as_paid_and_in_review(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    let at = pipeline.world.ingest();
    let order = [
        "orders",
        "add",
        "--id",
        "R-1",
        "--total",
        "20.00",
        "--currency",
        "EUR",
    ];
    pipeline.quittance(&order).await?;
    for (txn, handling) in [
        ("TXPDTTWICE01", None),
        ("TXPDTTWICE02", Some("manual_review")),
    ] {
        let payment = Ipn::payment(txn, "POT", 1, "20.00").with("invoice", "R-1");
        pipeline.accept(&payment).await?;
        pipeline.settled(txn, "completed").await?;
        let page = shown(at, txn, "paid", true).await?;
        assert_eq!(page["handling"].as_str(), handling, "{page}");
    }
    let path = "/return/paypal/default?tx=TXPDTTWICE02";
    let page = http::once(at, "GET", path, "", b"").await?.text();
    assert!(page.contains("by hand"), "{page}");
    assert!(!page.contains("by e-mail") && !page.contains("need not do anything more"));
    Ok(())
}

/// A form post as another site's page makes it: no cookie, and an origin that is not ours.
async fn post(at: SocketAddr, query: &str, body: &[u8]) -> anyhow::Result<http::Response> {
    let headers = "Content-Type: application/x-www-form-urlencoded\r\n\
        Origin: https://www.paypal.com\r\nSec-Fetch-Site: cross-site\r\n\
        Sec-Fetch-Mode: navigate\r\n";
    let path = format!("/return/paypal/default{query}");
    http::once(at, "POST", &path, headers, body).await
}

/// Where a redirect leads a browser that asked for the page, and what it finds there.
async fn followed(at: SocketAddr, answer: &http::Response) -> anyhow::Result<http::Response> {
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("set-cookie"), None);
    let page = url::Url::parse(&format!("http://{at}/return/paypal/default"))?;
    let target = page.join(answer.header("location").unwrap_or_default())?;
    assert_eq!(target.path(), page.path(), "the page itself");
    let path = &target[url::Position::BeforePath..];
    http::once(at, "GET", path, "", b"").await
}

async fn trap_79_a_return_without_tx_is_a_page_and_what_was_posted_is_not_processed(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    let at = pipeline.world.ingest();
    // A whole notification that would be genuine, were it sent where notifications go.
    let ipn = Ipn::payment("TXPDTPOSTED1", "MUG", 1, "9.90");
    pipeline.sandbox.register(&ipn.bytes());
    let page = followed(at, &post(at, "", &ipn.bytes()).await?).await?;
    assert_eq!(page.status, 200);
    assert!(
        page.text()
            .contains("We cannot tell how this payment stands")
    );
    assert!(!page.text().contains("9.90") && page.header("set-cookie").is_none());
    assert_eq!(look_ups(&pipeline), 0);
    // What goes through the queues afterwards shows that nothing was in them before.
    let later = Ipn::payment("TXPDTPOSTED2", "POT", 1, "20.00");
    pipeline.accept(&later).await?;
    pipeline.settled("TXPDTPOSTED2", "completed").await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.listing(&["payments", "list"]).await?.len(), 1);
    assert_eq!(pipeline.stock("MUG").await?, (10, 0, 0));
    Ok(())
}

async fn trap_82_a_cross_site_post_without_cookies_ends_at_the_page_of_the_first_browser(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine, &[]).await?;
    let at = pipeline.world.ingest();
    let ipn = Ipn::payment("TXPDTCROSS01", "MUG", 1, "9.90").with("address_street", "1 Main St");
    pipeline.sandbox.register(&ipn.bytes());
    let body = b"tx=TXPDTCROSS01&payment_status=Refunded&mc_gross=0.01";
    let page = followed(at, &post(at, "", body).await?).await?;
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(text.contains("your payment has been made"), "{text}");
    assert!(text.contains("9.90") && text.contains("1 Main St") && !text.contains("0.01"));
    assert!(page.header("set-cookie").is_some(), "it came first");
    one_effect(&pipeline, "TXPDTCROSS01").await
}

#[tokio::test]
async fn embedded_over_a_restart_the_next_holder_of_the_link_is_told_no_address()
-> anyhow::Result<()> {
    let mut pipeline = start(Engine::Embedded, &[]).await?;
    let at = pipeline.world.ingest();
    let ipn = Ipn::payment("TXPDTAGAIN01", "MUG", 1, "9.90").with("address_street", "1 Main St");
    pipeline.sandbox.register(&ipn.bytes());
    let path = "/return/paypal/default?tx=TXPDTAGAIN01";
    let first = http::once(at, "GET", path, "", b"").await?;
    assert!(first.text().contains("1 Main St"));
    let cookie = first.header("set-cookie").unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default();
    let known = format!("Cookie: {cookie}\r\n");
    one_effect(&pipeline, "TXPDTAGAIN01").await?;
    pipeline.take("quittance")?.kill().await?;
    pipeline
        .start_stage("quittance", "again", &[TOKEN, COOKIES])
        .await?;
    let next = http::once(at, "GET", path, "", b"").await?;
    assert!(
        next.text().contains("9.90"),
        "state and amount are for everybody"
    );
    assert!(!next.text().contains("Main St") && !next.text().contains("buyer"));
    assert_eq!(next.header("set-cookie"), None);
    let back = http::once(at, "GET", path, &known, b"").await?;
    assert!(
        back.text().contains("1 Main St"),
        "the first is still the first"
    );
    assert_eq!(look_ups(&pipeline), 2);
    Ok(())
}

async fn trap_80_neither_the_identity_token_nor_the_buyer_is_in_any_log_line(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = start(engine, &[("QUITTANCE_LOG__FILTER", "trace")]).await?;
    let at = pipeline.world.ingest();
    let ipn = Ipn::payment("TXPDTLOGS001", "MUG", 1, "9.90")
        .with("first_name", "Privata")
        .with("payer_email", "privata@mailbox.example")
        .with("address_street", "7 Hidden Lane")
        .with("address_name", "Privata Doe");
    pipeline.sandbox.register(&ipn.bytes());
    let page = http::once(at, "GET", "/return/paypal/default?tx=TXPDTLOGS001", "", b"").await?;
    assert!(page.text().contains("7 Hidden Lane"));
    pipeline.accept(&ipn).await?;
    one_effect(&pipeline, "TXPDTLOGS001").await?;
    let mut logs = String::new();
    for stage in pipeline.stages() {
        // The end writes out whatever is still to be written.
        let mut process = pipeline.take(stage)?;
        process.terminate(PATIENCE).await?;
        logs.push_str(&process.output()?);
    }
    assert!(logs.contains("TRACE"), "the log is at its loudest");
    assert!(
        logs.contains("evidence submitted"),
        "the whole run is there"
    );
    for private in [
        IDENTITY,
        "rivata",
        "mailbox.example",
        "idden Lane",
        "idden+Lane",
        COOKIES.1,
    ] {
        let line = logs.lines().find(|line| line.contains(private));
        assert!(line.is_none(), "`{private}` is in the log: {line:?}");
    }
    Ok(())
}

#[tokio::test]
async fn trap_80_a_wrong_or_missing_identity_token_is_told_with_what_to_do() -> anyhow::Result<()> {
    let mut pipeline = Pipeline::prepare(Engine::Embedded).await?;
    pipeline.start_stage("quittance", "without", &[]).await?;
    logged(&pipeline, "no pdt_token").await?;
    pipeline.take("without")?.terminate(PATIENCE).await?;
    let wrong = (
        "QUITTANCE_ACCOUNT__0__PDT_TOKEN",
        "a-token-of-another-environment",
    );
    pipeline.start_stage("quittance", "wrong", &[wrong]).await?;
    for tx in ["TXPDTWRONG01", "TXPDTWRONG02"] {
        let page = visit(pipeline.world.ingest(), tx).await?;
        assert_eq!(page["state"], "waiting");
    }
    let refused = "refuses this account's identity token";
    logged(&pipeline, refused).await?;
    // The end writes out whatever is still to be written.
    let mut process = pipeline.take("wrong")?;
    process.terminate(PATIENCE).await?;
    let logs = process.output()?;
    let told = logs.matches(refused).count();
    assert_eq!(told, 1, "told once, not at every visit: {logs}");
    assert!(!logs.contains(wrong.1));
    Ok(())
}

#[tokio::test]
async fn cluster_with_redis_away_the_page_waits_and_nobody_is_looked_up() -> anyhow::Result<()> {
    let amqp = RabbitMq::shared().await?.vhost("returns").await?;
    let shop = Postgres::shared().await?.database("returns").await?;
    let world = World::cluster_on(&amqp, "redis://127.0.0.1:1", &shop)?;
    let mut pipeline = Pipeline::prepare_in(Engine::Cluster, world).await?;
    pipeline
        .start_stage("ingest", "ingest", &[TOKEN, COOKIES])
        .await?;
    let ipn = Ipn::payment("TXPDTREDIS01", "MUG", 1, "9.90");
    pipeline.sandbox.register(&ipn.bytes());
    for _ in 0..10 {
        let page = visit(pipeline.world.ingest(), "TXPDTREDIS01").await?;
        assert_eq!(page["state"], "waiting");
    }
    assert_eq!(look_ups(&pipeline), 0);
    let away = ["outcome=\"store_away\""];
    assert_eq!(
        pipeline.metric("quittance_pdt_lookups_total", &away).await,
        10
    );
    Ok(())
}
