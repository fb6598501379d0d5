//! One Deployment: probes, grace, security, resources, settings, secrets, volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use quittance_common::settings::Settings;
use serde_json::{Value, json};

use super::mounts::{self, variables};
use super::{Report, exists, items, kind, name, number, of_kind, port_named, selects, text};

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";
/// Where the settings are mounted.
const SETTINGS: &str = "/etc/quittance/quittance.toml";
/// A process ends at most this long after its grace; the same again is margin.
const CLOSING: i64 = 5;
/// What a liveness probe must tolerate: a restart mends no server.
const LIVENESS_BUDGET: i64 = 30;
/// Endpoints are taken away in parallel to the stop; ingest must outwait that.
const ENDPOINTS: i64 = 3;

pub(super) fn check(deployment: &Value, objects: &[Value], report: &mut Report) {
    let who = name(deployment);
    report.expect(
        selects(deployment.pointer("/spec/selector/matchLabels"), deployment),
        "selector",
        format!("{who} does not select its own pods"),
    );
    probes(deployment, report);
    fixed_values(deployment, report);
    command(deployment, report);
    resources(deployment, report);
    image(deployment, objects, report);
    for spread in items(deployment, "/spec/template/spec/topologySpreadConstraints") {
        let labels = spread.pointer("/labelSelector/matchLabels");
        report.expect(selects(labels, deployment), "spread", who);
    }
    let keys: Vec<&str> = items(deployment, "/spec/template/spec/topologySpreadConstraints")
        .map(|spread| text(spread, "/topologyKey"))
        .collect();
    for key in ["topology.kubernetes.io/zone", "kubernetes.io/hostname"] {
        report.expect(
            keys.contains(&key),
            "spread",
            format!("{who}: not over {key}"),
        );
    }
    let account = text(deployment, "/spec/template/spec/serviceAccountName");
    report.expect(
        exists(objects, "ServiceAccount", account),
        "service-account",
        format!("{who}: there is no `{account}`"),
    );
    let class = text(deployment, "/spec/template/spec/priorityClassName");
    report.expect(
        class.is_empty() || exists(objects, "PriorityClass", class),
        "priority",
        format!("{who}: there is no `{class}`"),
    );
    mounts::check(deployment, objects, report);
    match settings(deployment, objects) {
        Ok(settings) => against_settings(deployment, &settings, report),
        Err(error) => report.expect(false, "settings", format!("{who}: {error}")),
    }
}

/// A Job that is done again after a failure, and gone some time after its end.
pub(super) fn check_job(job: &Value, objects: &[Value], report: &mut Report) {
    let who = name(job);
    let again = text(job, &format!("{POD}/restartPolicy")) == "OnFailure"
        && number(job, "/spec/backoffLimit").is_some_and(|times| times >= 6);
    report.expect(again, "job", format!("{who} is given up too soon"));
    let gone = number(job, "/spec/ttlSecondsAfterFinished").is_some();
    report.expect(gone, "job", format!("{who} is in the way of the next"));
    let right = job.pointer(&format!("{CONTAINER}/args"))
        == Some(&json!(["topology", "apply", "--config", SETTINGS]));
    report.expect(right, "job", format!("{who} does something else"));
    fixed_values(job, report);
    command(job, report);
    resources(job, report);
    image(job, objects, report);
    let account = text(job, &format!("{POD}/serviceAccountName"));
    report.expect(
        exists(objects, "ServiceAccount", account),
        "service-account",
        format!("{who}: there is no `{account}`"),
    );
    mounts::check(job, objects, report);
    if let Err(error) = settings(job, objects) {
        report.expect(false, "settings", format!("{who}: {error}"));
    }
}

fn probes(deployment: &Value, report: &mut Report) {
    let who = name(deployment);
    for (probe, path) in [
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ] {
        let at = format!("{CONTAINER}/{probe}/httpGet");
        let asked = text(deployment, &format!("{at}/path"));
        report.expect(
            asked == path,
            "probe",
            format!("{who}: {probe} asks `{asked}`"),
        );
        let port = text(deployment, &format!("{at}/port"));
        report.expect(
            port == "admin" && port_named(deployment, port).is_some(),
            "probe",
            format!("{who}: {probe} asks port `{port}`"),
        );
    }
    let times = |field| number(deployment, &format!("{CONTAINER}/livenessProbe/{field}"));
    let budget = times("periodSeconds").unwrap_or(10) * times("failureThreshold").unwrap_or(3);
    report.expect(
        budget >= LIVENESS_BUDGET,
        "liveness-budget",
        format!("{who} is killed after {budget} s"),
    );
}

