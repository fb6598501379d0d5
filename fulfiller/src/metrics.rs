//! What the fulfiller counts.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use quittance_common::rules::Ruling;

/// Effects, as labels; each series starts at zero.
const EFFECTS: [&str; 12] = [
    "stock_reserved",
    "stock_released",
    "stock_decremented",
    "stock_backordered",
    "stock_restocked",
    "reservation_expired",
    "mail_received",
    "mail_pending",
    "mail_failed",
    "mail_refunded",
    "mail_backordered",
    "mail_merchant",
];

/// What became of an effect: `done` is stock moved or a notification queued, the others are the
/// notifier's, for stock with `stock.driver = "http"` only.
const OUTCOMES: [&str; 5] = ["done", "sent", "skipped", "retried", "rejected"];

/// The fulfiller's counters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    effects: IntCounterVec,
    backorders: IntCounter,
    rules: IntCounterVec,
    duplicates: IntCounterVec,
}

impl Metrics {
    /// Registers `quittance_effects_total`, `quittance_backorders_total` and
    /// `quittance_rules_total`. `duplicates` is the
    /// shared `quittance_duplicates_total{stage}`, which several stages of one process count.
    pub fn register(
        registry: &Registry,
        duplicates: IntCounterVec,
    ) -> Result<Self, prometheus::Error> {
        let effects = IntCounterVec::new(
            Opts::new(
                "quittance_effects_total",
                "Effects on stock and customers, by what became of them.",
            ),
            &["effect", "outcome"],
        )?;
        let backorders = IntCounter::new(
            "quittance_backorders_total",
            "Items that were paid for and not on the shelf.",
        )?;
        let rules = IntCounterVec::new(
            Opts::new(
                "quittance_rules_total",
                "Events that were settled, by the action of the rule that decided.",
            ),
            &["action"],
        )?;
        for action in Ruling::ACTIONS {
            rules.with_label_values(&[action]);
        }
        registry.register(Box::new(rules.clone()))?;
        registry.register(Box::new(effects.clone()))?;
        registry.register(Box::new(backorders.clone()))?;
        for effect in EFFECTS {
            for outcome in OUTCOMES {
                effects.with_label_values(&[effect, outcome]);
            }
        }
        Ok(Self {
            effects,
            backorders,
            rules,
            duplicates,
        })
    }

    /// The shared counter of duplicates, for processes in which nobody else made it.
    pub fn duplicates_total() -> Result<IntCounterVec, prometheus::Error> {
        IntCounterVec::new(
            Opts::new(
                "quittance_duplicates_total",
                "Messages that meant nothing new, by the stage that found out.",
            ),
            &["stage"],
        )
    }

    /// One effect.
    pub fn effect(&self, effect: &'static str, outcome: &'static str) {
        self.effects.with_label_values(&[effect, outcome]).inc();
    }

    /// One event that a rule, or the built-in table, decided.
    pub fn ruled(&self, ruling: Ruling) {
        self.rules.with_label_values(&[ruling.action()]).inc();
    }

    /// So many items owed.
    pub fn backordered(&self, items: i64) {
        self.backorders.inc_by(u64::try_from(items).unwrap_or(0));
    }

    /// One message that meant nothing new.
    pub fn duplicate(&self, stage: quittance_common::stage::StageName) {
        self.duplicates.with_label_values(&[stage.as_str()]).inc();
    }
}
