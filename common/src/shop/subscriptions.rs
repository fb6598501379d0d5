//! What the books know about subscriptions, as far as the checks ask.

use std::collections::{BTreeSet, HashSet};

use super::{Shop, ShopError, SubjectKey};
use crate::event::{Environment, EventType};
use crate::ids::GatewayId;

impl Shop {
    /// The subscriptions among `ids` that are signed up for and not ended, or that a payment was made
    /// for: what opened them has passed the checks. One that is only known by its end is not among them.
    pub async fn subscriptions_in_force(
        &self,
        gateway: GatewayId,
        environment: Environment,
        ids: &BTreeSet<&str>,
    ) -> Result<HashSet<String>, ShopError> {
        let doing = "looking subscriptions up";
        let mut found = HashSet::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let pool = self.pool().await?;
        for id in ids {
            let subject = SubjectKey::subscription(gateway, environment, id);
            let row = sqlx::query(
                "SELECT 1 FROM payment WHERE subject = $1 AND status IN ('active', 'signed_up') UNION ALL \
                 SELECT 1 FROM event WHERE about = $1 AND type = $2 LIMIT 1",
            )
            .bind(subject.as_str())
            .bind(EventType::Completed.as_str())
            .fetch_optional(pool)
            .await
            .map_err(ShopError::during(doing))?;
            if row.is_some() {
                found.insert((*id).to_owned());
            }
        }
        Ok(found)
    }
}
