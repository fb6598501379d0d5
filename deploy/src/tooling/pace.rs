//! How fast messages go: a replay shares the stages with live traffic.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use quittance_common::queue::QueueId;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Messages a second; `None` for as fast as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(Option<NonZeroU32>);

impl Rate {
    /// As fast as it goes.
    pub(crate) const UNLIMITED: Self = Self(None);

    /// What a move goes at unless told: towards a stage no faster than live
    /// notifications can stand beside it; where nobody waits as fast as it goes. Pure.
    pub(crate) const fn towards(to: QueueId) -> Self {
        match to {
            QueueId::Work(_) | QueueId::Retry(..) => Self(NonZeroU32::new(20)),
            _ => Self::UNLIMITED,
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::UNLIMITED);
        }
        let number = text.strip_suffix("/s").unwrap_or(text);
        let rate = number
            .parse()
            .ok()
            .filter(|rate: &NonZeroU32| rate.get() <= 1_000_000);
        rate.map(|rate| Self(Some(rate)))
            .ok_or_else(|| "messages a second such as `20/s`, or `unlimited`".to_owned())
    }
}

/// Lets one message go at a time.
#[derive(Debug)]
pub(crate) struct Pace(Option<Interval>);

impl Pace {
    /// A pace of that rate; must be made within a Tokio runtime.
    pub(crate) fn new(rate: Rate) -> Self {
        Self(rate.0.map(|rate| {
            let mut ticks = interval(Duration::from_secs(1) / rate.get());
            // After a stall no burst: live traffic is what the limit is for.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Waits for the next message's turn.
    pub(crate) async fn turn(&mut self) {
        if let Some(ticks) = &mut self.0 {
            ticks.tick().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::queue::WorkQueue;

    #[test]
    fn a_rate_is_read_with_and_without_its_unit() {
        assert_eq!("20/s".parse::<Rate>(), "20".parse());
        assert_eq!("unlimited".parse(), Ok(Rate::UNLIMITED));
        for text in ["0", "-1/s", "fast", "20/m"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_move_towards_a_stage_is_paced_and_one_to_a_parking_queue_is_not() {
        let verify = QueueId::Work(WorkQueue::Verify);
        assert_eq!(Ok(Rate::towards(verify)), "20/s".parse());
        assert_eq!(Rate::towards(QueueId::Quarantine), Rate::UNLIMITED);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_go_no_faster_than_the_rate_and_not_in_bursts() {
        let mut pace = Pace::new("10/s".parse().unwrap());
        pace.turn().await;
        let start = tokio::time::Instant::now();
        for _ in 0..10 {
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(5)).await;
        pace.turn().await;
        let start = tokio::time::Instant::now();
        pace.turn().await;
        assert!(start.elapsed() >= Duration::from_millis(99));
    }
}
