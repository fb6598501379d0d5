//! What is still to be published, written in the same transaction as the reason for it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{Dialect, Shop, ShopError, millis};
use crate::ids::{AccountId, GatewayId, MessageId};
use crate::quarantine_notice::Notice;

/// Where an outbox row goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutgoingTo {
    /// `ipn.notify`: a customer notification.
    Notify,
    /// The topic exchange `ipn.payments`.
    Payments {
        /// `{gateway}.{event type}`.
        routing_key: String,
    },
}

/// One row of the outbox.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Derived from the event or the effect; the same every time.
    pub id: MessageId,
    /// Where it goes.
    pub to: OutgoingTo,
    /// Who sent the notification that it comes from.
    pub gateway: GatewayId,
    /// To which account.
    pub account: AccountId,
    /// When ingest had that notification.
    pub received_at: Timestamp,
    /// JSON. Holds personal data; blanked once published.
    pub payload: String,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Outgoing")
            .field("id", &self.id)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(super) async fn insert(
        &self,
        connection: &mut AnyConnection,
        subject: &str,
        now: Timestamp,
    ) -> Result<(), ShopError> {
        let (destination, routing_key) = match &self.to {
            OutgoingTo::Notify => ("notify", ""),
            OutgoingTo::Payments { routing_key } => ("payments", routing_key.as_str()),
        };
        sqlx::query(
            "INSERT INTO outbox (id, subject, destination, routing_key, gateway, account, \
             received_at, payload, created_at, lease_until, published_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0) ON CONFLICT (id) DO NOTHING",
        )
        .bind(self.id.to_string())
        .bind(subject)
        .bind(destination)
        .bind(routing_key)
        .bind(self.gateway.as_str())
        .bind(self.account.as_str())
        .bind(millis(self.received_at))
        .bind(self.payload.as_str())
        .bind(millis(now))
        .execute(connection)
        .await
        .map_err(ShopError::during("writing the outbox"))?;
        Ok(())
    }

    fn read(row: &AnyRow) -> Result<Self, ShopError> {
        let doing = "reading the outbox";
        let text = |at: usize| -> Result<String, ShopError> {
            row.try_get(at).map_err(ShopError::during(doing))
        };
        let received: i64 = row.try_get(5).map_err(ShopError::during(doing))?;
        let to = if text(1)? == "payments" {
            OutgoingTo::Payments {
                routing_key: text(2)?,
            }
        } else {
            OutgoingTo::Notify
        };
        Ok(Self {
            id: text(0)?.parse().map_err(ShopError::unreadable("id"))?,
            to,
            gateway: text(3)?.parse().map_err(ShopError::unreadable("gateway"))?,
            account: text(4)?.parse().map_err(ShopError::unreadable("account"))?,
            received_at: Timestamp::from_millisecond(received)
                .map_err(ShopError::unreadable("time"))?,
            payload: text(6)?,
        })
    }
}

impl Shop {
    /// Queues something that no event brought about: a note about `subject`, a message. Its id
    /// makes it unique: queued twice, it is published once.
    pub async fn enqueue(
        &self,
        subject: &str,
        outgoing: &Outgoing,
        now: Timestamp,
    ) -> Result<(), ShopError> {
        let mut connection = self
            .pool()
            .await?
            .acquire()
            .await
            .map_err(ShopError::during("writing the outbox"))?;
        outgoing.insert(&mut connection, subject, now).await
    }

    /// Queues the note to the merchant about a parked message, and remembers under which name.
    pub async fn tell_of_parked(
        &self,
        message: MessageId,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<(), ShopError> {
        let doing = "queueing the note about a parked message";
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(doing))?;
        sqlx::query("UPDATE parked_message SET notice = $1 WHERE message_id = $2")
            .bind(notice.subject.as_str())
            .bind(message.to_string())
            .execute(&mut *tx)
            .await
            .map_err(ShopError::during(doing))?;
        notice
            .outgoing
            .insert(&mut tx, &notice.subject, now)
            .await?;
        tx.commit().await.map_err(ShopError::during(doing))
    }

    /// Leases up to `limit` waiting rows, oldest first, for `lease`: nobody else gets them until
    /// then. What is not [`Self::published`] by then is leased again, to whoever asks.
    pub async fn lease_outbox(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u16,
    ) -> Result<Vec<Outgoing>, ShopError> {
        let now = millis(now);
        let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let sql = match self.inner.dialect {
            Dialect::Sqlite => {
                "UPDATE outbox SET lease_until = $1 WHERE published_at = 0 AND lease_until < $2 \
                 AND id IN (SELECT id FROM outbox WHERE published_at = 0 AND lease_until < $2 \
                 ORDER BY created_at, id LIMIT $3) \
                 RETURNING id, destination, routing_key, gateway, account, received_at, payload"
            }
            // Two that lease at once pass each other's rows by: waiting for them in the order in
            // which the plan visits them could be a deadlock.
            Dialect::Postgres => {
                "UPDATE outbox SET lease_until = $1 WHERE published_at = 0 AND lease_until < $2 \
                 AND id IN (SELECT id FROM outbox WHERE published_at = 0 AND lease_until < $2 \
                 ORDER BY created_at, id LIMIT $3 FOR UPDATE SKIP LOCKED) \
                 RETURNING id, destination, routing_key, gateway, account, received_at, payload"
            }
        };
        let rows = sqlx::query(sql)
            .bind(now.saturating_add(lease))
            .bind(now)
            .bind(i64::from(limit))
            .fetch_all(self.pool().await?)
            .await
            .map_err(ShopError::during("leasing the outbox"))?;
        rows.iter().map(Outgoing::read).collect()
    }

    /// The row is durable elsewhere: never again. Its payload is blanked, because it holds
    /// personal data and is of no more use.
    pub async fn published(&self, id: MessageId, now: Timestamp) -> Result<(), ShopError> {
        sqlx::query("UPDATE outbox SET published_at = $1, payload = '' WHERE id = $2")
            .bind(millis(now))
            .bind(id.to_string())
            .execute(self.pool().await?)
            .await
            .map_err(ShopError::during("marking the outbox"))?;
        Ok(())
    }

    /// The row could not be published: it may be leased again from `not_before`.
    pub async fn unlease(&self, id: MessageId, not_before: Timestamp) -> Result<(), ShopError> {
        sqlx::query("UPDATE outbox SET lease_until = $1 WHERE id = $2 AND published_at = 0")
            .bind(millis(not_before))
            .bind(id.to_string())
            .execute(self.pool().await?)
            .await
            .map_err(ShopError::during("giving an outbox row back"))?;
        Ok(())
    }

    /// How many rows wait to be published.
    pub async fn outbox_depth(&self) -> Result<u64, ShopError> {
        let count: i64 = sqlx::query("SELECT COUNT(*) FROM outbox WHERE published_at = 0")
            .fetch_one(self.pool().await?)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(ShopError::during("counting the outbox"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}
