//! The one table of queues: every name, kind and argument in the system comes from here.
//!
//! What a client must declare (type, and for a delay queue its TTL and target) is a
//! [`QueueSpec`]; everything that an operator may tune is a [`PolicySpec`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::retry::{Ladder, Rung};

/// Deliveries of one message that `RabbitMQ` tolerates before it parks the message: above what a
/// rolling update or a few crashes of a consumer cost, below what a poison message would burn.
const DELIVERY_LIMIT: i64 = 20;

/// No limit in practice. The word for none, -1, is refused by brokers before 4.0.
const PARKING_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The most messages in a work or delay queue; more are refused, and the gateway sends again.
/// At-least-once dead-lettering keeps what it cannot hand on, so there must be some limit.
const MAX_LENGTH: i64 = 1_000_000;

/// The size of one file of the archive's stream: retention takes whole files.
const ARCHIVE_SEGMENT: i64 = 16_000_000;

/// How long the archive is kept, and how much of it at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// `archive.keep`.
    pub keep: Duration,
    /// `archive.max_bytes`.
    pub max_bytes: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            keep: Duration::from_hours(35 * 24),
            max_bytes: 10_000_000_000,
        }
    }
}

/// A value of a queue argument or of a policy key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A queue as a client declares it: durable, not exclusive, never deleted by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueSpec {
    /// The full name.
    pub name: String,
    /// The `x-` arguments.
    pub arguments: BTreeMap<&'static str, Argument>,
}

/// A policy: the tunable side of one kind of queue. At most one applies to a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicySpec {
    /// The policy's name.
    pub name: String,
    /// The queues that it applies to, as a regular expression on their names.
    pub pattern: String,
    /// Always `queues`.
    #[serde(rename = "apply-to")]
    pub apply_to: &'static str,
    /// The highest priority wins.
    pub priority: i64,
    /// The keys that it sets.
    pub definition: BTreeMap<&'static str, Argument>,
}

/// The three work queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkQueue {
    /// `ipn.verify`: raw notifications, for the verifier.
    Verify,
    /// `ipn.fulfil`: payment events, for the fulfiller.
    Fulfil,
    /// `ipn.notify`: announcements, for the fulfiller's notifier.
    Notify,
}

impl WorkQueue {
    /// All of them, in the order of the flow.
    pub const ALL: [Self; 3] = [Self::Verify, Self::Fulfil, Self::Notify];

    /// The part of the name after the prefix.
    pub const fn stem(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Fulfil => "fulfil",
            Self::Notify => "notify",
        }
    }
}

/// A queue of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueId {
    /// A work queue.
    Work(WorkQueue),
    /// `{queue}.retry.{delay}`: fixed TTL, dead-letters back to the work queue.
    Retry(WorkQueue, Rung),
    /// `{queue}.dead`: parked, for an operator.
    Dead(WorkQueue),
    /// `ipn.quarantine`: parked by the verifier or the fulfiller, with the reason.
    Quarantine,
}

/// Names queues under a prefix (`ipn.` unless set otherwise) and knows which exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueNames {
    prefix: String,
    ladder: Ladder,
    archive: Option<ArchiveLimits>,
}

impl QueueNames {
    /// Names under `prefix`, with the delay queues of `ladder`.
    pub fn new(prefix: impl Into<String>, ladder: Ladder) -> Self {
        Self {
            prefix: prefix.into(),
            ladder,
            archive: None,
        }
    }

    /// The same with an archive, or without.
    #[must_use]
    pub const fn with_archive(mut self, archive: Option<ArchiveLimits>) -> Self {
        self.archive = archive;
        self
    }

    /// The archive's limits; `None` when nothing is archived.
    pub const fn archive(&self) -> Option<ArchiveLimits> {
        self.archive
    }

    /// The name of the archive's stream.
    pub fn archive_name(&self) -> String {
        format!("{}archive", self.prefix)
    }

    /// What is declared for the archive, if there is one: a stream.
    pub fn archive_spec(&self) -> Option<QueueSpec> {
        self.archive.map(|_| QueueSpec {
            name: self.archive_name(),
            arguments: BTreeMap::from([
                ("x-queue-type", Argument::from("stream")),
                (
                    "x-stream-max-segment-size-bytes",
                    Argument::Number(ARCHIVE_SEGMENT),
                ),
            ]),
        })
    }

