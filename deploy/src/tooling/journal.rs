//! What a replay of a file has done already: beside the file, one line for each message that the
//! engine has confirmed, so that a replay that was killed goes on where it was. At most the one
//! message between its confirm and its line is sent twice, and the pipeline knows it again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lines::Lines;

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    quittance: String,
    version: u32,
    to: String,
    replay_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    line: usize,
    id: String,
    at: Timestamp,
}

/// The journal of one file and one destination.
#[derive(Debug)]
pub(crate) struct Journal {
    lines: Lines,
    done: HashSet<usize>,
    /// The mark of this replay, the same after every interruption.
    pub(crate) replay_id: String,
}

impl Journal {
    /// Where the journal of `file` is.
    pub(crate) fn path(file: &Path, to: &str) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{to}.journal"));
        PathBuf::from(name)
    }

    /// Opens the journal, or begins it under `replay_id`. With `again` the old one is forgotten.
    ///
    /// # Errors
    /// When another tool replays this file now, or the journal is damaged.
    pub(crate) fn open(
        file: &Path,
        to: &str,
        replay_id: &str,
        again: bool,
    ) -> anyhow::Result<Self> {
        let path = Self::path(file, to);
        if again && path.is_file() {
            // Locked first: not under the hands of another tool.
            let _held = Lines::open(&path, |_, _| Ok(()))?;
            std::fs::remove_file(&path)?;
        }
        let (mut done, mut head) = (HashSet::new(), None);
        let mut lines = Lines::open(&path, |number, line| {
            if number == 1 {
                let found: Head = serde_json::from_str(line)?;
                anyhow::ensure!(
                    found.quittance == "replay" && found.version <= VERSION,
                    "not a journal that this version reads"
                );
                head = Some(found.replay_id);
            } else {
                done.insert(serde_json::from_str::<Done>(line)?.line);
            }
            Ok(())
        })?;
        let replay_id = if let Some(first) = head {
            first
        } else {
            lines.append(&[Head {
                quittance: "replay".to_owned(),
                version: VERSION,
                to: to.to_owned(),
                replay_id: replay_id.to_owned(),
            }])?;
            replay_id.to_owned()
        };
        Ok(Self {
            lines,
            done,
            replay_id,
        })
    }

    /// Whether the message on that line is confirmed.
    pub(crate) fn has(&self, line: usize) -> bool {
        self.done.contains(&line)
    }

    /// Notes a confirm; on the disk when this returns.
    pub(crate) fn note(&mut self, line: usize, id: &str, at: Timestamp) -> anyhow::Result<()> {
        self.done.insert(line);
        self.lines.append(&[Done {
            line,
            id: id.to_owned(),
            at,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_goes_on_under_its_first_mark_until_it_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let open = |id, again| Journal::open(&file, "q", id, again).unwrap();
        let mut first = open("r1", false);
        first.note(2, "m", Timestamp::UNIX_EPOCH).unwrap();
        assert!(Journal::open(&file, "q", "r2", false).is_err());
        drop(first);
        let second = open("r2", false);
        assert_eq!(
            (second.replay_id.as_str(), second.has(2), second.has(3)),
            ("r1", true, false)
        );
        drop(second);
        let third = open("r3", true);
        assert_eq!((third.replay_id.as_str(), third.has(2)), ("r3", false));
    }
}
