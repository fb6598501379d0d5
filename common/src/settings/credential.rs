//! Credentials of servers. One that came from a file is read again whenever a connection is made, so
//! that a password can be changed under a running process.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use tracing::{info, warn};

/// A URL with a password. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Credential {
    source: Arc<Source>,
}

struct Source {
    /// The setting.
    key: String,
    /// Where it is read again; without one it stays as it is.
    file: Option<PathBuf>,
    /// What the setting allows.
    allowed: fn(&str) -> bool,
    last: Mutex<Last>,
}

struct Last {
    /// The last one that was allowed.
    good: SecretString,
    /// Whether it is known that the file has none: told once.
    complained: bool,
}

impl fmt::Debug for Credential {
    /// Shows which one it is, never what it says.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credential({})", self.source.key)
    }
}

impl Credential {
    /// `None` when `text` is not allowed.
    pub(crate) fn new(
        key: &str,
        text: &str,
        file: Option<PathBuf>,
        allowed: fn(&str) -> bool,
    ) -> Option<Self> {
        let good = allowed(text).then(|| SecretString::from(text))?;
        Some(Self {
            source: Arc::new(Source {
                key: key.to_owned(),
                file,
                allowed,
                last: Mutex::new(Last {
                    good,
                    complained: false,
                }),
            }),
        })
    }

    /// What to log in with now. A file that cannot be read, or says something that is not allowed,
    /// leaves the last one in place. Reads a file of a few bytes: cheap beside any connection.
    pub fn now(&self) -> SecretString {
        let source = &self.source;
        // Read before the lock, so that a slow disk holds up nobody else.
        let found = source.file.as_ref().map(std::fs::read_to_string);
        let mut last = source.last.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = match found {
            None => None,
            Some(Ok(text)) if (source.allowed)(text.trim()) => {
                if last.good.expose_secret() != text.trim() {
                    last.good = SecretString::from(text.trim());
                    info!(key = source.key, "a changed credential was read");
                }
                last.complained = false;
                None
            }
            Some(Ok(_)) => Some("it says something that is not allowed".to_owned()),
            Some(Err(error)) => Some(format!("it cannot be read: {error}")),
        };
        if let Some(problem) = problem
            && !last.complained
        {
            last.complained = true;
            let key = &source.key;
            warn!(
                key,
                problem, "the file of a credential is no good: the last one is used"
            );
        }
        last.good.clone()
    }
}

impl<T: Into<SecretString>> From<T> for Credential {
    /// One that stays as it is, and is used as it is.
    fn from(text: T) -> Self {
        Self {
            source: Arc::new(Source {
                key: "given".to_owned(),
                file: None,
                allowed: |_| true,
                last: Mutex::new(Last {
                    good: text.into(),
                    complained: false,
                }),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_the_last_good_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("redis");
        let allowed = |text: &str| text.starts_with("redis://");
        let first = "redis://:hunter1@h";
        let credential = Credential::new("k", first, Some(file.clone()), allowed).unwrap();
        let now = |credential: &Credential| credential.now().expose_secret().to_owned();
        // Not there at all, as while a Secret is being mounted.
        assert_eq!(now(&credential), first);
        std::fs::write(&file, "redis://:hunter2@h\n").unwrap();
        assert_eq!(now(&credential), "redis://:hunter2@h");
        for bad in ["", "half a pass"] {
            std::fs::write(&file, bad).unwrap();
            assert_eq!(now(&credential), "redis://:hunter2@h");
        }
        assert!(!format!("{credential:?}").contains("hunter"));
    }

    #[test]
    fn one_that_is_not_allowed_is_none_and_one_without_a_file_stays() {
        assert!(Credential::new("k", "", None, |text| !text.is_empty()).is_none());
        let given = Credential::from("redis://h");
        assert_eq!(given.now().expose_secret(), "redis://h");
    }
}
