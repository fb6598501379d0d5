//! Everything that the books know about one payment, subscription, case or payout: what a person
//! needs to answer "what happened to this payment?". No personal data.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::{PaymentRow, effect_name};
use super::{DecisionRow, Shop, ShopError, time_text};
use crate::event::{EventType, PaymentEvent, Subject};
use crate::ids::{MessageId, TxnId};
use crate::money::Money;

/// Everything about one payment: `quittance payments show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentStory {
    /// The row of the list.
    #[serde(flatten)]
    pub payment: PaymentRow,
    /// Each event, by the time at which it was received.
    pub history: Vec<EventRow>,
    /// What the stages decided about each message, and why, by time.
    pub decisions: Vec<DecisionRow>,
    /// Each effect, by time.
    pub effect_states: Vec<EffectRow>,
    /// Each change of stock.
    pub stock_moves: Vec<MoveRow>,
    /// Each customer notification, sent, skipped or still queued.
    pub notifications: Vec<NotificationRow>,
    /// What belongs to it: refunds, captures, its subscription, its payments, its cases.
    pub related: Vec<RelatedRow>,
    /// What is still to be published.
    pub outbox_waiting: i64,
}

/// One event of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRow {
    /// The business key.
    pub key: String,
    /// `payment.completed` ...
    pub event_type: String,
    /// `ipn`, `pdt` or `replay`.
    pub source: String,
    /// The raw message that it was read from.
    pub message_id: String,
    /// When ingest had it.
    pub received_at: String,
    /// When the books had it.
    pub applied_at: String,
    /// `payment_date`, where it could be read.
    pub occurred_at: String,
    /// The transaction of this very event.
    pub txn_id: String,
    /// `txn_type`.
    pub txn_type: String,
    /// `pending_reason` or `reason_code`.
    pub reason: String,
    /// Such as `-5.00`.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
}

/// One effect of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectRow {
    /// `stock_decremented`, `mail_refunded` ...
    pub effect: String,
    /// What it concerns, where a payment has several: the refund's transaction.
    pub of: String,
    /// `done`, `withheld` by a rule, or of a notification `queued`, `sent` or `skipped`.
    pub state: String,
    /// When it was had.
    pub at: String,
    /// The event that brought it about; blank for the clock or an operator.
    pub because: String,
}

/// One change of stock of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MoveRow {
    /// Of which product.
    pub sku: String,
    /// `stock_decremented` ...
    pub movement: String,
    /// How many.
    pub quantity: i64,
    /// When.
    pub at: String,
}

/// One customer notification of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotificationRow {
    /// The first part of its Message-ID.
    pub message_id: String,
    /// `mail_received` ...
    pub kind: String,
    /// `queued`, `sent` or `skipped`.
    pub outcome: String,
    /// Why skipped.
    pub reason: String,
    /// When.
    pub at: String,
}

/// Something that belongs to what the story is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RelatedRow {
    /// `authorization`, `capture`, `refund`, `reversal`, `reversal_canceled`, `subscription`,
    /// `case` or `payment`.
    pub relation: String,
    /// Its transaction id, or what else it is known by: `payments show` takes it.
    pub id: String,
    /// Its status, where it has a row of its own.
    pub status: String,
    /// How much, with its currency; blank where none was told.
    pub amount: String,
}

const DOING: &str = "telling a payment's story";

impl Shop {
    /// Everything about each payment that `id` names: its own id, or that of one of its refunds,
    /// captures or disputes; a subscription's, a case's or a payout's. Usually one; empty when
    /// nobody knows the id.
    pub async fn payment_story(&self, id: &str) -> Result<Vec<PaymentStory>, ShopError> {
        let rows = sqlx::query(
            "SELECT p.subject, p.gateway, p.environment, p.account, p.kind, p.txn_id, p.status, \
             p.amount_minor, p.refunded_minor, p.currency, p.flags, p.last_at, \
             (SELECT COUNT(*) FROM event e WHERE e.subject = p.subject OR e.about = p.subject) \
             FROM payment p WHERE p.txn_id = $1 \
             OR p.subject IN (SELECT e.subject FROM event e WHERE e.txn_id = $1) \
             ORDER BY p.subject",
        )
        .bind(id)
        .fetch_all(self.pool().await?)
        .await
        .map_err(ShopError::during(DOING))?;
        let mut stories = Vec::new();
        for payment in self.with_effects(&rows).await? {
            stories.push(self.story(payment).await?);
        }
        if stories.is_empty() {
            stories.extend(self.outside_the_books(id).await?);
        }
        Ok(stories)
    }

