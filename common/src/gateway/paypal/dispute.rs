//! Disputes: `new_case` and `adjustment`.
//!
//! They carry the *original* payment's `txn_id` and no `payment_status`; a chargeback may come with
//! a blank `txn_type` and a `case_type` (IPN and PDT variables,
//! developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables).

use super::super::ReadError;
use super::doubt::Doubt;
use super::reading::{Context, word};
use crate::event::{EventType, Subject};
use crate::ids::TxnId;
use crate::key::Identity;
use crate::notification::Reading;
use crate::status::{ReasonCode, TxnType};

/// Reads one step of a dispute.
pub(super) fn read(context: &Context<'_>) -> Result<Reading, ReadError> {
    let fields = context.fields;
    let event_type = match context.txn_type {
        Some(TxnType::Adjustment) => EventType::DisputeAdjusted,
        _ => EventType::DisputeOpened,
    };
    let mut doubts = context.doubts();
    let subject = if let Some(case_id) = fields.owned("case_id") {
        Subject::Case(case_id)
    } else {
        doubts.push(Doubt::MissingCase.reason());
        match context.txn_id("txn_id")? {
            Some(txn_id) => Subject::Payment(txn_id),
            None => Subject::Message(context.digest().to_owned()),
        }
    };
    let data = context.data(subject)?;
    let key = if fields.text("case_id").is_none() && data.txn_id.is_none() {
        context.message_key("")?
    } else {
        context.key(&Identity::Case {
            case_id: fields.text("case_id").unwrap_or_default(),
            txn_type: context.txn_type.as_ref().map_or("", TxnType::as_str),
            case_type: &word(fields.text("case_type")),
            reason: &word(data.reason_code.as_ref().map(ReasonCode::as_str)),
            txn_id: data.txn_id.as_ref().map_or("", TxnId::as_str),
        })?
    };
    Ok(context.reading(event_type, key, data, doubts))
}
