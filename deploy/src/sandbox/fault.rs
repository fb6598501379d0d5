//! Faults on demand: what the stand-in does wrong next, and for how many requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the gateway's endpoint behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As it should.
    #[default]
    Ok,
    /// As it should, after `millis`.
    Slow,
    /// The connection is reset before any answer.
    Refuse,
    /// `200` with an HTML page that says that something went wrong.
    Html,
    /// `INVALID`, whatever was posted.
    Invalid,
    /// The connection is reset in the middle of the answer.
    Reset,
    /// `403`, as an edge answers to what it finds suspicious.
    #[serde(rename = "error_403")]
    Error403,
    /// `500`.
    #[serde(rename = "error_500")]
    Error500,
    /// `302` to another page.
    Redirect,
    /// `200` with nothing.
    Empty,
    /// `200` with bytes that mean nothing, the word `VERIFIED` among them.
    Garbage,
    /// `503` with `Retry-After` of `millis`, in whole seconds, at least one.
    RetryAfter,
}

/// A mode, with its measure and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub mode: Mode,
    /// Milliseconds, for [`Mode::Slow`] and [`Mode::RetryAfter`].
    #[serde(default)]
    pub millis: u64,
    /// For so many requests; without it, until the next order.
    #[serde(default)]
    pub count: Option<u64>,
}

impl Fault {
    /// A fault that lasts until the next order.
    pub const fn lasting(mode: Mode) -> Self {
        Self {
            mode,
            millis: 0,
            count: None,
        }
    }

    /// What applies to the request at hand; counts it, and heals when the count is used up.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let now = *self;
        match &mut self.count {
            None => now,
            Some(0) => {
                *self = Self::default();
                Self::default()
            }
            Some(left) => {
                *left = left.saturating_sub(1);
                now
            }
        }
    }

    /// The measure as a wait.
    pub const fn wait(self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// The measure as `Retry-After`: whole seconds, rounded up, at least one.
    pub fn retry_after_seconds(self) -> u64 {
        self.millis.div_ceil(1000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_heals_after_its_count() {
        let mut fault = Fault {
            mode: Mode::Html,
            millis: 0,
            count: Some(2),
        };
        let taken: Vec<Mode> = (0..4).map(|_| fault.take().mode).collect();
        assert_eq!(taken, [Mode::Html, Mode::Html, Mode::Ok, Mode::Ok]);
    }

    #[test]
    fn a_lasting_fault_lasts() {
        let mut fault = Fault::lasting(Mode::Refuse);
        assert!((0..100).all(|_| fault.take().mode == Mode::Refuse));
    }

    #[test]
    fn a_mode_is_read_by_the_name_in_the_manual() {
        let fault: Fault = serde_json::from_str(r#"{"mode":"error_500","count":1}"#).unwrap();
        assert_eq!((fault.mode, fault.count), (Mode::Error500, Some(1)));
        assert!(serde_json::from_str::<Fault>(r#"{"mode":"explode"}"#).is_err());
    }

    #[test]
    fn retry_after_is_at_least_one_second() {
        let fault = |millis| Fault {
            mode: Mode::RetryAfter,
            millis,
            count: None,
        };
        assert_eq!(fault(0).retry_after_seconds(), 1);
        assert_eq!(fault(1001).retry_after_seconds(), 2);
    }
}
