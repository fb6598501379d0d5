//! One trace from the gateway's request to the shop's endpoint: through the queues, the retries,
//! the outbox and a replay; in the log lines of every stage; and, with the feature `otlp`, as
//! spans at a collector.

mod collector;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use quittance_common::trace::TraceContext;
use quittance_deploy::demo::body::Ipn;
use quittance_deploy::sandbox::{Fault, Mode};
use quittance_tests::{eventually, http};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};
use collector::Collector;

on_both_engines!(
    one_trace_goes_from_the_request_through_every_stage_and_retry_to_the_shop,
    a_request_without_a_trace_begins_one,
    spans_of_all_stages_reach_the_collector_at_the_latest_when_the_process_ends,
    a_collector_that_never_answers_costs_neither_a_payment_nor_the_stop,
);

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A shop's endpoint that notes the `traceparent` of what it is posted.
#[derive(Debug, Clone, Default)]
struct Shop {
    traces: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Shop {
    async fn start(&self) -> anyhow::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(url)
    }

    /// The trace and the body of the first webhook about that transaction.
    async fn heard(&self, txn: &str) -> anyhow::Result<(TraceContext, Value)> {
        let (text, body) = eventually("a webhook", PATIENCE, async || {
            let traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
            let about = traces
                .iter()
                .find(|(_, body)| body["data"]["txn_id"] == txn);
            about.cloned()
        })
        .await?;
        let trace = TraceContext::parse(&text).with_context(|| format!("a trace, not {text}"))?;
        Ok((trace, body))
    }
}

async fn take(State(shop): State<Shop>, headers: HeaderMap, body: String) -> StatusCode {
    let trace = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    let body = serde_json::from_str(&body).unwrap_or_default();
    let mut traces = shop.traces.lock().unwrap_or_else(PoisonError::into_inner);
    traces.push((trace.unwrap_or_default().to_owned(), body));
    StatusCode::NO_CONTENT
}

/// A pipeline that posts to `shop` and logs JSON, with more in its environment.
async fn start(engine: Engine, shop: &str, more: &[(&str, &str)]) -> anyhow::Result<Pipeline> {
    let mut pipeline = Pipeline::prepare(engine).await?;
    let mut environment = vec![
        ("QUITTANCE_NOTIFY__DRIVER", "http"),
        ("QUITTANCE_NOTIFY__URL", shop),
        ("QUITTANCE_NOTIFY__SECRETS", SECRET),
        ("QUITTANCE_NOTIFY__ALLOW_PRIVATE", "true"),
        ("QUITTANCE_LOG__FORMAT", "json"),
        (
            "QUITTANCE_LOG__FILTER",
            "info,quittance_ingest=debug,quittance_common::consumer=debug",
        ),
    ];
    environment.extend(more);
    for stage in pipeline.stages() {
        pipeline.start_stage(stage, stage, &environment).await?;
    }
    Ok(pipeline)
}

/// Posts a genuine notification as a part of a trace.
async fn post_traced(pipeline: &Pipeline, ipn: &Ipn) -> anyhow::Result<()> {
    let body = ipn.bytes();
    pipeline.sandbox.register(&body);
    let headers = format!(
        "Content-Type: application/x-www-form-urlencoded\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n"
    );
    let to = pipeline.world.ingest();
    let answer = http::once(to, "POST", "/ipn/paypal", &headers, &body).await?;
    anyhow::ensure!(answer.status == 200, "ingest answered {}", answer.status);
    Ok(())
}

/// The spans of the log lines that are of this trace.
fn logged(pipeline: &Pipeline, trace: &str) -> anyhow::Result<Vec<Value>> {
    let logs = pipeline.logs()?;
    let lines = logs.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(lines
        .into_iter()
        .map(|mut line| line["span"].take())
        .filter(|span| span["trace_id"] == trace)
        .collect())
}

/// Waits until each of `stages` has logged something of this trace.
async fn logged_by_all(pipeline: &Pipeline, trace: &str, stages: &[&str]) -> anyhow::Result<()> {
    eventually("log lines of all stages", PATIENCE, async || {
        let spans = logged(pipeline, trace).ok()?;
        let said = |stage: &&str| spans.iter().any(|span| span["stage"] == **stage);
        stages.iter().all(said).then_some(())
    })
    .await
}

const STAGES: [&str; 4] = ["ingest", "verifier", "fulfiller", "notifier"];

async fn one_trace_goes_from_the_request_through_every_stage_and_retry_to_the_shop(
    engine: Engine,
) -> anyhow::Result<()> {
    let shop = Shop::default();
    let pipeline = start(engine, &shop.start().await?, &[]).await?;
    // The first postback fails: the notification goes over the retry ladder.
    pipeline.sandbox.set_fault(Fault {
        count: Some(1),
        ..Fault::lasting(Mode::Error500)
    });
    post_traced(&pipeline, &Ipn::payment("TXTRACE", "MUG", 1, "9.90")).await?;
    let (heard, body) = shop.heard("TXTRACE").await?;
    assert_eq!(heard.trace_id(), TRACE);
    assert_ne!(
        format!("{:016x}", heard.span()),
        PARENT,
        "a span of its own"
    );
    assert_eq!(
        body["data"]["traceparent"],
        Value::Null,
        "in the header alone"
    );
    logged_by_all(&pipeline, TRACE, &STAGES).await?;
    let retried = logged(&pipeline, TRACE)?
        .iter()
        .any(|span| span["attempt"] == 1);
    assert!(retried, "the second attempt is of the same trace");
    Ok(())
}

