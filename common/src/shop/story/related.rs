//! What belongs to the subject of a story: its refunds and captures, its subscription, its cases.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{DOING, RelatedRow};
use crate::event::{EventType, PaymentEvent, Subject};
use crate::shop::{PaymentRow, Shop, ShopError, row, time_text};

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
        related.extend(self.registered_orders(payment.subject.as_str()).await?);
        related.sort();
        related.dedup();
        Ok(related)
    }

    /// The registered and the cancelled orders that the payment names.
    async fn registered_orders(&self, subject: &str) -> Result<Vec<RelatedRow>, ShopError> {
        let rows = self
            .rows(
                "SELECT DISTINCT o.id, o.cancelled_at, o.cancelled_by, o.cancelled_because, \
                 o.total_minor, o.currency FROM event e JOIN shop_order o ON o.id = e.order_ref \
                 WHERE e.subject = $1 AND (o.registered_at <> 0 OR o.cancelled_at <> 0)",
                subject,
            )
            .await?;
        rows.iter()
            .map(read_order)
            .collect::<Result<_, _>>()
            .map_err(ShopError::during(DOING))
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

fn read_order(row: &AnyRow) -> Result<RelatedRow, sqlx::Error> {
    let at: i64 = row.try_get(1)?;
    let (by, because): (String, String) = (row.try_get(2)?, row.try_get(3)?);
    let status = match (at, because.as_str()) {
        (0, _) => String::new(),
        (at, "") => format!("cancelled by {by} at {}", time_text(at)),
        (at, because) => format!("cancelled by {by} at {}: {because}", time_text(at)),
    };
    let total = row::told_amount(row, 4, 5)?;
    Ok(RelatedRow {
        relation: "order".to_owned(),
        id: row.try_get(0)?,
        status,
        amount: total.map_or_else(String::new, |total| total.to_string()),
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
