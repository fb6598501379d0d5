//! A person's word that nothing more is to be done for what was parked: it was settled in another
//! way (paid back, sold by hand), or is nobody's.

use jiff::Timestamp;
use sqlx::AnyConnection;

use super::parked::ParkedRow;
use super::{Shop, ShopError, decisions, millis, risk};
use crate::ids::MessageId;

/// A person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDismissal {
    /// Who.
    pub by: String,
    /// Why.
    pub because: String,
    /// When.
    pub at: Timestamp,
}

const DOING: &str = "dismissing what is parked";

/// What a dismissal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dismissed {
    /// The messages that waited.
    pub rows: Vec<ParkedRow>,
    /// How many payments were at risk beside these: verified, and on no queue any more.
    pub payments: u64,
}

impl Shop {
    /// Dismisses every waiting message that names `id`, or is about it, and the money that it tells
    /// of. Where none waits, money that is about `id` and was verified, whose message somebody has
    /// deleted from a queue. Copies on parking queues stay where they are.
    pub async fn dismiss(&self, id: &str, word: &NewDismissal) -> Result<Dismissed, ShopError> {
        let mut waiting = self.quarantined().await?;
        waiting.retain(|row| row.txn_id == id || row.subject == id);
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(DOING))?;
        for row in &waiting {
            one(&mut tx, &row.message_id, word).await?;
        }
        // A payment that is on its way beside a copy that was parked stays at risk.
        let only_quarantined = !waiting.is_empty();
        let payments = risk::dismissed_about(&mut tx, id, only_quarantined, word.at).await?;
        tx.commit().await.map_err(ShopError::during(DOING))?;
        Ok(Dismissed {
            payments: if waiting.is_empty() { payments } else { 0 },
            rows: waiting,
        })
    }

    /// The same of messages that were deleted from their parking queue.
    pub async fn dismiss_messages(
        &self,
        messages: &[MessageId],
        word: &NewDismissal,
    ) -> Result<(), ShopError> {
        let mut tx = self
            .pool()
            .await?
            .begin()
            .await
            .map_err(ShopError::during(DOING))?;
        for message in messages {
            let message = message.to_string();
            one(&mut tx, &message, word).await?;
        }
        tx.commit().await.map_err(ShopError::during(DOING))
    }
}

async fn one(
    connection: &mut AnyConnection,
    message: &str,
    word: &NewDismissal,
) -> Result<(), ShopError> {
    let done = sqlx::query(
        "UPDATE parked_message SET dismissed_at = $1, dismissed_by = $2, dismissed_because = $3 \
         WHERE message_id = $4 AND settled_at = 0 AND dismissed_at = 0",
    )
    .bind(millis(word.at))
    .bind(word.by.as_str())
    .bind(word.because.as_str())
    .bind(message)
    .execute(&mut *connection)
    .await
    .map_err(ShopError::during(DOING))?;
    if done.rows_affected() > 0 {
        let told = (word.by.as_str(), word.because.as_str());
        decisions::by_a_person(connection, message, "dismissed", told, word.at).await?;
    }
    risk::dismissed(connection, message, word.at).await
}
