//! The only place that reads the wall clock. Pure code takes `now` as an argument.

use jiff::Timestamp;

/// The wall clock now, UTC.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// RFC 3339 in UTC with milliseconds, the form of every time that leaves this system.
pub fn rfc3339_millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_three_decimals_and_z() {
        let at: Timestamp = "2026-11-22T10:00:00.5Z".parse().unwrap();
        assert_eq!(rfc3339_millis(at), "2026-11-22T10:00:00.500Z");
    }
}
