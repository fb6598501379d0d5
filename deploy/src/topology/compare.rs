//! The broker's state against the table; pure.

use std::collections::BTreeMap;

use quittance_common::queue::topology::{Argument, PolicySpec, QueueSpec};
use quittance_common::queue::{QueueId, QueueNames};
use serde_json::Value;

use super::{Finding, Severity};

/// Below this a disk alarm comes too late to help (the default is 50 MB).
const LEAST_DISK_LIMIT: u64 = 1_000_000_000;

/// Policy keys whose value an operator may choose, as long as there is one.
const TUNABLE: [&str; 4] = [
    "delivery-limit",
    "max-length",
    "max-age",
    "max-length-bytes",
];

/// What the broker's HTTP API answered.
#[derive(Debug, Clone, Default)]
pub struct Broker {
    /// `GET /api/queues/{vhost}`.
    pub queues: Value,
    /// `GET /api/exchanges/{vhost}/{payments exchange}`, if there is one.
    pub exchange: Option<Value>,
    /// `GET /api/nodes`, if the user may see them.
    pub nodes: Option<Value>,
}

/// Every difference between the table and the broker, in the table's order.
pub fn compare(names: &QueueNames, broker: &Broker) -> Vec<Finding> {
    let by_name: BTreeMap<&str, &Value> = broker
        .queues
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|queue| Some((queue.get("name")?.as_str()?, queue)))
        .collect();
    let mut findings = exchange(names, broker.exchange.as_ref());
    for id in names.all() {
        let spec = names.queue_spec(id);
        match by_name.get(spec.name.as_str()) {
            None => findings.push(differs(&spec.name, "the queue is missing")),
            Some(found) => {
                findings.extend(declaration(&spec, found));
                if let Some(wanted) = names.policy_of(id) {
                    findings.extend(policy(!is_parking(id), &spec.name, &wanted, found));
                }
            }
        }
    }
    if let (Some(spec), Some(wanted)) = (names.archive_spec(), names.archive_policy()) {
        match by_name.get(spec.name.as_str()) {
            None => findings.push(differs(&spec.name, "the queue is missing")),
            Some(found) => {
                findings.extend(declaration(&spec, found));
                findings.extend(policy(true, &spec.name, &wanted, found));
            }
        }
    }
    findings.extend(nodes(broker.nodes.as_ref()));
    findings
}

fn differs(subject: &str, text: impl Into<String>) -> Finding {
    Finding::new(Severity::Difference, subject, text)
}

fn exchange(names: &QueueNames, found: Option<&Value>) -> Vec<Finding> {
    let name = names.payments_exchange();
    match found {
        None => vec![differs(&name, "the exchange is missing")],
        Some(found) => {
            let is_topic = found.get("type").and_then(Value::as_str) == Some("topic");
            let is_durable = found.get("durable").and_then(Value::as_bool) == Some(true);
            if is_topic && is_durable {
                Vec::new()
            } else {
                vec![differs(&name, "is not a durable topic exchange")]
            }
        }
    }
}

/// What the client declared: type, durability, arguments.
fn declaration(spec: &QueueSpec, found: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let kind = found.get("type").and_then(Value::as_str).unwrap_or("?");
    if let Some(Argument::Text(wanted)) = spec.arguments.get("x-queue-type")
        && kind != wanted
    {
        findings.push(differs(
            &spec.name,
            format!("is a {kind} queue, not a {wanted} queue"),
        ));
    }
    if found.get("durable").and_then(Value::as_bool) == Some(false) {
        findings.push(differs(&spec.name, "is not durable"));
    }
    let arguments = found.get("arguments").and_then(Value::as_object);
    for (key, wanted) in &spec.arguments {
        let wanted = value_of(wanted);
        match arguments.and_then(|arguments| arguments.get(*key)) {
            Some(value) if *value == wanted => {}
            Some(value) => findings.push(differs(
                &spec.name,
                format!("argument {key} is {value}, not {wanted}"),
            )),
            None => findings.push(differs(
                &spec.name,
                format!("argument {key} is missing; it should be {wanted}"),
            )),
        }
    }
    for (key, value) in arguments.into_iter().flatten() {
        if !spec.arguments.contains_key(key.as_str()) {
            findings.push(differs(
                &spec.name,
                format!("argument {key} = {value} is not in the table"),
            ));
        }
    }
    findings
}