    /// The archive's policy: how much of it is kept.
    pub fn archive_policy(&self) -> Option<PolicySpec> {
        let limits = self.archive?;
        let name = self.archive_name();
        let pattern = format!("^{}$", pattern_literal(&name));
        let bytes = i64::try_from(limits.max_bytes).unwrap_or(i64::MAX);
        let age = format!("{}s", limits.keep.as_secs());
        let definition = BTreeMap::from([
            ("max-age", Argument::Text(age)),
            ("max-length-bytes", Argument::Number(bytes)),
        ]);
        Some(policy(name, pattern, definition))
    }

    /// The ladder that the delay queues are made of.
    pub const fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The full name of a queue.
    pub fn name(&self, queue: QueueId) -> String {
        let prefix = &self.prefix;
        match queue {
            QueueId::Work(work) => format!("{prefix}{}", work.stem()),
            QueueId::Retry(work, rung) => format!("{prefix}{}.retry.{rung}", work.stem()),
            QueueId::Dead(work) => format!("{prefix}{}.dead", work.stem()),
            QueueId::Quarantine => format!("{prefix}quarantine"),
        }
    }

    /// The topic exchange that shops bind to.
    pub fn payments_exchange(&self) -> String {
        format!("{}payments", self.prefix)
    }

    /// The queue of that full name, if the topology has it.
    pub fn parse(&self, name: &str) -> Option<QueueId> {
        self.all()
            .into_iter()
            .find(|queue| self.name(*queue) == name)
    }

    /// Every queue of the topology: work queues, their rungs and dead queues, the quarantine.
    pub fn all(&self) -> Vec<QueueId> {
        let mut all = Vec::new();
        for work in WorkQueue::ALL {
            all.push(QueueId::Work(work));
            all.extend(
                self.ladder
                    .rungs()
                    .iter()
                    .map(|rung| QueueId::Retry(work, *rung)),
            );
            all.push(QueueId::Dead(work));
        }
        all.push(QueueId::Quarantine);
        all
    }

    /// What is declared for `queue`.
    pub fn queue_spec(&self, queue: QueueId) -> QueueSpec {
        let mut arguments = BTreeMap::from([("x-queue-type", Argument::from("quorum"))]);
        if let QueueId::Retry(work, rung) = queue {
            let millis = i64::try_from(rung.millis()).unwrap_or(i64::MAX);
            arguments.insert("x-message-ttl", Argument::Number(millis));
            // Back through the default exchange. Only at-least-once survives a broker's crash
            // during the hand-over, and it needs `reject-publish`: with the default overflow the
            // broker falls back to at-most-once without a word.
            arguments.insert("x-dead-letter-exchange", Argument::from(""));
            arguments.insert(
                "x-dead-letter-routing-key",
                Argument::Text(self.name(QueueId::Work(work))),
            );
            arguments.insert("x-dead-letter-strategy", Argument::from("at-least-once"));
            arguments.insert("x-overflow", Argument::from("reject-publish"));
        }
        QueueSpec {
            name: self.name(queue),
            arguments,
        }
    }

