//! What alerts and dashboards ask for, asked of a real Prometheus that scrapes live processes: a label value
//! that nobody exports, or a recorded series under another name, gives an empty panel and a silent alert.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, ensure};
use quittance_deploy::demo::body::Ipn;
use quittance_tests::{Prometheus, eventually};

use crate::metrics::{expressions_of_rules, panels, root};
use crate::pipeline::{Engine, PATIENCE, Pipeline};

/// Panels that are rightly empty, and why.
const EMPTY: [(&str, &str); 1] = [(
    "time() - max by (queue) (quittance_queue_oldest_timestamp_seconds > 0)",
    "nothing waits",
)];

/// Series that no process of ours exports.
const OTHERS: [&str; 2] = ["kube_job_failed", "kube_job_complete"];

#[tokio::test]
async fn every_panel_has_data_and_every_rule_finds_its_series_in_a_real_prometheus()
-> anyhow::Result<()> {
    let pipeline = Pipeline::start(Engine::Cluster).await?;
    let jobs = [
        ("quittance-ingest", pipeline.admin_of("ingest")?),
        ("quittance-verifier", pipeline.admin_of("verifier")?),
        ("quittance-fulfiller", pipeline.admin_of("fulfiller")?),
    ];
    let rules = pipeline.world.folder().join("rules.yaml");
    let text = fs::read_to_string(root().join("deploy/prometheus/rules.yaml"))?;
    fs::write(&rules, text.replace("interval: 30s", "interval: 1s"))?;
    let prometheus = Prometheus::start(&jobs, &rules).await?;
    // Counters must be seen before they move.
    eventually("every job is scraped", PATIENCE, async || {
        let up = prometheus.query("sum(up)").await.ok()?;
        (up == [3.0]).then_some(())
    })
    .await?;
    let paid = Ipn::payment("TXPAID", "MUG", 1, "9.90");
    pipeline.accept(&paid).await?;
    pipeline
        .accept(&Ipn::refund("TXBACK", "TXPAID", "-9.90"))
        .await?;
    pipeline.accept(&paid).await?;
    let strange = Ipn::payment("TXODD", "MUG", 1, "9.90").with("mc_currency", "USD");
    pipeline.accept(&strange).await?;
    pipeline.settled("TXPAID", "refunded").await?;
    pipeline.parked("currency_mismatch", 1).await?;

    eventually_all("a value in every panel", &panels()?, async |expression| {
        let values = prometheus.query(expression).await?;
        let empty = EMPTY.iter().any(|(known, _)| *known == expression);
        Ok(empty || values.iter().any(|value| value.is_finite()))
    })
    .await?;
    let selectors: Vec<String> = selectors_of(&expressions_of_rules()?)?
        .into_iter()
        .filter(|selector| !OTHERS.iter().any(|other| selector.starts_with(other)))
        .collect();
    ensure!(selectors.len() > 30, "only {selectors:?}");
    eventually_all("series for every selector", &selectors, async |selector| {
        Ok(!prometheus.query(selector).await?.is_empty())
    })
    .await?;
    eventually("every rule was evaluated", PATIENCE, async || {
        let rules = prometheus.rules().await.ok()?;
        let well = |rule: &serde_json::Value| rule["health"] == "ok";
        (rules.len() > 40 && rules.iter().all(well)).then_some(())
    })
    .await
}

/// Waits until `holds` of each; the error names those of which it does not.
async fn eventually_all(
    what: &str,
    all: &[String],
    holds: impl AsyncFn(&str) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut left: Vec<&String> = all.iter().collect();
    let done = eventually(what, PATIENCE, async || {
        let mut still = Vec::new();
        for one in &left {
            match holds(one).await {
                Ok(true) => {}
                Ok(false) => still.push(*one),
                Err(error) => return Some(Err(error)),
            }
        }
        left = still;
        left.is_empty().then_some(Ok(()))
    })
    .await;
    match done {
        Ok(result) => result,
        Err(error) => Err(error.context(format!("{left:#?}"))),
    }
}

/// Each name with its labels, as `name{label="value"}`, that stands in one of the expressions.
fn selectors_of(expressions: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for expression in expressions {
        let mut rest = expression.as_str();
        while let Some(at) = rest.find(|sign: char| sign.is_ascii_alphabetic() || sign == '"') {
            rest = rest.get(at..).unwrap_or_default();
            if let Some(quoted) = rest.strip_prefix('"') {
                rest = quoted.split_once('"').context("a closing quote")?.1;
                continue;
            }
            let end = rest
                .find(|sign: char| !(sign.is_ascii_alphanumeric() || "_:".contains(sign)))
                .unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = after;
            let ours = ["quittance_", "process_", "job:", "kube_"];
            if name != "up" && !ours.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let labels = after
                .strip_prefix('{')
                .and_then(|inside| inside.split_once('}'));
            let labels = labels.map_or(String::new(), |(labels, _)| format!("{{{labels}}}"));
            rest = after.get(labels.len()..).unwrap_or_default();
            all.insert(format!("{name}{labels}"));
        }
    }
    Ok(all)
}

#[test]
fn selectors_are_told_from_labels_and_words() -> anyhow::Result<()> {
    let expression = "sum by (job) (rate(quittance_a_total{outcome=\"job:x\"}[5m])) / up > 0 \
                      unless on (job) job:quittance_b:ratio offset 1w";
    let found: Vec<String> = selectors_of(&[expression.to_owned()])?
        .into_iter()
        .collect();
    let right = [
        "job:quittance_b:ratio",
        "quittance_a_total{outcome=\"job:x\"}",
        "up",
    ];
    ensure!(found == right, "{found:?}");
    Ok(())
}
