//! Starting everything, or what has ended of it, in the order in which it needs each other; a failure
//! stops what was started.

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
use super::plan::{Instances, PLAN, Plan};
use super::private;
use super::state::{LOCK, Lock, State};
use starter::Starter;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(2);

/// What became of an `up`.
#[derive(Debug)]
pub enum Up {
    /// Everything was started and is ready.
    Started(State),
    /// It was started before; what had ended of it, by name, was started again, and all is ready.
    Again(State, Vec<String>),
    /// It was started before, and all of it runs.
    Before(State),
}

/// Starts the cluster of `folder`, telling each step to `tell`, unless `stop` resolves before. Of one
/// that runs, what has ended is started again under its name and ports, however many of each are asked
/// for now.
///
/// # Errors
/// Missing packages, or a part that does not start; then nothing runs that did not before.
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
    let before = State::load(&folder)?;
    let state = match before {
        Some(state) if state.complete && state.processes.iter().any(Child::is_running) => {
            if state.processes.iter().all(Child::is_running) {
                return Ok(Up::Before(state));
            }
            state.plan.must_have_passwords(&folder)?;
            state
        }
        // Left over by a start that was killed, or by nothing at all.
        before => {
            down::end_all(&before.map_or_else(Vec::new, |state| state.processes)).await?;
            State::forget(&folder)?;
            State::new(Plan::of(&folder, instances)?)
        }
    };
    let is_again = state.complete;
    furnish(&folder)?;
    let mut starter = Starter {
        state,
        folder,
        packages,
        programs,
        client: quittance_common::http::client(ASK, ASK)?,
        tell,
        started: Vec::new(),
    };
    let started = tokio::select! {
        started = starter.start() => started,
        () = stop => Err(anyhow::anyhow!("told to stop")),
    };
    if let Err(error) = started {
        tell("stopping what was started");
        down::end_all(&starter.started).await?;
        if !is_again {
            State::forget(&starter.folder)?;
        }
        return Err(error);
    }
    starter.state.complete = true;
    starter.state.save(&starter.folder)?;
    Ok(if is_again {
        let names = starter.started.into_iter().map(|child| child.name);
        Up::Again(starter.state, names.collect())
    } else {
        Up::Started(starter.state)
    })
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
                "there is no `{name}` beside {}: build it with `cargo build --release --workspace --exclude quittance-tests`",
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

/// What PostgreSQL's user must pass through when we are root is nobody else's otherwise.
fn mode() -> u32 {
    if geteuid().is_root() { 0o711 } else { 0o700 }
}

/// Makes the folder, or finds that it is empty or ours, and sees to it that PostgreSQL's user can
/// get there. A folder that holds anything else is not touched: `down --purge` would delete it.
fn prepare(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode())
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    ensure!(
        is_ours(&folder)?,
        "{} is not empty and was not made by `quittance up`: choose another --dir, one that is \
         empty or does not exist",
        folder.display()
    );
    if geteuid().is_root() {
        for parent in folder.ancestors().skip(1) {
            let mode = fs::metadata(parent)?.permissions().mode();
            ensure!(
                mode & 0o001 != 0,
                "PostgreSQL does not run as root, and its user `postgres` may not pass through {}: \
                 choose another --dir, such as /var/tmp/quittance",
                parent.display()
            );
        }
    }
    // Also of one that was there: passwords and mail are in it.
    fs::set_permissions(&folder, fs::Permissions::from_mode(mode()))?;
    Ok(folder)
}

/// Whether `up` has been there, or nobody. A start that was killed at once leaves the lock, and perhaps
/// half a plan.
fn is_ours(folder: &Path) -> anyhow::Result<bool> {
    if folder.join(PLAN).is_file() {
        return Ok(true);
    }
    let half = private::unfinished(Path::new(PLAN));
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_lock = entry.file_name() == LOCK && entry.metadata()?.len() == 0;
        if !is_lock && Path::new(&entry.file_name()) != half {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The folders of logs, mail and the servers, each its owner's alone. After the plan is written, so that
/// a folder with data is one with a plan.
fn furnish(folder: &Path) -> anyhow::Result<()> {
    for name in ["logs", "mail", "rabbitmq", "redis", "postgres"] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the tests, which everybody may pass through.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    fn mode_of(folder: &Path) -> u32 {
        fs::metadata(folder).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_with_somebody_elses_files_is_refused_and_left_as_it_is() {
        let folder = folder();
        let file = folder.path().join("thesis.txt");
        fs::write(&file, "years of work").unwrap();
        let error = prepare(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not empty"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(file).unwrap(), "years of work");
        assert_eq!(mode_of(folder.path()), 0o755);
    }

    #[test]
    fn a_file_of_ours_in_name_only_does_not_make_a_folder_ours() {
        let folder = folder();
        fs::write(folder.path().join(LOCK), "somebody's").unwrap();
        assert!(prepare(folder.path()).is_err());
    }

    #[test]
    fn an_empty_folder_becomes_ours_and_its_owners_alone() {
        let folder = folder();
        prepare(folder.path()).unwrap();
        assert_eq!(mode_of(folder.path()), mode());
        // Killed between the lock and the plan, and with the plan.
        drop(Lock::take(folder.path()).unwrap());
        prepare(folder.path()).unwrap();
        fs::write(folder.path().join(PLAN), "{}").unwrap();
        fs::write(folder.path().join("other"), "more").unwrap();
        prepare(folder.path()).unwrap();
    }

    #[test]
    fn a_new_folder_is_made_with_its_parents() {
        let folder = folder();
        let new = folder.path().join("new");
        assert_eq!(prepare(&new).unwrap(), new.canonicalize().unwrap());
        assert_eq!(mode_of(&new), mode());
    }
}
