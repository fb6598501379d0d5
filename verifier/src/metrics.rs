//! What the verifier counts.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use quittance_common::ids::GatewayId;

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
            verifications.with_label_values(&[outcome.as_str(), ""]);
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

    /// One decision. Reasons come from a closed set in the code.
    pub fn decided(&self, outcome: Outcome, reason: &str) {
        self.verifications
            .with_label_values(&[outcome.as_str(), reason])
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
