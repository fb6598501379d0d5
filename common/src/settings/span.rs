//! A length of time as people write it into the settings: whole days, hours, minutes, seconds.

use std::time::Duration;

/// A unit's name and its milliseconds, from the longest.
const UNITS: [(&str, u128); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Such as `35d`, `1h 30m` or `0s`. Months and years have no fixed length and are not used; what is
/// shorter than a millisecond is left out. The settings' reader reads it back as the same duration.
pub fn span(value: Duration) -> String {
    let mut left = value.as_millis();
    let mut parts = Vec::new();
    for (unit, millis) in UNITS {
        let count = left / millis;
        left %= millis;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if parts.is_empty() {
        return "0s".to_owned();
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_days_and_not_parts_of_a_month() {
        for (seconds, text) in [
            (35 * 86_400, "35d"),
            (90 * 86_400, "90d"),
            (5_400, "1h 30m"),
            (0, "0s"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(Duration::from_millis(1_500)), "1s 500ms");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_as_the_same(millis in 0_u64..=10_000_000_000_000) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(humantime::parse_duration(&span(value)), Ok(value));
        }
    }
}
