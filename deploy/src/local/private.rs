//! Files that nobody but their owner may read, because passwords stand in them or near them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// For the owner alone.
const MODE: u32 = 0o600;

/// What a file is written as before it has its name.
pub(super) fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Writes the whole file or, when killed meanwhile, nothing.
pub(super) fn write(file: &Path, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    let new = unfinished(file);
    let mut out = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(MODE)
        .open(&new)
        .with_context(cannot)?;
    out.write_all(bytes.as_ref()).with_context(cannot)?;
    out.sync_all().with_context(cannot)?;
    fs::rename(&new, file).with_context(cannot)
}

/// Opens a log to write at its end.
pub(super) fn append(log: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(MODE)
        .open(log)
        .with_context(|| format!("cannot open the log {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_written_is_its_owners_alone_also_over_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.json");
        fs::write(&file, "older and longer").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        write(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
