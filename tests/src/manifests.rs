//! What is wrong with the Kubernetes objects in `deploy/kubernetes`, across objects and against
//! the code: schemas catch a misspelt field, these checks catch a right field with a wrong value.

mod flows;
pub mod kustomize;
mod mounts;
mod scaling;
mod workload;

use std::fmt;

use serde_json::Value;

/// What orders are signed with, and their signatures checked.
const ORDERS_SECRET: &str = "QUITTANCE_ORDERS__SECRET_FILE";

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: &'static str,
    /// Where and how.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.rule, self.what)
    }
}

/// Collects findings.
#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    /// A finding unless `holds`.
    fn expect(&mut self, holds: bool, rule: &'static str, what: impl fmt::Display) {
        if !holds {
            let what = what.to_string();
            self.0.push(Finding { rule, what });
        }
    }
}

/// Everything that is wrong with these objects; empty is what they should be.
pub fn check(objects: &[Value]) -> Vec<Finding> {
    let mut report = Report::default();
    let deployments: Vec<&Value> = of_kind(objects, "Deployment").collect();
    for stage in ["ingest", "verifier", "fulfiller"] {
        let there = deployments
            .iter()
            .any(|one| name(one) == format!("quittance-{stage}"));
        report.expect(there, "stage", format!("no Deployment quittance-{stage}"));
    }
    for deployment in &deployments {
        workload::check(deployment, objects, &mut report);
        scaling::check_number(deployment, objects, &mut report);
    }
    let jobs: Vec<&Value> = of_kind(objects, "Job").collect();
    report.expect(
        jobs.iter().any(|one| name(one) == "quittance-topology"),
        "topology",
        "no Job quittance-topology: the broker gets no policies",
    );
    for job in jobs {
        workload::check_job(job, objects, &mut report);
    }
    let signing = |who: &str| {
        deployments
            .iter()
            .any(|one| name(one) == who && mounts::has_variable(one, ORDERS_SECRET))
    };
    report.expect(
        signing("quittance-ingest") == signing("quittance-verifier"),
        "signatures",
        "orders are signed by ingest and checked by the verifier, with one secret",
    );
    scaling::check(objects, &mut report);
    flows::check(objects, &mut report);
    check_namespace(objects, &mut report);
    report.0
}

fn check_namespace(objects: &[Value], report: &mut Report) {
    let mut namespaces = of_kind(objects, "Namespace");
    let namespace = namespaces.next().map(name).unwrap_or_default();
    for object in objects.iter().filter(|one| !is_of_the_cluster(one)) {
        report.expect(
            text(object, "/metadata/namespace") == namespace,
            "namespace",
            format!("{} is not in {namespace}", name(object)),
        );
    }
    for object in of_kind(objects, "Namespace") {
        let level = object.pointer("/metadata/labels/pod-security.kubernetes.io~1enforce");
        report.expect(
            level.and_then(Value::as_str) == Some("restricted"),
            "pod-security",
            "the namespace does not enforce `restricted`",
        );
    }
}

/// Whether an object belongs to the whole cluster and so to no namespace.
fn is_of_the_cluster(object: &Value) -> bool {
    matches!(kind(object), "Namespace" | "PriorityClass")
}

/// The kind of an object.
pub fn kind(object: &Value) -> &str {
    text(object, "/kind")
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// The text at a JSON pointer, or an empty one.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn of_kind<'a>(objects: &'a [Value], wanted: &'static str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |one| kind(one) == wanted)
}

/// Everything that makes pods.
fn workloads(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects
        .iter()
        .filter(|one| matches!(kind(one), "Deployment" | "Job"))
}

fn exists(objects: &[Value], wanted: &'static str, called: &str) -> bool {
    of_kind(objects, wanted).any(|one| name(one) == called)
}

/// Whether the labels of a workload's pods are what a selector (`matchLabels`) asks for. An
/// empty selector selects everything, which nobody means.
fn selects(selector: Option<&Value>, deployment: &Value) -> bool {
    let labels = deployment.pointer("/spec/template/metadata/labels");
    let wanted = selector.and_then(Value::as_object);
    wanted.is_some_and(|wanted| {
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    })
}

fn port_named<'a>(deployment: &'a Value, called: &str) -> Option<&'a Value> {
    items(deployment, "/spec/template/spec/containers/0/ports")
        .find(|port| text(port, "/name") == called)
}
