//! The notifier's stage on `ipn.notify`: sends an announcement unless it was sent before, and
//! records that it was. At least once, and once in all but the end of the process between sending
//! and recording; a repeat carries the same Message-ID, `webhook-id` and `Idempotency-Key`.

mod outlets;
mod unrecorded;

use std::time::Duration;

use quittance_common::disposition::{Disposition, Lot, Wait};
use quittance_common::ids::Reason;
use quittance_common::message::{Message, MessageKind};
use quittance_common::shop::announcement::{Announced, Begun};
use quittance_common::shop::{Availability, Shop, ShopError};
use quittance_common::stage::{Stage, StageName, Why};
use quittance_common::{clock, failpoint};
use tracing::{debug, info, warn};

use crate::announcement::Announcement;
use crate::metrics::Metrics;
use crate::records;
use crate::stage::{nothing_more, retry_then_park};
pub use outlets::{Channel, OutletError, Outlets};
use outlets::{Sent, Unsent, Untaken};
use tokio::time::{Instant, sleep, timeout_at};
use unrecorded::Unrecorded;

/// Attempts at what a server does not take now. On the default ladder, whose last rung is six
/// hours, about four days: as long as mail servers themselves try.
const SEND_ATTEMPTS: u32 = 22;

/// The shortest wait while the database is down.
const DATABASE_WAIT: Duration = Duration::from_secs(1);

/// How long nobody else sends what one notifier has in hand: longer than a slow mail server or
/// endpoint takes. After a crash in the instant of sending the announcement waits this long.
const SENDING: Duration = Duration::from_mins(3);

/// How long something that was sent is kept in hand while the database is away, so that nobody else
/// gets it: less than the half hour after which a broker delivers it to somebody else anyhow.
const HELD: Duration = Duration::from_mins(20);

/// How soon an announcement that somebody else sends now is looked at again.
const SENDING_WAIT: Duration = Duration::from_secs(5);

/// Sends announcements.
#[derive(Debug)]
pub struct NotifyStage {
    shop: Shop,
    availability: Availability,
    outlets: Outlets,
    metrics: Metrics,
    tell_merchant: bool,
    unrecorded: Unrecorded,
}

impl NotifyStage {
    /// A stage that sends by `outlets` and remembers in `shop`.
    pub fn new(shop: Shop, outlets: Outlets, metrics: Metrics) -> Self {
        Self {
            availability: Availability::new(shop.clone()),
            shop,
            outlets,
            metrics,
            tell_merchant: false,
            unrecorded: Unrecorded::default(),
        }
    }

    /// The same stage where somebody is there to be told of what it parks, or nobody is.
    #[must_use]
    pub fn telling_merchant(self, tell_merchant: bool) -> Self {
        Self {
            tell_merchant,
            ..self
        }
    }

    async fn announce(
        &self,
        message: &Message,
        announcement: &Announcement,
    ) -> Result<Disposition<()>, ShopError> {
        let id = announcement.message_id();
        let effect = announcement.news.name();
        if self.unrecorded.has(id) {
            self.record_sent(announcement).await?;
            return Ok(nothing_more());
        }
        if self.shop.is_announced(id).await? {
            self.metrics.duplicate(StageName::Notifier);
            debug!(announcement.id = %id, "announcement sent before");
            return Ok(nothing_more());
        }
        let since = clock::now();
        let begins = self.outlets.repeats_arrive(announcement);
        if begins {
            let subject = &announcement.subject;
            let begun = self
                .shop
                .begin_announcement(id, subject, effect, since, SENDING);
            match begun.await? {
                Begun::Mine => {}
                Begun::Before => return Ok(nothing_more()),
                Begun::Busy => return Ok(being_sent()),
            }
        }
        let sent = self.outlets.send(message, announcement).await;
        if begins && sent.is_err() {
            self.shop.give_up_announcement(id, since).await?;
        }
        match sent {
            Ok(Sent::Done) => {
                failpoint::hit("notifier.after_send");
                self.record_sent(announcement).await?;
                records::went_its_way(&self.shop, message).await;
                self.metrics.effect(effect, "sent");
                info!(announcement.id = %id, effect, "announcement sent");
                Ok(nothing_more())
            }
            Ok(Sent::Skipped(reason)) => {
                self.record(announcement, Announced::Skipped(reason))
                    .await?;
                self.metrics.effect(effect, "skipped");
                info!(announcement.id = %id, reason, "announcement skipped");
                Ok(nothing_more())
            }
            Err(Unsent::Unwritten { reason, detail }) => {
                Ok(retry_then_park(message, reason, detail))
            }
            Err(Unsent::Untaken(fate)) => Ok(self.not_sent(message, effect, fate)),
        }
    }

