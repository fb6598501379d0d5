//! `quittance topology`: the table of queues as the code has it, compared with the broker, and
//! brought there.

mod compare;
mod redis;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use quittance_common::queue::QueueNames;
use quittance_common::queue::rabbitmq::{Management, RabbitMq};
use quittance_common::settings::{ClusterSettings, Engine, Settings};
use serde::Serialize;
use serde_json::{Value, json};

pub use compare::{Broker, compare};

/// How long `apply` waits for the broker to have every queue.
const APPLY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long `apply` takes at most to close its connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// `quittance topology ...`
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Print the queues and policies that the settings give (with --json: a definitions file)
    Print,
    /// Compare the broker and Redis with what is needed; fails when something differs
    Check,
    /// Declare the queues and put the policies
    Apply,
}

/// How a command ended; the caller makes the exit code of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be: exit code 0.
    Done,
    /// Something differs or could not be done, and was printed: exit code 1.
    Failed,
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Not as it must be.
    Difference,
    /// Allowed, and worth knowing.
    Note,
    /// Could not be looked at.
    Unchecked,
}

/// One line of `quittance topology check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How serious it is.
    pub severity: Severity,
    /// The queue, exchange, node or server.
    pub subject: String,
    /// What was found, and what should be.
    pub text: String,
}

impl Finding {
    fn new(severity: Severity, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            severity,
            subject: subject.into(),
            text: text.into(),
        }
    }
}

/// Runs one command and prints to standard output.
///
/// # Errors
/// When the settings name no usable broker, or the broker cannot be reached.
pub async fn run(command: Command, settings: &Settings, json: bool) -> anyhow::Result<Outcome> {
    let names = settings.queue_names();
    let Engine::Cluster(cluster) = &settings.engine else {
        let text = match command {
            Command::Print => print(&names, "/", json)?,
            Command::Check | Command::Apply => {
                "engine = \"embedded\": there is no broker to check or to set up\n".to_owned()
            }
        };
        return show(&text, Outcome::Done);
    };
    match command {
        Command::Print => show(
            &print(&names, &RabbitMq::vhost(cluster)?, json)?,
            Outcome::Done,
        ),
        Command::Check => report(&check(cluster, &names).await?, json),
        Command::Apply => report(&apply(cluster, &names).await?, json),
    }
}

fn show(text: &str, outcome: Outcome) -> anyhow::Result<Outcome> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(outcome)
}

/// The findings, one a line, and whether they are a failure.
fn report(findings: &[Finding], json: bool) -> anyhow::Result<Outcome> {
    let failed = findings
        .iter()
        .any(|finding| finding.severity == Severity::Difference);
    let mut text = String::new();
    for finding in findings {
        if json {
            writeln!(text, "{}", serde_json::to_string(finding)?)?;
        } else {
            let severity = match finding.severity {
                Severity::Difference => "DIFFERS",
                Severity::Note => "note",
                Severity::Unchecked => "unchecked",
            };
            writeln!(text, "{severity:<10} {}: {}", finding.subject, finding.text)?;
        }
    }
    if !json {
        let verdict = if failed {
            "the broker is not as it must be; `quittance topology apply` puts queues and policies"
        } else {
            "as it must be"
        };
        writeln!(text, "{verdict}")?;
    }
    let outcome = if failed {
        Outcome::Failed
    } else {
        Outcome::Done
    };
    show(&text, outcome)
}

/// The table for people, or the definitions file.
fn print(names: &QueueNames, vhost: &str, json: bool) -> anyhow::Result<String> {
    if json {
        let text = serde_json::to_string_pretty(&names.definitions(vhost))?;
        return Ok(format!("{text}\n"));
    }
    let mut text = format!("exchange {} (topic)\n", names.payments_exchange());
    let queues = names.all().into_iter().map(|queue| names.queue_spec(queue));
    for spec in queues.chain(names.archive_spec()) {
        let arguments = serde_json::to_string(&spec.arguments)?;
        writeln!(text, "queue    {} {arguments}", spec.name)?;
    }
    for policy in names.policy_specs() {
        let definition = serde_json::to_string(&policy.definition)?;
        writeln!(
            text,
            "policy   {} on {} {definition}",
            policy.name, policy.pattern
        )?;
    }
    Ok(text)
}

