//! The compose file, the Dockerfile and the chart's image: pinned and locked up. Whether they are valid, and
//! the chart equal to Kustomize's objects, `tests/tools.py` asks the tools that know.

use std::fs;

use anyhow::{Context, ensure};
use quittance_tests::dockerfile;
use quittance_tests::manifests::{check, kind, kustomize};
use serde_json::Value;

use crate::metrics::{document, root};

#[test]
fn the_charts_own_image_is_named_by_its_digest() -> anyhow::Result<()> {
    let values = document("deploy/helm/quittance/values.yaml")?;
    let digest = values["image"]["digest"].as_str().context("a digest")?;
    let image = format!("quittance@{digest}");
    ensure!(dockerfile::is_pinned(&image), "{image} is not pinned");
    Ok(())
}

fn compose() -> anyhow::Result<Value> {
    document("deploy/compose.yaml")
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
        let ours = image == "quittance:dev";
        ensure!(
            ours || dockerfile::is_pinned(image),
            "{service} runs {image}"
        );
        for port in settings["ports"].as_array().into_iter().flatten() {
            let local = port
                .as_str()
                .is_some_and(|port| port.starts_with("127.0.0.1:"));
            ensure!(local, "{service} is open to everybody: {port}");
        }
        if ours {
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

/// `rust-toolchain.toml` names a channel: inside the image rustup would fetch that one, after the
/// layers that are kept, instead of using the compiler that is there.
#[test]
fn the_image_is_built_with_the_compiler_that_it_is_built_from() -> anyhow::Result<()> {
    let text = fs::read_to_string(root().join("deploy/Dockerfile"))?;
    let image = text
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST_IMAGE=rust:"))
        .context("the image of the compiler")?;
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml"))?.parse()?;
    let needed = manifest["workspace"]["package"]["rust-version"]
        .as_str()
        .context("a version")?;
    ensure!(
        image.starts_with(&format!("{needed}-")),
        "the image has {image}, and the code needs {needed}"
    );
    let ignored = fs::read_to_string(root().join("deploy/Dockerfile.dockerignore"))?;
    ensure!(
        ignored.lines().any(|line| line == "rust-toolchain.toml"),
        "the build would fetch another compiler"
    );
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
