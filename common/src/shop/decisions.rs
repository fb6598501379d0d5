//! What the stages decided about messages, and why.
//!
//! Stub: until the stages write their decisions down in the shop database, nobody knows of any.

use serde::Serialize;

use super::{Shop, ShopError};

/// One decision as `payments show` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionRow {
    /// When.
    pub at: String,
    /// By whom.
    pub stage: String,
    /// What was decided.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// By which way the message came.
    pub source: String,
    /// The attempts spent before.
    pub attempt: i64,
    /// The transaction that the message names.
    pub txn_id: String,
    /// What it is about: a payment's transaction, a case, a subscription.
    pub subject: String,
    /// The message.
    pub message_id: String,
    /// Who sent it.
    pub gateway: String,
    /// Whose account.
    pub account: String,
}

impl Shop {
    /// Every decision about messages that name `txn`, or are about it, oldest first.
    #[expect(
        clippy::unused_async,
        reason = "the decisions will stand in the database"
    )]
    pub async fn decisions(&self, _txn: &str) -> Result<Vec<DecisionRow>, ShopError> {
        Ok(Vec::new())
    }
}
