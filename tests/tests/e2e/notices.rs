//! Stories of announcements: mail servers that refuse, vanish and forget to answer, a shop that is
//! posted to, crashes in the instant of sending, and templates that cannot be used.

mod mail_servers;
mod quarantined;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use quittance_deploy::demo::body::Ipn;
use quittance_tests::servers::smtp::{Answer, Mail};
use quittance_tests::{ChaosProxy, Mode, SmtpSink, eventually, process};
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    greylisting_is_waited_out,
    a_mail_that_a_server_refuses_is_parked,
    a_mail_server_that_is_down_gets_the_mail_when_it_is_up,
    a_reply_that_is_lost_after_data_repeats_the_mail_under_the_same_message_id,
    a_crash_after_sending_repeats_the_mail_under_the_same_message_id,
    a_crash_after_posting_repeats_the_webhook_under_the_same_id,
    a_shop_that_counts_its_own_stock_is_told_by_signed_webhooks,
    trap_73_a_mail_leaves_after_the_commit_and_once,
    a_german_buyer_reads_german_and_an_owed_item_is_told_to_buyer_and_merchant,
);

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Starts all processes with more in the environment.
async fn start_with(pipeline: &mut Pipeline, more: &[(&str, &str)]) -> anyhow::Result<()> {
    for stage in pipeline.stages() {
        pipeline.start_stage(stage, stage, more).await?;
    }
    Ok(())
}

/// A payment for one mug.
fn mug(txn: &str) -> Ipn {
    Ipn::payment(txn, "MUG", 1, "9.90")
}

/// A pipeline that has died of `failpoint` over a payment for one mug, and the process to start
/// again.
async fn crashed(
    engine: Engine,
    failpoint: &str,
    more: &[(&str, &str)],
    txn: &str,
) -> anyhow::Result<(Pipeline, &'static str)> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    let victim = pipeline.binary_of("fulfiller");
    for other in pipeline.stages() {
        if *other != victim {
            pipeline.start_stage(other, other, more).await?;
        }
    }
    let dying = [more, &[("FAILPOINTS", failpoint)]].concat();
    pipeline.start_stage(victim, victim, &dying).await?;
    pipeline.accept(&mug(txn)).await?;
    pipeline.take(victim)?.wait(PATIENCE).await?;
    Ok((pipeline, victim))
}

/// A pipeline whose mail goes to `url`.
async fn mailing(engine: Engine, url: &str) -> anyhow::Result<Pipeline> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    start_with(&mut pipeline, &by_smtp(url)).await?;
    Ok(pipeline)
}

fn by_smtp(url: &str) -> [(&str, &str); 2] {
    [
        ("QUITTANCE_NOTIFY__DRIVER", "smtp"),
        ("QUITTANCE_NOTIFY__SMTP_URL", url),
    ]
}

async fn delivered(sink: &SmtpSink, count: usize) -> anyhow::Result<Vec<Mail>> {
    eventually(
        &format!("{count} mails at the server"),
        PATIENCE,
        async || {
            let mails = sink.messages();
            (mails.len() >= count).then_some(mails)
        },
    )
    .await
}

fn message_id(mail: &Mail) -> anyhow::Result<&str> {
    let line = mail
        .data
        .lines()
        .find(|line| line.starts_with("Message-ID: "));
    line.context("a Message-ID")
}

/// Waits until an announcement was tried and is waiting for its next attempt.
async fn retried(pipeline: &Pipeline) -> anyhow::Result<()> {
    let label = ["outcome=\"retried\""];
    eventually("an announcement is retried", PATIENCE, async || {
        let count = pipeline.metric("quittance_effects_total", &label).await;
        (count > 0).then_some(())
    })
    .await
}

async fn greylisting_is_waited_out(engine: Engine) -> anyhow::Result<()> {
    let sink = SmtpSink::start().await?;
    sink.answer(Answer::Refuse(450));
    let pipeline = mailing(engine, &sink.url()).await?;
    pipeline.accept(&mug("TXGREY")).await?;
    retried(&pipeline).await?;
    sink.answer(Answer::Accept);
    let mails = delivered(&sink, 1).await?;
    assert_eq!(mails[0].to, ["buyer@example.net"]);
    pipeline.drained().await?;
    assert_eq!(sink.messages().len(), 1);
    Ok(())
}

async fn a_mail_that_a_server_refuses_is_parked(engine: Engine) -> anyhow::Result<()> {
    let sink = SmtpSink::start().await?;
    sink.answer(Answer::Refuse(554));
    let pipeline = mailing(engine, &sink.url()).await?;
    pipeline.accept(&mug("TXREFUSED")).await?;
    pipeline.parked("smtp_rejected", 1).await?;
    assert_eq!(pipeline.depth("notify.dead").await?, 1);
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0), "the sale stands");
    assert!(!pipeline.logs()?.contains("buyer@example.net"));
    Ok(())
}

