//! Starting everything, in the order in which it needs each other; a failure stops what was
//! started before.

mod starter;

use std::fs;
use std::future::Future;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::geteuid;

use super::child::Child;
use super::down;
use super::packages::Packages;
use super::plan::{Instances, Plan};
use super::state::{Lock, State};
use starter::Starter;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(2);

/// What became of an `up`.
#[derive(Debug)]
pub enum Up {
    /// Everything was started and is ready.
    Started(State),
    /// It was started before.
    Before(State),
}

/// Starts the cluster of `folder`, telling each step to `tell`, unless `stop` resolves before.
///
/// # Errors
/// Missing packages, or a part that does not start; then nothing runs.
pub async fn up(
    folder: &Path,
    instances: Instances,
    tell: &(dyn Fn(&str) + Send + Sync),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Up> {
    let packages = Packages::find()?;
    let programs = Programs::beside_this()?;
    let folder = prepare(folder)?;
    let _lock = Lock::take(&folder)?;
    if let Some(state) = State::load(&folder)? {
        if state.complete && state.processes.iter().any(Child::is_running) {
            return Ok(Up::Before(state));
        }
        // Left over by a start that was killed, or by nothing at all.
        down::end_all(&state.processes).await?;
        State::forget(&folder)?;
    }
    let plan = Plan::of(&folder, instances)?;
    let mut starter = Starter {
        state: State::new(plan),
        folder,
        packages,
        programs,
        client: quittance_common::http::client(ASK, ASK)?,
        tell,
    };
    let started = tokio::select! {
        started = starter.start() => started,
        () = stop => Err(anyhow::anyhow!("told to stop")),
    };
    if let Err(error) = started {
        tell("stopping what was started");
        down::end_all(&starter.state.processes).await?;
        State::forget(&starter.folder)?;
        return Err(error);
    }
    starter.state.complete = true;
    starter.state.save(&starter.folder)?;
    Ok(Up::Started(starter.state))
}

/// Our own binaries.
struct Programs {
    quittance: PathBuf,
    folder: PathBuf,
}

impl Programs {
    fn beside_this() -> anyhow::Result<Self> {
        let quittance = std::env::current_exe()?;
        let folder = quittance
            .parent()
            .context("a program is in a folder")?
            .to_owned();
        for name in ["ingest", "verifier", "fulfiller"] {
            ensure!(
                folder.join(name).is_file(),
                "there is no `{name}` beside {}: build it with `cargo build --release --workspace`",
                quittance.display()
            );
        }
        Ok(Self { quittance, folder })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        without_settings(&mut command);
        command
    }

    fn quittance(&self) -> Command {
        let mut command = Command::new(&self.quittance);
        without_settings(&mut command);
        command
    }
}

/// The settings of the caller's shell must not reach what is started.
fn without_settings(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("QUITTANCE_") {
            command.env_remove(key);
        }
    }
}

/// Makes the folder, and sees to it that PostgreSQL's user can get there.
fn prepare(folder: &Path) -> anyhow::Result<PathBuf> {
    let is_root = geteuid().is_root();
    // Passwords of the servers are known to everybody; the folder is the owner's alone.
    let mode = if is_root { 0o711 } else { 0o700 };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    for name in ["logs", "rabbitmq", "redis", "postgres"] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(folder.join(name))?;
    }
    if is_root {
        for parent in folder.ancestors() {
            let mode = fs::metadata(parent)?.permissions().mode();
            ensure!(
                mode & 0o001 != 0,
                "PostgreSQL does not run as root, and its user `postgres` may not pass through {}: \
                 choose another --dir, such as /var/tmp/quittance",
                parent.display()
            );
        }
    }
    Ok(folder)
}
