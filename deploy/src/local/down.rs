//! Stopping what was started in a folder, and nothing else.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use futures_util::future::join_all;

use super::child::{Child, Role};
use super::plan::PLAN;
use super::state::{Lock, State};

/// What there was to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// So many processes ran, and have ended.
    Stopped(usize),
    /// Nothing ran.
    Nothing,
}

/// Stops everything that `up` started in `folder`; with `purge` the folder is removed, too.
///
/// # Errors
/// When a process cannot be ended; the others are, and the same command goes on.
pub async fn down(folder: &Path, purge: bool) -> anyhow::Result<Down> {
    // Only a folder that `up` has made is ever touched.
    if !folder.join(PLAN).is_file() {
        anyhow::ensure!(
            !purge || !folder.exists(),
            "{} was not made by `quittance up`: not removed",
            folder.display()
        );
        return Ok(Down::Nothing);
    }
    let lock = Lock::take(folder)?;
    let stopped = match State::load(folder)? {
        None => Down::Nothing,
        Some(state) => {
            let running = state
                .processes
                .iter()
                .filter(|child| child.has_any_running());
            let count = running.count();
            end_all(&state.processes).await?;
            if count == 0 {
                Down::Nothing
            } else {
                Down::Stopped(count)
            }
        }
    };
    State::forget(folder)?;
    if purge {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    drop(lock);
    Ok(stopped)
}

/// Ends `processes` in the order of their roles. One that cannot be ended does not keep the others.
pub(super) async fn end_all(processes: &[Child]) -> anyhow::Result<()> {
    let mut result = Ok(());
    for roles in Role::STOPPING {
        let together = processes
            .iter()
            .filter(|child| roles.contains(&child.role))
            .map(Child::end);
        for ended in join_all(together).await {
            result = result.and(ended);
        }
    }
    result
}
