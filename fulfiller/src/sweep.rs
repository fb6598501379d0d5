//! The sweeper: releases what payments that are not paid have set aside for longer than `reserve_for`.
//! Any number of fulfillers may sweep at once; each reservation is released once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quittance_common::clock;
use quittance_common::shop::{Shop, SubjectKey};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::fulfil::{ApplyError, release_stale};
use crate::metrics::Metrics;

/// How many reservations are looked at in one go.
const AT_ONCE: u32 = 100;

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// The shortest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Releases old reservations.
#[derive(Debug)]
pub struct Sweeper {
    shop: Shop,
    reserve_for: Duration,
    metrics: Metrics,
}

impl Sweeper {
    /// A sweeper of `shop` for reservations older than `reserve_for`.
    pub const fn new(shop: Shop, reserve_for: Duration, metrics: Metrics) -> Self {
        Self {
            shop,
            reserve_for,
            metrics,
        }
    }

    /// Sweeps now and then until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let pause = pause(self.reserve_for);
        loop {
            match self.sweep(clock::now()).await {
                Ok(0) => {}
                Ok(released) => info!(released, "reservations expired"),
                Err(error) => warn!(%error, "old reservations not released"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Releases every reservation that is too old at `now`; how many payments were released.
    pub async fn sweep(&self, now: Timestamp) -> Result<u64, ApplyError> {
        let age = SignedDuration::try_from(self.reserve_for).unwrap_or(SignedDuration::MAX);
        let before = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let mut released: u64 = 0;
        let mut after: Option<SubjectKey> = None;
        // One page behind the other: what cannot be released must not keep others from it.
        loop {
            let stale = self
                .shop
                .stale_reservations(before, after.as_ref(), AT_ONCE)
                .await?;
            for subject in &stale {
                let Some(done) = release_stale(&self.shop, subject, now).await? else {
                    continue;
                };
                released = released.saturating_add(1);
                for effect in done {
                    self.metrics.effect(effect.effect, "done");
                }
            }
            match stale.last() {
                Some(last) => after = Some(last.clone()),
                None => break,
            }
        }
        Ok(released)
    }
}

/// How often to look: often enough that nothing is held for a tenth longer than it should be.
fn pause(reserve_for: Duration) -> Duration {
    reserve_for
        .checked_div(10)
        .unwrap_or(LONGEST_PAUSE)
        .clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_weeks_are_looked_at_every_ten_minutes_and_a_second_ten_times_in_it() {
        assert_eq!(pause(Duration::from_hours(24 * 14)), LONGEST_PAUSE);
        assert_eq!(pause(Duration::from_secs(1)), SHORTEST_PAUSE);
    }
}