async fn a_mail_server_that_is_down_gets_the_mail_when_it_is_up(
    engine: Engine,
) -> anyhow::Result<()> {
    let sink = SmtpSink::start().await?;
    let mut way = ChaosProxy::start(sink.address()).await?;
    way.set(Mode::Refuse).await?;
    let pipeline = mailing(engine, &format!("smtp://{}", way.address())).await?;
    pipeline.accept(&mug("TXDOWN")).await?;
    retried(&pipeline).await?;
    way.set(Mode::Pass).await?;
    delivered(&sink, 1).await?;
    pipeline.drained().await?;
    assert_eq!(sink.messages().len(), 1);
    Ok(())
}

async fn a_reply_that_is_lost_after_data_repeats_the_mail_under_the_same_message_id(
    engine: Engine,
) -> anyhow::Result<()> {
    let sink = SmtpSink::start().await?;
    sink.answer(Answer::LoseReply);
    let pipeline = mailing(engine, &sink.url()).await?;
    pipeline.accept(&mug("TXLOST")).await?;
    delivered(&sink, 1).await?;
    sink.answer(Answer::Accept);
    pipeline.drained().await?;
    let mails = delivered(&sink, 2).await?;
    for mail in &mails {
        assert_eq!(message_id(mail)?, message_id(&mails[0])?);
    }
    Ok(())
}

async fn a_crash_after_sending_repeats_the_mail_under_the_same_message_id(
    engine: Engine,
) -> anyhow::Result<()> {
    let sink = SmtpSink::start().await?;
    let url = sink.url();
    let failpoint = "notifier.after_send=return";
    let (mut pipeline, victim) = crashed(engine, failpoint, &by_smtp(&url), "TXCRASH").await?;
    assert_eq!(sink.messages().len(), 1, "it died after sending");
    pipeline
        .sender_forgotten("TXCRASH", "mail_received")
        .await?;
    pipeline.start_stage(victim, victim, &by_smtp(&url)).await?;
    let mails = delivered(&sink, 2).await?;
    pipeline.drained().await?;
    assert_eq!(message_id(&mails[0])?, message_id(&mails[1])?);
    assert_eq!(sink.messages().len(), 2);
    assert_eq!(pipeline.stock("MUG").await?, (9, 0, 0));
    Ok(())
}

/// A shop's endpoint that verifies every signature and keeps what it was told.
#[derive(Debug, Clone, Default)]
struct ShopHook {
    told: Arc<Mutex<Vec<(String, Value)>>>,
    /// Answers `503` so many times first.
    busy: Arc<Mutex<u32>>,
}

impl ShopHook {
    /// Listens; its URL.
    async fn start(&self) -> anyhow::Result<String> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(url)
    }

    /// `(webhook-id, body)` of everything so far.
    fn told(&self) -> Vec<(String, Value)> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn heard(&self, count: usize) -> anyhow::Result<Vec<(String, Value)>> {
        eventually(&format!("{count} webhooks"), PATIENCE, async || {
            let told = self.told();
            (told.len() >= count).then_some(told)
        })
        .await
    }
}

async fn take(State(hook): State<ShopHook>, headers: HeaderMap, body: String) -> StatusCode {
    let verified = standardwebhooks::Webhook::new(SECRET)
        .is_ok_and(|signer| signer.verify(body.as_bytes(), &headers).is_ok());
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if !verified || header("webhook-id") != header("idempotency-key") {
        return StatusCode::UNAUTHORIZED;
    }
    let mut busy = hook.busy.lock().unwrap_or_else(PoisonError::into_inner);
    if *busy > 0 {
        *busy -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let id = header("webhook-id").unwrap_or_default().to_owned();
    let body = serde_json::from_str(&body).unwrap_or_default();
    let mut told = hook.told.lock().unwrap_or_else(PoisonError::into_inner);
    told.push((id, body));
    StatusCode::NO_CONTENT
}

fn notify_by_http(url: &str) -> [(&str, &str); 4] {
    [
        ("QUITTANCE_NOTIFY__DRIVER", "http"),
        ("QUITTANCE_NOTIFY__URL", url),
        ("QUITTANCE_NOTIFY__SECRETS", SECRET),
        ("QUITTANCE_NOTIFY__ALLOW_PRIVATE", "true"),
    ]
}

async fn a_crash_after_posting_repeats_the_webhook_under_the_same_id(
    engine: Engine,
) -> anyhow::Result<()> {
    let hook = ShopHook::default();
    let url = hook.start().await?;
    let (failpoint, more) = ("notifier.after_send=return", notify_by_http(&url));
    let (mut pipeline, victim) = crashed(engine, failpoint, &more, "TXHOOK").await?;
    pipeline.sender_forgotten("TXHOOK", "mail_received").await?;
    pipeline
        .start_stage(victim, victim, &notify_by_http(&url))
        .await?;
    hook.heard(2).await?;
    pipeline.drained().await?;
    let told = hook.told();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1], "the same id and the same body");
    assert_eq!(told[0].1["type"], "notification.received");
    assert_eq!(told[0].1["data"]["txn_id"], "TXHOOK");
    Ok(())
}

