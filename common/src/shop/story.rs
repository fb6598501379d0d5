//! Everything that the books know about one payment, subscription, case or payout: what a person
//! needs to answer "what happened to this payment?". No personal data, but for whom an item of a mass
//! payment pays.

use std::collections::{BTreeSet, HashSet};

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::listing::PaymentRow;
use super::{DecisionRow, ParkedRow, Shop, ShopError, row, time_text};
use crate::event::{PaymentEvent, Settled};
use crate::ids::TxnId;
use crate::money::Money;

mod effects;
mod facts;
mod related;
mod rows;

pub use rows::{EffectRow, EventRow, FactRow, MoveRow, NotificationRow, PaymentStory, RelatedRow};

const DOING: &str = "telling a payment's story";

impl Shop {
    /// Everything about each payment that `id` names: its own id, or that of one of its refunds,
    /// captures or disputes; a subscription's, a case's or a payout's. Usually one; empty when
    /// nobody knows the id.
    pub async fn payment_story(&self, id: &str) -> Result<Vec<PaymentStory>, ShopError> {
        let rows = sqlx::query(row::payments_where!(
            "p.txn_id = $1 \
             OR p.subject IN (SELECT e.subject FROM event e WHERE e.txn_id = $1) \
             ORDER BY p.subject"
        ))
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
        let decisions = self.decisions_of(&BTreeSet::from([id]), id).await?;
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
            resolutions: Vec::new(),
            effect_states: Vec::new(),
            stock_moves: Vec::new(),
            notifications: Vec::new(),
            related: Vec::new(),
            outbox_waiting: 0,
            details_removed_at: String::new(),
            facts: Vec::new(),
            parked: self.parked_about(id).await?,
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
        let ids = named(&payment, &events);
        let decisions = self.decisions_of(&ids, &payment.txn_id).await?;
        let parked = self.parked_of(&ids).await?;
        Ok(PaymentStory {
            details_removed_at: self.details_removed_at(subject).await?,
            history: events.iter().map(|(event, at)| told(event, *at)).collect(),
            decisions,
            parked,
            resolutions: self.resolutions(subject).await?,
            effect_states,
            stock_moves,
            notifications,
            related: self.related(&payment, &events).await?,
            facts: self.facts(&payment, &events).await?,
            outbox_waiting,
            payment,
        })
    }

    async fn facts(
        &self,
        payment: &PaymentRow,
        events: &[(PaymentEvent, i64)],
    ) -> Result<Vec<FactRow>, ShopError> {
        let events: Vec<&PaymentEvent> = events.iter().map(|(event, _)| event).collect();
        let named: BTreeSet<_> = facts::order_ids(events.iter().copied()).collect();
        let registered: HashSet<_> = self.orders(&named).await?.into_keys().collect();
        Ok(facts::facts(payment, &events, &registered))
    }

    /// What was decided about the messages of every transaction that the story has, by time. One
    /// decision is told once, although it stands at each thing that its message tells; best as what
    /// was decided about `own`.
    async fn decisions_of(
        &self,
        ids: &BTreeSet<&str>,
        own: &str,
    ) -> Result<Vec<DecisionRow>, ShopError> {
        let mut decisions: Vec<DecisionRow> = Vec::new();
        for id in ids {
            decisions.extend(self.decisions(id).await?);
        }
        let order = |row: &DecisionRow| {
            let (at, message, stage) = (row.at.clone(), row.message_id.clone(), row.stage.clone());
            let what = (row.outcome.clone(), row.reason.clone(), row.attempt);
            (at, message, stage, what)
        };
        decisions.sort_by_key(|row| (order(row), row.subject != own, row.txn_id.clone()));
        decisions.dedup_by_key(|row| order(row));
        Ok(decisions)
    }

    /// The messages of every transaction that the story has, and that were parked, by time.
    async fn parked_of(&self, ids: &BTreeSet<&str>) -> Result<Vec<ParkedRow>, ShopError> {
        let mut parked: Vec<ParkedRow> = Vec::new();
        for id in ids {
            for row in self.parked_about(id).await? {
                if !parked.contains(&row) {
                    parked.push(row);
                }
            }
        }
        parked.sort_by(|a, b| (&a.at, &a.message_id).cmp(&(&b.at, &b.message_id)));
        Ok(parked)
    }

    /// When personal data was removed from an event of the story last; blank when it never was.
    async fn details_removed_at(&self, subject: &str) -> Result<String, ShopError> {
        let rows = self
            .rows(
                "SELECT COALESCE(MAX(personal_removed_at), 0) FROM event \
                 WHERE subject = $1 OR about = $1",
                subject,
            )
            .await?;
        let at = rows
            .first()
            .map_or(Ok(0), |row| row.try_get(0))
            .map_err(ShopError::during(DOING))?;
        Ok(time_text(at))
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

/// The ids under which something may have been decided about the story's messages. Pure.
fn named<'a>(payment: &'a PaymentRow, events: &'a [(PaymentEvent, i64)]) -> BTreeSet<&'a str> {
    let transactions = events.iter().filter_map(|(event, _)| {
        let own = event.data.txn_id.as_ref().map(TxnId::as_str);
        own.filter(|_| payment.kind == "payment")
    });
    transactions.chain([payment.txn_id.as_str()]).collect()
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
        fee: data.fee.map_or_else(String::new, |fee| fee.to_string()),
        settled: data
            .details
            .settled
            .as_ref()
            .map_or_else(String::new, settled),
    }
}

/// `65.02 EUR at 0.662793`.
fn settled(settled: &Settled) -> String {
    match &settled.exchange_rate {
        Some(rate) => format!("{} at {rate}", settled.amount),
        None => settled.amount.to_string(),
    }
}

fn read_move(row: &AnyRow) -> Result<MoveRow, sqlx::Error> {
    Ok(MoveRow {
        sku: row.try_get(0)?,
        movement: row.try_get(1)?,
        quantity: row.try_get(2)?,
        at: time_text(row.try_get(3)?),
    })
}
