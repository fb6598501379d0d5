//! How long a supervisor waits before it tries again.

use std::time::Duration;

/// The first wait's upper bound.
const BASE: Duration = Duration::from_millis(200);

/// No wait is longer: a broker that is back must be in use again within 5 s, the time of a
/// connection attempt to a dead host included.
const CAP: Duration = Duration::from_millis(1_500);

/// The upper bound of the wait after `failures` failures in a row.
const fn ceiling(failures: u32) -> Duration {
    let doublings = if failures < 4 { failures } else { 4 };
    let wait = BASE.saturating_mul(1 << doublings);
    if wait.as_millis() < CAP.as_millis() {
        wait
    } else {
        CAP
    }
}

/// A wait with full jitter, so that a fleet does not come back in one step.
pub(super) fn wait(failures: u32) -> Duration {
    rand::random_range(Duration::ZERO..=ceiling(failures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_a_half_and_no_further() {
        let ceilings: Vec<u128> = (0..6).map(|n| ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [200, 400, 800, 1_500, 1_500, 1_500]);
        assert_eq!(ceiling(u32::MAX), CAP);
    }

    #[test]
    fn a_wait_is_never_longer_than_its_ceiling() {
        for failures in 0..100 {
            assert!(wait(failures) <= ceiling(failures));
        }
    }
}