/// What policies make of the queue, whichever policy does.
fn policy(tunable: bool, name: &str, wanted: &PolicySpec, found: &Value) -> Vec<Finding> {
    let effective = found.get("effective_policy_definition");
    let mut findings = Vec::new();
    for (key, argument) in &wanted.definition {
        let argument = value_of(argument);
        match effective.and_then(|effective| effective.get(*key)) {
            Some(value) if *value == argument => {}
            // A parking queue with a limit drops what is looked at too often.
            Some(value) if TUNABLE.contains(key) && tunable => findings.push(Finding::new(
                Severity::Note,
                name,
                format!("policy key {key} is {value}; the table has {argument}"),
            )),
            Some(value) => findings.push(differs(
                name,
                format!("policy key {key} is {value}, not {argument}"),
            )),
            None => findings.push(differs(
                name,
                format!("no policy sets {key}; it should be {argument}"),
            )),
        }
    }
    findings
}

const fn is_parking(id: QueueId) -> bool {
    matches!(id, QueueId::Dead(_) | QueueId::Quarantine)
}

fn value_of(argument: &Argument) -> Value {
    match argument {
        Argument::Text(text) => Value::from(text.as_str()),
        Argument::Number(number) => Value::from(*number),
    }
}

fn nodes(found: Option<&Value>) -> Vec<Finding> {
    let Some(nodes) = found.and_then(Value::as_array) else {
        return vec![Finding::new(
            Severity::Unchecked,
            "nodes",
            "this user may not see nodes (it needs the `monitoring` tag)",
        )];
    };
    let mut findings: Vec<Finding> = nodes.iter().flat_map(node).collect();
    if nodes.len() > 1 {
        findings.push(Finding::new(
            Severity::Unchecked,
            "cluster_partition_handling",
            "the HTTP API does not tell it; before 4.3 it must be pause_minority \
             (rabbitmqctl environment)",
        ));
    }
    findings
}

