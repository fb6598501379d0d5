//! What the books know about authorisations, as far as the checks of their captures ask.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row as _;

use super::family::GENERATIONS;
use super::{Shop, ShopError};
use crate::event::{Environment, EventData, EventType, Line, PaymentEvent};
use crate::ids::{GatewayId, OrderId, TxnId};
use crate::money::Money;
use crate::status::PendingReason;

/// An authorisation that is in the books: what the buyer has agreed to. It has passed the checks,
/// or a person has let it go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// What was authorised.
    pub gross: Option<Money>,
    /// What it was held against; `None` when nothing said.
    pub asked: Option<Money>,
    /// The order that it was held against.
    pub order: Option<OrderId>,
    /// What it is for.
    pub lines: Vec<Line>,
}

impl Authorization {
    /// Whether so much was authorised as is asked, but for `tolerance` minor units.
    pub fn covers(&self, asked: Money, tolerance: u32) -> bool {
        self.gross.is_some_and(|gross| {
            gross.currency() == asked.currency()
                && asked.minor().saturating_sub(gross.minor()) <= i64::from(tolerance)
        })
    }
}

impl From<EventData> for Authorization {
    fn from(data: EventData) -> Self {
        Self {
            gross: data.gross,
            asked: data.asked,
            order: data.order.claimed().cloned(),
            lines: data.lines,
        }
    }
}

impl Shop {
    /// The authorisations behind captures that name one of `parents`, by that name. Of an order
    /// at the gateway that was authorised in parts it is the order, if the books have it: the parts
    /// are the merchant's choice. One that is not recorded is missing from the answer.
    pub async fn authorizations(
        &self,
        gateway: GatewayId,
        environment: Environment,
        parents: &BTreeSet<&TxnId>,
    ) -> Result<HashMap<TxnId, Authorization>, ShopError> {
        let mut found = HashMap::new();
        for parent in parents {
            let mut next = Some((*parent).clone());
            for _ in 0..GENERATIONS {
                let Some(txn) = next.take() else { break };
                let Some(pending) = self.pending(gateway, environment, &txn).await? else {
                    break;
                };
                next.clone_from(&pending.data.parent_txn_id);
                found.insert((*parent).clone(), Authorization::from(pending.data));
            }
        }
        Ok(found)
    }

    /// The event that tells that a transaction waits: for its capture, where several do.
    async fn pending(
        &self,
        gateway: GatewayId,
        environment: Environment,
        txn: &TxnId,
    ) -> Result<Option<PaymentEvent>, ShopError> {
        let doing = "looking an authorisation up";
        let rows = sqlx::query("SELECT json FROM event WHERE txn_id = $1 AND type = $2")
            .bind(txn.as_str())
            .bind(EventType::Pending.as_str())
            .fetch_all(self.pool().await?)
            .await
            .map_err(ShopError::during(doing))?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let json: String = row.try_get(0).map_err(ShopError::during(doing))?;
            let event = PaymentEvent::from_json(json.as_bytes())
                .map_err(ShopError::unreadable("payment event"))?;
            if event.gateway == gateway && event.data.environment == environment {
                events.push(event);
            }
        }
        Ok(events.into_iter().min_by_key(|event| {
            let reason = event.data.pending_reason.as_ref();
            let awaits_capture = reason.is_some_and(PendingReason::awaits_capture);
            (!awaits_capture, event.key.clone())
        }))
    }
}
