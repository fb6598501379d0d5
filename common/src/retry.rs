//! The ladder of waits: one delay queue a step, each with the fixed TTL that its name carries.
//!
//! A per-message TTL would be a trap: a queue expires messages at its head only.

use std::fmt;
use std::time::Duration;

/// A wait that is a whole number of milliseconds, and the part of a queue's name that says so
/// (`200ms`, `1s`, `2m`, `6h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rung(u64);

impl Rung {
    /// A rung of so many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The wait in milliseconds, for `x-message-ttl`.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The wait.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Reads the form that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at_checked(digits)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number
            .parse::<u64>()
            .ok()?
            .checked_mul(factor)
            .filter(|millis| *millis > 0)
            .map(Self)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                let count = self.0.checked_div(unit).unwrap_or_default();
                return write!(out, "{count}{name}");
            }
        }
        write!(out, "{}ms", self.0)
    }
}

/// The steps in rising order, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<Rung>);

impl Ladder {
    /// A ladder of these rungs; `None` when there is none. They are sorted and made unique.
    pub fn new(rungs: impl IntoIterator<Item = Rung>) -> Option<Self> {
        let mut rungs: Vec<Rung> = rungs.into_iter().collect();
        rungs.sort_unstable();
        rungs.dedup();
        (!rungs.is_empty()).then_some(Self(rungs))
    }

    /// The rungs in rising order.
    pub fn rungs(&self) -> &[Rung] {
        &self.0
    }

    /// The rung for the wait after `attempt` spent attempts (0: the first), and at least as long
    /// as `at_least` where a rung is; the longest rung otherwise.
    pub fn rung(&self, attempt: u32, at_least: Duration) -> Rung {
        let by_attempt = usize::try_from(attempt).unwrap_or(usize::MAX);
        let by_wait = self
            .0
            .iter()
            .position(|r| r.duration() >= at_least)
            .unwrap_or(usize::MAX);
        let step = by_attempt.max(by_wait).min(self.0.len().saturating_sub(1));
        // The constructor keeps at least one rung, so the default is never taken.
        self.0.get(step).copied().unwrap_or(Rung(1_000))
    }
}

impl Default for Ladder {
    /// 1 s, 5 s, 30 s, 2 min, 10 min, 1 h, 6 h.
    fn default() -> Self {
        Self(
            [
                1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000,
            ]
            .map(Rung::from_millis)
            .to_vec(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rung_is_named_in_its_largest_whole_unit() {
        for (millis, name) in [
            (200, "200ms"),
            (1_000, "1s"),
            (120_000, "2m"),
            (21_600_000, "6h"),
        ] {
            assert_eq!(Rung::from_millis(millis).to_string(), name);
            assert_eq!(Rung::parse(name), Some(Rung::from_millis(millis)));
        }
        assert_eq!(Rung::parse("0s"), None);
        assert_eq!(Rung::parse("5"), None);
    }

    #[test]
    fn each_attempt_waits_longer_until_the_last_rung() {
        let ladder = Ladder::default();
        let waits: Vec<String> = (0..9)
            .map(|n| ladder.rung(n, Duration::ZERO).to_string())
            .collect();
        assert_eq!(
            waits,
            ["1s", "5s", "30s", "2m", "10m", "1h", "6h", "6h", "6h"]
        );
    }

    #[test]
    fn a_retry_after_is_never_undercut_while_a_rung_is_long_enough() {
        let rung = Ladder::default().rung(0, Duration::from_secs(31));
        assert_eq!(rung.to_string(), "2m");
    }
}
