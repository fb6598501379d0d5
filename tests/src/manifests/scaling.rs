//! How many there are: replicas, autoscalers, disruption budgets, monitors, the broker.

use std::collections::BTreeSet;

use quittance_common::queue::{QueueId, WorkQueue};
use quittance_common::settings::Settings;
use serde_json::{Value, json};

use super::workload;
use super::{Report, exists, items, kind, name, number, of_kind, port_named, selects, text};

/// Which Secret and `ConfigMap` tell KEDA how to ask the broker.
const KEDA: &str = "quittance-keda";

/// The queues that a Deployment consumes, each with as many deliveries in hand as that setting says.
fn consumed(who: &str, settings: &Settings) -> (&'static [WorkQueue], i64) {
    match who {
        "quittance-verifier" => (&[WorkQueue::Verify], settings.verifier.concurrency.into()),
        "quittance-fulfiller" => (
            &[WorkQueue::Fulfil, WorkQueue::Notify],
            settings.fulfiller.concurrency.into(),
        ),
        _ => (&[], 0),
    }
}

/// One number has one owner, and one pod may go at a time.
pub(super) fn check_number(deployment: &Value, objects: &[Value], report: &mut Report) {
    let who = name(deployment);
    let scalers: Vec<&Value> = objects
        .iter()
        .filter(|one| matches!(kind(one), "HorizontalPodAutoscaler" | "ScaledObject"))
        .filter(|one| text(one, "/spec/scaleTargetRef/name") == who)
        .collect();
    let replicas = number(deployment, "/spec/replicas");
    report.expect(
        scalers.len() <= 1,
        "one-scaler",
        format!("{who} has several autoscalers"),
    );
    report.expect(
        scalers.is_empty() == replicas.is_some(),
        "replicas",
        format!(
            "{who}: {} autoscalers and replicas {replicas:?}",
            scalers.len()
        ),
    );
    report.expect(replicas != Some(0), "replicas", format!("{who} has none"));
    let budgets: Vec<&Value> = of_kind(objects, "PodDisruptionBudget")
        .filter(|budget| selects(budget.pointer("/spec/selector/matchLabels"), deployment))
        .collect();
    report.expect(
        budgets.len() == 1,
        "budget",
        format!("{who} has {} budgets", budgets.len()),
    );
    for budget in budgets {
        // `minAvailable` of the number that there is would stop every drain of a node.
        let right = number(budget, "/spec/maxUnavailable") == Some(1)
            && budget.pointer("/spec/minAvailable").is_none();
        report.expect(right, "budget", format!("{who}: one pod at a time may go"));
    }
}

pub(super) fn check(objects: &[Value], report: &mut Report) {
    for hpa in of_kind(objects, "HorizontalPodAutoscaler") {
        target_exists(hpa, objects, report);
        let least = number(hpa, "/spec/minReplicas").unwrap_or(1);
        let most = number(hpa, "/spec/maxReplicas").unwrap_or(0);
        report.expect(
            least >= 1 && least < most,
            "bounds",
            format!("{}: {least} to {most}", name(hpa)),
        );
    }
    for scaled in of_kind(objects, "ScaledObject") {
        scaled_object(scaled, objects, report);
    }
    for service in of_kind(objects, "Service") {
        let selected: Vec<&Value> = of_kind(objects, "Deployment")
            .filter(|one| selects(service.pointer("/spec/selector"), one))
            .collect();
        report.expect(
            selected.len() == 1,
            "service",
            format!("{} selects {} Deployments", name(service), selected.len()),
        );
        for port in items(service, "/spec/ports") {
            let to = text(port, "/targetPort");
            let there = selected.iter().all(|one| port_named(one, to).is_some());
            report.expect(
                there,
                "service",
                format!("{}: no port `{to}`", name(service)),
            );
        }
    }
    for monitor in of_kind(objects, "PodMonitor") {
        for deployment in of_kind(objects, "Deployment") {
            let selector = monitor.pointer("/spec/selector/matchLabels");
            report.expect(selects(selector, deployment), "monitor", name(deployment));
            for endpoint in items(monitor, "/spec/podMetricsEndpoints") {
                let port = text(endpoint, "/port");
                let right = port == "admin" && text(endpoint, "/path") == "/metrics";
                report.expect(
                    right && port_named(deployment, port).is_some(),
                    "monitor",
                    format!("{}: the wrong endpoint is scraped", name(deployment)),
                );
                // The alerts name the jobs.
                let job = items(endpoint, "/relabelings").any(|rule| {
                    text(rule, "/targetLabel") == "job"
                        && rule.pointer("/sourceLabels/0")
                            == Some(&json!("__meta_kubernetes_pod_label_app_kubernetes_io_name"))
                });
                report.expect(job, "monitor", "the job is not the pod's name");
            }
        }
    }
    for cluster in of_kind(objects, "RabbitmqCluster") {
        broker(cluster, report);
    }
}

