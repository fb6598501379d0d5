//! Starts one set of private servers, runs a command that finds them in its environment, and
//! stops them, whatever becomes of the command.
//!
//! `servers --dir FOLDER -- cargo nextest run`: exits with the command's status. The variables
//! are also written to `FOLDER/env`, for use from another shell.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use quittance_tests::servers::{Postgres, RabbitMq, Redis, postgres, rabbitmq, redis};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
/// How long the command may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
#[expect(
    clippy::print_stderr,
    reason = "a command says on stderr why it failed"
)]
async fn main() -> ExitCode {
    let Some((folder, command)) = arguments(std::env::args_os().skip(1)) else {
        eprintln!("usage: servers --dir FOLDER -- COMMAND [ARGUMENT ...]");
        return ExitCode::from(EXIT_USAGE);
    };
    match run(&folder, &command).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("servers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(given: impl Iterator<Item = OsString>) -> Option<(PathBuf, Vec<OsString>)> {
    let mut given = given;
    if given.next()? != "--dir" {
        return None;
    }
    let folder = PathBuf::from(given.next()?);
    if given.next()? != "--" {
        return None;
    }
    let command: Vec<OsString> = given.collect();
    (!command.is_empty()).then_some((folder, command))
}

async fn run(folder: &Path, command: &[OsString]) -> anyhow::Result<u8> {
    fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => "terminated",
            _ = interrupt.recv() => "interrupted",
        }
    };
    with_servers(&folder, command, stop).await
}

async fn with_servers(
    folder: &Path,
    command: &[OsString],
    stop: impl Future<Output = &'static str>,
) -> anyhow::Result<u8> {
    let mut stop = pin!(stop);
    let started = async { tokio::try_join!(RabbitMq::start(), Redis::start(), Postgres::start()) };
    let (broker, redis, postgres) = tokio::select! {
        started = started => started?,
        reason = &mut stop => bail!(reason),
    };
    let environment = [
        (rabbitmq::AMQP_URL, broker.amqp_url()),
        (rabbitmq::MANAGEMENT_URL, broker.management_url()),
        (redis::REDIS_URL, redis.url()),
        (postgres::POSTGRES_URL, postgres.url()),
    ];
    let lines: Vec<String> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    fs::write(folder.join("env"), lines.concat())?;
    let (program, arguments) = command.split_first().context("no command")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .envs(environment)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let status = tokio::select! {
        status = child.wait() => status?,
        reason = &mut stop => {
            // A test runner ends its tests when it is asked to; killed, it would leave them.
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid {
                kill_process(pid, Signal::TERM)?;
            }
            tokio::time::timeout(PATIENCE, child.wait()).await??;
            bail!(reason);
        }
    };
    // A command that a signal ended has no code of its own.
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<(PathBuf, Vec<OsString>)> {
        arguments(words.iter().map(OsString::from))
    }

    #[test]
    fn the_command_keeps_its_own_options() {
        let (folder, command) = parse(&["--dir", "d", "--", "cargo", "--", "x"]).unwrap();
        assert_eq!(folder, PathBuf::from("d"));
        assert_eq!(command, ["cargo", "--", "x"]);
    }

    #[test]
    fn without_a_command_there_is_nothing_to_do() {
        assert_eq!(parse(&["--dir", "d", "--"]), None);
        assert_eq!(parse(&["--dir", "d"]), None);
        assert_eq!(parse(&["cargo"]), None);
    }
}
