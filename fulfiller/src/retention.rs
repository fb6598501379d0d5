//! The sweeper of personal data: removes what is older than `retention.personal_data`. Any number of
//! fulfillers may sweep at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quittance_common::clock;
use quittance_common::shop::{Removed, Shop, ShopError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The shortest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// Removes personal data that has grown too old.
#[derive(Debug)]
pub struct Retention {
    shop: Shop,
    keep: Duration,
}

impl Retention {
    /// A sweeper of `shop` that keeps personal data for `keep`.
    pub const fn new(shop: Shop, keep: Duration) -> Self {
        Self { shop, keep }
    }

    /// Sweeps now and then until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let pause = pause(self.keep);
        loop {
            match self.sweep(clock::now()).await {
                Ok(removed) => tell(removed),
                Err(error) => warn!(%error, "old personal data not removed"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Removes everything that is too old at `now`.
    pub async fn sweep(&self, now: Timestamp) -> Result<Removed, ShopError> {
        let age = SignedDuration::try_from(self.keep).unwrap_or(SignedDuration::MAX);
        let before = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        self.shop.remove_personal_data(before, now).await
    }
}

fn tell(removed: Removed) {
    let Removed {
        events,
        messages,
        unreadable,
    } = removed;
    if events > 0 || messages > 0 {
        info!(events, messages, "old personal data removed");
    }
    if unreadable > 0 {
        warn!(
            unreadable,
            "events that this build cannot read keep their personal data"
        );
    }
}

/// How often to look: nothing is kept for much more than a tenth longer than it should be.
fn pause(keep: Duration) -> Duration {
    keep.checked_div(10)
        .unwrap_or(LONGEST_PAUSE)
        .clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fulfil::{Applied, apply};
    use crate::testing::{at, event, refund, shop};
    use quittance_common::event::EventType;
    use quittance_common::shop::PaymentFilter;

    const DAY: i64 = 86_400;

    #[tokio::test]
    async fn after_a_year_who_paid_is_gone_and_a_late_refund_still_finds_its_payment() {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 10).await;
        let completed = event(EventType::Completed, "T", "T");
        apply(&shop, &completed, at(0)).await.unwrap();
        let retention = Retention::new(shop.clone(), Duration::from_hours(24 * 365));
        let none = retention.sweep(at(364 * DAY)).await.unwrap();
        assert_eq!(none, Removed::default());
        let one = retention.sweep(at(366 * DAY)).await.unwrap();
        assert_eq!((one.events, one.unreadable), (1, 0));
        assert_eq!(
            retention.sweep(at(367 * DAY)).await.unwrap(),
            Removed::default(),
            "once"
        );
        // Posted again, it is still known.
        let again = apply(&shop, &completed, at(368 * DAY)).await.unwrap();
        assert_eq!(again, Applied::Duplicate);
        apply(&shop, &refund("T", "R", 2000), at(369 * DAY))
            .await
            .unwrap();
        let rows = shop.payments(&PaymentFilter::default()).await.unwrap();
        assert_eq!(rows[0].status, "refunded");
        assert!(rows[0].effects.contains(&"stock_restocked".to_owned()));
        let story = shop.payment_story("T").await.unwrap().remove(0);
        assert!(!story.details_removed_at.is_empty());
    }

    #[test]
    fn a_year_is_looked_at_every_hour_and_a_second_twice_in_it() {
        assert_eq!(pause(Duration::from_hours(24 * 365)), LONGEST_PAUSE);
        assert_eq!(pause(Duration::from_secs(1)), SHORTEST_PAUSE);
    }
}