fn broker(broker: &Value, report: &mut Report) {
    let nodes = number(broker, "/spec/replicas").unwrap_or(1);
    report.expect(
        nodes >= 3 && nodes % 2 == 1,
        "broker",
        format!("{nodes} nodes"),
    );
    let tls_only = broker.pointer("/spec/tls/disableNonTLSListeners") == Some(&json!(true));
    report.expect(tls_only, "broker", "plain listeners are open");
    let certificate = !text(broker, "/spec/tls/secretName").is_empty();
    report.expect(
        certificate,
        "broker",
        "it has no certificate to speak TLS with",
    );
    let settings = text(broker, "/spec/rabbitmq/additionalConfig");
    let minority = settings.contains("cluster_partition_handling = pause_minority");
    report.expect(
        minority,
        "broker",
        "a partition leaves two halves that diverge",
    );
    let apart = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let apart =
        items(broker, apart).any(|term| text(term, "/topologyKey") == "kubernetes.io/hostname");
    report.expect(apart, "broker", "two of its nodes may share a machine");
    let memory = |set| text(broker, &format!("/spec/resources/{set}/memory")).to_owned();
    report.expect(
        memory("requests") == memory("limits"),
        "broker",
        "memory is overcommitted",
    );
    restricted(broker, report);
}

/// The namespace lets no pod in that Pod Security `restricted` forbids, and the operator's own are such.
fn restricted(broker: &Value, report: &mut Report) {
    let pod = "/spec/override/statefulSet/spec/template/spec";
    for (field, right) in [
        ("runAsNonRoot", json!(true)),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        let found = broker.pointer(&format!("{pod}/securityContext/{field}"));
        report.expect(
            found == Some(&right),
            "broker",
            format!("{field} is {found:?}"),
        );
    }
    for (list, container) in [
        ("initContainers", "setup-container"),
        ("containers", "rabbitmq"),
    ] {
        let right = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let found = items(broker, &format!("{pod}/{list}"))
            .find(|one| text(one, "/name") == container)
            .and_then(|one| one.get("securityContext"));
        report.expect(
            found == Some(&right),
            "broker",
            format!("{container} may do {found:?}"),
        );
    }
}

fn target_exists(scaler: &Value, objects: &[Value], report: &mut Report) {
    let target = text(scaler, "/spec/scaleTargetRef/name");
    report.expect(
        exists(objects, "Deployment", target),
        "scale-target",
        format!("{} scales `{target}`, which is not there", name(scaler)),
    );
}

fn scaled_object(scaled: &Value, objects: &[Value], report: &mut Report) {
    let who = name(scaled);
    target_exists(scaled, objects, report);
    let least = number(scaled, "/spec/minReplicaCount").unwrap_or(0);
    let most = number(scaled, "/spec/maxReplicaCount").unwrap_or(100);
    report.expect(
        least >= 2 && least < most,
        "bounds",
        format!("{who}: {least} to {most}"),
    );
    let kept = text(scaled, "/spec/fallback/behavior") == "currentReplicasIfHigher";
    report.expect(
        kept,
        "fallback",
        format!("{who} shrinks when the broker does not answer"),
    );
    let target = text(scaled, "/spec/scaleTargetRef/name");
    let settings = of_kind(objects, "Deployment")
        .find(|one| name(one) == target)
        .and_then(|one| workload::settings(one, objects).ok());
    let Some(settings) = settings else {
        // Told as `scale-target` or `settings`.
        return;
    };
    let (queues, in_hand) = consumed(target, &settings);
    let names = settings.queue_names();
    let needed: BTreeSet<String> = queues
        .iter()
        .map(|queue| names.name(QueueId::Work(*queue)))
        .collect();
    let asked: BTreeSet<String> = items(scaled, "/spec/triggers")
        .map(|trigger| text(trigger, "/metadata/queueName").to_owned())
        .collect();
    report.expect(
        asked == needed,
        "queue",
        format!("{who} looks at {asked:?}, and {target} consumes {needed:?}"),
    );
    for trigger in items(scaled, "/spec/triggers") {
        let http = text(trigger, "/metadata/protocol") == "http";
        report.expect(
            http,
            "protocol",
            format!("{who} does not see what is in hand"),
        );
        let value: i64 = text(trigger, "/metadata/value").parse().unwrap_or(0);
        report.expect(
            value > in_hand,
            "queue-length",
            format!("{who}: {value}, and {in_hand} are in hand of one pod"),
        );
        access(trigger, objects, report);
    }
}

/// Whether KEDA gets what it needs to ask the broker over TLS.
fn access(trigger: &Value, objects: &[Value], report: &mut Report) {
    let access = text(trigger, "/authenticationRef/name");
    let there = of_kind(objects, "TriggerAuthentication").find(|one| name(one) == access);
    report.expect(
        there.is_some(),
        "scaler-access",
        format!("there is no `{access}`"),
    );
    // Without `tls` the scaler does not look at `ca`.
    for (from, parameter) in [
        ("secretTargetRef", "host"),
        ("secretTargetRef", "username"),
        ("secretTargetRef", "password"),
        ("secretTargetRef", "ca"),
        ("configMapTargetRef", "tls"),
    ] {
        let given = there
            .into_iter()
            .flat_map(|one| items(one, &format!("/spec/{from}")))
            .any(|one| {
                text(one, "/parameter") == parameter
                    && text(one, "/name") == KEDA
                    && text(one, "/key") == parameter
            });
        report.expect(
            given,
            "scaler-access",
            format!("{access} gives no {parameter} of {KEDA}"),
        );
    }
    let map = of_kind(objects, "ConfigMap").find(|one| name(one) == KEDA);
    report.expect(
        map.is_some_and(|map| text(map, "/data/tls") == "enable"),
        "scaler-access",
        "KEDA is not told to speak TLS",
    );
}
