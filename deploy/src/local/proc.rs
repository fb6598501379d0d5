//! What `/proc` tells of processes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::Pid;

/// One process, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    state: char,
    /// Its process group.
    group: i32,
    /// When it was started, in clock ticks since the machine was.
    pub(super) started: u64,
}

impl Stat {
    /// Of the process of that id, if there is one, be it a zombie.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let (_, fields) = text.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(16)?.parse().ok()?;
        Some(Self {
            state,
            group,
            started,
        })
    }

    /// Whether it has not ended.
    pub(super) const fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The running members of a process group that were started with the variable `name` set to
/// `value`, they or whoever started them.
pub(super) fn marked(group: i32, name: &str, value: &OsStr) -> Vec<Pid> {
    let mut wanted = format!("{name}=").into_bytes();
    wanted.extend_from_slice(value.as_bytes());
    processes()
        .filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.group == group && stat.runs()))
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted)
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// Whether a process has its working directory there.
pub(super) fn works_in(folder: &Path) -> bool {
    processes()
        .any(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|place| place == folder))
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_works_in_its_folder() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let stat = Stat::of(pid).unwrap();
        assert!(stat.runs() && stat.started > 0);
        assert!(works_in(&std::env::current_dir().unwrap()));
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        assert_eq!(stat.group, group);
    }
}
