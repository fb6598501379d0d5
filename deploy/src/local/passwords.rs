//! The passwords of a folder's servers: made once, kept in its plan, shown nowhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The user of RabbitMQ.
pub(super) const BROKER_USER: &str = "quittance";

/// One for each server; letters and digits alone, so that they stand in URLs and settings files as
/// they are. Empty in a plan that was made before there were any.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Passwords {
    /// RabbitMQ's, of [`BROKER_USER`].
    pub(super) broker: String,
    /// Redis's.
    pub(super) claims: String,
    /// PostgreSQL's, of the superuser `postgres`.
    pub(super) books: String,
}

impl fmt::Debug for Passwords {
    /// Shows nothing.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    /// New ones, of 128 random bits each.
    pub(super) fn fresh() -> Self {
        let one = || format!("{:032x}", rand::random::<u128>());
        Self {
            broker: one(),
            claims: one(),
            books: one(),
        }
    }

    /// Whether there are any.
    pub(super) fn are_set(&self) -> bool {
        let Self {
            broker,
            claims,
            books,
        } = self;
        [broker, claims, books].iter().all(|one| !one.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same_and_none_is_shown() {
        let passwords = Passwords::fresh();
        assert!(passwords.are_set() && !Passwords::default().are_set());
        assert_ne!(passwords.broker, passwords.claims);
        assert_ne!(passwords.claims, passwords.books);
        assert_ne!(passwords, Passwords::fresh());
        assert!(!format!("{passwords:?}").contains(&passwords.broker));
    }
}
