//! The network: everything that must flow is allowed, and nothing much else.

use serde_json::Value;

use super::{Report, items, name, number, of_kind, selects, text, workloads};

/// Which way a connection goes, as seen from the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Ingress,
    Egress,
}

impl Way {
    const fn rules(self) -> &'static str {
        match self {
            Self::Ingress => "/spec/ingress",
            Self::Egress => "/spec/egress",
        }
    }

    const fn peers(self) -> &'static str {
        match self {
            Self::Ingress => "/from",
            Self::Egress => "/to",
        }
    }
}

/// AMQP and the HTTP API without TLS: for a broker of one's own, on one's own machine.
const PLAIN: [i64; 2] = [5672, 15672];

/// What a pod may do to the internet: ask the gateway, and send mail.
const OUTSIDE: [(&str, &[i64]); 3] = [
    ("quittance-ingest", &[443]),
    ("quittance-verifier", &[443]),
    ("quittance-fulfiller", &[465, 587]),
];

/// A connection that the code makes or takes: port, protocol, and what its peer must be called.
type Flow = (Way, &'static str, &'static str, &'static str);

const COMMON: [Flow; 4] = [
    (Way::Ingress, "admin", "TCP", "monitoring"),
    (Way::Egress, "53", "UDP", "kube-system"),
    (Way::Egress, "53", "TCP", "kube-system"),
    (Way::Egress, "5671", "TCP", "rabbitmq"),
];

fn needed(stage: &str) -> &'static [Flow] {
    match stage {
        "quittance-ingest" => &[
            (Way::Ingress, "http", "TCP", "ingress"),
            (Way::Egress, "6379", "TCP", "redis"),
            (Way::Egress, "5432", "TCP", "postgresql"),
            (Way::Egress, "443", "TCP", "0.0.0.0/0"),
        ],
        "quittance-verifier" => &[
            (Way::Egress, "6379", "TCP", "redis"),
            (Way::Egress, "5432", "TCP", "postgresql"),
            (Way::Egress, "443", "TCP", "0.0.0.0/0"),
        ],
        "quittance-fulfiller" => &[
            (Way::Egress, "5432", "TCP", "postgresql"),
            (Way::Egress, "465", "TCP", "0.0.0.0/0"),
        ],
        "quittance-topology" => &[(Way::Egress, "15671", "TCP", "rabbitmq")],
        _ => &[],
    }
}

pub(super) fn check(objects: &[Value], report: &mut Report) {
    for deployment in workloads(objects) {
        let policies: Vec<&Value> = of_kind(objects, "NetworkPolicy")
            .filter(|policy| selects(policy.pointer("/spec/podSelector/matchLabels"), deployment))
            .collect();
        for way in ["Ingress", "Egress"] {
            let denied = policies
                .iter()
                .any(|policy| items(policy, "/spec/policyTypes").any(|one| one == way));
            report.expect(
                denied,
                "default-deny",
                format!("{}: {way} is open", name(deployment)),
            );
        }
        for flow in COMMON.iter().chain(needed(name(deployment))) {
            let allowed = policies.iter().any(|policy| allows(policy, *flow));
            report.expect(
                allowed,
                "flow",
                format!("{} lacks {flow:?}", name(deployment)),
            );
        }
    }
    let with_operator = of_kind(objects, "RabbitmqCluster").next().is_some();
    for policy in of_kind(objects, "NetworkPolicy") {
        // Names as well as passwords go over those ports.
        let plain = items(policy, "/spec/egress")
            .flat_map(|rule| items(rule, "/ports"))
            .any(|port| number(port, "/port").is_some_and(|port| PLAIN.contains(&port)));
        report.expect(
            !(plain && with_operator),
            "plaintext",
            format!("{} lets out what is not encrypted", name(policy)),
        );
        let used = workloads(objects)
            .any(|one| selects(policy.pointer("/spec/podSelector/matchLabels"), one));
        report.expect(
            used,
            "policy",
            format!("{} applies to nothing", name(policy)),
        );
        for way in [Way::Ingress, Way::Egress] {
            for rule in items(policy, way.rules()) {
                narrow(policy, way, rule, report);
            }
        }
    }
}

fn allows(policy: &Value, (way, port, protocol, peer): Flow) -> bool {
    items(policy, way.rules()).any(|rule| {
        let port_allowed = items(rule, "/ports").any(|one| {
            let number = one
                .pointer("/port")
                .map(ToString::to_string)
                .unwrap_or_default();
            number.trim_matches('"') == port && text(one, "/protocol") == protocol
        });
        // The peer's name stands in a label or in the block.
        let peer_allowed = items(rule, way.peers()).any(|one| {
            let labels = ["/podSelector/matchLabels", "/namespaceSelector/matchLabels"]
                .into_iter()
                .filter_map(|at| one.pointer(at)?.as_object())
                .flat_map(|labels| labels.values());
            labels.into_iter().any(|label| label == peer) || text(one, "/ipBlock/cidr") == peer
        });
        port_allowed && peer_allowed
    })
}

/// A rule without peers or ports allows all of them, and the internet is not the cluster.
fn narrow(policy: &Value, way: Way, rule: &Value, report: &mut Report) {
    let who = name(policy);
    report.expect(
        items(rule, way.peers()).count() > 0,
        "wide",
        format!("{who}: any peer"),
    );
    report.expect(
        items(rule, "/ports").count() > 0,
        "wide",
        format!("{who}: any port"),
    );
    let anywhere = items(rule, way.peers()).any(|peer| peer.get("ipBlock").is_some());
    let allowed = OUTSIDE.iter().find(|(pod, _)| *pod == who);
    for port in items(rule, "/ports").filter(|_| anywhere) {
        let number = port.get("port").and_then(Value::as_i64);
        let known = allowed.is_some_and(|(_, ports)| number.is_some_and(|n| ports.contains(&n)));
        report.expect(
            known && way == Way::Egress,
            "wide",
            format!("{who} reaches the internet on {number:?}"),
        );
    }
    for peer in items(rule, way.peers()) {
        // An empty selector selects everything.
        for selector in ["podSelector", "namespaceSelector"] {
            let labels = peer.get(selector).map(|one| one.get("matchLabels"));
            let all = labels.is_some_and(|labels| {
                labels
                    .and_then(Value::as_object)
                    .is_none_or(serde_json::Map::is_empty)
            });
            report.expect(!all, "wide", format!("{who}: any {selector}"));
        }
        if let Some(block) = peer.pointer("/ipBlock") {
            let outside: Vec<&str> = items(block, "/except").filter_map(Value::as_str).collect();
            for inner in [
                "10.0.0.0/8",
                "172.16.0.0/12",
                "192.168.0.0/16",
                "169.254.0.0/16",
                "100.64.0.0/10",
            ] {
                report.expect(
                    outside.contains(&inner),
                    "wide",
                    format!("{who} reaches {inner}"),
                );
            }
        }
    }
}