async fn a_request_without_a_trace_begins_one(engine: Engine) -> anyhow::Result<()> {
    let shop = Shop::default();
    let pipeline = start(engine, &shop.start().await?, &[]).await?;
    let paid = Ipn::payment("TXNEW", "MUG", 1, "9.90");
    pipeline.accept(&paid).await?;
    let (heard, _) = shop.heard("TXNEW").await?;
    logged_by_all(&pipeline, &heard.trace_id(), &STAGES).await
}

/// Only here: a changing tool at the embedded engine's queues is refused beside its server.
#[tokio::test]
async fn a_replay_goes_on_in_the_trace_of_what_it_replays() -> anyhow::Result<()> {
    let shop = Shop::default();
    let pipeline = start(Engine::Cluster, &shop.start().await?, &[]).await?;
    post_traced(&pipeline, &Ipn::payment("TXAGAIN", "NOSUCH", 1, "9.90")).await?;
    pipeline.parked("unmatched_item", 1).await?;
    let folder = pipeline.world.folder();
    let catalogue = folder.join("more.csv");
    std::fs::write(
        &catalogue,
        "sku,name,price,currency,on_hand\nNOSUCH,New,9.90,EUR,5\n",
    )?;
    let catalogue = catalogue.to_string_lossy().into_owned();
    pipeline.quittance(&["stock", "import", &catalogue]).await?;
    let audit = folder.join("audit.log").to_string_lossy().into_owned();
    pipeline
        .quittance(&[
            "queues",
            "replay",
            "quarantine",
            "--to",
            "verify",
            "--audit",
            &audit,
        ])
        .await?;
    let (heard, _) = shop.heard("TXAGAIN").await?;
    assert_eq!(heard.trace_id(), TRACE);
    logged_by_all(&pipeline, TRACE, &STAGES).await
}

async fn spans_of_all_stages_reach_the_collector_at_the_latest_when_the_process_ends(
    engine: Engine,
) -> anyhow::Result<()> {
    let (shop, collector) = (Shop::default(), Collector::default());
    let endpoint = collector.start().await?;
    // Longer than the test: what arrives was flushed at the end.
    let more = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
    ];
    let mut pipeline = start(engine, &shop.start().await?, &more).await?;
    post_traced(&pipeline, &Ipn::payment("TXSPAN", "MUG", 1, "9.90")).await?;
    let (heard, _) = shop.heard("TXSPAN").await?;
    pipeline.drained().await?;
    for stage in pipeline.stages() {
        let mut process = pipeline.take(stage)?;
        assert!(process.terminate(PATIENCE).await?.success());
    }
    let spans = collector.spans()?;
    let mut parent = PARENT.to_owned();
    for (stage, name) in STAGES.iter().zip(["accept", "verify", "fulfil", "notify"]) {
        let span = spans
            .iter()
            .find(|span| span.name == name && span.trace == TRACE)
            .with_context(|| format!("no span {name} among {spans:?}"))?;
        assert_eq!(
            span.parent, parent,
            "{name} is the child of the stage before"
        );
        parent.clone_from(&span.id);
        let process = match (engine, *stage) {
            (Engine::Embedded, _) => "quittance".to_owned(),
            (Engine::Cluster, "notifier") => "quittance-fulfiller".to_owned(),
            (Engine::Cluster, stage) => format!("quittance-{stage}"),
        };
        assert_eq!(span.service, process);
    }
    for (step, stage) in [
        ("postback", "verify"),
        ("claim", "verify"),
        ("books", "fulfil"),
        ("send", "notify"),
    ] {
        let of_trace = |name: &str| {
            let found = spans
                .iter()
                .find(|span| span.trace == TRACE && span.name == name);
            found.with_context(|| format!("no span {name} among {spans:?}"))
        };
        let (step, stage) = (of_trace(step)?, of_trace(stage)?);
        assert_eq!(step.parent, stage.id, "{} within {}", step.name, stage.name);
        assert_eq!(step.service, stage.service);
        if step.name == "send" {
            let shops = format!("{:016x}", heard.span());
            assert_eq!(shops, step.id, "the shop goes on from there");
        }
    }
    for secret in ["buyer@example.net", "TXSPAN", "Jane", "webscr"] {
        assert!(!collector.has_seen(secret), "{secret}");
    }
    assert!(collector.has_seen("deployment.environment.name"));
    Ok(())
}

async fn a_collector_that_never_answers_costs_neither_a_payment_nor_the_stop(
    engine: Engine,
) -> anyhow::Result<()> {
    // The kernel takes connections for it; nobody reads them.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let endpoint = format!("http://{}", silent.local_addr()?);
    let shop = Shop::default();
    let more = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2"),
    ];
    let mut pipeline = start(engine, &shop.start().await?, &more).await?;
    for number in 0..5 {
        pipeline
            .accept(&Ipn::payment(&format!("TXMUTE{number}"), "MUG", 1, "9.90"))
            .await?;
    }
    for number in 0..5 {
        pipeline
            .settled(&format!("TXMUTE{number}"), "completed")
            .await?;
    }
    pipeline.drained().await?;
    for stage in pipeline.stages() {
        let mut process = pipeline.take(stage)?;
        // `shutdown_grace` is 8 s, closing 5 s.
        let status = process.terminate(Duration::from_secs(13)).await?;
        assert!(status.success(), "{stage}: {status}");
    }
    Ok(())
}