fn node(node: &Value) -> Vec<Finding> {
    let name = node.get("name").and_then(Value::as_str).unwrap_or("node");
    let flag = |key| node.get(key).and_then(Value::as_bool);
    let mut findings = Vec::new();
    if flag("running") == Some(false) {
        findings.push(differs(name, "is not running"));
    }
    if flag("mem_alarm") == Some(true) {
        findings.push(differs(name, "has a memory alarm: publishers are blocked"));
    }
    if flag("disk_free_alarm") == Some(true) {
        findings.push(differs(name, "has a disk alarm: publishers are blocked"));
    }
    let partitions = node.get("partitions").and_then(Value::as_array);
    if partitions.is_some_and(|partitions| !partitions.is_empty()) {
        findings.push(differs(name, "sees a network partition"));
    }
    let limit = node.get("disk_free_limit").and_then(Value::as_u64);
    if let Some(limit) = limit
        && limit < LEAST_DISK_LIMIT
    {
        findings.push(Finding::new(
            Severity::Note,
            name,
            format!("disk_free_limit is {limit} bytes; an alarm would come too late"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::queue::WorkQueue;
    use serde_json::json;

    /// A broker that is as the table says.
    fn good(names: &QueueNames) -> Broker {
        let all = names.all().into_iter();
        let archive = (
            names.archive_spec().unwrap(),
            names.archive_policy().unwrap(),
        );
        let queues = all
            .map(|id| (names.queue_spec(id), names.policy_of(id).unwrap()))
            .chain([archive])
            .map(|(spec, policy)| {
                json!({
                    "name": spec.name,
                    "type": spec.arguments["x-queue-type"],
                    "durable": true,
                    "arguments": spec.arguments,
                    "effective_policy_definition": policy.definition,
                })
            })
            .collect();
        Broker {
            queues,
            exchange: Some(json!({"type": "topic", "durable": true})),
            nodes: Some(json!([{
                "name": "rabbit@one", "running": true, "partitions": [],
                "disk_free_limit": 2_000_000_000_u64,
            }])),
        }
    }

    fn queue<'a>(broker: &'a mut Broker, name: &str) -> &'a mut Value {
        let queues = broker.queues.as_array_mut().unwrap();
        queues.iter_mut().find(|q| q["name"] == name).unwrap()
    }

    fn texts(findings: &[Finding]) -> Vec<String> {
        findings
            .iter()
            .map(|f| format!("{:?} {}: {}", f.severity, f.subject, f.text))
            .collect()
    }

    #[test]
    fn a_broker_that_is_as_the_table_says_has_no_findings() {
        let names = QueueNames::default();
        assert_eq!(texts(&compare(&names, &good(&names))), Vec::<String>::new());
    }

    #[test]
    fn a_bare_broker_misses_the_exchange_and_every_queue() {
        let names = QueueNames::default();
        let findings = compare(&names, &Broker::default());
        let missing = findings.iter().filter(|f| f.text.contains("is missing"));
        assert_eq!(missing.count(), names.all().len() + 2);
    }

    #[test]
    fn a_lost_policy_key_another_type_and_another_argument_are_told() {
        let names = QueueNames::default();
        let mut broker = good(&names);
        queue(&mut broker, "ipn.verify")["effective_policy_definition"] = json!([]);
        queue(&mut broker, "ipn.fulfil")["type"] = json!("classic");
        queue(&mut broker, "ipn.verify.retry.5s")["arguments"]["x-message-ttl"] = json!(50);
        queue(&mut broker, "ipn.notify")["arguments"]["x-expires"] = json!(1);
        let found = texts(&compare(&names, &broker));
        assert!(
            found.contains(
                &"Difference ipn.verify: no policy sets overflow; it should be \"reject-publish\""
                    .to_owned()
            )
        );
        assert!(
            found.contains(
                &"Difference ipn.fulfil: is a classic queue, not a quorum queue".to_owned()
            )
        );
        assert!(found.contains(
            &"Difference ipn.verify.retry.5s: argument x-message-ttl is 50, not 5000".to_owned()
        ));
        assert!(found.contains(
            &"Difference ipn.notify: argument x-expires = 1 is not in the table".to_owned()
        ));
    }

    #[test]
    fn a_tuned_length_is_a_note_and_a_limit_on_a_parking_queue_is_a_difference() {
        let names = QueueNames::default();
        let mut broker = good(&names);
        queue(&mut broker, "ipn.verify")["effective_policy_definition"]["max-length"] = json!(7);
        let dead = names.name(QueueId::Dead(WorkQueue::Verify));
        queue(&mut broker, &dead)["effective_policy_definition"]["delivery-limit"] = json!(3);
        let severities: Vec<Severity> = compare(&names, &broker)
            .iter()
            .map(|f| f.severity)
            .collect();
        assert_eq!(severities, [Severity::Note, Severity::Difference]);
    }

    #[test]
    fn alarms_and_partitions_are_told_and_partition_handling_is_said_to_be_unchecked() {
        let names = QueueNames::default();
        let mut broker = good(&names);
        broker.nodes = Some(json!([
            {"name": "a", "running": true, "mem_alarm": true, "partitions": ["b"]},
            {"name": "b", "running": false, "disk_free_limit": 50_000_000},
        ]));
        let severities: Vec<Severity> = compare(&names, &broker)
            .iter()
            .map(|f| f.severity)
            .collect();
        assert_eq!(
            severities,
            [
                Severity::Difference,
                Severity::Difference,
                Severity::Difference,
                Severity::Note,
                Severity::Unchecked
            ]
        );
    }
}