    /// The policies: one a work queue, one for the delay queues, one for the parking queues, one
    /// for the archive.
    pub fn policy_specs(&self) -> Vec<PolicySpec> {
        let prefix = pattern_literal(&self.prefix);
        let mut policies: Vec<PolicySpec> = WorkQueue::ALL
            .into_iter()
            .map(|work| {
                let name = self.name(QueueId::Work(work));
                let definition = BTreeMap::from([
                    ("dead-letter-exchange", Argument::from("")),
                    (
                        "dead-letter-routing-key",
                        Argument::Text(self.name(QueueId::Dead(work))),
                    ),
                    ("dead-letter-strategy", Argument::from("at-least-once")),
                    ("delivery-limit", Argument::Number(DELIVERY_LIMIT)),
                    ("max-length", Argument::Number(MAX_LENGTH)),
                    ("overflow", Argument::from("reject-publish")),
                ]);
                policy(
                    name.clone(),
                    format!("^{}$", pattern_literal(&name)),
                    definition,
                )
            })
            .collect();
        let stems = WorkQueue::ALL.map(WorkQueue::stem).join("|");
        policies.push(policy(
            format!("{}retry", self.prefix),
            format!(r"^{prefix}({stems})\.retry\."),
            BTreeMap::from([("max-length", Argument::Number(MAX_LENGTH))]),
        ));
        // From 4.0 on a quorum queue drops after 20 deliveries unless told otherwise, and looking
        // into a parking queue counts as a delivery.
        policies.push(policy(
            format!("{}parking", self.prefix),
            format!(r"^{prefix}(({stems})\.dead|quarantine)$"),
            BTreeMap::from([("delivery-limit", Argument::Number(PARKING_DELIVERY_LIMIT))]),
        ));
        policies.extend(self.archive_policy());
        policies
    }

    /// The policy that applies to `queue`.
    pub fn policy_of(&self, queue: QueueId) -> Option<PolicySpec> {
        let name = match queue {
            QueueId::Work(_) => self.name(queue),
            QueueId::Retry(..) => format!("{}retry", self.prefix),
            QueueId::Dead(_) | QueueId::Quarantine => format!("{}parking", self.prefix),
        };
        self.policy_specs()
            .into_iter()
            .find(|policy| policy.name == name)
    }

    /// The policies as a definitions file of the broker, for `rabbitmqctl import_definitions`.
    pub fn definitions(&self, vhost: &str) -> serde_json::Value {
        let policies: Vec<_> = self
            .policy_specs()
            .into_iter()
            .map(|spec| {
                json!({
                    "vhost": vhost,
                    "name": spec.name,
                    "pattern": spec.pattern,
                    "apply-to": spec.apply_to,
                    "priority": spec.priority,
                    "definition": spec.definition,
                })
            })
            .collect();
        json!({ "policies": policies })
    }
}

fn policy(
    name: String,
    pattern: String,
    definition: BTreeMap<&'static str, Argument>,
) -> PolicySpec {
    PolicySpec {
        name,
        pattern,
        apply_to: "queues",
        priority: 10,
        definition,
    }
}

/// `text` as a regular expression that matches it and nothing else.
fn pattern_literal(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if !(c.is_alphanumeric() || matches!(c, '_' | '-')) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

impl Default for QueueNames {
    fn default() -> Self {
        Self::new("ipn.", Ladder::default()).with_archive(Some(ArchiveLimits::default()))
    }
}

impl fmt::Display for WorkQueue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.stem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_found_again_by_its_name() {
        let names = QueueNames::default();
        for queue in names.all() {
            assert_eq!(names.parse(&names.name(queue)), Some(queue));
        }
        assert_eq!(names.parse("ipn.verify.retry.7s"), None);
    }

    #[test]
    fn a_delay_queue_hands_back_to_its_work_queue_at_least_once() {
        let names = QueueNames::default();
        let rung = names.ladder().rungs()[0];
        let spec = names.queue_spec(QueueId::Retry(WorkQueue::Verify, rung));
        assert_eq!(spec.name, "ipn.verify.retry.1s");
        assert_eq!(
            serde_json::to_value(&spec.arguments).unwrap(),
            json!({
                "x-queue-type": "quorum",
                "x-message-ttl": 1000,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "ipn.verify",
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            })
        );
    }

    #[test]
    fn a_dot_in_a_name_matches_only_a_dot() {
        assert_eq!(pattern_literal("ipn.verify"), r"ipn\.verify");
    }

    #[test]
    fn every_queue_has_a_policy() {
        let names = QueueNames::default();
        for queue in names.all() {
            assert!(names.policy_of(queue).is_some(), "{queue:?}");
        }
    }

    #[test]
    fn the_shipped_definitions_are_the_ones_that_the_table_makes() {
        let shipped = include_str!("../../../deploy/rabbitmq/definitions.json");
        let shipped: serde_json::Value = serde_json::from_str(shipped).unwrap();
        assert_eq!(shipped, QueueNames::default().definitions("/"));
    }
}
