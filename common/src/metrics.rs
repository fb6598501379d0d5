//! The metrics that shared code writes, and the registry that stages add their own to.
//!
//! Labels are closed sets: never an id, never an address. Every series whose labels are known at
//! start is created at zero, because a counter that appears at 1 shows no increase.

mod broker;
pub mod parking;
mod queues;
mod ready;

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::admin::Readiness;
use crate::queue::{QueueId, QueueNames, Queues, WorkQueue};
use crate::stage::StageName;
pub use queues::{QueueGauges, Waiting};

/// Before every name.
pub const PREFIX: &str = "quittance";

/// Seconds of answers that somebody waits for. 10 and 20 are thresholds: our own limit for a
/// confirm and `PayPal`'s for an answer.
pub const ANSWER_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 20.0,
];

/// Seconds of a message's way through the pipeline: 60 is the objective, and the ladder of
/// retries reaches from seconds to days.
pub const AGE_BUCKETS: [f64; 14] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 21_600.0, 345_600.0,
];

/// The outcomes of a claim, as labels.
pub const CLAIM_OUTCOMES: [&str; 6] = ["mine", "takeover", "busy", "done", "conflict", "error"];

/// Every way in which a publish may fail, as labels.
const PUBLISH_FAILURES: [&str; 6] = [
    "unroutable",
    "refused",
    "blocked",
    "unavailable",
    "timeout",
    "too_large",
];

/// The registry and the shared handles. Cheap to clone; every clone counts into the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// `publish_confirm_seconds`: from publish to confirm, successful ones.
    pub publish_confirm_seconds: Histogram,
    /// `publish_failures_total{reason}`.
    pub publish_failures_total: IntCounterVec,
    /// `retries_total{queue}`: messages put on a delay queue of that work queue.
    pub retries_total: IntCounterVec,
    /// `dead_letters_total{queue,reason}`: messages parked in that queue.
    pub dead_letters_total: IntCounterVec,
    /// `duplicates_total{stage}`: counted by the stages.
    pub duplicates_total: IntCounterVec,
    /// `claims_total{outcome}`: counted by the stages.
    pub claims_total: IntCounterVec,
    /// `event_age_seconds{stage}`: from receipt to the stage's ack; of replays and releases not.
    pub event_age_seconds: HistogramVec,
    /// `in_flight{stage}`: messages or requests in hand.
    pub in_flight: IntGaugeVec,
    /// `panics_total{stage}`: handlers that panicked; each is a bug.
    pub panics_total: IntCounterVec,
    /// What this process knows of the age of what waits; told by the consume loop.
    pub waiting: Waiting,
}

impl Metrics {
    /// A registry with the shared metrics, `build_info` and the process's own numbers.
    ///
    /// # Errors
    /// Only when two metrics have the same name, which a test rules out.
    pub fn new(names: &QueueNames) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let build = Opts::new("build_info", "Always 1; the version is the label.")
            .namespace(PREFIX)
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let build = IntGauge::with_opts(build)?;
        build.set(1);
        registry.register(Box::new(build))?;

