//! Processes that outlive their starter, told apart for good by pid and start time.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(50);
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// How much of a log an error quotes.
const LOG_TAIL: usize = 2_000;

/// What a process is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// RabbitMQ's port mapper.
    PortMapper,
    /// RabbitMQ.
    Broker,
    /// Redis.
    Claims,
    /// PostgreSQL.
    Books,
    /// The sandbox gateway.
    Gateway,
    /// The fulfiller.
    Fulfiller,
    /// The verifier.
    Verifier,
    /// Ingest.
    Ingest,
}

impl Role {
    /// The order of stopping: who takes work first, then who does it, then where it is kept. What
    /// stands together is stopped at the same time.
    pub const STOPPING: [&'static [Self]; 6] = [
        &[Self::Ingest],
        &[Self::Verifier],
        &[Self::Fulfiller],
        &[Self::Gateway],
        &[Self::Broker, Self::Claims, Self::Books],
        &[Self::PortMapper],
    ];

    /// How long it may take to end when it is asked to, before it is killed.
    const fn grace(self) -> Duration {
        match self {
            // Their own `shutdown_grace`, 10 s in the settings that `up` writes, and closing.
            Self::Ingest | Self::Verifier | Self::Fulfiller => Duration::from_secs(20),
            Self::Gateway | Self::PortMapper => Duration::from_secs(5),
            Self::Broker | Self::Claims | Self::Books => Duration::from_secs(30),
        }
    }
}

/// A process that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// What it is of.
    pub role: Role,
    /// Its name in listings, such as `verifier-2`.
    pub name: String,
    /// Its process id, also the id of its process group.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine was: with the pid, its name for good.
    pub started: u64,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Child {
    /// Starts `command` as the leader of a process group, without a terminal, its output appended
    /// to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(role: Role, name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open the log {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| {
                format!("cannot start {name} ({})", command.get_program().display())
            })?;
        let pid = i32::try_from(child.id())?;
        // Also readable when it has ended already: nobody has waited for it.
        let (_, started) = stat(pid).with_context(|| format!("{name} is gone at once"))?;
        Ok(Self {
            role,
            name: name.to_owned(),
            pid,
            started,
            log: log.to_owned(),
        })
    }

    /// Whether it still runs: that very process, not another that has its number now.
    pub fn is_running(&self) -> bool {
        stat(self.pid)
            .is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// Whether it runs, or has ended and was not waited for.
    fn is_there(&self) -> bool {
        stat(self.pid).is_some_and(|(_, started)| started == self.started)
    }

    /// Asks it to end, and kills it when it has not within its grace; then whatever it left in its
    /// process group. When it was gone before, the number may be anybody's: nothing is signalled.
    ///
    /// # Errors
    /// When it cannot be signalled, or is still there after having been killed.
    pub async fn end(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid).context("not a process id")?;
        // As long as it is there, even as a zombie, nobody else can have its number.
        if !self.is_there() {
            return Ok(());
        }
        if self.is_running() {
            let asked = match self.role {
                // PostgreSQL's fast shutdown; SIGTERM would wait for every connection.
                Role::Books => kill_process(pid, Signal::INT),
                _ => kill_process_group(pid, Signal::TERM),
            };
            if let Err(error) = asked
                && self.is_running()
            {
                return Err(error).with_context(|| format!("cannot end {}", self.name));
            }
            if !self.gone_within(self.role.grace()).await {
                // An error says that it has just ended.
                kill_process_group(pid, Signal::KILL).ok();
                anyhow::ensure!(
                    self.gone_within(KILLED).await,
                    "{} (pid {}) is still there after SIGKILL",
                    self.name,
                    self.pid
                );
            }
        }
        // What is left in its group was started by it.
        if stat(self.pid).is_none_or(|(_, started)| started == self.started) {
            kill_process_group(pid, Signal::KILL).ok();
        }
        Ok(())
    }

    async fn gone_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// The end of its output.
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let start = bytes.len().saturating_sub(LOG_TAIL);
        let tail = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default());
        format!("end of {}:\n{}", self.log.display(), tail.trim_end())
    }
}

/// State letter and start time of a process, from `/proc`.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(role: Role, script: &str) -> (tempfile::TempDir, Child) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        let child = Child::spawn(role, "script", command, &folder.path().join("log")).unwrap();
        (folder, child)
    }

    /// The number that the script prints first.
    async fn printed(child: &Child) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let text = fs::read_to_string(&child.log).unwrap();
            if let Some(line) = text.strip_suffix('\n') {
                return line.parse().unwrap();
            }
            assert!(Instant::now() < deadline, "nothing printed");
            tokio::time::sleep(LOOK).await;
        }
    }

    #[tokio::test]
    async fn ending_it_ends_what_it_started_too() {
        let (_folder, child) = shell(Role::Gateway, "sleep 600 & echo $!; wait");
        let grandchild = printed(&child).await;
        assert!(child.is_running());
        child.end().await.unwrap();
        assert!(!child.is_running());
        let left = stat(grandchild).is_some_and(|(state, _)| state != 'Z');
        assert!(!left, "the grandchild still runs");
    }

    #[tokio::test]
    async fn a_group_whose_leader_was_gone_before_is_left_alone() {
        let (_folder, child) = shell(Role::Gateway, "sleep 600 & echo $!");
        let left = printed(&child).await;
        let pid = Pid::from_raw(child.pid).unwrap();
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
        child.end().await.unwrap();
        let runs = stat(left).is_some_and(|(state, _)| state != 'Z');
        kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
        assert!(runs, "somebody's process was killed");
    }

    #[tokio::test]
    async fn another_process_of_the_same_number_is_neither_it_nor_ended() {
        let (_folder, child) = shell(Role::Gateway, "echo $$; exec sleep 600");
        printed(&child).await;
        let impostor = Child {
            started: child.started + 1,
            ..child.clone()
        };
        assert!(!impostor.is_running());
        impostor.end().await.unwrap();
        assert!(child.is_running());
        child.end().await.unwrap();
    }

    #[test]
    fn every_role_is_stopped_once_and_servers_after_services() {
        let order: Vec<Role> = Role::STOPPING.concat();
        let at = |role| order.iter().position(|other| *other == role).unwrap();
        assert_eq!(order.len(), 8);
        assert!(at(Role::Ingest) < at(Role::Verifier));
        assert!(at(Role::Fulfiller) < at(Role::Broker));
        assert!(at(Role::Broker) < at(Role::PortMapper));
    }
}
