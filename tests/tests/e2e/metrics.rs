//! Alerts and dashboards: they can be read, are tested each way, and lead to the runbook.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use quittance_tests::manifests::kustomize;
use serde_json::Value;

/// The units of Grafana that the dashboards use.
const UNITS: [&str; 6] = ["short", "ops", "s", "percentunit", "bool", "bytes"];

/// Days are evaluated in larger steps than minutes.
const TESTS: [&str; 2] = ["rules_test.yaml", "rules_days_test.yaml"];

#[test]
fn promtool_finds_nothing_wrong_with_the_rules_and_their_tests_pass() -> anyhow::Result<()> {
    let folder = root().join("deploy/prometheus");
    let check = ["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"];
    promtool(&check, &folder, "")?;
    let [quick, _] = TESTS;
    promtool(&["test", "rules", quick], &folder, "")
}

#[test]
fn the_tests_of_the_rules_that_look_back_for_days_pass() -> anyhow::Result<()> {
    let [_, days] = TESTS;
    let folder = root().join("deploy/prometheus");
    promtool(&["test", "rules", days], &folder, "")
}

#[test]
fn every_alert_has_a_section_in_the_runbook_and_a_test_each_way() -> anyhow::Result<()> {
    let runbook = fs::read_to_string(root().join("docs/runbook.md"))?;
    let mut cases = Vec::new();
    for file in TESTS {
        let tests = document(&format!("deploy/prometheus/{file}"))?;
        cases.extend(tests["tests"].as_array().context("tests")?.clone());
    }
    let mut sections: BTreeSet<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    for rule in rules()? {
        let Some(alert) = rule["alert"].as_str() else {
            continue;
        };
        let anchor = alert.to_lowercase();
        let link = format!("{{{{ $externalLabels.runbooks }}}}docs/runbook.md#{anchor}");
        ensure!(
            rule["annotations"]["runbook_url"] == link.as_str(),
            "{alert}: not {link}"
        );
        ensure!(
            sections.remove(alert),
            "{alert} has no section in docs/runbook.md"
        );
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        ensure!(
            ["page", "ticket"].contains(&severity),
            "{alert}: severity {severity}"
        );
        for fires in [true, false] {
            let tested = cases
                .iter()
                .filter_map(|case| case["alert_rule_test"].as_array())
                .flatten()
                .any(|case| {
                    let expected = case["exp_alerts"].as_array().map_or(0, Vec::len);
                    case["alertname"] == alert && (expected > 0) == fires
                });
            ensure!(tested, "{alert} has no test in which it fires = {fires}");
        }
    }
    ensure!(
        sections.is_empty(),
        "sections without an alert: {sections:?}"
    );
    Ok(())
}

#[test]
fn dashboards_are_whole_and_there_is_one_for_the_flow_and_each_stage() -> anyhow::Result<()> {
    let mut found = BTreeSet::new();
    for (file, dashboard) in dashboards()? {
        ensure!(
            dashboard["schemaVersion"].is_number(),
            "{file}: no schemaVersion"
        );
        found.insert(dashboard["uid"].as_str().context("a uid")?.to_owned());
        let panels = dashboard["panels"].as_array().context("panels")?;
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].to_string()).collect();
        ensure!(ids.len() == panels.len(), "{file}: two panels have one id");
        for panel in panels {
            let title = panel["title"].as_str().unwrap_or_default();
            ensure!(!title.is_empty(), "{file}: a panel without a title");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
            ensure!(
                unit.is_some_and(|unit| UNITS.contains(&unit)),
                "{file}: {title} has the unit {unit:?}"
            );
            let targets = panel["targets"].as_array().context("targets")?;
            ensure!(!targets.is_empty(), "{file}: {title} asks nothing");
            let refs: BTreeSet<_> = targets.iter().map(|one| one["refId"].as_str()).collect();
            ensure!(
                refs.len() == targets.len() && !refs.contains(&None),
                "{file}: {title} has two queries of one name"
            );
            for place in targets.iter().chain([panel]) {
                let source = &place["datasource"];
                ensure!(
                    source["uid"] == "${datasource}" && source["type"] == "prometheus",
                    "{file}: {title} asks {source}"
                );
            }
        }
        whole_grid(&file, panels)?;
        let variable = &dashboard["templating"]["list"][0];
        ensure!(
            variable["name"] == "datasource" && variable["query"] == "prometheus",
            "{file}: the data source cannot be chosen"
        );
    }
    let wanted = ["flow", "ingest", "verifier", "fulfiller"].map(|one| format!("quittance-{one}"));
    ensure!(
        wanted.iter().all(|one| found.contains(one)),
        "only {found:?}"
    );
    Ok(())
}

/// No panel leaves the 24 columns or lies on another.
fn whole_grid(file: &str, panels: &[Value]) -> anyhow::Result<()> {
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |side: &str| panel["gridPos"][side].as_u64().context("a place");
        let (x, y, width, height) = (at("x")?, at("y")?, at("w")?, at("h")?);
        ensure!(
            width > 0 && height > 0 && x + width <= 24,
            "{file}: {} leaves the grid",
            panel["title"]
        );
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            ensure!(
                taken.insert(cell),
                "{file}: {} lies on another",
                panel["title"]
            );
        }
    }
    Ok(())
}

