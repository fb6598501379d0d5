//! What runs in a folder: one file, written after every start, so that `down` finds everything
//! even when `up` was killed half-way.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::child::Child;
use super::plan::Plan;
use super::private;

const FILE: &str = "state.json";
/// What is locked; empty.
pub(super) const LOCK: &str = "lock";

/// What was started, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Which start of the machine this is of: after a reboot nothing runs any more.
    boot: String,
    /// Where everything listens.
    pub plan: Plan,
    /// What was started, in that order.
    pub processes: Vec<Child>,
    /// Whether the start came to its end; else what runs is of no use.
    pub complete: bool,
}

impl State {
    /// Nothing is started yet.
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            boot: boot(),
            plan,
            processes: Vec::new(),
            complete: false,
        }
    }

    /// The state of `folder`; `None` when nothing was started there or the machine was since.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = folder.join(FILE);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        let state: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} was not written by `quittance up`", file.display()))?;
        Ok(Some(state).filter(|state| state.boot == boot()))
    }

    /// Writes it, all or nothing.
    pub(super) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        private::write(&folder.join(FILE), serde_json::to_vec_pretty(self)?)
    }

    /// Nothing runs in `folder` any more.
    pub(super) fn forget(folder: &Path) -> anyhow::Result<()> {
        match fs::remove_file(folder.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The right to start and stop in a folder; ends with the value, and with the process.
#[derive(Debug)]
pub(super) struct Lock {
    #[expect(dead_code, reason = "held for its drop")]
    file: File,
}

impl Lock {
    /// # Errors
    /// When another `up` or `down` is at work there.
    pub(super) fn take(folder: &Path) -> anyhow::Result<Self> {
        let path: PathBuf = folder.join(LOCK);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => bail!(
                "another `quittance up` or `down` is at work in {}",
                folder.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}

/// An id that changes with every start of the machine; empty where the system has none.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::plan::Instances;
    use super::*;

    fn state() -> State {
        let instances = Instances {
            ingest: 1,
            verifier: 1,
            fulfiller: 1,
        };
        State::new(Plan::fresh(instances).unwrap())
    }

    #[test]
    fn what_was_saved_is_loaded_and_forgotten_when_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), None);
        let state = state();
        state.save(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), Some(state));
        State::forget(folder.path()).unwrap();
        State::forget(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), None);
    }

    #[test]
    fn what_ran_before_the_machine_was_started_does_not_run_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let before = State {
            boot: "before".to_owned(),
            ..state()
        };
        before.save(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), None);
    }

    #[test]
    fn two_do_not_work_in_one_folder_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        assert!(Lock::take(folder.path()).is_err());
        drop(first);
        assert!(Lock::take(folder.path()).is_ok());
    }
}