        let counters = |name, help, labels: &[&str]| counter_vec(&registry, name, help, labels);
        let metrics = Self {
            publish_confirm_seconds: publish_confirm_seconds(&registry)?,
            publish_failures_total: counters(
                "publish_failures_total",
                "Publishes that were not confirmed, by reason.",
                &["reason"],
            )?,
            retries_total: counters(
                "retries_total",
                "Messages put on a delay queue, by work queue.",
                &["queue"],
            )?,
            dead_letters_total: counters(
                "dead_letters_total",
                "Messages parked for an operator, by parking queue and reason.",
                &["queue", "reason"],
            )?,
            duplicates_total: counters(
                "duplicates_total",
                "Messages that meant what an earlier one had meant.",
                &["stage"],
            )?,
            claims_total: counters("claims_total", "Claims asked for, by answer.", &["outcome"])?,
            panics_total: counters(
                "panics_total",
                "Handlers that panicked; each is a bug.",
                &["stage"],
            )?,
            event_age_seconds: histogram_vec(
                &registry,
                "event_age_seconds",
                "Seconds from receipt to the stage's acknowledgement.",
                &["stage"],
                &AGE_BUCKETS,
            )?,
            in_flight: in_flight(&registry)?,
            waiting: Waiting::default(),
            registry,
        };
        metrics.create_at_zero(names);
        Ok(metrics)
    }

    /// Shows the engine's state: `broker_up`, `broker_blocked`.
    ///
    /// # Errors
    /// When it is shown already.
    pub fn watch_broker(&self, queues: Queues) -> Result<(), prometheus::Error> {
        self.registry
            .register(Box::new(broker::BrokerState::new(queues)?))
    }

    /// Shows what `/readyz` answers: `ready`. A consumer that nobody has registered, or a process
    /// that drains, is then seen by an alert that needs nothing but these metrics.
    ///
    /// # Errors
    /// When it is shown already.
    pub fn watch_readiness(&self, readiness: Readiness) -> Result<(), prometheus::Error> {
        self.registry
            .register(Box::new(ready::ReadyState::new(readiness)?))
    }

    /// Shows how full the queues are: `queue_messages`, `queue_consumers` and
    /// `queue_oldest_timestamp_seconds`. Somebody must then [`QueueGauges::keep`] them.
    ///
    /// # Errors
    /// When they are shown already.
    pub fn watch_queues(&self, names: &QueueNames) -> Result<QueueGauges, prometheus::Error> {
        QueueGauges::register(&self.registry, names.clone(), self.waiting.clone())
    }

    /// Where a stage registers its own metrics.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts a message that was parked in `queue`. The label is of a closed set: see [`parking`].
    pub fn parked(&self, queue: &str, reason: &str) {
        let label = parking::label(reason);
        self.dead_letters_total
            .with_label_values(&[queue, label])
            .inc();
    }

    /// Everything in the Prometheus text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text; the scrape then fails and the alert on that fires.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn create_at_zero(&self, names: &QueueNames) {
        for stage in StageName::ALL.map(StageName::as_str) {
            self.in_flight.with_label_values(&[stage]);
            self.duplicates_total.with_label_values(&[stage]);
            self.event_age_seconds.with_label_values(&[stage]);
            self.panics_total.with_label_values(&[stage]);
        }
        for outcome in CLAIM_OUTCOMES {
            self.claims_total.with_label_values(&[outcome]);
        }
        for reason in PUBLISH_FAILURES {
            self.publish_failures_total.with_label_values(&[reason]);
        }
        for work in WorkQueue::ALL {
            self.retries_total
                .with_label_values(&[&names.name(QueueId::Work(work))]);
        }
        for (queue, labels) in parking::expected() {
            let queue = names.name(queue);
            for label in labels {
                self.dead_letters_total.with_label_values(&[&queue, label]);
            }
        }
    }
}

fn publish_confirm_seconds(registry: &Registry) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(
        "publish_confirm_seconds",
        "Seconds from a publish to its confirm.",
    )
    .namespace(PREFIX)
    .buckets(ANSWER_BUCKETS.to_vec());
    let histogram = Histogram::with_opts(options)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

fn in_flight(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let options = Opts::new("in_flight", "Messages or requests in hand.").namespace(PREFIX);
    let gauge = IntGaugeVec::new(options, &["stage"])?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// Registers `quittance_{name}`, a counter with labels.
pub fn counter_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(Opts::new(name, help).namespace(PREFIX), labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// Registers `quittance_{name}`, a histogram with labels.
pub fn histogram_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help)
        .namespace(PREFIX)
        .buckets(buckets.to_vec());
    let histogram = HistogramVec::new(options, labels)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// The seconds from one instant to another; zero when the clock was set back meanwhile.
pub fn seconds_between(from: jiff::Timestamp, to: jiff::Timestamp) -> f64 {
    Duration::try_from(to.duration_since(from)).map_or(0.0, |age| age.as_secs_f64())
}

/// Counts one thing in hand for as long as it lives, panics included.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl InFlight {
    /// Counts one up.
    pub fn enter(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_series_are_there_from_the_start_at_zero() {
        let metrics = Metrics::new(&QueueNames::default()).unwrap();
        let text = metrics.render().unwrap();
        for line in [
            "quittance_retries_total{queue=\"ipn.verify\"} 0",
            "quittance_in_flight{stage=\"ingest\"} 0",
            "quittance_claims_total{outcome=\"busy\"} 0",
            "quittance_publish_failures_total{reason=\"timeout\"} 0",
            "quittance_dead_letters_total{queue=\"ipn.notify.dead\",reason=\"panic\"} 0",
            "quittance_dead_letters_total{queue=\"ipn.verify.dead\",reason=\"gave_up\"} 0",
            "quittance_dead_letters_total{queue=\"ipn.quarantine\",reason=\"receiver_mismatch\"} 0",
            "quittance_publish_confirm_seconds_count 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("quittance_build_info{version=\"0"));
        assert!(text.contains("process_open_fds"));
    }

    #[test]
    fn what_is_in_hand_is_counted_down_when_it_is_dropped() {
        let metrics = Metrics::new(&QueueNames::default()).unwrap();
        let gauge = metrics.in_flight.with_label_values(&["verifier"]);
        let held = InFlight::enter(gauge.clone());
        assert_eq!(gauge.get(), 1);
        drop(held);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn an_age_is_never_negative() {
        let early: jiff::Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let late: jiff::Timestamp = "2026-11-22T10:00:01.5Z".parse().unwrap();
        assert!((seconds_between(early, late) - 1.5).abs() < 1e-9);
        assert!(seconds_between(late, early).abs() < 1e-9);
    }
}
