//! What a replay of a file has done already: beside the file, one line for each message that the
//! engine has confirmed, so that a replay that was killed goes on where it was. At most the one
//! message between its confirm and its line is sent twice, and the pipeline knows it again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lines::Lines;
use super::store::{self, Origin, Place};

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    quittance: String,
    version: u32,
    to: String,
    replay_id: String,
    /// The seal of the file; journals of 0.1.0 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    line: usize,
    id: String,
    /// The seal of the line: the same line of another file is not this one. Journals of 0.1.0 have
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
    at: Timestamp,
}

/// What a journal says.
#[derive(Debug, Default)]
struct Told {
    head: Option<Head>,
    /// The seals of the lines that are done.
    seals: HashSet<String>,
    /// Those that have none: the line, and the message's id.
    unsealed: HashSet<(usize, String)>,
    /// The earliest of them.
    unsealed_since: Option<Timestamp>,
}

impl Told {
    fn hear(&mut self, number: usize, line: &str) -> anyhow::Result<()> {
        if number == 1 {
            let found: Head = serde_json::from_str(line)?;
            anyhow::ensure!(
                found.quittance == "replay" && found.version <= VERSION,
                "not a journal that this version reads"
            );
            self.head = Some(found);
            return Ok(());
        }
        let done: Done = serde_json::from_str(line)?;
        if let Some(seal) = done.seal {
            self.seals.insert(seal);
        } else {
            self.unsealed.insert((done.line, done.id));
            let since = self.unsealed_since.unwrap_or(done.at);
            self.unsealed_since = Some(since.min(done.at));
        }
        Ok(())
    }

    /// Whether it tells of another file, which had the name before: one with another first line,
    /// or one that was replayed before this one was begun.
    fn is_stale(&self, origin: &Origin) -> bool {
        let another = self.head.as_ref().and_then(|head| head.file.as_ref());
        another.is_some_and(|seal| *seal != origin.seal)
            || self.unsealed_since.is_some_and(|at| at < origin.begun_at)
    }
}

/// The journal of one file and one destination.
#[derive(Debug)]
pub(crate) struct Journal {
    lines: Lines,
    told: Told,
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

    /// Opens the journal, or begins it under `replay_id`. With `again` the old one is forgotten, and
    /// so is one that tells of another file of that name.
    ///
    /// # Errors
    /// When the file is no drain file, another tool replays it now, or the journal is damaged.
    pub(crate) fn open(
        file: &Path,
        to: &str,
        replay_id: &str,
        again: bool,
    ) -> anyhow::Result<Self> {
        let origin = store::origin(file)?;
        let mut told = Told::default();
        let mut lines = Lines::open(&Self::path(file, to), |number, line| {
            if again {
                return Ok(());
            }
            told.hear(number, line)
        })?;
        if again || told.is_stale(&origin) {
            lines.clear()?;
            told = Told::default();
        }
        let replay_id = if let Some(head) = &told.head {
            head.replay_id.clone()
        } else {
            lines.append(&[Head {
                quittance: "replay".to_owned(),
                version: VERSION,
                to: to.to_owned(),
                replay_id: replay_id.to_owned(),
                file: Some(origin.seal),
            }])?;
            replay_id.to_owned()
        };
        Ok(Self {
            lines,
            told,
            replay_id,
        })
    }

    /// Whether that very line, with the message of that id, is confirmed.
    pub(crate) fn has(&self, place: &Place, id: &str) -> bool {
        self.told.seals.contains(&place.seal)
            || self.told.unsealed.contains(&(place.line, id.to_owned()))
    }

    /// Notes a confirm; on the disk when this returns.
    pub(crate) fn note(&mut self, place: &Place, id: &str, at: Timestamp) -> anyhow::Result<()> {
        self.told.seals.insert(place.seal.clone());
        self.lines.append(&[Done {
            line: place.line,
            id: id.to_owned(),
            seal: Some(place.seal.clone()),
            at,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: &str = "2026-11-22T11:00:00Z";

    fn place(line: usize, seal: &str) -> Place {
        let seal = seal.to_owned();
        Place { line, seal }
    }

    /// A drain file begun then, in a folder of its own.
    fn drained(begun_at: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        begin(&file, begun_at);
        (folder, file)
    }

    fn begin(file: &Path, begun_at: &str) {
        let head = serde_json::json!({
            "quittance": "drain", "version": 1, "queue": "q", "begun_at": begun_at,
            "written_by": "0.1.0",
        });
        std::fs::write(file, format!("{head}\n")).unwrap();
    }

    #[test]
    fn a_replay_goes_on_under_its_first_mark_until_it_is_asked_again() {
        let (_folder, file) = drained(BEGUN);
        let open = |id, again| Journal::open(&file, "q", id, again).unwrap();
        let mut first = open("r1", false);
        let (second_line, third_line) = (place(2, "s2"), place(3, "s3"));
        first
            .note(&second_line, "m", Timestamp::UNIX_EPOCH)
            .unwrap();
        assert!(Journal::open(&file, "q", "r2", false).is_err());
        drop(first);
        let second = open("r2", false);
        assert_eq!(second.replay_id, "r1");
        assert!(second.has(&second_line, "m") && !second.has(&third_line, "m"));
        drop(second);
        let third = open("r3", true);
        assert_eq!(third.replay_id, "r3");
        assert!(!third.has(&second_line, "m"));
    }

    #[test]
    fn a_line_with_another_seal_is_not_done_whatever_its_number_and_message() {
        let (_folder, file) = drained(BEGUN);
        let mut journal = Journal::open(&file, "q", "r1", false).unwrap();
        journal.note(&place(2, "s"), "m", Timestamp::MAX).unwrap();
        assert!(!journal.has(&place(2, "other"), "m"));
    }

    #[test]
    fn the_journal_of_an_earlier_file_of_that_name_is_forgotten() {
        let (_folder, file) = drained(BEGUN);
        let mut journal = Journal::open(&file, "q", "r1", false).unwrap();
        journal.note(&place(2, "s"), "m", Timestamp::MAX).unwrap();
        drop(journal);
        begin(&file, "2026-11-23T11:00:00Z");
        let journal = Journal::open(&file, "q", "r2", false).unwrap();
        assert_eq!(journal.replay_id, "r2");
        assert!(!journal.has(&place(2, "s"), "m"));
        drop(journal);
        let journal = Journal::open(&file, "q", "r3", false).unwrap();
        assert_eq!(journal.replay_id, "r2", "the new one is whole");
    }

    #[test]
    fn a_journal_of_0_1_0_is_gone_on_with_unless_it_is_older_than_the_file() {
        let frozen = concat!(
            r#"{"quittance":"replay","version":1,"to":"q","replay_id":"r1"}"#,
            "\n",
            r#"{"line":2,"id":"m","at":"2026-11-22T12:00:00Z"}"#,
            "\n"
        );
        for (begun_at, mark) in [(BEGUN, "r1"), ("2026-11-22T12:30:00Z", "r2")] {
            let (_folder, file) = drained(begun_at);
            std::fs::write(Journal::path(&file, "q"), frozen).unwrap();
            let journal = Journal::open(&file, "q", "r2", false).unwrap();
            assert_eq!(journal.replay_id, mark);
            assert_eq!(journal.has(&place(2, "s"), "m"), mark == "r1");
            assert!(!journal.has(&place(2, "s"), "another message"));
        }
    }
}
