//! The Kubernetes objects: right as they are, and every seeded production fault is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use quittance_common::settings::{Engine, Settings};
use quittance_tests::manifests::{check, kind, kustomize, name};
use serde_json::Value;

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

/// The production overlay with components that it leaves out.
fn with_components(components: &[&str]) -> anyhow::Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let from = root().join("deploy/kubernetes").canonicalize()?;
    let paths: Vec<String> = components
        .iter()
        .map(|one| format!("  - {}\n", from.join("components").join(one).display()))
        .collect();
    let overlay = from.join("overlays/production");
    let text = format!(
        "kind: Kustomization\nnamespace: quittance\nresources:\n  - {}\ncomponents:\n{}",
        overlay.display(),
        paths.concat()
    );
    fs::write(folder.path().join("kustomization.yaml"), text)?;
    kustomize::render(folder.path())
}

#[test]
fn nothing_is_wrong_with_the_components_that_an_overlay_may_add() -> anyhow::Result<()> {
    let mut objects = with_components(&["orders", "priority"])?;
    let told: Vec<String> = check(&objects).iter().map(ToString::to_string).collect();
    ensure!(told.is_empty(), "{}", told.join("\n"));
    let class = "/spec/template/spec/priorityClassName";
    let classes = objects.iter().filter(|one| one.pointer(class).is_some());
    ensure!(classes.count() == 3, "a Deployment without its class");
    ensure!(
        text(&objects, "PriorityClass/quittance", "/metadata/namespace").is_none(),
        "a PriorityClass is in no namespace"
    );
    for (rule, whose, pointer, value) in [
        ("priority", "Deployment/quittance-ingest", class, "urgent"),
        (
            "service",
            "Service/quittance-orders",
            "/spec/ports/0/targetPort",
            "orders",
        ),
        (
            "secret",
            "Deployment/quittance-ingest",
            "POD/volumes/1/secret/items/5/path",
            "token",
        ),
        (
            "signatures",
            "Deployment/quittance-verifier",
            "CONTAINER/env/6/name",
            "QUITTANCE_PDT__COOKIE_SECRET_FILE",
        ),
        (
            "settings",
            "Deployment/quittance-ingest",
            "CONTAINER/env/9/name",
            "QUITTANCE_ORDERS__CANCEL_URL",
        ),
    ] {
        let before = objects.clone();
        seed(&mut objects, whose, pointer, &Value::from(value))?;
        let findings = check(&objects);
        ensure!(
            findings.iter().any(|one| one.rule == rule),
            "{whose}: {findings:?}"
        );
        objects = before;
    }
    Ok(())
}

/// The text at a pointer of the object whose `kind/name` begins so.
fn text<'a>(objects: &'a [Value], whose: &str, pointer: &str) -> Option<&'a str> {
    objects
        .iter()
        .find(|one| format!("{}/{}", kind(one), name(one)).starts_with(whose))?
        .pointer(pointer)?
        .as_str()
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
            let what = kustomize::difference(golden, ours).unwrap_or_default();
            ensure!(
                what.is_empty(),
                "{called}: {} {} differs; after a change of deploy/kubernetes write the golden \
                 file anew: kubectl kustomize deploy/kubernetes/overlays/{called}\n{what}",
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

/// Seeded one at a time; see the file's head.
const FAULTS: &str = include_str!("manifests/faults.txt");

fn faults() -> anyhow::Result<Vec<Fault>> {
    FAULTS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().context("four words");
            let (rule, whose, pointer) = (word()?, word()?, word()?);
            Ok((rule, whose, pointer, serde_json::from_str(word()?)?))
        })
        .collect()
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
fn the_compose_files_settings_are_valid_and_leave_time_to_stop() -> anyhow::Result<()> {
    let compose = kustomize::documents(&root().join("deploy/compose.yaml"))?;
    let compose = compose.first().context("an empty compose file")?;
    for stage in ["ingest", "verifier", "fulfiller"] {
        let service = &compose["services"][stage];
        let environment: BTreeMap<String, String> = service["environment"]
            .as_object()
            .with_context(|| format!("{stage} has no environment"))?
            .iter()
            .filter(|(name, _)| *name != "QUITTANCE_CONFIG")
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        let file = root().join("deploy/quittance.compose.toml");
        let settings = Settings::load(Some(&file), &environment)?;
        ensure!(
            matches!(settings.engine, Engine::Cluster(_)),
            "{stage}: not the cluster"
        );
        let needed = settings.shutdown_grace.as_secs() + 10;
        let given = service["stop_grace_period"].as_str().unwrap_or_default();
        let given: u64 = given.trim_end_matches('s').parse()?;
        ensure!(
            given >= needed,
            "{stage}: {given} s and not {needed} s to stop"
        );
    }
    Ok(())
}

#[test]
fn every_seeded_fault_is_found_by_its_rule() -> anyhow::Result<()> {
    let good = overlay("production")?;
    let faults = faults()?;
    ensure!(faults.len() >= 120, "only {} faults", faults.len());
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
        ("config-map", "ConfigMap/quittance-settings"),
        ("scaler-access", "ConfigMap/quittance-keda"),
        ("service-account", "ServiceAccount/quittance"),
        ("budget", "PodDisruptionBudget/quittance-fulfiller"),
        ("replicas", "ScaledObject/quittance-verifier"),
        ("scaler-access", "TriggerAuthentication/quittance-keda"),
        ("flow", "NetworkPolicy/quittance-common"),
        ("topology", "Job/quittance-topology"),
        ("flow", "NetworkPolicy/quittance-topology"),
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
