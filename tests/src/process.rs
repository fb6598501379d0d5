//! Our own binaries as child processes: started, asked, signalled, killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::daemon::Daemon;
use crate::eventually::eventually;
use crate::http;

const READY: Duration = Duration::from_secs(30);

/// One of `ingest`, `verifier`, `fulfiller`, `quittance`, running.
#[derive(Debug)]
pub struct Process {
    daemon: Daemon,
}

impl Process {
    /// Starts `binary` with these arguments and exactly these settings in its environment.
    ///
    /// Its output goes to `{folder}/{name}.log` and is shown when the test fails.
    pub fn spawn(
        binary: &str,
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(binary_path(binary)?);
        command.args(arguments).current_dir(folder);
        for key in own_settings() {
            command.env_remove(key);
        }
        command.envs(environment.iter().copied());
        let log = folder.join(format!("{name}.log"));
        let daemon = Daemon::spawn(name, command, &log, Signal::TERM)?;
        Ok(Self { daemon })
    }

    /// Waits until the admin listener at that address says that it is ready.
    pub async fn wait_ready(&mut self, admin: SocketAddr) -> anyhow::Result<()> {
        let ready = eventually("/readyz answers 200", READY, async || {
            if let Err(ended) = self.daemon.expect_running() {
                return Some(Err(ended));
            }
            let response = http::once(admin, "GET", "/readyz", "", b"").await.ok()?;
            (response.status == 200).then_some(Ok(()))
        })
        .await;
        match ready {
            Ok(result) => result,
            Err(error) => Err(error.context(self.daemon.log_tail())),
        }
    }

    /// `SIGTERM`, and how it ended; an error when it did not end within `patience`.
    pub async fn terminate(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.daemon.signal(Signal::TERM)?;
        self.daemon.wait(patience).await
    }

    /// `SIGINT`, as Ctrl-C sends it, and how it ended.
    pub async fn interrupt(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.daemon.signal(Signal::INT)?;
        self.daemon.wait(patience).await
    }

    /// `SIGKILL`.
    pub async fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.daemon.kill().await
    }

    /// `SIGSTOP`: it holds everything it has and answers nothing.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.daemon.signal(Signal::STOP)
    }

    /// `SIGCONT`.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.daemon.signal(Signal::CONT)
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.daemon.wait(patience).await
    }

    /// Everything it printed so far.
    pub fn output(&self) -> anyhow::Result<String> {
        self.daemon.output()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }
}

/// The names of settings in the environment of the tests: they must not reach what is tested.
fn own_settings() -> impl Iterator<Item = std::ffi::OsString> {
    std::env::vars_os()
        .map(|(key, _)| key)
        .filter(|key| key.to_string_lossy().starts_with("QUITTANCE_"))
}

/// Where cargo put a binary of this workspace: beside the folder of this executable.
pub fn binary_path(name: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    for folder in this.ancestors().skip(1).take(2) {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "no {name} near {}: run `cargo build --workspace` first",
        this.display()
    )
}

/// Runs one of our binaries to its end and gives its status, stdout and stderr.
pub async fn run(
    binary: &str,
    arguments: &[&str],
    folder: &Path,
    patience: Duration,
) -> anyhow::Result<std::process::Output> {
    let mut command = tokio::process::Command::new(binary_path(binary)?);
    for key in own_settings() {
        command.env_remove(key);
    }
    let child = command
        .args(arguments)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(patience, child)
        .await
        .with_context(|| format!("{binary} {arguments:?}: not done within {patience:?}"))?
        .with_context(|| format!("cannot run {binary}"))
}
