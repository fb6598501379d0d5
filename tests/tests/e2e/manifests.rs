//! The Kubernetes objects: right as they are, and every seeded production fault is found.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use quittance_tests::manifests::{check, kind, kustomize, name};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn overlay(called: &str) -> anyhow::Result<Vec<Value>> {
    kustomize::render(&root().join("deploy/kubernetes/overlays").join(called))
}

#[test]
fn nothing_is_wrong_with_either_overlay() -> anyhow::Result<()> {
    for called in ["local", "production"] {
        let findings = check(&overlay(called)?);
        let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
        ensure!(told.is_empty(), "{called}:\n{}", told.join("\n"));
    }
    Ok(())
}

#[test]
fn the_checks_render_what_kubectl_renders() -> anyhow::Result<()> {
    for called in ["local", "production"] {
        let golden = format!("tests/golden/kubernetes-{called}.yaml");
        let mut golden = kustomize::documents(&root().join(golden))?;
        let mut ours = overlay(called)?;
        for objects in [&mut golden, &mut ours] {
            objects.sort_by_key(|one| (kind(one).to_owned(), name(one).to_owned()));
        }
        ensure!(
            golden.len() == ours.len(),
            "{called}: another number of objects"
        );
        for (golden, ours) in golden.iter().zip(&ours) {
            ensure!(
                golden == ours,
                "{called}: {} {} differs; after a change of deploy/kubernetes write the golden \
                 file anew: kubectl kustomize deploy/kubernetes/overlays/{called}\n{golden}\n{ours}",
                kind(ours),
                name(ours)
            );
        }
    }
    Ok(())
}

#[test]
fn the_operators_rules_are_the_rules_of_the_file() -> anyhow::Result<()> {
    let rules = kustomize::documents(&root().join("deploy/prometheus/rules.yaml"))?;
    let objects = overlay("production")?;
    let object = objects
        .iter()
        .find(|one| kind(one) == "PrometheusRule")
        .context("no PrometheusRule")?;
    ensure!(
        object.get("spec") == rules.first(),
        "components/prometheus-operator/prometheus-rule.yaml is not deploy/prometheus/rules.yaml"
    );
    Ok(())
}

