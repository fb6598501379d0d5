//! A child process that cannot outlive its owner.
//!
//! Every daemon leads its own process group. Beside it runs a guard that reads from a pipe whose
//! other end only this process holds: however this process ends, even by `kill -9`, the guard
//! sees the end of the pipe and kills the group. (A parent-death signal would not do: it is lost
//! at the next fork, and `rabbitmq-server` is a shell script.)

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::eventually::eventually;

/// The folder in which the start of a process is noted, so that a run can sweep up what a broken
/// test left behind: see `tests/run`.
pub const RUN_FOLDER: &str = "QUITTANCE_TEST_DIR";

const LOG_TAIL: usize = 6_000;

/// A running child with its own process group, guard and log file.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    guard: Child,
    log: PathBuf,
    note: Option<PathBuf>,
    end: Signal,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Starts `command` with stdin closed and both outputs appended to the file `log`.
    ///
    /// `end` is the signal that [`Drop`] sends before it resorts to `SIGKILL`.
    pub fn spawn(
        name: &str,
        mut command: Command,
        log: &Path,
        end: Signal,
    ) -> anyhow::Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open the log {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let child = command.spawn().with_context(|| {
            format!("cannot start {name} ({})", command.get_program().display())
        })?;
        let guard = match guard(child.id()) {
            Ok(guard) => guard,
            Err(error) => {
                let mut child = child;
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        Ok(Self {
            name: name.to_owned(),
            note: note(child.id()),
            child,
            guard,
            log: log.to_owned(),
            end,
            ended: None,
        })
    }

    /// The process id, also the id of the process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the leader alone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid()?, signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Sends a signal to every process of the group.
    pub fn signal_group(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process_group(self.pid()?, signal)
            .with_context(|| format!("cannot send {signal:?} to the group of {}", self.name))
    }

    /// How it ended, or nothing while it runs.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let Some(status) = self.child.try_wait()? else {
                return Ok(None);
            };
            self.ended = Some(status);
            // What the leader left behind in its group has no owner any more.
            self.sweep();
        }
        Ok(self.ended)
    }

    /// Waits for the end, at most for `patience`.
    pub async fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("the end of {} (pid {})", self.name, self.id());
        let ended = eventually(&what, patience, async || self.ended().transpose()).await;
        match ended {
            Ok(status) => status,
            Err(error) => Err(error.context(self.log_tail())),
        }
    }

    /// Asks it to end by `signal`, and kills the group when it has not ended within `patience`.
    pub async fn stop(&mut self, signal: Signal, patience: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal_group(signal)?;
        match self.wait(patience).await {
            Ok(status) => Ok(status),
            Err(_) => self.kill().await,
        }
    }

    /// `SIGKILL` to the whole group.
    pub async fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal_group(Signal::KILL)?;
        self.wait(Duration::from_secs(10)).await
    }

    /// Fails, with the end of the log, when it has ended by itself.
    pub fn expect_running(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.log_tail()),
        }
    }

    /// The last few kilobytes of its output.
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let start = bytes.len().saturating_sub(LOG_TAIL);
        let tail = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default());
        format!(
            "--- output of {} ({})\n{tail}",
            self.name,
            self.log.display()
        )
    }

    /// Everything it printed so far.
    pub fn output(&self) -> anyhow::Result<String> {
        let bytes = fs::read(&self.log)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        if self.ended.is_some() {
            bail!("{} has ended, its pid is no longer ours", self.name);
        }
        Pid::from_raw(i32::try_from(self.child.id())?).context("a pid cannot be 0")
    }

    /// Ends the guard and whatever is left of the group. Errors mean that nothing is left.
    fn sweep(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.guard.kill().ok();
        self.guard.wait().ok();
        if let Some(note) = self.note.take() {
            fs::remove_file(note).ok();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.ended(), Ok(None)) {
            self.signal(Signal::CONT).ok();
            self.signal_group(self.end).ok();
            for _ in 0..100 {
                if !matches!(self.ended(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if self.ended.is_none() {
            self.signal_group(Signal::KILL).ok();
            self.child.wait().ok();
            self.sweep();
        }
        if std::thread::panicking() {
            use std::io::Write as _;
            // The output that a test harness shows with the failed test.
            writeln!(std::io::stderr(), "{}", self.log_tail()).ok();
        }
    }
}

/// Waits until this process is gone, then kills the group.
fn guard(group: u32) -> anyhow::Result<Child> {
    Command::new("sh")
        .arg("-c")
        .arg(format!("read -r _; kill -s KILL -- -{group} 2>/dev/null"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start the guard of a daemon")
}

/// Notes pid and start time; together they name a process for good.
fn note(pid: u32) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os(RUN_FOLDER)?).join("pids");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    fs::create_dir_all(&folder).ok()?;
    let note = folder.join(format!("{pid}-{started}"));
    fs::write(&note, "").ok()?;
    Some(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Daemon) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        let daemon =
            Daemon::spawn("script", command, &folder.path().join("log"), Signal::TERM).unwrap();
        (folder, daemon)
    }

    async fn printed(daemon: &Daemon) -> i32 {
        eventually("a pid", Duration::from_secs(10), async || {
            daemon.output().ok()?.strip_suffix('\n')?.parse().ok()
        })
        .await
        .unwrap()
    }

    async fn gone(pid: i32) {
        eventually("the child is gone", Duration::from_secs(10), async || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn the_exit_status_and_the_output_are_kept() {
        let (_folder, mut daemon) = shell("echo out; echo err >&2; exit 3");
        let status = daemon.wait(Duration::from_secs(10)).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(daemon.output().unwrap(), "out\nerr\n");
    }

    #[tokio::test]
    async fn dropping_it_ends_its_children_too() {
        let (_folder, daemon) = shell("sleep 600 & echo $!; wait");
        let child = printed(&daemon).await;
        drop(daemon);
        gone(child).await;
    }

    #[tokio::test]
    async fn one_that_ignores_the_request_to_end_is_killed() {
        let (_folder, mut daemon) = shell("trap '' TERM; echo $$; while :; do sleep 1; done");
        printed(&daemon).await;
        let status = daemon
            .stop(Signal::TERM, Duration::from_millis(200))
            .await
            .unwrap();
        assert_eq!(status.code(), None);
    }

    #[tokio::test]
    async fn the_guard_kills_the_group_when_its_owner_is_gone() {
        let (_folder, mut daemon) = shell("sleep 600 & echo $!; wait");
        let child = printed(&daemon).await;
        // What the kernel does when the owner is killed: the pipe closes.
        drop(daemon.guard.stdin.take());
        gone(child).await;
        daemon.wait(Duration::from_secs(10)).await.unwrap();
    }
}