    /// The story of an id that never reached the books, because of what was decided about it.
    async fn outside_the_books(&self, id: &str) -> Result<Option<PaymentStory>, ShopError> {
        let decisions = self.decisions(id).await?;
        let Some(last) = decisions.last() else {
            return Ok(None);
        };
        Ok(Some(PaymentStory {
            payment: PaymentRow {
                gateway: last.gateway.clone(),
                environment: String::new(),
                account: last.account.clone(),
                kind: "message".to_owned(),
                txn_id: id.to_owned(),
                status: "not_in_the_books".to_owned(),
                amount: String::new(),
                refunded: String::new(),
                currency: String::new(),
                events: 0,
                effects: Vec::new(),
                flags: Vec::new(),
                updated_at: last.at.clone(),
                subject: String::new(),
            },
            history: Vec::new(),
            effect_states: Vec::new(),
            stock_moves: Vec::new(),
            notifications: Vec::new(),
            related: Vec::new(),
            outbox_waiting: 0,
            decisions,
        }))
    }

    async fn story(&self, payment: PaymentRow) -> Result<PaymentStory, ShopError> {
        let subject = payment.subject.as_str();
        let rows = self
            .rows(
                "SELECT json, applied_at FROM event WHERE subject = $1 OR about = $1 \
                 ORDER BY received_at, key",
                subject,
            )
            .await?;
        let mut events = Vec::new();
        for row in &rows {
            events.push(stored_event(row)?);
        }
        let notifications = self.notifications(subject).await?;
        let effect_states = self.effect_states(subject, &notifications).await?;
        let moves = self
            .rows(
                "SELECT sku, movement, quantity, at FROM stock_move WHERE subject = $1 \
                 ORDER BY at, sku, movement",
                subject,
            )
            .await?;
        let waiting = self
            .rows(
                "SELECT COUNT(*) FROM outbox WHERE subject = $1 AND published_at = 0",
                subject,
            )
            .await?;
        let stock_moves = moves
            .iter()
            .map(read_move)
            .collect::<Result<_, _>>()
            .map_err(ShopError::during(DOING))?;
        let outbox_waiting = waiting
            .first()
            .map_or(Ok(0), |row| row.try_get(0))
            .map_err(ShopError::during(DOING))?;
        let decisions = self.decisions_of(&payment, &events).await?;
        Ok(PaymentStory {
            history: events.iter().map(|(event, at)| told(event, *at)).collect(),
            decisions,
            effect_states,
            stock_moves,
            notifications,
            related: self.related(&payment, &events).await?,
            outbox_waiting,
            payment,
        })
    }

    /// What was decided about the messages of every transaction that the story has, by time.
    async fn decisions_of(
        &self,
        payment: &PaymentRow,
        events: &[(PaymentEvent, i64)],
    ) -> Result<Vec<DecisionRow>, ShopError> {
        let transactions = events.iter().filter_map(|(event, _)| {
            let own = event.data.txn_id.as_ref().map(TxnId::as_str);
            own.filter(|_| payment.kind == "payment")
        });
        let ids: BTreeSet<&str> = transactions.chain([payment.txn_id.as_str()]).collect();
        let mut decisions: Vec<DecisionRow> = Vec::new();
        for id in ids {
            for decision in self.decisions(id).await? {
                if !decisions.contains(&decision) {
                    decisions.push(decision);
                }
            }
        }
        decisions.sort_by(|a, b| (&a.at, &a.message_id).cmp(&(&b.at, &b.message_id)));
        Ok(decisions)
    }

