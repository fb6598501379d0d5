//! Copies of what is parked. Anybody can post a genuine message again and again, and each copy is
//! refused again: the first one stands for all of them in the books, and the rest are counted.

use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _};

use super::{ShopError, millis};
use crate::claims::Fingerprint;
use crate::ids::{MessageId, Reason};

const DOING: &str = "counting copies of what is parked";

/// Counts `message`, which is parked for `reason`. Whether it is a copy: another message of the
/// same meaning was parked for that reason before. Whoever asks at the same time waits for the
/// end of this transaction.
pub(super) async fn is_copy(
    connection: &mut AnyConnection,
    meaning: &Fingerprint,
    reason: &Reason,
    message: MessageId,
    now: Timestamp,
) -> Result<bool, ShopError> {
    let message = message.to_string();
    let first: String = sqlx::query(
        "INSERT INTO parked_copy (meaning, reason, message_id, copies, last_at) \
         VALUES ($1, $2, $3, 1, $4) ON CONFLICT (meaning, reason) DO UPDATE SET \
         copies = parked_copy.copies + CASE \
         WHEN parked_copy.message_id = excluded.message_id THEN 0 ELSE 1 END, \
         last_at = excluded.last_at RETURNING message_id",
    )
    .bind(meaning.as_str())
    .bind(reason.as_str())
    .bind(message.as_str())
    .bind(millis(now))
    .fetch_one(&mut *connection)
    .await
    .and_then(|row| row.try_get(0))
    .map_err(ShopError::during(DOING))?;
    if first == message {
        return Ok(false);
    }
    // What went its way stands for nothing any more.
    let stands = sqlx::query(
        "UPDATE parked_copy SET message_id = $1 WHERE meaning = $2 AND reason = $3 \
         AND EXISTS (SELECT 1 FROM parked_message p WHERE p.message_id = parked_copy.message_id \
         AND p.settled_at <> 0)",
    )
    .bind(message.as_str())
    .bind(meaning.as_str())
    .bind(reason.as_str())
    .execute(connection)
    .await
    .map_err(ShopError::during(DOING))?;
    Ok(stands.rows_affected() == 0)
}

/// Notes that something of that meaning went its way: whatever stands for it waits no longer.
pub(super) async fn settle(
    connection: &mut AnyConnection,
    meaning: &Fingerprint,
    now: Timestamp,
) -> Result<(), ShopError> {
    sqlx::query(
        "UPDATE parked_message SET settled_at = $1 WHERE settled_at = 0 \
         AND message_id IN (SELECT message_id FROM parked_copy WHERE meaning = $2)",
    )
    .bind(millis(now))
    .bind(meaning.as_str())
    .execute(connection)
    .await
    .map_err(ShopError::during(DOING))?;
    Ok(())
}