/// The rule that must find it, the object, the place, and what stands there instead.
type Fault = (&'static str, &'static str, &'static str, Value);

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

fn faults() -> Vec<Fault> {
    let mut all = faults_of_pods();
    all.extend(faults_of_containers());
    all.extend(faults_around());
    all
}

fn faults_of_pods() -> Vec<Fault> {
    let ingest = "Deployment/quittance-ingest";
    let verifier = "Deployment/quittance-verifier";
    vec![
        (
            "selector",
            ingest,
            "/spec/selector/matchLabels/app.kubernetes.io~1name",
            json!("ingest"),
        ),
        ("rollout", ingest, "/spec/strategy/type", json!("Recreate")),
        (
            "rollout",
            verifier,
            "/spec/strategy/rollingUpdate/maxUnavailable",
            json!(1),
        ),
        ("replicas", ingest, "/spec/replicas", json!(3)),
        (
            "part-of",
            verifier,
            "/spec/template/metadata/labels/app.kubernetes.io~1part-of",
            Value::Null,
        ),
        (
            "service-account",
            ingest,
            "POD/serviceAccountName",
            json!("default"),
        ),
        (
            "token",
            ingest,
            "POD/automountServiceAccountToken",
            json!(true),
        ),
        (
            "grace",
            ingest,
            "POD/terminationGracePeriodSeconds",
            json!(30),
        ),
        (
            "grace",
            verifier,
            "POD/terminationGracePeriodSeconds",
            Value::Null,
        ),
        (
            "security",
            ingest,
            "POD/securityContext/runAsNonRoot",
            json!(false),
        ),
        (
            "security",
            ingest,
            "POD/securityContext/runAsUser",
            json!(0),
        ),
        (
            "security",
            ingest,
            "POD/securityContext/seccompProfile/type",
            json!("Unconfined"),
        ),
        ("security", verifier, "POD/hostNetwork", json!(true)),
        (
            "spread",
            ingest,
            "POD/topologySpreadConstraints/0/labelSelector/matchLabels/app.kubernetes.io~1name",
            json!("other"),
        ),
        (
            "spread",
            verifier,
            "POD/topologySpreadConstraints",
            json!([]),
        ),
        (
            "config-map",
            ingest,
            "POD/volumes/0/configMap/name",
            json!("quittance-settings"),
        ),
        (
            "secret",
            verifier,
            "POD/volumes/1/secret/secretName",
            json!("quittance-ingest"),
        ),
        (
            "secret",
            verifier,
            "POD/volumes/1/secret/defaultMode",
            json!(420),
        ),
        (
            "secret",
            verifier,
            "POD/volumes/1/secret/items/1/path",
            json!("redis"),
        ),
        (
            "volume",
            ingest,
            "POD/volumes/2/emptyDir/sizeLimit",
            Value::Null,
        ),
    ]
}

fn faults_of_containers() -> Vec<Fault> {
    let ingest = "Deployment/quittance-ingest";
    let verifier = "Deployment/quittance-verifier";
    vec![
        (
            "probe",
            ingest,
            "CONTAINER/livenessProbe/httpGet/path",
            json!("/readyz"),
        ),
        ("probe", verifier, "CONTAINER/readinessProbe", Value::Null),
        (
            "probe",
            verifier,
            "CONTAINER/startupProbe/httpGet/port",
            json!("http"),
        ),
        (
            "liveness-budget",
            ingest,
            "CONTAINER/livenessProbe/failureThreshold",
            json!(1),
        ),
        ("pre-stop", ingest, "CONTAINER/lifecycle", Value::Null),
        (
            "security",
            ingest,
            "CONTAINER/securityContext/readOnlyRootFilesystem",
            json!(false),
        ),
        (
            "security",
            ingest,
            "CONTAINER/securityContext/privileged",
            json!(true),
        ),
        (
            "security",
            ingest,
            "CONTAINER/securityContext/capabilities/add",
            json!(["NET_ADMIN"]),
        ),
        (
            "resources",
            ingest,
            "CONTAINER/resources/limits/memory",
            Value::Null,
        ),
        (
            "resources",
            verifier,
            "CONTAINER/resources/limits/cpu",
            json!("1"),
        ),
        (
            "image",
            ingest,
            "CONTAINER/image",
            json!("registry.example:5000/quittance"),
        ),
        (
            "image",
            ingest,
            "CONTAINER/image",
            json!("quittance:latest"),
        ),
        (
            "command",
            verifier,
            "CONTAINER/command/0",
            json!("/usr/local/bin/fulfiller"),
        ),
        (
            "port",
            ingest,
            "CONTAINER/ports/0/containerPort",
            json!(8081),
        ),
        (
            "port",
            verifier,
            "CONTAINER/ports/0/containerPort",
            json!(9091),
        ),
        (
            "variable",
            ingest,
            "CONTAINER/env/1/name",
            json!("QUITTANCE_CLUSTER__AMPQ_URL_FILE"),
        ),
        (
            "secret",
            ingest,
            "CONTAINER/env/1/name",
            json!("QUITTANCE_CLUSTER__AMQP_URL"),
        ),
        (
            "secret",
            ingest,
            "CONTAINER/env/1/value",
            json!("/run/secrets/amqp-url"),
        ),
        (
            "settings",
            ingest,
            "CONTAINER/env/0/value",
            json!("/etc/quittance/other.toml"),
        ),
        (
            "volume",
            ingest,
            "CONTAINER/volumeMounts/0/subPath",
            json!("quittance.toml"),
        ),
        (
            "volume",
            ingest,
            "CONTAINER/volumeMounts/2/name",
            json!("scratch"),
        ),
    ]
}

fn faults_around() -> Vec<Fault> {
    let settings = "ConfigMap/";
    let keda = "ScaledObject/quittance-verifier";
    vec![
        (
            "settings",
            settings,
            "/data/quittance.toml",
            json!("engine = \"cluster\"\n"),
        ),
        (
            "settings",
            settings,
            "/data/quittance.toml",
            json!("[ingest]\nlisten_on = \"0.0.0.0:8080\"\n[[account]]\nreceivers = [\"X\"]\n"),
        ),
        (
            "listen",
            settings,
            "/data/quittance.toml",
            json!(
                "engine = \"cluster\"\n[notify]\ndriver = \"smtp\"\n[[account]]\nreceivers = [\"X\"]\n"
            ),
        ),
        (
            "grace",
            settings,
            "/data/quittance.toml",
            json!(
                "engine = \"cluster\"\nshutdown_grace = \"60s\"\n[notify]\ndriver = \"smtp\"\n[[account]]\nreceivers = [\"X\"]\n"
            ),
        ),
        (
            "service",
            "Service/quittance-ingest",
            "/spec/selector/app.kubernetes.io~1name",
            json!("quittance"),
        ),
        (
            "service",
            "Service/quittance-ingest",
            "/spec/ports/0/targetPort",
            json!("web"),
        ),
        (
            "budget",
            "PodDisruptionBudget/quittance-ingest",
            "/spec/maxUnavailable",
            json!(0),
        ),
        (
            "budget",
            "PodDisruptionBudget/quittance-verifier",
            "/spec/selector/matchLabels/app.kubernetes.io~1name",
            json!("verifier"),
        ),
        (
            "bounds",
            "HorizontalPodAutoscaler/quittance-ingest",
            "/spec/maxReplicas",
            json!(2),
        ),
        (
            "scale-target",
            "HorizontalPodAutoscaler/quittance-ingest",
            "/spec/scaleTargetRef/name",
            json!("ingest"),
        ),
        (
            "one-scaler",
            "HorizontalPodAutoscaler/quittance-ingest",
            "/spec/scaleTargetRef/name",
            json!("quittance-verifier"),
        ),
        ("bounds", keda, "/spec/minReplicaCount", json!(0)),
        ("fallback", keda, "/spec/fallback", Value::Null),
        (
            "queue",
            keda,
            "/spec/triggers/0/metadata/queueName",
            json!("verify"),
        ),
        (
            "protocol",
            keda,
            "/spec/triggers/0/metadata/protocol",
            json!("amqp"),
        ),
        (
            "queue-length",
            keda,
            "/spec/triggers/0/metadata/value",
            json!("10"),
        ),
        (
            "scaler-access",
            keda,
            "/spec/triggers/0/authenticationRef/name",
            json!("keda"),
        ),
        (
            "monitor",
            "PodMonitor/quittance",
            "/spec/podMetricsEndpoints/0/port",
            json!("metrics"),
        ),
        (
            "monitor",
            "PodMonitor/quittance",
            "/spec/podMetricsEndpoints/0/relabelings",
            json!([]),
        ),
        (
            "policy",
            "NetworkPolicy/quittance-default-deny",
            "/spec/podSelector/matchLabels/app.kubernetes.io~1part-of",
            json!("pay"),
        ),
        (
            "flow",
            "NetworkPolicy/quittance-common",
            "/spec/egress/0/ports/0/protocol",
            json!("TCP"),
        ),
        (
            "flow",
            "NetworkPolicy/quittance-common",
            "/spec/egress/1/ports/0/port",
            json!(5672),
        ),
        (
            "flow",
            "NetworkPolicy/quittance-common",
            "/spec/ingress/0/ports/0/port",
            json!("metrics"),
        ),
        (
            "flow",
            "NetworkPolicy/quittance-verifier",
            "/spec/egress/2/ports/0/port",
            json!(80),
        ),
        (
            "wide",
            "NetworkPolicy/quittance-verifier",
            "/spec/egress/2/to/0/ipBlock/except",
            json!(["10.0.0.0/8"]),
        ),
        (
            "wide",
            "NetworkPolicy/quittance-ingest",
            "/spec/ingress/0/from",
            Value::Null,
        ),
        (
            "broker",
            "RabbitmqCluster/rabbitmq",
            "/spec/replicas",
            json!(2),
        ),
        (
            "broker",
            "RabbitmqCluster/rabbitmq",
            "/spec/tls/disableNonTLSListeners",
            json!(false),
        ),
        (
            "pod-security",
            "Namespace/quittance",
            "/metadata/labels/pod-security.kubernetes.io~1enforce",
            json!("baseline"),
        ),
        (
            "namespace",
            "Service/quittance-ingest",
            "/metadata/namespace",
            json!("default"),
        ),
    ]
}

/// Puts `value` at a JSON pointer of the object whose `kind/name` begins so; null takes away.
fn seed(objects: &mut [Value], whose: &str, pointer: &str, value: &Value) -> anyhow::Result<()> {
    let pointer = pointer
        .replacen("POD", POD, 1)
        .replacen("CONTAINER", CONTAINER, 1);
    let object = objects
        .iter_mut()
        .find(|one| format!("{}/{}", kind(one), name(one)).starts_with(whose))
        .with_context(|| format!("no {whose}"))?;
    if let Some(place) = object.pointer_mut(&pointer) {
        ensure!(place != value, "{whose} has that at {pointer} already");
        *place = value.clone();
        return Ok(());
    }
    let (parent, field) = pointer.rsplit_once('/').context("a pointer")?;
    object
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .with_context(|| format!("{whose} has nothing at {parent}"))?
        .insert(field.to_owned(), value.clone());
    Ok(())
}

#[test]
fn every_seeded_fault_is_found_by_its_rule() -> anyhow::Result<()> {
    let good = overlay("production")?;
    let faults = faults();
    ensure!(faults.len() >= 60, "only {} faults", faults.len());
    let mut missed = Vec::new();
    for (rule, whose, pointer, value) in &faults {
        let mut bad = good.clone();
        seed(&mut bad, whose, pointer, value)?;
        let findings = check(&bad);
        if !findings.iter().any(|one| one.rule == *rule) {
            missed.push(format!("{rule}: {whose} {pointer} = {value}: {findings:?}"));
        }
    }
    ensure!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
    Ok(())
}

#[test]
fn a_missing_object_is_found() -> anyhow::Result<()> {
    let good = overlay("production")?;
    for (rule, whose) in [
        ("stage", "Deployment/quittance-fulfiller"),
        ("config-map", "ConfigMap/"),
        ("service-account", "ServiceAccount/quittance"),
        ("budget", "PodDisruptionBudget/quittance-fulfiller"),
        ("replicas", "ScaledObject/quittance-verifier"),
        ("scaler-access", "TriggerAuthentication/quittance-keda"),
        ("flow", "NetworkPolicy/quittance-common"),
    ] {
        let bad: Vec<Value> = good
            .iter()
            .filter(|one| !format!("{}/{}", kind(one), name(one)).starts_with(whose))
            .cloned()
            .collect();
        ensure!(bad.len() + 1 == good.len(), "no {whose}");
        let findings = check(&bad);
        ensure!(
            findings.iter().any(|one| one.rule == rule),
            "{whose}: {findings:?}"
        );
    }
    Ok(())
}

#[test]
fn a_kustomization_field_that_is_not_known_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("kustomization.yaml"),
        "kind: Kustomization\nnamePrefix: a-\n",
    )?;
    let error = kustomize::render(folder.path())
        .err()
        .context("it was rendered")?;
    ensure!(format!("{error:#}").contains("namePrefix"), "{error:#}");
    Ok(())
}