    /// Records that it was sent. While the database is away it stays in hand, and is remembered:
    /// given back, it would be sent again by whoever gets it.
    async fn record_sent(&self, announcement: &Announcement) -> Result<(), ShopError> {
        let id = announcement.message_id();
        let until = Instant::now() + HELD;
        loop {
            match self.record(announcement, Announced::Sent).await {
                Ok(()) => {
                    self.unrecorded.forget(id);
                    return Ok(());
                }
                Err(error) => {
                    self.unrecorded.remember(id);
                    if !error.is_transient() || Instant::now() >= until {
                        return Err(error);
                    }
                    warn!(%error, announcement.id = %id, "sent, and to be recorded when the database is back");
                }
            }
            self.availability.found_down();
            sleep(DATABASE_WAIT).await;
            timeout_at(until, self.availability.wait()).await.ok();
        }
    }

    async fn record(
        &self,
        announcement: &Announcement,
        outcome: Announced,
    ) -> Result<(), ShopError> {
        self.shop
            .record_announcement(
                announcement.message_id(),
                &announcement.subject,
                announcement.news.name(),
                outcome,
                clock::now(),
            )
            .await
    }

    fn not_sent(&self, message: &Message, effect: &'static str, fate: Untaken) -> Disposition<()> {
        let Untaken {
            reason,
            given_up,
            detail,
            again,
        } = fate;
        warn!(%reason, detail, message.id = %message.id, "announcement not sent");
        if let Some(at_least) = again.filter(|_| message.headers.attempt < SEND_ATTEMPTS) {
            self.metrics.effect(effect, "retried");
            return Disposition::Retry {
                wait: Wait::Counted { at_least },
                reason,
                detail,
            };
        }
        self.metrics.effect(effect, "rejected");
        Disposition::Park {
            lot: Lot::Dead,
            reason: if again.is_some() { given_up } else { reason },
            detail,
        }
    }
}

impl Stage for NotifyStage {
    const NAME: StageName = StageName::Notifier;
    type Receipt = ();

    async fn ready(&self) {
        self.availability.wait().await;
    }

    async fn handle(&self, message: &Message) -> Disposition<()> {
        if message.kind != MessageKind::AnnouncementV1 {
            let detail = format!("a message of type `{}`", message.kind.as_str());
            return retry_then_park(message, Reason::of("unsupported_version"), detail);
        }
        let announcement: Announcement = match serde_json::from_slice(&message.body) {
            Ok(announcement) => announcement,
            Err(error) => {
                // Only where: serde's words may repeat a value of the body.
                let detail = format!("at line {} column {}", error.line(), error.column());
                return retry_then_park(message, Reason::of("malformed_event"), detail);
            }
        };
        match self.announce(message, &announcement).await {
            Ok(disposition) => disposition,
            Err(error) if error.is_transient() => {
                self.availability.found_down();
                warn!(%error, "shop database unavailable");
                Disposition::Retry {
                    wait: Wait::Free {
                        at_least: DATABASE_WAIT,
                    },
                    reason: Reason::of("shop_unavailable"),
                    detail: error.to_string(),
                }
            }
            Err(error) => {
                tracing::error!(%error, message.id = %message.id, "notification not recorded");
                retry_then_park(message, Reason::of("shop_error"), error.to_string())
            }
        }
    }

    async fn parked(&self, message: &Message, lot: Lot, why: Why<'_>) {
        let tell = self.tell_merchant;
        records::parked(&self.shop, tell, Self::NAME, message, lot, why).await;
    }

    async fn confirmed(&self, (): ()) {}
}

/// Another delivery of the same notification is in somebody's hands: no attempt is spent.
fn being_sent() -> Disposition<()> {
    Disposition::Retry {
        wait: Wait::Free {
            at_least: SENDING_WAIT,
        },
        reason: Reason::of("being_sent"),
        detail: "another delivery of it is being sent now".to_owned(),
    }
}

#[cfg(test)]
mod tests;