/// Values that have one right answer.
fn fixed_values(deployment: &Value, report: &mut Report) {
    let right: [(&str, String, Value); 14] = [
        (
            "rollout",
            "/spec/strategy/type".into(),
            json!("RollingUpdate"),
        ),
        (
            "rollout",
            "/spec/strategy/rollingUpdate/maxUnavailable".into(),
            json!(0),
        ),
        (
            "rollout",
            "/spec/strategy/rollingUpdate/maxSurge".into(),
            json!(1),
        ),
        (
            "token",
            format!("{POD}/automountServiceAccountToken"),
            json!(false),
        ),
        ("links", format!("{POD}/enableServiceLinks"), json!(false)),
        (
            "security",
            format!("{POD}/securityContext/runAsNonRoot"),
            json!(true),
        ),
        (
            "security",
            format!("{POD}/securityContext/seccompProfile/type"),
            json!("RuntimeDefault"),
        ),
        (
            "security",
            format!("{CONTAINER}/securityContext/allowPrivilegeEscalation"),
            json!(false),
        ),
        (
            "security",
            format!("{CONTAINER}/securityContext/readOnlyRootFilesystem"),
            json!(true),
        ),
        (
            "security",
            format!("{CONTAINER}/securityContext/capabilities/drop"),
            json!(["ALL"]),
        ),
        (
            "security",
            format!("{CONTAINER}/securityContext/privileged"),
            Value::Null,
        ),
        (
            "security",
            format!("{CONTAINER}/securityContext/capabilities/add"),
            Value::Null,
        ),
        ("security", format!("{POD}/hostNetwork"), Value::Null),
        (
            "part-of",
            "/spec/template/metadata/labels/app.kubernetes.io~1part-of".into(),
            json!("quittance"),
        ),
    ];
    let job = kind(deployment) == "Job";
    for (rule, pointer, right) in right {
        if job && rule == "rollout" {
            continue;
        }
        let found = deployment.pointer(&pointer).unwrap_or(&Value::Null);
        let what = format!("{} has {found} at {pointer}, not {right}", name(deployment));
        report.expect(*found == right, rule, what);
    }
    // The last is the group that mounted secrets are readable for.
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        let found = number(deployment, &format!("{POD}/securityContext/{id}"));
        let what = format!("{}: {id} is {found:?}", name(deployment));
        report.expect(found == Some(65532), "security", what);
    }
}

fn command(deployment: &Value, report: &mut Report) {
    let stage = name(deployment).trim_start_matches("quittance-");
    // The Job is a command of the tool.
    let program = if stage == "topology" {
        "quittance"
    } else {
        stage
    };
    let command = json!([format!("/usr/local/bin/{program}")]);
    let found = deployment.pointer(&format!("{CONTAINER}/command"));
    report.expect(
        found == Some(&command),
        "command",
        format!("{stage} runs {found:?}"),
    );
}

fn resources(deployment: &Value, report: &mut Report) {
    let who = name(deployment);
    for set in ["requests/cpu", "requests/memory", "limits/memory"] {
        let there = !text(deployment, &format!("{CONTAINER}/resources/{set}")).is_empty();
        report.expect(there, "resources", format!("{who}: no {set}"));
    }
    let throttled = deployment.pointer(&format!("{CONTAINER}/resources/limits/cpu"));
    report.expect(
        throttled.is_none(),
        "resources",
        format!("{who} has a limit of cpu"),
    );
}

/// By digest where it counts; a tag for trying, but never the one that means anything.
fn image(deployment: &Value, objects: &[Value], report: &mut Report) {
    let image = text(deployment, &format!("{CONTAINER}/image"));
    let last = image.rsplit('/').next().unwrap_or_default();
    let trying = of_kind(objects, "Namespace").any(|one| name(one).ends_with("-local"));
    let pinned = match last.split_once("@sha256:") {
        Some((_, digest)) => digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
        None => trying && last.split_once(':').is_some_and(|(_, tag)| tag != "latest"),
    };
    report.expect(
        pinned,
        "image",
        format!("{} runs `{image}`", name(deployment)),
    );
}

