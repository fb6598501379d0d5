//! What a replay of a file or of the archive has done already: one line for each message that the
//! engine has confirmed, so that a replay that was killed goes on where it was. At most the one
//! message between its confirm and its line is sent twice, and the pipeline knows it again.
//!
//! The journal of a file stays beside it. That of a stretch of the archive is there while its replay
//! is not finished: the archive stays, and who asks again later means it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use quittance_common::ids::MessageId;
use quittance_common::queue::Range;
use serde::{Deserialize, Serialize};

use super::lines::{self, Lines};
use super::record;
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
    /// Of the archive, the stretch; what was asked as an age stays the moment that it was at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

/// Which journal: where it is, and of what.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    path: PathBuf,
    to: String,
    origin: Origin,
    range: Range,
}

impl Subject {
    /// That of a drain file and a destination.
    ///
    /// # Errors
    /// When it is no drain file.
    pub(crate) fn file(file: &Path, to: &str) -> anyhow::Result<Self> {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{to}.journal"));
        Ok(Self {
            path: PathBuf::from(name),
            to: to.to_owned(),
            origin: store::origin(file)?,
            range: Range::default(),
        })
    }

    /// That of a stretch of an archive and a destination, in `folder`. `asked` is the stretch in the
    /// operator's words: the same command finds its journal again, whatever an age has become.
    pub(crate) fn archive(
        folder: &Path,
        archive: &str,
        asked: &str,
        to: &str,
        range: Range,
    ) -> Self {
        let seal = record::hex(format!("{archive}\n{asked}").as_bytes());
        let key = seal.get(..12).unwrap_or(&seal);
        Self {
            path: folder.join(format!("{archive}.{key}.{to}.journal")),
            to: to.to_owned(),
            origin: Origin {
                begun_at: Timestamp::MIN,
                seal,
            },
            range,
        }
    }
}

