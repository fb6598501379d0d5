//! What live processes export: everything that the contract names, at zero from the start, and never
//! a label that grows with the traffic or tells of anybody.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use quittance_deploy::demo::body::Ipn;
use quittance_tests::eventually;

use crate::metrics::{asked_for, names_in, promtool, root};
use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    everything_that_is_asked_for_is_exported_at_zero_from_the_start,
    labels_stay_few_and_tell_of_nobody_whatever_is_sent,
    what_waits_and_who_takes_it_is_shown,
);

/// The metrics of the contract with their labels, and those that came after.
const CONTRACT: [(&str, &[&str]); 25] = [
    (
        "notifications_received_total",
        &["gateway", "account", "outcome"],
    ),
    ("ack_seconds", &[]),
    ("publish_confirm_seconds", &[]),
    ("publish_failures_total", &["reason"]),
    ("postback_seconds", &["outcome"]),
    ("verifications_total", &["outcome", "reason"]),
    ("retries_total", &["queue"]),
    ("dead_letters_total", &["queue", "reason"]),
    ("duplicates_total", &["stage"]),
    ("claims_total", &["outcome"]),
    ("effects_total", &["effect", "outcome"]),
    ("backorders_total", &[]),
    ("event_age_seconds", &["stage"]),
    ("in_flight", &["stage"]),
    ("breaker_state", &["gateway"]),
    ("pdt_lookups_total", &["outcome"]),
    ("panics_total", &["stage"]),
    ("rules_total", &["action"]),
    ("archived_total", &["outcome"]),
    ("money_at_risk", &["currency", "state"]),
    ("waiting_for_a_person", &["queue"]),
    ("queue_messages", &["queue"]),
    ("queue_consumers", &["queue"]),
    ("queue_oldest_timestamp_seconds", &["queue"]),
    ("connections", &[]),
];

/// What every process exports, whatever it does.
const EVERYWHERE: [&str; 8] = [
    "quittance_build_info",
    "quittance_ready",
    "quittance_broker_up",
    "quittance_broker_blocked",
    "quittance_in_flight",
    "quittance_publish_confirm_seconds_count",
    "process_open_fds",
    "process_resident_memory_bytes",
];

/// Each objective has a bucket that ends exactly there.
const OBJECTIVES: [(&str, &str); 4] = [
    ("quittance_event_age_seconds_bucket", "60"),
    ("quittance_ack_seconds_bucket", "20"),
    ("quittance_publish_confirm_seconds_bucket", "10"),
    ("quittance_postback_seconds_bucket", "30"),
];

/// The most values of one label of one metric.
const FEW: usize = 20;

/// One line of the text format.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads the text format as we write it: no label of ours holds a quote, a comma or a brace.
fn samples(text: &str) -> anyhow::Result<Vec<Sample>> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').context("a value")?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split(',');
            let labels = labels.filter(|pair| !pair.is_empty()).map(|pair| {
                let (label, value) = pair.split_once('=').context("a label")?;
                Ok((label.to_owned(), value.trim_matches('"').to_owned()))
            });
            Ok(Sample {
                name: name.to_owned(),
                labels: labels.collect::<anyhow::Result<_>>()?,
                value: value.parse()?,
            })
        })
        .collect()
}

async fn everything_that_is_asked_for_is_exported_at_zero_from_the_start(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    // The admin listener answers while the stages still start, each with its own metrics.
    eventually("every stage has its metrics", PATIENCE, async || {
        let texts = pipeline.scrapes().await.ok()?.concat();
        let named = |name: &str| texts.contains(&format!("# TYPE quittance_{name} "));
        CONTRACT.iter().all(|(name, _)| named(name)).then_some(())
    })
    .await?;
    let mut exported = BTreeSet::new();
    let mut all = Vec::new();
    for text in pipeline.scrapes().await? {
        promtool(&["check", "metrics"], &root(), &text)?;
        exported.extend(names_in(&text));
        let samples = samples(&text)?;
        for name in EVERYWHERE {
            let there = samples.iter().any(|one| one.name == name);
            ensure!(there, "a process does not export {name}");
        }
        all.extend(samples);
    }
    for (name, labels) in CONTRACT {
        let full = format!("quittance_{name}");
        let own: BTreeSet<&str> = labels.iter().copied().collect();
        let mut series = all
            .iter()
            .filter(|one| one.name.trim_end_matches("_count") == full)
            .peekable();
        ensure!(series.peek().is_some(), "nobody exports {full}");
        for one in series {
            let found: BTreeSet<&str> = one.labels.keys().map(String::as_str).collect();
            ensure!(found == own, "{full} has the labels {found:?}");
        }
    }
    for one in &all {
        let counts = one.name.ends_with("_total") || one.name.ends_with("_count");
        if one.name.starts_with("quittance_") && counts {
            ensure!(one.value == 0.0, "{one:?} before anything has happened");
        }
    }
    for (name, threshold) in OBJECTIVES {
        let there = all
            .iter()
            .any(|one| one.name == name && one.labels.get("le").is_some_and(|le| le == threshold));
        ensure!(there, "{name} has no bucket that ends at {threshold}");
    }
    for (place, expression) in asked_for()? {
        for asked in names_in(&expression) {
            let base = ["_bucket", "_sum", "_count"]
                .into_iter()
                .find_map(|suffix| asked.strip_suffix(suffix))
                .unwrap_or(&asked);
            ensure!(
                exported.contains(base) || exported.contains(&asked),
                "{place}: nobody exports {asked}"
            );
        }
    }
    Ok(())
}

