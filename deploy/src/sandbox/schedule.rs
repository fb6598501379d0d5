//! `PayPal`'s resend schedule: gaps of 10 s that double up to 24 h, for about four days after the
//! first post (help article ts1063, "IPN timeout length").

use std::time::Duration;

/// The first gap.
const FIRST_GAP: Duration = Duration::from_secs(10);
/// The longest gap.
const LONGEST_GAP: Duration = Duration::from_hours(24);
/// No resend later than this after the first post.
const HORIZON: Duration = Duration::from_hours(4 * 24);
/// What `PayPal` allows the first post, and each resend, before it counts as failed.
const FIRST_PATIENCE: Duration = Duration::from_secs(20);
const RESEND_PATIENCE: Duration = Duration::from_secs(30);

/// The gaps between the posts of one message, in order, divided by `scale`.
pub(super) fn gaps(scale: u32) -> impl Iterator<Item = Duration> + Send {
    let mut gap = FIRST_GAP;
    let mut since_first = Duration::ZERO;
    std::iter::from_fn(move || {
        let this = gap;
        since_first = since_first.saturating_add(this);
        gap = gap.saturating_mul(2).min(LONGEST_GAP);
        (since_first <= HORIZON).then(|| this.checked_div(scale.max(1)).unwrap_or(this))
    })
}

/// How long the listener may take for the post of that number (0: the first).
pub(super) const fn patience(post: usize) -> Duration {
    if post == 0 {
        FIRST_PATIENCE
    } else {
        RESEND_PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_double_from_ten_seconds_to_a_day_for_four_days() {
        let all: Vec<u64> = gaps(1).map(|gap| gap.as_secs()).collect();
        assert_eq!(all[..4], [10, 20, 40, 80]);
        assert!(all.iter().all(|gap| *gap <= 86_400));
        assert!((15..=16).contains(&all.len()), "{} resends", all.len());
        assert!(all.iter().sum::<u64>() <= 4 * 86_400);
    }

    #[test]
    fn a_time_scale_divides_every_gap() {
        let scaled: Vec<Duration> = gaps(1000).take(2).collect();
        assert_eq!(
            scaled,
            [Duration::from_millis(10), Duration::from_millis(20)]
        );
    }

    #[test]
    fn a_time_scale_of_zero_means_real_time() {
        assert_eq!(gaps(0).next(), Some(Duration::from_secs(10)));
    }
}