/// Everything that can be looked at, and what could not.
///
/// # Errors
/// When the HTTP API is set and gives no answer to work with.
pub async fn check(cluster: &ClusterSettings, names: &QueueNames) -> anyhow::Result<Vec<Finding>> {
    let mut findings = match Management::new(cluster)? {
        Some(management) => compare(names, &read_broker(&management, names).await?),
        None => vec![Finding::new(
            Severity::Unchecked,
            "broker",
            "cluster.management_url is not set: AMQP alone shows neither arguments nor policies",
        )],
    };
    findings.extend(redis::check(&cluster.redis_url).await);
    Ok(findings)
}

async fn read_broker(management: &Management, names: &QueueNames) -> anyhow::Result<Broker> {
    let exchange = names.payments_exchange();
    let missing_vhost = || format!("the virtual host `{}` does not exist", management.vhost());
    Ok(Broker {
        queues: management
            .get(&["queues", "{vhost}"])
            .await?
            .with_context(missing_vhost)?,
        exchange: management.get(&["exchanges", "{vhost}", &exchange]).await?,
        // A user without the `monitoring` tag may not see nodes.
        nodes: management.get(&["nodes"]).await.ok().flatten(),
    })
}

/// Declares by AMQP what a client must declare, and puts the policies by the HTTP API.
///
/// # Errors
/// When the broker cannot be reached, has a queue with other arguments, or refuses a policy.
pub async fn apply(cluster: &ClusterSettings, names: &QueueNames) -> anyhow::Result<Vec<Finding>> {
    let engine = RabbitMq::start(cluster, names.clone())?;
    let ready = engine.ready(APPLY_TIMEOUT).await;
    engine.close(CLOSE_TIMEOUT).await;
    ready?;
    let mut findings = vec![Finding::new(
        Severity::Note,
        "queues",
        format!("{} queues are declared", names.all().len()),
    )];
    let Some(management) = Management::new(cluster)? else {
        findings.push(Finding::new(
            Severity::Difference,
            "policies",
            "not put: cluster.management_url is not set (or: rabbitmqctl import_definitions)",
        ));
        return Ok(findings);
    };
    for policy in names.policy_specs() {
        let body = without_name(serde_json::to_value(&policy)?);
        management
            .put(&["policies", "{vhost}", &policy.name], &body)
            .await
            .with_context(|| format!("putting the policy `{}`", policy.name))?;
        findings.push(Finding::new(Severity::Note, policy.name, "policy put"));
    }
    Ok(findings)
}

/// The name travels in the path.
fn without_name(policy: Value) -> Value {
    match policy {
        Value::Object(mut keys) => {
            keys.remove("name");
            Value::Object(keys)
        }
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn print_with_json_gives_the_shipped_definitions_file() {
        let printed = print(&QueueNames::default(), "/", true).unwrap();
        assert_eq!(printed, include_str!("../rabbitmq/definitions.json"));
    }

    #[test]
    fn print_names_every_queue() {
        let names = QueueNames::default();
        let printed = print(&names, "/", false).unwrap();
        for queue in names.all() {
            assert!(printed.contains(&format!("queue    {} ", names.name(queue))));
        }
    }

    #[test]
    fn only_a_difference_is_a_failure() {
        let of = |severity| [Finding::new(severity, "ipn.verify", "...")];
        assert_eq!(report(&of(Severity::Note), true).unwrap(), Outcome::Done);
        assert_eq!(
            report(&of(Severity::Unchecked), true).unwrap(),
            Outcome::Done
        );
        assert_eq!(
            report(&of(Severity::Difference), true).unwrap(),
            Outcome::Failed
        );
    }
}