async fn labels_stay_few_and_tell_of_nobody_whatever_is_sent(engine: Engine) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(engine).await?;
    // Genuine, and each in a currency that no price is in.
    for letter in 'A'..='Z' {
        let txn = format!("TXCURRENCY{letter}");
        let strange =
            Ipn::payment(&txn, "MUG", 1, "9.90").with("mc_currency", &format!("X{letter}X"));
        pipeline.accept(&strange).await?;
    }
    for number in 0..5 {
        let txn = format!("TXGOOD{number}");
        let named = Ipn::payment(&txn, "MUG", 1, "9.90").with("last_name", "Liskov");
        pipeline.accept(&named).await?;
        let refund = Ipn::refund(&format!("TXBACK{number}"), &txn, "-9.90");
        pipeline.accept(&refund).await?;
        let forged = Ipn::payment(&format!("TXFORGED{number}"), "POT", 1, "20.00");
        pipeline.post(&forged.bytes()).await?;
        let odd = Ipn::payment(&format!("TXODD{number}"), "MUG", 1, "9.90")
            .with("payment_status", &format!("Status{number}"));
        pipeline.accept(&odd).await?;
        // Nobody has set these.
        let path = format!("/ipn/paypal/stranger{number}");
        pipeline.post_to(&path, b"txn_id=T1").await?;
    }
    pipeline.parked("invalid", 5).await?;
    pipeline.parked("currency_mismatch", 26).await?;
    pipeline.drained().await?;
    let mut seen: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let held = eventually("money in quarantine is shown", PATIENCE, async || {
        let mut all = Vec::new();
        for text in pipeline.scrapes().await.ok()? {
            all.extend(samples(&text).ok()?);
        }
        let held = |currency| quarantined(&all, currency);
        // 19 currencies have a label; the other seven, and nothing else, share one.
        (held("XAX") == Some(9.9) && held("other") == Some(69.3)).then_some(all)
    })
    .await?;
    for one in held {
        for (label, value) in one.labels {
            ensure!(
                is_of_a_closed_set(&value),
                "{}: the label {label} is `{value}`",
                one.name
            );
            seen.entry((one.name.clone(), label))
                .or_default()
                .insert(value);
        }
    }
    for ((name, label), values) in seen {
        ensure!(values.len() <= FEW, "{name}: {label} is one of {values:?}");
    }
    Ok(())
}

/// The largest value that a process tells: they all tell the same.
fn quarantined(all: &[Sample], currency: &str) -> Option<f64> {
    all.iter()
        .filter(|one| one.name == "quittance_money_at_risk")
        .filter(|one| one.labels["state"] == "quarantined" && one.labels["currency"] == currency)
        .map(|one| one.value)
        .reduce(f64::max)
}

/// Names in the code and the settings, queues, bounds, currencies and versions; no address, no
/// name, no id, nothing of what was sent.
fn is_of_a_closed_set(value: &str) -> bool {
    let sent = ["TX", "Status", "stranger", "Liskov", "liskov", "DEMO"];
    value.len() <= 40
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+'))
        && !sent.iter().any(|part| value.contains(part))
}

async fn what_waits_and_who_takes_it_is_shown(engine: Engine) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(engine).await?;
    let forged = Ipn::payment("TXFORGED", "MUG", 1, "9.90").bytes();
    pipeline.post(&forged).await?;
    let shows = async |pipeline: &Pipeline, name: &str, queue: &str, value: u64| {
        let what = format!("{name} of {queue} is {value}");
        let label = format!("{queue}\"");
        eventually(&what, PATIENCE, async || {
            let found = pipeline.largest(name, &label).await?;
            (found == value).then_some(())
        })
        .await
    };
    shows(&pipeline, "quittance_queue_messages", "quarantine", 1).await?;
    shows(&pipeline, "quittance_queue_consumers", "verify", 1).await?;
    if engine == Engine::Cluster {
        let mut verifier = pipeline.take("verifier")?;
        verifier.terminate(PATIENCE).await?;
        let before = quittance_common::clock::now().as_second();
        pipeline
            .accept(&Ipn::payment("TX1", "MUG", 1, "9.90"))
            .await?;
        shows(&pipeline, "quittance_queue_consumers", "verify", 0).await?;
        shows(&pipeline, "quittance_queue_messages", "verify", 1).await?;
        let name = "quittance_queue_oldest_timestamp_seconds";
        let oldest = pipeline.largest(name, "verify\"").await.context("oldest")?;
        let age = before - i64::try_from(oldest)?;
        ensure!((-60..60).contains(&age), "the oldest waits since {oldest}");
    }
    Ok(())
}