/// The place of a message in the archive: its id, whatever file of a stream it is in.
pub(crate) fn archived(number: usize, id: MessageId) -> Place {
    Place {
        line: number,
        seal: record::hex(id.to_string().as_bytes()),
    }
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
pub(crate) struct Told {
    head: Option<Head>,
    /// The seals of the lines that are done.
    seals: HashSet<String>,
    /// Those that have none: the line, and the message's id.
    unsealed: HashSet<(usize, String)>,
    /// The earliest of them.
    unsealed_since: Option<Timestamp>,
}

impl Told {
    /// Reads a journal and leaves it as it is, for a dry run. What is not there says nothing.
    ///
    /// # Errors
    /// When the journal cannot be read or is damaged.
    pub(crate) fn look(subject: &Subject, again: bool) -> anyhow::Result<Self> {
        let mut told = Self::default();
        if again || !subject.path.exists() {
            return Ok(told);
        }
        lines::each(&subject.path, |number, line| told.hear(number, line))?;
        Ok(if told.is_stale(&subject.origin) {
            Self::default()
        } else {
            told
        })
    }

    /// The stretch of the archive that the replay began with; `asked` when none has begun.
    pub(crate) fn range(&self, asked: Range) -> Range {
        self.head.as_ref().map_or(asked, |head| Range {
            since: head.since,
            until: head.until,
        })
    }

    /// Whether that very line, with the message of that id, is confirmed.
    pub(crate) fn has(&self, place: &Place, id: &str) -> bool {
        self.seals.contains(&place.seal) || self.unsealed.contains(&(place.line, id.to_owned()))
    }

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

/// The journal of one replay, open for noting.
#[derive(Debug)]
pub(crate) struct Journal {
    lines: Lines,
    path: PathBuf,
    told: Told,
    /// Whether a replay that was begun before goes on.
    pub(crate) goes_on: bool,
    /// The mark of this replay, the same after every interruption.
    pub(crate) replay_id: String,
}

impl Journal {
    /// Opens the journal, or begins it under `replay_id`. With `again` the old one is forgotten, and
    /// so is one that tells of another file of that name.
    ///
    /// # Errors
    /// When another tool is at the same replay now, or the journal is damaged.
    pub(crate) fn open(subject: &Subject, replay_id: &str, again: bool) -> anyhow::Result<Self> {
        let mut told = Told::default();
        let mut lines = Lines::open(&subject.path, |number, line| {
            if again {
                return Ok(());
            }
            told.hear(number, line)
        })?;
        if again || told.is_stale(&subject.origin) {
            lines.clear()?;
            told = Told::default();
        }
        let goes_on = told.head.is_some();
        let replay_id = if let Some(head) = &told.head {
            head.replay_id.clone()
        } else {
            lines.append(&[Head {
                quittance: "replay".to_owned(),
                version: VERSION,
                to: subject.to.clone(),
                replay_id: replay_id.to_owned(),
                file: Some(subject.origin.seal.clone()),
                since: subject.range.since,
                until: subject.range.until,
            }])?;
            replay_id.to_owned()
        };
        Ok(Self {
            lines,
            path: subject.path.clone(),
            told,
            goes_on,
            replay_id,
        })
    }

    /// The stretch of the archive that this replay began with.
    pub(crate) fn range(&self, asked: Range) -> Range {
        self.told.range(asked)
    }

    /// Whether that very line, with the message of that id, is confirmed.
    pub(crate) fn has(&self, place: &Place, id: &str) -> bool {
        self.told.has(place, id)
    }

    /// The replay is finished: the next one begins anew.
    pub(crate) fn forget(self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
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

    fn open(file: &Path, replay_id: &str, again: bool) -> anyhow::Result<Journal> {
        Journal::open(&Subject::file(file, "q").unwrap(), replay_id, again)
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
        let reopen = |id, again| open(&file, id, again).unwrap();
        let mut first = reopen("r1", false);
        let (second_line, third_line) = (place(2, "s2"), place(3, "s3"));
        first
            .note(&second_line, "m", Timestamp::UNIX_EPOCH)
            .unwrap();
        assert!(open(&file, "r2", false).is_err());
        drop(first);
        let second = reopen("r2", false);
        assert_eq!(second.replay_id, "r1");
        assert!(second.has(&second_line, "m") && !second.has(&third_line, "m"));
        drop(second);
        let third = reopen("r3", true);
        assert_eq!(third.replay_id, "r3");
        assert!(!third.has(&second_line, "m"));
    }

    #[test]
    fn a_line_with_another_seal_is_not_done_whatever_its_number_and_message() {
        let (_folder, file) = drained(BEGUN);
        let mut journal = open(&file, "r1", false).unwrap();
        journal.note(&place(2, "s"), "m", Timestamp::MAX).unwrap();
        assert!(!journal.has(&place(2, "other"), "m"));
    }

    #[test]
    fn the_journal_of_an_earlier_file_of_that_name_is_forgotten() {
        let (_folder, file) = drained(BEGUN);
        let mut journal = open(&file, "r1", false).unwrap();
        journal.note(&place(2, "s"), "m", Timestamp::MAX).unwrap();
        drop(journal);
        begin(&file, "2026-11-23T11:00:00Z");
        let journal = open(&file, "r2", false).unwrap();
        assert_eq!(journal.replay_id, "r2");
        assert!(!journal.has(&place(2, "s"), "m"));
        drop(journal);
        let journal = open(&file, "r3", false).unwrap();
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
            std::fs::write(Subject::file(&file, "q").unwrap().path, frozen).unwrap();
            let journal = open(&file, "r2", false).unwrap();
            assert_eq!(journal.replay_id, mark);
            assert_eq!(journal.has(&place(2, "s"), "m"), mark == "r1");
            assert!(!journal.has(&place(2, "s"), "another message"));
        }
    }

    #[test]
    fn a_replay_of_the_archive_goes_on_with_its_stretch_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let range = |since: &str| Range {
            since: since.parse().ok(),
            until: None,
        };
        let of = |asked, since: &str| {
            let range = range(since);
            Subject::archive(folder.path(), "ipn.archive", asked, "ipn.verify", range)
        };
        let (message, begun) = (MessageId::new(), of("2h", "2026-11-22T10:00:00Z"));
        let mut journal = Journal::open(&begun, "r1", false).unwrap();
        let (place, id) = (archived(1, message), message.to_string());
        journal.note(&place, &id, Timestamp::MAX).unwrap();
        drop(journal);

        // Half an hour later, by the same words and in another file of the stream.
        let later = of("2h", "2026-11-22T10:30:00Z");
        let told = Told::look(&later, false).unwrap();
        assert!(told.has(&archived(7, message), &id));
        assert_eq!(told.range(later.range), begun.range);
        let other = Told::look(&of("3h", "2026-11-22T09:30:00Z"), false).unwrap();
        assert!(!other.has(&place, &id));
        let journal = Journal::open(&later, "r2", false).unwrap();
        assert!(journal.goes_on && journal.replay_id == "r1");
        journal.forget().unwrap();

        let again = Journal::open(&later, "r3", false).unwrap();
        assert!(!again.goes_on && !again.has(&place, &id));
    }

    #[test]
    fn a_look_at_a_journal_leaves_no_trace() {
        let (folder, file) = drained(BEGUN);
        let subject = Subject::file(&file, "q").unwrap();
        let told = Told::look(&subject, false).unwrap();
        assert!(!told.has(&place(2, "s"), "m"));
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
