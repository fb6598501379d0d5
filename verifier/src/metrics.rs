//! What the verifier counts.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use quittance_common::ids::GatewayId;
use quittance_common::metrics::parking;

use crate::breaker::Level;

/// Seconds; 30 s is the limit of a postback, 20 s the gateway's own limit for us.
const POSTBACK_BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The outcomes of a verification, as labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Genuine, ours, right.
    Verified,
    /// The gateway did not send it.
    Invalid,
    /// No verdict yet.
    Indeterminate,
    /// Genuine, and refused by a check.
    Refused,
    /// Known before.
    Duplicate,
    /// Cannot be read.
    Unreadable,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Verified,
        Self::Invalid,
        Self::Indeterminate,
        Self::Refused,
        Self::Duplicate,
        Self::Unreadable,
    ];

    /// The reasons that it may have, as labels; their series start at zero.
    fn reasons(self) -> &'static [&'static str] {
        match self {
            Self::Verified | Self::Invalid => &[""],
            Self::Duplicate => &["known", "claimed"],
            Self::Indeterminate => &parking::UNCLEAR,
            Self::Refused | Self::Unreadable => &parking::REFUSALS,
        }
    }

    /// The label of a reason code: of a closed set.
    fn label(self, reason: &str) -> &'static str {
        match self {
            Self::Indeterminate => parking::unclear_label(reason),
            Self::Refused | Self::Unreadable => parking::label(reason),
            Self::Verified | Self::Invalid | Self::Duplicate => self
                .reasons()
                .iter()
                .find(|label| **label == reason)
                .unwrap_or(&parking::OTHER),
        }
    }

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Invalid => "invalid",
            Self::Indeterminate => "indeterminate",
            Self::Refused => "refused",
            Self::Duplicate => "duplicate",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The handles.
#[derive(Debug, Clone)]
pub struct Metrics {
    verifications: IntCounterVec,
    postback_seconds: HistogramVec,
    breaker_state: IntGaugeVec,
}

impl Metrics {
    /// Makes and registers the series, at zero.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let verifications = IntCounterVec::new(
            Opts::new(
                "quittance_verifications_total",
                "Notifications decided by the verifier, by outcome and reason",
            ),
            &["outcome", "reason"],
        )?;
        let postback_seconds = HistogramVec::new(
            HistogramOpts::new(
                "quittance_postback_seconds",
                "Time from posting a notification back to the gateway's answer",
            )
            .buckets(POSTBACK_BUCKETS.to_vec()),
            &["outcome"],
        )?;
        let breaker_state = IntGaugeVec::new(
            Opts::new(
                "quittance_breaker_state",
                "The gateway's breaker: 0 closed, 1 half open or slow start, 2 open",
            ),
            &["gateway"],
        )?;
        registry.register(Box::new(verifications.clone()))?;
        registry.register(Box::new(postback_seconds.clone()))?;
        registry.register(Box::new(breaker_state.clone()))?;
        for outcome in Outcome::ALL {
            for reason in outcome.reasons() {
                verifications.with_label_values(&[outcome.as_str(), reason]);
            }
        }
        for outcome in ["answered", "unclear", "failed"] {
            postback_seconds.with_label_values(&[outcome]);
        }
        for gateway in GatewayId::ALL {
            breaker_state.with_label_values(&[gateway.as_str()]);
        }
        Ok(Self {
            verifications,
            postback_seconds,
            breaker_state,
        })
    }

    /// One decision.
    pub fn decided(&self, outcome: Outcome, reason: &str) {
        self.verifications
            .with_label_values(&[outcome.as_str(), outcome.label(reason)])
            .inc();
    }

    /// One postback.
    pub fn asked(&self, outcome: &'static str, took: std::time::Duration) {
        self.postback_seconds
            .with_label_values(&[outcome])
            .observe(took.as_secs_f64());
    }

    /// The breaker's level now.
    pub fn breaker(&self, gateway: GatewayId, level: Level) {
        let value = match level {
            Level::Closed => 0,
            Level::HalfOpen => 1,
            Level::Open => 2,
        };
        self.breaker_state
            .with_label_values(&[gateway.as_str()])
            .set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_under_a_label_that_was_there_at_zero() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let series = || {
            let families = registry.gather();
            let counted = families
                .iter()
                .find(|family| family.name() == "quittance_verifications_total");
            counted.map_or(0, |family| family.get_metric().len())
        };
        let before = series();
        for (outcome, reason) in [
            (Outcome::Verified, ""),
            (Outcome::Duplicate, "claimed"),
            (Outcome::Indeterminate, "html_answer"),
            (Outcome::Refused, "order_missing"),
            (Outcome::Unreadable, "a reason that nobody knows"),
        ] {
            metrics.decided(outcome, reason);
        }
        assert_eq!(series(), before);
    }
}