/// What a secret may look like.
fn stand_in(variable: &str) -> &'static str {
    match variable {
        "QUITTANCE_CLUSTER__AMQP_URL" => "amqps://user:password@rabbitmq:5671/%2f",
        "QUITTANCE_CLUSTER__REDIS_URL" => "rediss://redis:6379",
        "QUITTANCE_CLUSTER__MANAGEMENT_URL" => "https://user:password@rabbitmq:15671",
        "QUITTANCE_SHOP_DATABASE" => "postgres://quittance@postgresql/shop",
        "QUITTANCE_NOTIFY__SMTP_URL" => "smtps://mail.example",
        _ => "0123456789abcdef0123456789abcdef",
    }
}

/// The settings as the process would read them, with stand-ins for the secrets that it has, and for
/// no others.
pub(super) fn settings(deployment: &Value, objects: &[Value]) -> anyhow::Result<Settings> {
    let mut environment = BTreeMap::new();
    let mut file = SETTINGS;
    for (variable, value) in variables(deployment) {
        if variable == "QUITTANCE_CONFIG" {
            file = value;
        } else if let Some(secret) = variable.strip_suffix("_FILE") {
            environment.insert(secret.to_owned(), stand_in(secret).to_owned());
        } else {
            environment.insert(variable.to_owned(), value.to_owned());
        }
    }
    let text = mounted_file(deployment, objects, file)
        .ok_or_else(|| anyhow::anyhow!("QUITTANCE_CONFIG names `{file}`, which is not mounted"))?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("quittance.toml");
    std::fs::write(&file, text)?;
    Settings::load(Some(&file), &environment).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

/// The text of a file that is mounted from a `ConfigMap`.
fn mounted_file<'a>(deployment: &Value, objects: &'a [Value], file: &str) -> Option<&'a str> {
    let (folder, file) = file.rsplit_once('/')?;
    let mount = items(deployment, "/spec/template/spec/containers/0/volumeMounts")
        .find(|mount| text(mount, "/mountPath") == folder)?;
    let volume = items(deployment, "/spec/template/spec/volumes")
        .find(|volume| text(volume, "/name") == text(mount, "/name"))?;
    let map = text(volume, "/configMap/name");
    let map = of_kind(objects, "ConfigMap").find(|one| name(one) == map)?;
    map.get("data")?.get(file)?.as_str()
}

fn against_settings(deployment: &Value, settings: &Settings, report: &mut Report) {
    let who = name(deployment);
    let pre_stop = number(
        deployment,
        &format!("{CONTAINER}/lifecycle/preStop/sleep/seconds"),
    );
    let pre_stop = pre_stop.unwrap_or(0);
    report.expect(
        who != "quittance-ingest" || pre_stop >= ENDPOINTS,
        "pre-stop",
        format!("{who} waits {pre_stop} s for the endpoints"),
    );
    let grace = seconds(settings.shutdown_grace);
    let needed = pre_stop + grace + 2 * CLOSING;
    let given = number(deployment, &format!("{POD}/terminationGracePeriodSeconds")).unwrap_or(30);
    report.expect(
        given >= needed,
        "grace",
        format!("{who} has {given} s and needs {needed} s"),
    );
    let engine = matches!(
        settings.engine,
        quittance_common::settings::Engine::Cluster(_)
    );
    report.expect(
        engine,
        "settings",
        format!("{who} runs the embedded engine"),
    );
    if who == "quittance-fulfiller"
        && let Err(error) = outlets(settings)
    {
        report.expect(false, "settings", format!("{who}: {error}"));
    }
    let mut listeners = vec![("admin", settings.admin.listen)];
    if who == "quittance-ingest" {
        listeners.push(("http", settings.ingest.listen));
    }
    for (port, listen) in listeners {
        let given = port_named(deployment, port).and_then(|port| number(port, "/containerPort"));
        report.expect(
            given == Some(i64::from(listen.port())),
            "port",
            format!("{who}: `{port}` is {given:?}, and the process listens on {listen}"),
        );
        report.expect(
            listen.ip().is_unspecified(),
            "listen",
            format!("{who}: nobody reaches {listen} from outside"),
        );
    }
}

/// Makes what the fulfiller makes of its settings when it starts.
fn outlets(settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _inside = runtime.enter();
    quittance_fulfiller::notify::Outlets::of(settings)?;
    Ok(())
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
