//! How many there are: replicas, autoscalers, disruption budgets, monitors, the broker.

use quittance_common::queue::QueueNames;
use serde_json::{Value, json};

use super::{Report, exists, items, kind, name, number, of_kind, port_named, selects, text};

/// Deliveries that a consumer may hold: above the defaults of `verifier.concurrency` and of
/// `fulfiller.concurrency` on its two queues.
const IN_HAND: i64 = 16;

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
    for broker in of_kind(objects, "RabbitmqCluster") {
        let nodes = number(broker, "/spec/replicas").unwrap_or(1);
        report.expect(
            nodes >= 3 && nodes % 2 == 1,
            "broker",
            format!("{nodes} nodes"),
        );
        let tls_only = broker.pointer("/spec/tls/disableNonTLSListeners") == Some(&json!(true));
        report.expect(tls_only, "broker", "plain listeners are open");
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
    let names = QueueNames::default();
    for trigger in items(scaled, "/spec/triggers") {
        let queue = text(trigger, "/metadata/queueName");
        report.expect(
            names.parse(queue).is_some(),
            "queue",
            format!("{who}: no queue `{queue}`"),
        );
        let http = text(trigger, "/metadata/protocol") == "http";
        report.expect(
            http,
            "protocol",
            format!("{who} does not see what is in hand"),
        );
        let value: i64 = text(trigger, "/metadata/value").parse().unwrap_or(0);
        report.expect(value > IN_HAND, "queue-length", format!("{who}: {value}"));
        let access = text(trigger, "/authenticationRef/name");
        let there = of_kind(objects, "TriggerAuthentication").find(|one| name(one) == access);
        report.expect(
            there.is_some(),
            "scaler-access",
            format!("{who}: no `{access}`"),
        );
        for parameter in ["host", "username", "password", "ca"] {
            let given = there
                .into_iter()
                .flat_map(|one| items(one, "/spec/secretTargetRef"))
                .any(|one| text(one, "/parameter") == parameter);
            report.expect(
                given,
                "scaler-access",
                format!("{access} gives no {parameter}"),
            );
        }
    }
}
