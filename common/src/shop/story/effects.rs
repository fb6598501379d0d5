//! The effects that a story tells, each with what became of the notification that it is.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{DOING, EffectRow, NotificationRow};
use crate::ids::MessageId;
use crate::shop::listing::effect_name;
use crate::shop::{Shop, ShopError, time_text};

impl Shop {
    /// Those that were sent or skipped, then those that are still on their way.
    pub(super) async fn notifications(
        &self,
        subject: &str,
    ) -> Result<Vec<NotificationRow>, ShopError> {
        let settled = self
            .rows(
                "SELECT message_id, kind, outcome, reason, at FROM announcement \
                 WHERE subject = $1 ORDER BY at, message_id",
                subject,
            )
            .await?;
        let mut rows = settled
            .iter()
            .map(read_notification)
            .collect::<Result<Vec<_>, _>>()
            .map_err(ShopError::during(DOING))?;
        let queued = self
            .rows(
                "SELECT o.id, o.created_at, COALESCE(p.reason, ''), COALESCE(p.at_ms, 0) \
                 FROM outbox o LEFT JOIN parked_message p ON p.message_id = o.id \
                 AND p.settled_at = 0 WHERE o.subject = $1 \
                 AND o.destination = 'notify' AND NOT EXISTS (SELECT 1 FROM announcement a \
                 WHERE a.message_id = o.id) ORDER BY o.created_at, o.id",
                subject,
            )
            .await?;
        let effects = self.effects_of(subject).await?;
        for row in &queued {
            let (id, queued_at, reason, parked_at) =
                read_queued(row).map_err(ShopError::during(DOING))?;
            let kind = effects
                .iter()
                .find(|effect| effect.notification_id(subject, &effects) == id);
            let (outcome, at) = match parked_at {
                0 => ("queued", queued_at),
                parked_at => ("given_up", parked_at),
            };
            rows.push(NotificationRow {
                kind: kind.map_or_else(String::new, |had| effect_name(&had.full).to_owned()),
                message_id: id,
                outcome: outcome.to_owned(),
                reason,
                at: time_text(at),
            });
        }
        Ok(rows)
    }

    pub(super) async fn effect_states(
        &self,
        subject: &str,
        notifications: &[NotificationRow],
    ) -> Result<Vec<EffectRow>, ShopError> {
        let all = self.effects_of(subject).await?;
        let told = |had: &HadEffect| {
            let id = had.notification_id(subject, &all);
            let outcome = notifications
                .iter()
                .find(|sent| sent.message_id == id)
                .map(|sent| sent.outcome.clone());
            let (effect, of) = had.full.split_once(':').unwrap_or((&had.full, ""));
            let state = match outcome {
                Some(outcome) => outcome,
                None if effect.ends_with("_withheld") => "withheld".to_owned(),
                None if effect.starts_with("mail_") => "queued".to_owned(),
                None => "done".to_owned(),
            };
            EffectRow {
                effect: effect.to_owned(),
                of: of.to_owned(),
                state,
                at: time_text(had.at),
                because: had.because.clone(),
                rule: had.rule.clone(),
            }
        };
        Ok(all.iter().map(told).collect())
    }

    /// The effects that the subject has had, oldest first.
    async fn effects_of(&self, subject: &str) -> Result<Vec<HadEffect>, ShopError> {
        let rows = self
            .rows(
                "SELECT effect, event_key, at, rule FROM effect WHERE subject = $1 \
                 ORDER BY at, effect",
                subject,
            )
            .await?;
        let read = |row: &AnyRow| -> Result<HadEffect, sqlx::Error> {
            Ok(HadEffect {
                full: row.try_get(0)?,
                because: row.try_get(1)?,
                at: row.try_get(2)?,
                rule: row.try_get(3)?,
            })
        };
        rows.iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(ShopError::during(DOING))
    }
}

/// What begins the name of an effect that tells the merchant of a flag.
const TO_MERCHANT: &str = "mail_merchant:";

/// An effect as it stands in the books.
struct HadEffect {
    full: String,
    because: String,
    at: i64,
    rule: String,
}

impl HadEffect {
    /// The id of the notification that it is, if it is one. Of all flags that one event brought
    /// about the merchant is told at once.
    fn notification_id(&self, subject: &str, all: &[Self]) -> String {
        if !self.full.starts_with(TO_MERCHANT) {
            return mail_id(subject, &self.full);
        }
        let mut flags: Vec<&str> = all
            .iter()
            .filter(|other| other.because == self.because)
            .filter_map(|other| other.full.strip_prefix(TO_MERCHANT))
            .collect();
        flags.sort_unstable();
        mail_id(subject, &format!("{TO_MERCHANT}{}", flags.join("+")))
    }
}

/// The id under which a notification travels and is sent.
fn mail_id(subject: &str, effect: &str) -> String {
    MessageId::from_name(&format!("{subject}/{effect}")).to_string()
}

/// The id of a notification that is neither sent nor skipped, when it was queued, and why and when
/// it was parked.
fn read_queued(row: &AnyRow) -> Result<(String, i64, String, i64), sqlx::Error> {
    Ok((
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
    ))
}

fn read_notification(row: &AnyRow) -> Result<NotificationRow, sqlx::Error> {
    Ok(NotificationRow {
        message_id: row.try_get(0)?,
        kind: row.try_get(1)?,
        outcome: row.try_get(2)?,
        reason: row.try_get(3)?,
        at: time_text(row.try_get(4)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_one_event_told_the_merchant_of_are_one_notification() {
        let had = |full: &str, because: &str| HadEffect {
            full: full.into(),
            because: because.into(),
            at: 0,
            rule: String::new(),
        };
        let all = [
            had("mail_merchant:reversed", "E2"),
            had("mail_merchant:backorder", "E1"),
            had("mail_merchant:disputed", "E2"),
            had("mail_received", "E1"),
        ];
        let ids: Vec<String> = all
            .iter()
            .map(|one| one.notification_id("s", &all))
            .collect();
        assert_eq!(ids[0], mail_id("s", "mail_merchant:disputed+reversed"));
        assert_eq!(ids[2], ids[0]);
        assert_eq!(ids[1], mail_id("s", "mail_merchant:backorder"));
        assert_eq!(ids[3], mail_id("s", "mail_received"));
    }
}