/// Prometheus 3 writes the bounds of buckets as floating-point numbers, `60.0`, and earlier ones as they
/// are exported, `60`: a matcher must take both.
#[test]
fn no_query_asks_for_a_bucket_in_the_words_of_one_version_of_prometheus() -> anyhow::Result<()> {
    for (place, expression) in asked_for()? {
        let mut rest = expression.as_str();
        while let Some((_, after)) = rest.split_once("le=") {
            rest = after;
            let bound = after.split('"').nth(1).unwrap_or_default();
            ensure!(
                after.starts_with('~') && bound.ends_with("([.]0)?"),
                "{place}: le={after}: write le=~\"60([.]0)?\""
            );
        }
    }
    Ok(())
}

#[test]
fn the_copies_of_the_rules_are_what_the_script_writes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let script = root().join("deploy/prometheus/copy_rules.sh");
    let output = Command::new("bash")
        .arg(&script)
        .arg(folder.path())
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for copy in [
        "kubernetes/components/prometheus-operator/prometheus-rule.yaml",
        "helm/quittance/templates/prometheus-rule.yaml",
    ] {
        let (written, kept) = (folder.path().join(copy), root().join("deploy").join(copy));
        ensure!(
            fs::read_to_string(written)? == fs::read_to_string(kept)?,
            "{copy} is not deploy/prometheus/rules.yaml: run deploy/prometheus/copy_rules.sh"
        );
    }
    Ok(())
}

#[test]
fn every_query_of_a_dashboard_can_be_read() -> anyhow::Result<()> {
    let mut file = String::from("groups:\n  - name: dashboards\n    rules:\n");
    for (place, expression) in asked_for()? {
        // JSON's strings are YAML's too. The number keeps two equal queries apart.
        let expression = Value::from(expression);
        let number = file.len();
        writeln!(
            file,
            "      # {place}\n      - record: query:{number}\n        expr: {expression}"
        )?;
    }
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("queries.yaml"), file)?;
    promtool(&["check", "rules", "queries.yaml"], folder.path(), "")
}

#[test]
fn the_example_configuration_scrapes_the_jobs_that_the_alerts_name() -> anyhow::Result<()> {
    promtool(
        &["check", "config", "prometheus.yaml"],
        &root().join("deploy/prometheus"),
        "",
    )?;
    let file = document("deploy/prometheus/prometheus.yaml")?;
    let jobs: BTreeSet<&str> = file["scrape_configs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|job| job["job_name"].as_str())
        .collect();
    for (place, expression) in asked_for()? {
        let mut rest = expression.as_str();
        while let Some((_, after)) = rest.split_once("job=\"") {
            let (job, after) = after.split_once('"').context("a closing quote")?;
            ensure!(jobs.contains(job), "{place}: nobody scrapes the job {job}");
            rest = after;
        }
    }
    Ok(())
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn document(path: &str) -> anyhow::Result<Value> {
    kustomize::documents(&root().join(path))?
        .pop()
        .with_context(|| format!("{path} is empty"))
}

fn rules() -> anyhow::Result<Vec<Value>> {
    let file = document("deploy/prometheus/rules.yaml")?;
    let groups = file["groups"].as_array().context("groups")?;
    Ok(groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
        .cloned()
        .collect())
}

fn dashboards() -> anyhow::Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("deploy/grafana/dashboards"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        all.push((path.display().to_string(), serde_json::from_str(&text)?));
    }
    Ok(all)
}

/// The expression of every rule.
pub(crate) fn expressions_of_rules() -> anyhow::Result<Vec<String>> {
    rules()?
        .iter()
        .map(|rule| Ok(rule["expr"].as_str().context("an expr")?.to_owned()))
        .collect()
}

/// The queries of every panel.
pub(crate) fn panels() -> anyhow::Result<Vec<String>> {
    Ok(queries()?.into_iter().map(|(_, query)| query).collect())
}

/// The queries of the dashboards, with the file.
fn queries() -> anyhow::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for (file, dashboard) in dashboards()? {
        for panel in dashboard["panels"].as_array().into_iter().flatten() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = target["expr"].as_str().context("an expr")?;
                all.push((file.clone(), query.to_owned()));
            }
        }
    }
    Ok(all)
}

/// Every expression of rules and dashboards, with where it stands.
pub(crate) fn asked_for() -> anyhow::Result<Vec<(String, String)>> {
    let rules = expressions_of_rules()?.into_iter();
    let rules = rules.map(|expression| ("rules.yaml".to_owned(), expression));
    Ok(rules.chain(queries()?).collect())
}

/// The names of our metrics, and of the process's own, in a text. Names of recorded series have
/// colons and labels are no metrics.
pub(crate) fn names_in(text: &str) -> BTreeSet<String> {
    text.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_' || sign == ':'))
        .filter(|word| word.starts_with("quittance_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

pub(crate) fn promtool(arguments: &[&str], folder: &Path, input: &str) -> anyhow::Result<()> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool (Debian: the package prometheus) cannot be started")?;
    child
        .stdin
        .take()
        .context("its input")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
