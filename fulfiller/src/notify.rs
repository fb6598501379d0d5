//! The notifier's stage on `ipn.notify`: sends a customer notification unless it was sent before,
//! and records that it was. At least once, and once in all but a crash in the instant of sending;
//! a repeat carries the same Message-ID.

use std::time::Duration;

use quittance_common::disposition::{Disposition, Lot, Wait};
use quittance_common::ids::Reason;
use quittance_common::message::{Message, MessageKind};
use quittance_common::shop::announcement::{Announced, Begun};
use quittance_common::shop::{Shop, ShopError};
use quittance_common::stage::{Stage, StageName};
use quittance_common::{clock, failpoint};
use tracing::{debug, info, warn};

use crate::announcement::Announcement;
use crate::availability::Availability;
use crate::mail::{Mailer, SendError, mailbox};
use crate::metrics::Metrics;
use crate::stage::{nothing_more, retry_then_park};
use crate::templates::Templates;

/// Attempts at a mail that a server does not take now. On the default ladder, whose last rung is
/// six hours, about four days: as long as mail servers themselves try.
const SEND_ATTEMPTS: u32 = 22;

/// The shortest wait while the database is down.
const DATABASE_WAIT: Duration = Duration::from_secs(1);

/// How long nobody else sends what one notifier has in hand: longer than a slow mail server takes.
/// After a crash in the instant of sending the mail waits this long.
const SENDING: Duration = Duration::from_mins(3);

/// How soon a mail that somebody else sends now is looked at again.
const SENDING_WAIT: Duration = Duration::from_secs(5);

/// Sends customer notifications.
#[derive(Debug)]
pub struct NotifyStage {
    shop: Shop,
    availability: Availability,
    templates: Templates,
    mailer: Mailer,
    metrics: Metrics,
}

impl NotifyStage {
    /// A stage that sends by `mailer` and remembers in `shop`.
    pub fn new(shop: Shop, templates: Templates, mailer: Mailer, metrics: Metrics) -> Self {
        Self {
            availability: Availability::new(shop.clone()),
            shop,
            templates,
            mailer,
            metrics,
        }
    }

    async fn announce(
        &self,
        message: &Message,
        announcement: &Announcement,
    ) -> Result<Disposition<()>, ShopError> {
        let id = announcement.message_id();
        let effect = announcement.news.name();
        if self.shop.is_announced(id).await? {
            self.metrics.duplicate(StageName::Notifier);
            debug!(mail.id = %id, "notification sent before");
            return Ok(nothing_more());
        }
        let payer = &announcement.payer;
        let to = match payer.email.as_deref() {
            None => Err("no_address"),
            Some(email) => mailbox(email, payer.name.as_deref()).ok_or("bad_address"),
        };
        let to = match to {
            Ok(to) => to,
            Err(reason) => {
                self.record(announcement, Announced::Skipped(reason))
                    .await?;
                self.metrics.effect(effect, "skipped");
                info!(mail.id = %id, reason, "notification skipped");
                return Ok(nothing_more());
            }
        };
        let words = match self.templates.render(announcement) {
            Ok(words) => words,
            Err(error) => {
                let reason = Reason::of("template_error");
                return Ok(retry_then_park(message, reason, error.to_string()));
            }
        };
        let since = clock::now();
        if self.mailer.repeats_arrive() {
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
        match self.mailer.send(id, message.timestamp, to, words).await {
            Ok(()) => {
                failpoint::hit("notifier.after_send");
                self.record(announcement, Announced::Sent).await?;
                self.metrics.effect(effect, "sent");
                info!(mail.id = %id, effect, "notification sent");
                Ok(nothing_more())
            }
            Err(error) => {
                self.shop.give_up_announcement(id, since).await?;
                Ok(self.not_sent(message, effect, &error))
            }
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

    fn not_sent(
        &self,
        message: &Message,
        effect: &'static str,
        error: &SendError,
    ) -> Disposition<()> {
        warn!(%error, message.id = %message.id, "notification not sent");
        let (disposition, outcome) = match error {
            SendError::Refused(_) | SendError::Form(_) => (
                Disposition::Park {
                    lot: Lot::Dead,
                    reason: Reason::of("smtp_rejected"),
                    detail: error.to_string(),
                },
                "rejected",
            ),
            SendError::Later(_) | SendError::Folder(_)
                if message.headers.attempt >= SEND_ATTEMPTS =>
            {
                (
                    Disposition::Park {
                        lot: Lot::Dead,
                        reason: Reason::of("mail_not_taken"),
                        detail: error.to_string(),
                    },
                    "rejected",
                )
            }
            SendError::Later(_) | SendError::Folder(_) => (
                Disposition::Retry {
                    wait: Wait::Counted {
                        at_least: Duration::ZERO,
                    },
                    reason: Reason::of("mail_unavailable"),
                    detail: error.to_string(),
                },
                "retried",
            ),
        };
        self.metrics.effect(effect, outcome);
        disposition
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
