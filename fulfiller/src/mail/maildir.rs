//! Delivery into a Maildir: written to `tmp/`, synced, renamed into `new/`. Nobody ever sees half
//! a mail, and the same name twice is one mail.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use quittance_common::private_folder;

/// Delivers `mail` as `name`. Returns once it is durable.
pub async fn deliver(folder: PathBuf, name: String, mail: Vec<u8>) -> io::Result<()> {
    tokio::task::spawn_blocking(move || deliver_blocking(&folder, &name, &mail))
        .await
        .map_err(io::Error::other)?
}

fn deliver_blocking(folder: &Path, name: &str, mail: &[u8]) -> io::Result<()> {
    for part in ["tmp", "new", "cur"] {
        private_folder::make(&folder.join(part))?;
    }
    let draft = folder.join("tmp").join(name);
    let mut file = File::create(&draft)?;
    file.write_all(mail)?;
    file.sync_all()?;
    let inbox = folder.join("new");
    fs::rename(&draft, inbox.join(name))?;
    // The rename itself is durable only when the folder is.
    File::open(inbox)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mail_delivered_twice_is_one_file_and_no_draft_is_left() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            deliver(folder.path().to_owned(), "m1".into(), b"hello".to_vec())
                .await
                .unwrap();
        }
        let count = |part: &str| fs::read_dir(folder.path().join(part)).unwrap().count();
        assert_eq!((count("new"), count("tmp")), (1, 0));
        assert_eq!(fs::read(folder.path().join("new/m1")).unwrap(), b"hello");
    }
}
