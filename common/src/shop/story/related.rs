//! What belongs to the subject of a story: its refunds and captures, its subscription, its cases.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{DOING, RelatedRow};
use crate::event::{EventType, PaymentEvent, Subject};
use crate::shop::{PaymentRow, Shop, ShopError, row};

impl Shop {
    /// The rows of its own that belong to the story, and the transactions that have none.
    pub(super) async fn related(
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

fn read_related(row: &AnyRow) -> Result<RelatedRow, sqlx::Error> {
    let amount = row::told_amount(row, 3, 4)?;
    Ok(RelatedRow {
        relation: row.try_get(0)?,
        id: row.try_get(1)?,
        status: row.try_get(2)?,
        amount: amount.map_or_else(String::new, |amount| amount.to_string()),
    })
}
