//! Files of lines that are only ever appended to and survive a kill: one writer at a time, and a
//! last line without its end, which nobody has relied on yet, is cut off when the file is opened
//! again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

/// The file may hold what buyers have told: for its owner only.
const MODE: u32 = 0o600;

/// An open file of lines, locked against a second tool.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    path: PathBuf,
}

impl Lines {
    /// Opens or makes the file and hands each complete line that is there to `each`.
    ///
    /// # Errors
    /// When the file cannot be used, another tool has it, or `each` refuses a line.
    pub(crate) fn open(
        path: &Path,
        mut each: impl FnMut(usize, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let failed = |what: &str| format!("cannot {what} {}", path.display());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(MODE)
            .open(path)
            .with_context(|| failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!("another tool is at work on {}", path.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| failed("lock")),
        }
        let mut reader = BufReader::new(&file);
        let (mut good, mut line, mut number) = (0_u64, Vec::new(), 0);
        loop {
            line.clear();
            let read = reader
                .read_until(b'\n', &mut line)
                .with_context(|| failed("read"))?;
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let text = std::str::from_utf8(&line)
                .map_err(anyhow::Error::from)
                .and_then(|text| each(number, text.trim_end()));
            text.with_context(|| format!("{}, line {number}", path.display()))?;
            good = good.saturating_add(u64::try_from(read).unwrap_or_default());
        }
        drop(reader);
        file.set_len(good).with_context(|| failed("cut"))?;
        let mut lines = Self {
            file,
            path: path.to_owned(),
        };
        lines
            .file
            .seek(SeekFrom::Start(good))
            .with_context(|| failed("read"))?;
        if number == 0 {
            lines.sync_name()?;
        }
        Ok(lines)
    }

    /// Appends; on the disk when this returns.
    pub(crate) fn append(&mut self, rows: &[impl Serialize]) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut bytes, row)?;
            bytes.push(b'\n');
        }
        let written = self.file.write_all(&bytes);
        written
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Forgets all lines; still locked, and on the disk when this returns.
    pub(crate) fn clear(&mut self) -> anyhow::Result<()> {
        let cleared = self.file.set_len(0);
        cleared
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("cannot clear {}", self.path.display()))
    }

    /// Makes the new file's name durable too, which an fsync of the file alone does not.
    fn sync_name(&self) -> anyhow::Result<()> {
        let parent = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or_else(|| Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot sync {}", folder.display()))
    }
}

/// Hands each line of a file that nobody need lock to `each`. A last line without its end is left
/// out.
///
/// # Errors
/// When the file cannot be read or `each` refuses a line.
pub(crate) fn each(
    path: &Path,
    mut each: impl FnMut(usize, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let in_line = || format!("{}, line {number}", path.display());
        let read = reader.read_line(&mut line).with_context(in_line)?;
        if read == 0 || !line.ends_with('\n') {
            break;
        }
        each(number, line.trim_end()).with_context(in_line)?;
    }
    Ok(())
}

/// Hands the first line of a file to `first`, if it is complete.
///
/// # Errors
/// When the file cannot be read or `first` refuses the line.
pub(crate) fn first(
    path: &Path,
    first: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut line = String::new();
    let in_line = || format!("{}, line 1", path.display());
    BufReader::new(file)
        .read_line(&mut line)
        .with_context(in_line)?;
    if line.ends_with('\n') {
        first(line.trim_end()).with_context(in_line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<String> {
        let mut all = Vec::new();
        each(path, |_, line| {
            all.push(line.to_owned());
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn a_line_that_was_cut_short_by_a_kill_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "\"a\"\n\"b\"\n\"c").unwrap();
        let mut seen = Vec::new();
        let mut lines = Lines::open(&path, |_, line| {
            seen.push(line.to_owned());
            Ok(())
        })
        .unwrap();
        lines.append(&["d"]).unwrap();
        assert_eq!(seen, ["\"a\"", "\"b\""]);
        assert_eq!(read(&path), ["\"a\"", "\"b\"", "\"d\""]);
    }

    #[test]
    fn a_second_tool_is_refused_while_the_first_works() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let first = Lines::open(&path, |_, _| Ok(())).unwrap();
        assert!(Lines::open(&path, |_, _| Ok(())).is_err());
        drop(first);
        assert!(Lines::open(&path, |_, _| Ok(())).is_ok());
    }

    #[test]
    fn a_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        Lines::open(&path, |_, _| Ok(())).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
