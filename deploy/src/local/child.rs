//! Processes that outlive their starter, told apart for good by pid and start time.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::private;
use super::proc::{self, Stat};

/// The environment variable that every child has, and whatever it starts: the folder of its cluster.
/// Not one of ours by its beginning, which would make it a setting.
const MARKER: &str = "LOCAL_QUITTANCE";
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
    /// What it is marked with; empty of one that an older build has started.
    #[serde(default)]
    folder: PathBuf,
}

impl Child {
    /// Starts `command` as the leader of a process group, without a terminal, its output appended
    /// to `log`, marked as a part of the cluster of `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(
        role: Role,
        name: &str,
        mut command: Command,
        log: &Path,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let output = private::append(log)?;
        let child = command
            .env(MARKER, folder)
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
        let stat = Stat::of(pid).with_context(|| format!("{name} is gone at once"))?;
        Ok(Self {
            role,
            name: name.to_owned(),
            pid,
            started: stat.started,
            log: log.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// Whether it still runs: that very process, not another that has its number now.
    pub fn is_running(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started == self.started && stat.runs())
    }

    /// Whether it, or anything that it has started, still runs.
    pub fn has_any_running(&self) -> bool {
        self.is_running() || !self.rest().is_empty()
    }

    /// What runs of its process group. `RabbitMQ` is a shell that waits for the broker: the shell may
    /// be gone and the broker not. A number that was given anew is told by the mark.
    fn rest(&self) -> Vec<Pid> {
        // As long as a group has a member, its number is nobody else's.
        let is_anothers = Stat::of(self.pid).is_some_and(|stat| stat.started != self.started);
        if is_anothers || self.folder.as_os_str().is_empty() {
            return Vec::new();
        }
        proc::marked(self.pid, MARKER, self.folder.as_os_str())
    }

    /// Asks it to end, and kills it when it has not within its grace; then whatever it left in its
    /// process group. When it was gone before, what it left is asked first, too.
    ///
    /// # Errors
    /// When it cannot be signalled, or is still there after having been killed.
    pub async fn end(&self) -> anyhow::Result<()> {
        let grace = self.role.grace();
        if self.is_running() {
            self.ask_to_end()?;
            within(grace, || !self.is_running()).await;
        } else {
            signal(&self.rest(), Signal::TERM);
            within(grace, || self.rest().is_empty()).await;
        }
        if self.is_running() {
            let pid = Pid::from_raw(self.pid).context("not a process id")?;
            // An error says that it has just ended.
            kill_process_group(pid, Signal::KILL).ok();
        }
        signal(&self.rest(), Signal::KILL);
        anyhow::ensure!(
            within(KILLED, || !self.has_any_running()).await,
            "{} (pid {}) is still there after SIGKILL",
            self.name,
            self.pid
        );
        Ok(())
    }

    fn ask_to_end(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid).context("not a process id")?;
        let asked = match self.role {
            // PostgreSQL's fast shutdown; SIGTERM would wait for every connection.
            Role::Books => kill_process(pid, Signal::INT),
            _ => kill_process_group(pid, Signal::TERM),
        };
        match asked {
            Err(error) if self.is_running() => {
                Err(error).with_context(|| format!("cannot end {}", self.name))
            }
            _ => Ok(()),
        }
    }

    /// The end of its output.
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let start = bytes.len().saturating_sub(LOG_TAIL);
        let tail = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default());
        format!("end of {}:\n{}", self.log.display(), tail.trim_end())
    }
}

/// Errors say that one has just ended.
fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        kill_process(*process, signal).ok();
    }
}

/// Whether it `is_so` before the patience is over.
async fn within(patience: Duration, is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(role: Role, script: &str) -> (tempfile::TempDir, Child) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        let log = folder.path().join("log");
        let child = Child::spawn(role, "script", command, &log, folder.path()).unwrap();
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
        assert!(!runs(grandchild), "the grandchild still runs");
    }

    fn runs(pid: i32) -> bool {
        Stat::of(pid).is_some_and(|stat| stat.runs())
    }

    /// Waits for the end of a leader, as whoever started it would.
    fn reap(child: &Child) {
        let pid = Pid::from_raw(child.pid).unwrap();
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
    }

    #[tokio::test]
    async fn what_a_leader_that_was_gone_before_has_left_is_ended() {
        let (_folder, child) = shell(Role::Broker, "sleep 600 & echo $!");
        let left = printed(&child).await;
        reap(&child);
        assert!(!child.is_running() && child.has_any_running());
        child.end().await.unwrap();
        assert!(!runs(left), "the broker survives its shell");
        assert!(!child.has_any_running());
    }

    #[tokio::test]
    async fn a_group_of_that_number_without_the_mark_is_left_alone() {
        let script = format!("env -u {MARKER} sleep 600 & echo $!");
        let (_folder, child) = shell(Role::Gateway, &script);
        let left = printed(&child).await;
        reap(&child);
        // The mark goes with the change from the shell to `sleep`.
        assert!(within(KILLED, || !child.has_any_running()).await);
        child.end().await.unwrap();
        let runs = runs(left);
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
