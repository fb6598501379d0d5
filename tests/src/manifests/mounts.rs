//! What a workload is given: volumes, files of secrets, variables, and whom it trusts.

use quittance_common::settings::keys;
use serde_json::Value;

use super::{Report, exists, items, name, number, text};

/// Names where the settings are.
const CONFIG: &str = "QUITTANCE_CONFIG";
/// The image's own list of authorities, and the folder of those who signed the servers' certificates.
/// The TLS library reads both; each alone would take the other's place.
const TRUST: [(&str, &str); 2] = [
    ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
    ("SSL_CERT_DIR", AUTHORITIES_AT),
];
const AUTHORITIES_AT: &str = "/run/secrets/ca";
/// The Secret of those authorities, which is no secret: every stage mounts it.
const AUTHORITIES: &str = "quittance-ca";

pub(super) fn check(deployment: &Value, objects: &[Value], report: &mut Report) {
    volumes(deployment, objects, report);
    environment(deployment, report);
    trust(deployment, report);
}

fn volumes(deployment: &Value, objects: &[Value], report: &mut Report) {
    let who = name(deployment);
    let volumes: Vec<&Value> = items(deployment, "/spec/template/spec/volumes").collect();
    for mount in items(deployment, "/spec/template/spec/containers/0/volumeMounts") {
        let wanted = text(mount, "/name");
        let there = volumes.iter().any(|volume| text(volume, "/name") == wanted);
        report.expect(
            there,
            "volume",
            format!("{who} mounts `{wanted}`, which is no volume"),
        );
        // A file mounted alone is never renewed.
        let alone = mount.get("subPath").is_some();
        report.expect(
            !alone,
            "volume",
            format!("{who} mounts `{wanted}` by subPath"),
        );
    }
    for volume in volumes {
        if let Some(map) = volume.pointer("/configMap/name").and_then(Value::as_str) {
            let there = exists(objects, "ConfigMap", map);
            report.expect(there, "config-map", format!("{who}: there is no `{map}`"));
        }
        if volume.get("secret").is_some() {
            let secret = text(volume, "/secret/secretName");
            report.expect(
                secret == who || secret == AUTHORITIES,
                "secret",
                format!("{who} mounts the Secret `{secret}`"),
            );
            // One name for both: the documentation lists the keys, the variables name the files.
            for item in items(volume, "/secret/items") {
                let (key, path) = (text(item, "/key"), text(item, "/path"));
                report.expect(
                    key == path,
                    "secret",
                    format!("{who} mounts the key `{key}` as `{path}`"),
                );
            }
            let readable =
                number(volume, "/secret/defaultMode").is_some_and(|mode| mode % 0o10 == 0);
            report.expect(
                readable,
                "secret",
                format!("{who}: everybody may read the Secret"),
            );
        }
        if let Some(scratch) = volume.get("emptyDir") {
            report.expect(
                !text(scratch, "/sizeLimit").is_empty(),
                "volume",
                format!("{who}: a scratch folder without a limit"),
            );
        }
    }
}

/// The files that a Secret is mounted as.
fn secret_files<'a>(deployment: &'a Value, secret: &'a str) -> impl Iterator<Item = String> + 'a {
    items(deployment, "/spec/template/spec/volumes")
        .filter(move |volume| text(volume, "/secret/secretName") == secret)
        .flat_map(move |volume| {
            items(deployment, "/spec/template/spec/containers/0/volumeMounts")
                .filter(move |mount| text(mount, "/name") == text(volume, "/name"))
                .flat_map(move |mount| {
                    items(volume, "/secret/items").map(move |item| {
                        format!("{}/{}", text(mount, "/mountPath"), text(item, "/path"))
                    })
                })
        })
}

/// The broker, Redis and `PostgreSQL` speak TLS with certificates that no public authority signed.
fn trust(deployment: &Value, report: &mut Report) {
    let who = name(deployment);
    for (variable, right) in TRUST {
        let found = variables(deployment).find(|(name, _)| *name == variable);
        report.expect(
            found.is_some_and(|(_, value)| value == right),
            "ca",
            format!("{who}: {variable} is {found:?} and not {right}"),
        );
    }
    let file = format!("{AUTHORITIES_AT}/ca.crt");
    report.expect(
        secret_files(deployment, AUTHORITIES).any(|one| one == file),
        "ca",
        format!("{who}: the Secret {AUTHORITIES} is not mounted as {file}"),
    );
}

/// Every variable is a key that exists; secrets come from files that are mounted.
fn environment(deployment: &Value, report: &mut Report) {
    let who = name(deployment);
    let files: Vec<String> = secret_files(deployment, who).collect();
    let needed: &[&str] = match who {
        "quittance-ingest" => &[
            "cluster.amqp_url",
            "cluster.redis_url",
            "shop_database",
            "pdt.cookie_secret",
            "account.0.pdt_token",
        ],
        "quittance-verifier" => &["cluster.amqp_url", "cluster.redis_url", "shop_database"],
        "quittance-topology" => &["cluster.amqp_url", "cluster.management_url"],
        _ => &["cluster.amqp_url", "shop_database", "notify.smtp_url"],
    };
    let mut found = Vec::new();
    for (variable, value) in variables(deployment) {
        if variable == CONFIG || TRUST.iter().any(|(name, _)| *name == variable) {
            continue;
        }
        let by_file = variable.ends_with("_FILE");
        if by_file {
            let mounted = files.iter().any(|file| *file == value);
            report.expect(mounted, "secret", format!("{who}: {value} is not mounted"));
        }
        let key = key_of(variable.trim_end_matches("_FILE"));
        let Some(known) = keys::find(&key) else {
            report.expect(false, "variable", format!("{who}: {variable} sets no key"));
            continue;
        };
        report.expect(
            known.secret == by_file,
            "secret",
            format!("{who}: {variable}"),
        );
        found.push(key);
    }
    for key in needed {
        let set = found.iter().any(|one| one == key);
        report.expect(set, "secret", format!("{who}: nothing sets {key}"));
    }
}

/// Whether a container is given that variable.
pub(super) fn has_variable(deployment: &Value, called: &str) -> bool {
    variables(deployment).any(|(variable, _)| variable == called)
}

/// Names and values of the container's variables.
pub(super) fn variables(deployment: &Value) -> impl Iterator<Item = (&str, &str)> {
    items(deployment, "/spec/template/spec/containers/0/env")
        .map(|variable| (text(variable, "/name"), text(variable, "/value")))
}

/// `QUITTANCE_CLUSTER__AMQP_URL` → `cluster.amqp_url`.
fn key_of(variable: &str) -> String {
    variable
        .trim_start_matches("QUITTANCE_")
        .to_lowercase()
        .replace("__", ".")
}
