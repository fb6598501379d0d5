//! What is wrong with the settings: every mistake at once, each with its place.

use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the settings file.
    File {
        /// The file's path.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// Nothing was set.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(out, "file {path} line {line}"),
            Self::Environment(name) => write!(out, "environment {name}"),
            Self::Default => out.write_str("not set"),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} ({origin}): {problem}")]
pub struct Mistake {
    /// The key, or the file when it cannot be read at all.
    pub key: String,
    /// Where the value came from.
    pub origin: Origin,
    /// What was found and what is allowed; a secret's value is never in it.
    pub problem: String,
}

/// Every mistake in the settings; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsErrors(pub Vec<Mistake>);

impl fmt::Display for SettingsErrors {
    /// One mistake a line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsErrors {}

/// Whether mistakes in the settings are at the bottom of an error, so that a restart does not help.
pub fn is_bad_settings(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<SettingsErrors>() {
            return true;
        }
        cause = error.source();
    }
    false
}
