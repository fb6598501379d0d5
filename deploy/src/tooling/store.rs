//! The drain file: a manifest, then one record a line, each message once.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;

use super::lines::{self, Lines};
use super::record::{Manifest, Record};
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

/// Hands each message of a drain file to `each`, with the number of its line.
///
/// # Errors
/// When the file is damaged or of a newer version, or `each` fails.
pub(crate) fn read(
    path: &Path,
    mut each: impl FnMut(usize, Message) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut begun = false;
    lines::each(path, |number, line| {
        if number == 1 {
            Manifest::read(line)?;
            begun = true;
            return Ok(());
        }
        each(number, serde_json::from_str::<Record>(line)?.message()?)
    })?;
    anyhow::ensure!(begun, "{} is not a drain file: it is empty", path.display());
    Ok(())
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
        read(&path, |number, message| {
            all.push((number, message));
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
}