    /// Those that were sent or skipped, then those that are still on their way.
    async fn notifications(&self, subject: &str) -> Result<Vec<NotificationRow>, ShopError> {
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
                "SELECT o.id, o.created_at FROM outbox o WHERE o.subject = $1 \
                 AND o.destination = 'notify' AND NOT EXISTS (SELECT 1 FROM announcement a \
                 WHERE a.message_id = o.id) ORDER BY o.created_at, o.id",
                subject,
            )
            .await?;
        let effects = self.effects_of(subject).await?;
        for row in &queued {
            let id: String = row.try_get(0).map_err(ShopError::during(DOING))?;
            let kind = effects
                .iter()
                .find(|effect| effect.notification_id(subject, &effects) == id);
            rows.push(NotificationRow {
                kind: kind.map_or_else(String::new, |had| effect_name(&had.full).to_owned()),
                message_id: id,
                outcome: "queued".to_owned(),
                reason: String::new(),
                at: time_text(row.try_get(1).map_err(ShopError::during(DOING))?),
            });
        }
        Ok(rows)
    }

    async fn effect_states(
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
            }
        };
        Ok(all.iter().map(told).collect())
    }

    /// The effects that the subject has had, oldest first.
    async fn effects_of(&self, subject: &str) -> Result<Vec<HadEffect>, ShopError> {
        let rows = self
            .rows(
                "SELECT effect, event_key, at FROM effect WHERE subject = $1 ORDER BY at, effect",
                subject,
            )
            .await?;
        let read = |row: &AnyRow| -> Result<HadEffect, sqlx::Error> {
            Ok(HadEffect {
                full: row.try_get(0)?,
                because: row.try_get(1)?,
                at: row.try_get(2)?,
            })
        };
        rows.iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(ShopError::during(DOING))
    }

    /// The rows of its own that belong to the story, and the transactions that have none.
    async fn related(
        &self,
        payment: &PaymentRow,
        events: &[(PaymentEvent, i64)],
    ) -> Result<Vec<RelatedRow>, ShopError> {
        let rows = self
            .rows(
                "SELECT DISTINCT p.kind, p.txn_id, p.status, p.amount_minor, p.currency \
                 FROM payment p JOIN event e ON (e.subject = $1 AND p.subject = e.about) \
                 OR (e.about = $1 AND p.subject = e.subject) WHERE p.subject <> $1",
                payment.subject.as_str(),
            )
            .await?;
        let mut related = rows
            .iter()
            .map(read_related)
            .collect::<Result<Vec<_>, _>>()
            .map_err(ShopError::during(DOING))?;
        related.extend(
            events
                .iter()
                .filter_map(|(event, _)| transaction(payment, event)),
        );
        related.sort();
        related.dedup();
        Ok(related)
    }

    pub(super) async fn rows(
        &self,
        sql: &'static str,
        subject: &str,
    ) -> Result<Vec<AnyRow>, ShopError> {
        sqlx::query(sql)
            .bind(subject)
            .fetch_all(self.pool().await?)
            .await
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

/// A transaction of the payment's that has an id of its own. Pure.
fn transaction(payment: &PaymentRow, event: &PaymentEvent) -> Option<RelatedRow> {
    if payment.kind != "payment" || !matches!(event.data.subject, Subject::Payment(_)) {
        return None;
    }
    let own = event.data.txn_id.as_ref()?;
    let relation = match event.event_type {
        EventType::Refunded => "refund",
        EventType::Reversed => "reversal",
        EventType::ReversalCanceled => "reversal_canceled",
        EventType::Completed
        | EventType::Pending
        | EventType::Denied
        | EventType::Failed
        | EventType::Expired
        | EventType::Voided
            if event.data.parent_txn_id.is_some() && own.as_str() != payment.txn_id =>
        {
            "capture"
        }
        _ => return None,
    };
    Some(RelatedRow {
        relation: relation.to_owned(),
        id: own.to_string(),
        status: String::new(),
        amount: event
            .data
            .gross
            .map_or_else(String::new, |gross| gross.to_string()),
    })
}

fn stored_event(row: &AnyRow) -> Result<(PaymentEvent, i64), ShopError> {
    let json: String = row.try_get(0).map_err(ShopError::during(DOING))?;
    let event =
        PaymentEvent::from_json(json.as_bytes()).map_err(ShopError::unreadable("payment event"))?;
    let applied = row.try_get(1).map_err(ShopError::during(DOING))?;
    Ok((event, applied))
}

fn told(event: &PaymentEvent, applied_at: i64) -> EventRow {
    let data = &event.data;
    let pending = data.pending_reason.as_ref().map(ToString::to_string);
    let reason = data.reason_code.as_ref().map(ToString::to_string);
    EventRow {
        key: event.key.to_string(),
        event_type: event.event_type.as_str().to_owned(),
        source: data.source.as_str().to_owned(),
        message_id: data.message_id.to_string(),
        received_at: crate::clock::rfc3339_millis(event.received_at),
        applied_at: time_text(applied_at),
        occurred_at: data
            .occurred_at
            .map_or_else(String::new, crate::clock::rfc3339_millis),
        txn_id: data
            .txn_id
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        txn_type: data
            .txn_type
            .as_ref()
            .map_or_else(String::new, |txn_type| txn_type.as_str().to_owned()),
        reason: pending.or(reason).unwrap_or_default(),
        amount: data.gross.map_or_else(String::new, Money::value),
        currency: data
            .gross
            .map_or_else(String::new, |gross| gross.currency().as_str().to_owned()),
    }
}

fn read_related(row: &AnyRow) -> Result<RelatedRow, sqlx::Error> {
    let minor: i64 = row.try_get(3)?;
    let code: String = row.try_get(4)?;
    let amount = code.parse().map_or_else(
        |_| String::new(),
        |currency| Money::from_minor(minor, currency).to_string(),
    );
    Ok(RelatedRow {
        relation: row.try_get(0)?,
        id: row.try_get(1)?,
        status: row.try_get(2)?,
        amount,
    })
}

fn read_move(row: &AnyRow) -> Result<MoveRow, sqlx::Error> {
    Ok(MoveRow {
        sku: row.try_get(0)?,
        movement: row.try_get(1)?,
        quantity: row.try_get(2)?,
        at: time_text(row.try_get(3)?),
    })
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
