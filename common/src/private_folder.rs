//! Folders for data that is nobody else's: queues, books and mail hold names and addresses.

use std::fs::DirBuilder;
use std::io;
use std::path::Path;

/// Makes the folder and what is missing above it, open to its owner alone. One that is there stays
/// as it is.
///
/// # Errors
/// What the file system says.
pub fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_that_is_made_is_open_to_its_owner_alone_and_one_that_is_there_stays() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("data/mail");
        make(&folder).unwrap();
        make(&folder).unwrap();
        for made in [&folder, &above.path().join("data")] {
            let mode = std::fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }
}
