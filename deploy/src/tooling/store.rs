//! The drain file: a manifest, then one record a line, each message once.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;

use super::lines::{self, Lines};
use super::record::{self, Manifest, Record};
use quittance_common::message::Message;

/// A drain file, open for appending.
#[derive(Debug)]
pub(crate) struct DrainFile {
    lines: Lines,
    known: HashSet<[u8; 32]>,
}

impl DrainFile {
    /// Opens or begins the file for `queue`.
    ///
    /// # Errors
    /// When the file is something else, or was begun for another queue.
    pub(crate) fn open(path: &Path, queue: &str, now: Timestamp) -> anyhow::Result<Self> {
        let (mut known, mut begun) = (HashSet::new(), false);
        let mut lines = Lines::open(path, |number, line| {
            if number == 1 {
                let found = Manifest::read(line)?.queue;
                anyhow::ensure!(
                    found == queue,
                    "the file was begun for `{found}`; use another file for `{queue}`"
                );
                begun = true;
            } else {
                known.insert(serde_json::from_str::<Record>(line)?.identity());
            }
            Ok(())
        })?;
        if !begun {
            lines.append(&[Manifest::new(queue, now)])?;
        }
        Ok(Self { lines, known })
    }

    /// Appends those messages that the file does not have; all are on the disk when this returns.
    /// How many were new.
    pub(crate) fn append<'a>(
        &mut self,
        messages: impl IntoIterator<Item = &'a Message>,
    ) -> anyhow::Result<usize> {
        let records = messages.into_iter().map(Record::of);
        let fresh: Vec<Record> = records
            .filter(|record| self.known.insert(record.identity()))
            .collect();
        if !fresh.is_empty() {
            self.lines.append(&fresh)?;
        }
        Ok(fresh.len())
    }
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// A digest of its first line: no two drains begin a file at the same moment.
    pub(crate) seal: String,
    /// When it was begun.
    pub(crate) begun_at: Timestamp,
}

/// Where a message is in which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of its line; the first is 1.
    pub(crate) line: usize,
    /// A digest of the file's first line and of this one.
    pub(crate) seal: String,
}

/// Which file that is.
///
/// # Errors
/// When it is not a drain file, or one of a newer version.
pub(crate) fn origin(path: &Path) -> anyhow::Result<Origin> {
    let mut origin = None;
    lines::first(path, |line| {
        origin = Some(Origin {
            begun_at: Manifest::read(line)?.begun_at,
            seal: record::hex(line.as_bytes()),
        });
        Ok(())
    })?;
    origin.with_context(|| is_empty(path))
}

/// Hands each message of a drain file to `each`, with its place.
///
/// # Errors
/// When the file is damaged or of a newer version, or `each` fails.
pub(crate) fn read(
    path: &Path,
    mut each: impl FnMut(Place, Message) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut head = None;
    lines::each(path, |number, text| {
        let Some(head) = &head else {
            Manifest::read(text)?;
            head = Some(text.to_owned());
            return Ok(());
        };
        let place = Place {
            line: number,
            seal: record::hex(format!("{head}\n{text}").as_bytes()),
        };
        each(place, serde_json::from_str::<Record>(text)?.message()?)
    })?;
    head.map(|_| ()).with_context(|| is_empty(path))
}

fn is_empty(path: &Path) -> String {
    format!("{} is not a drain file: it is empty", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quittance_common::ids::MessageId;
    use quittance_common::message::{Headers, MessageKind};

    fn message() -> Message {
        Message {
            id: MessageId::new(),
            kind: MessageKind::NotificationV1,
            content_type: "application/x-www-form-urlencoded".into(),
            timestamp: Timestamp::UNIX_EPOCH,
            headers: Headers::default(),
            body: Bytes::from_static(b"txn_id=T1"),
        }
    }

    #[test]
    fn a_message_that_comes_again_is_written_once_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let open = || DrainFile::open(&path, "q", Timestamp::UNIX_EPOCH).unwrap();
        let (one, other) = (message(), message());
        let mut file = open();
        assert_eq!(file.append([&one, &one]).unwrap(), 1);
        drop(file);
        assert_eq!(open().append([&one, &other]).unwrap(), 1);
        let mut all = Vec::new();
        read(&path, |place, message| {
            all.push((place.line, message));
            Ok(())
        })
        .unwrap();
        assert_eq!(all, [(2, one), (3, other)]);
    }

    #[test]
    fn a_file_begun_for_another_queue_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        DrainFile::open(&path, "one", Timestamp::UNIX_EPOCH).unwrap();
        let error = DrainFile::open(&path, "other", Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(
            format!("{error:#}").contains("begun for `one`"),
            "{error:#}"
        );
    }

    #[test]
    fn the_same_message_has_another_seal_in_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let message = message();
        let seals = |name: &str, begun_at| {
            let path = folder.path().join(name);
            let mut file = DrainFile::open(&path, "q", begun_at).unwrap();
            file.append([&message]).unwrap();
            let mut seals = vec![origin(&path).unwrap().seal];
            read(&path, |place, _| {
                seals.push(place.seal);
                Ok(())
            })
            .unwrap();
            seals
        };
        let first = seals("one", Timestamp::UNIX_EPOCH);
        let later = seals("other", Timestamp::MAX);
        assert!(first[0] != later[0] && first[1] != later[1]);
        assert_eq!(seals("same", Timestamp::UNIX_EPOCH), first);
    }
}
