//! The chart, the compose file and the Dockerfile: the same objects as Kustomize's, valid, pinned.

use std::fs;

use anyhow::{Context, ensure};
use quittance_tests::manifests::{chart, check, kind, kustomize, name};
use quittance_tests::{dockerfile, json_schema};
use serde_json::Value;

use crate::metrics::{document, root};

/// Brings an object of the chart and one of Kustomize to the same form: the namespace is Helm's
/// business, the settings' name has a hash in Kustomize, Helm rolls the pods by an annotation
/// instead, and an object's own labels are nothing that anybody selects by.
fn normal(object: &Value) -> Value {
    let text = object.to_string();
    let mut parts = text.split("quittance-settings-");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("quittance-settings");
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
    }
    let mut object: Value = serde_json::from_str(&plain).unwrap_or_default();
    for (place, fields) in [
        ("/metadata", &["namespace", "labels"][..]),
        ("/spec/template/metadata", &["annotations"][..]),
    ] {
        if let Some(Value::Object(table)) = object.pointer_mut(place) {
            table.retain(|field, _| !fields.contains(&field.as_str()));
        }
    }
    object
}

fn sorted(objects: &[Value]) -> Vec<Value> {
    let mut all: Vec<Value> = objects
        .iter()
        .filter(|one| kind(one) != "Namespace")
        .map(normal)
        .collect();
    all.sort_by_key(|one| (kind(one).to_owned(), name(one).to_owned()));
    all
}

#[test]
fn the_chart_renders_the_objects_of_the_production_overlay() -> anyhow::Result<()> {
    let ours = sorted(&chart::render(&root().join("deploy/helm/quittance"))?);
    let overlay = root().join("deploy/kubernetes/overlays/production");
    let theirs = sorted(&kustomize::render(&overlay)?);
    let names = |all: &[Value]| -> Vec<String> {
        let called = |one: &Value| format!("{} {}", kind(one), name(one));
        all.iter().map(called).collect()
    };
    ensure!(names(&ours) == names(&theirs), "other objects");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let difference = kustomize::difference(ours, theirs);
        let what = difference.unwrap_or_default();
        ensure!(what.is_empty(), "{} {}: {what}", kind(ours), name(ours));
    }
    Ok(())
}

#[test]
fn a_chart_with_another_value_is_told_apart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let chart_folder = root().join("deploy/helm/quittance");
    let templates = folder.path().join("templates");
    fs::create_dir(&templates)?;
    for entry in fs::read_dir(chart_folder.join("templates"))? {
        let path = entry?.path();
        fs::copy(&path, templates.join(path.file_name().context("a name")?))?;
    }
    let values = fs::read_to_string(chart_folder.join("values.yaml"))?;
    let values = values.replace(
        "terminationGracePeriodSeconds: 45",
        "terminationGracePeriodSeconds: 20",
    );
    fs::write(folder.path().join("values.yaml"), values)?;
    let overlay = root().join("deploy/kubernetes/overlays/production");
    let right = sorted(&kustomize::render(&overlay)?);
    let wrong = sorted(&chart::render(folder.path())?);
    let told: Vec<String> = right
        .iter()
        .zip(&wrong)
        .filter_map(|(right, wrong)| kustomize::difference(right, wrong))
        .collect();
    ensure!(told.len() == 3, "one for each Deployment: {told:?}");
    Ok(())
}

#[test]
fn the_charts_default_values_are_what_its_schema_allows() -> anyhow::Result<()> {
    let values = document("deploy/helm/quittance/values.yaml")?;
    let digest = values["image"]["digest"].as_str().context("a digest")?;
    let image = format!("quittance@{digest}");
    ensure!(dockerfile::is_pinned(&image), "{image} is not pinned");
    let schema = fs::read_to_string(root().join("deploy/helm/quittance/values.schema.json"))?;
    let schema: Value = serde_json::from_str(&schema)?;
    let known = schema["properties"].as_object().context("properties")?;
    let unknown: Vec<&String> = values
        .as_object()
        .context("a table")?
        .keys()
        .filter(|key| !known.contains_key(*key))
        .collect();
    ensure!(unknown.is_empty(), "the schema has no {unknown:?}");
    Ok(())
}

fn compose() -> anyhow::Result<Value> {
    document("deploy/compose.yaml")
}

fn compose_mistakes(compose: &Value) -> anyhow::Result<Vec<String>> {
    let schema = fs::read_to_string(root().join("tests/schemas/compose-spec.json"))?;
    json_schema::mistakes(&serde_json::from_str(&schema)?, compose)
}

#[test]
fn the_compose_file_is_valid_and_each_fault_in_it_is_found() -> anyhow::Result<()> {
    let good = compose()?;
    let found = compose_mistakes(&good)?;
    ensure!(found.is_empty(), "{}", found.join("\n"));
    for (pointer, bad) in [
        ("/services/ingest/restart", Value::from(3)),
        ("/services/ingest/ports", Value::from("8080:8080")),
        (
            "/services/redis/healthcheck/retries",
            serde_json::json!([12]),
        ),
        (
            "/services/ingest/depends_on/redis/condition",
            Value::from("service_well"),
        ),
        (
            "/services/ingest/cap_drop",
            serde_json::json!(["ALL", "ALL"]),
        ),
        ("/volumes", serde_json::json!(["redis"])),
    ] {
        let mut wrong = good.clone();
        *wrong
            .pointer_mut(pointer)
            .with_context(|| pointer.to_owned())? = bad;
        ensure!(!compose_mistakes(&wrong)?.is_empty(), "missed {pointer}");
    }
    let mut wrong = good;
    wrong["services"]["ingest"]["enviroment"] = Value::Null;
    ensure!(
        !compose_mistakes(&wrong)?.is_empty(),
        "missed a misspelt key"
    );
    Ok(())
}