async fn a_shop_that_counts_its_own_stock_is_told_by_signed_webhooks(
    engine: Engine,
) -> anyhow::Result<()> {
    let hook = ShopHook::default();
    *hook.busy.lock().unwrap_or_else(PoisonError::into_inner) = 2;
    let url = hook.start().await?;
    let mut pipeline = Pipeline::prepare(engine).await?;
    let more = [
        ("QUITTANCE_STOCK__DRIVER", "http"),
        ("QUITTANCE_STOCK__URL", url.as_str()),
        ("QUITTANCE_STOCK__SECRETS", SECRET),
        ("QUITTANCE_STOCK__ALLOW_PRIVATE", "true"),
    ];
    start_with(&mut pipeline, &more).await?;
    let paid = Ipn::payment("TXOWN", "MUG", 2, "19.80");
    let pending = paid
        .clone()
        .with("payment_status", "Pending")
        .with("pending_reason", "echeck");
    pipeline.accept(&pending).await?;
    hook.heard(1).await?;
    pipeline.accept(&paid).await?;
    hook.heard(2).await?;
    pipeline
        .accept(&Ipn::refund("TXOWNR", "TXOWN", "-19.80"))
        .await?;
    hook.heard(3).await?;
    pipeline.accept(&paid).await?;
    pipeline.drained().await?;
    let told = hook.told();
    let kinds: Vec<&Value> = told.iter().map(|(_, body)| &body["type"]).collect();
    assert_eq!(kinds, ["stock.reserve", "stock.take", "stock.restock"]);
    for (number, (_, body)) in told.iter().enumerate() {
        assert_eq!(body["data"]["sequence"], number + 1);
        assert_eq!(body["data"]["items"][0]["sku"], "MUG");
        assert_eq!(body["data"]["items"][0]["quantity"], 2);
        assert!(!body.to_string().contains("buyer@example.net"));
    }
    assert_eq!(
        pipeline.stock("MUG").await?,
        (10, 0, 0),
        "not counted twice"
    );
    Ok(())
}

/// Trap 73: sent before the commit, a mail could tell of what never happened.
async fn trap_73_a_mail_leaves_after_the_commit_and_once(engine: Engine) -> anyhow::Result<()> {
    let failpoint = "fulfiller.before_commit=return";
    let (mut pipeline, victim) = crashed(engine, failpoint, &[], "TX73").await?;
    assert!(pipeline.mails()?.is_empty(), "nothing was committed");
    pipeline.start_stage(victim, victim, &[]).await?;
    pipeline.settled("TX73", "completed").await?;
    pipeline.accept(&mug("TX73")).await?;
    pipeline.drained().await?;
    assert_eq!(pipeline.mailed(1).await?.len(), 1);
    Ok(())
}

async fn a_german_buyer_reads_german_and_an_owed_item_is_told_to_buyer_and_merchant(
    engine: Engine,
) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    let more = [("QUITTANCE_NOTIFY__MERCHANT", "office@shop.example")];
    start_with(&mut pipeline, &more).await?;
    let paid = Ipn::payment("TXDE", "LAST", 2, "100.00")
        .with("residence_country", "DE")
        .with("first_name", "Jürgen");
    pipeline.accept(&paid).await?;
    let mails: Vec<_> = pipeline
        .mailed(3)
        .await?
        .iter()
        .map(|mail| quittance_deploy::demo::mail::parse(mail))
        .collect();
    let about = |words: &str| {
        let found = mails.iter().find(|mail| mail.subject.contains(words));
        found.with_context(|| format!("no mail about {words} in {mails:?}"))
    };
    let received = about("Zahlung eingegangen")?;
    assert!(
        received.text.contains("Guten Tag Jürgen Doe"),
        "{}",
        received.text
    );
    assert!(
        received.text.contains("100,00\u{a0}EUR"),
        "{}",
        received.text
    );
    assert!(received.to.contains("buyer@example.net"));
    assert!(
        about("dauert etwas länger")?
            .to
            .contains("buyer@example.net")
    );
    let merchant = about("a person is needed")?;
    assert!(merchant.to.contains("office@shop.example"));
    assert!(
        merchant.text.contains("not in stock. (backorder)"),
        "{}",
        merchant.text
    );
    Ok(())
}

#[tokio::test]
async fn a_template_that_cannot_be_used_is_named_at_start_with_exit_code_78() -> anyhow::Result<()>
{
    let pipeline = Pipeline::prepare(Engine::Embedded).await?;
    let folder = pipeline.world.folder().join("templates");
    std::fs::create_dir_all(folder.join("en"))?;
    std::fs::write(folder.join("en/received.txt"), "Subject: x\n\n{% if %}")?;
    let settings = pipeline.world.folder().join("quittance.toml");
    let text = std::fs::read_to_string(&settings)?;
    let with = format!("[notify]\ntemplates = \"{}\"", folder.display());
    std::fs::write(&settings, text.replace("[notify]", &with))?;
    for arguments in [
        ["serve", "--config", "quittance.toml"],
        ["config", "check", "--config=quittance.toml"],
    ] {
        let output =
            process::run("quittance", &arguments, pipeline.world.folder(), PATIENCE).await?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{arguments:?} {told}");
        assert!(
            told.contains("en/received.txt") && told.contains("line 3"),
            "{told}"
        );
    }
    Ok(())
}