#[test]
fn the_compose_file_has_every_service_pinned_and_ours_locked_up() -> anyhow::Result<()> {
    let compose = compose()?;
    let services = compose["services"].as_object().context("services")?;
    for needed in [
        "ingest",
        "verifier",
        "fulfiller",
        "topology",
        "sandbox",
        "rabbitmq",
        "redis",
        "postgres",
        "prometheus",
        "grafana",
    ] {
        ensure!(services.contains_key(needed), "no service {needed}");
    }
    for (service, settings) in services {
        let image = settings["image"].as_str().context("an image")?;
        ensure!(dockerfile::is_pinned(image), "{service} runs {image}");
        for port in settings["ports"].as_array().into_iter().flatten() {
            let local = port
                .as_str()
                .is_some_and(|port| port.starts_with("127.0.0.1:"));
            ensure!(local, "{service} is open to everybody: {port}");
        }
        if image.starts_with("quittance:") {
            ensure!(
                settings["read_only"] == true,
                "{service} may write its image"
            );
            ensure!(
                settings["cap_drop"][0] == "ALL",
                "{service} has capabilities"
            );
            let escalates = &settings["security_opt"][0];
            ensure!(
                escalates == "no-new-privileges:true",
                "{service}: {escalates}"
            );
        }
        for mount in settings["volumes"].as_array().into_iter().flatten() {
            let from = mount.as_str().and_then(|mount| mount.split(':').next());
            let from = from.context("a mount")?;
            let there = !from.starts_with('.') || root().join("deploy").join(from).exists();
            ensure!(there, "{service} mounts {from}, which is not there");
        }
    }
    Ok(())
}

#[test]
fn prometheus_and_grafana_find_what_is_mounted_for_them() -> anyhow::Result<()> {
    let compose = compose()?;
    let mounts = |service: &str| compose["services"][service]["volumes"].to_string();
    let provider = document("deploy/grafana/provisioning/dashboards/quittance.yaml")?;
    let path = provider["providers"][0]["options"]["path"]
        .as_str()
        .context("a path")?;
    ensure!(
        mounts("grafana").contains(&format!("./grafana/dashboards:{path}:ro")),
        "the dashboards are not where Grafana looks"
    );
    let source = document("deploy/grafana/provisioning/datasources/prometheus.yaml")?;
    ensure!(
        source["datasources"][0]["url"] == "http://prometheus:9090",
        "another server"
    );
    let command = compose["services"]["prometheus"]["command"].to_string();
    ensure!(
        command.contains("--config.file=/etc/prometheus/prometheus.yaml")
            && mounts("prometheus").contains("./prometheus:/etc/prometheus:ro"),
        "Prometheus reads another file"
    );
    let scraped = document("deploy/prometheus/prometheus.yaml")?;
    for job in scraped["scrape_configs"].as_array().context("jobs")? {
        let target = job["static_configs"][0]["targets"][0]
            .as_str()
            .context("a target")?;
        let host = target.trim_end_matches(":9090");
        ensure!(
            !compose["services"][host].is_null(),
            "nobody is called {host}"
        );
    }
    let runbooks = scraped["global"]["external_labels"]["runbooks"].as_str();
    ensure!(
        runbooks.is_some_and(|base| base.starts_with("https://") && base.ends_with('/')),
        "the alerts link to no runbook: {runbooks:?}"
    );
    Ok(())
}

#[test]
fn nothing_is_wrong_with_the_dockerfile() -> anyhow::Result<()> {
    let text = fs::read_to_string(root().join("deploy/Dockerfile"))?;
    let found = dockerfile::mistakes(&text);
    ensure!(found.is_empty(), "{}", found.join("\n"));
    for binary in ["ingest", "verifier", "fulfiller", "quittance"] {
        let path = format!("/src/target/release/{binary}");
        ensure!(text.contains(&path), "{binary} is not in the image");
    }
    Ok(())
}

#[test]
fn a_production_image_with_a_tag_alone_is_refused() -> anyhow::Result<()> {
    let mut objects = kustomize::render(&root().join("deploy/kubernetes/overlays/production"))?;
    let place = "/spec/template/spec/containers/0/image";
    for image in [
        "registry.example/quittance:0.1.0",
        "quittance:latest",
        "quittance@sha256:12",
    ] {
        for object in objects.iter_mut().filter(|one| kind(one) == "Deployment") {
            *object.pointer_mut(place).context("an image")? = Value::from(image);
        }
        let found = check(&objects);
        let told = found.iter().filter(|one| one.rule == "image").count();
        ensure!(told == 3, "{image}: {found:?}");
    }
    Ok(())
}
