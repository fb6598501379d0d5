//! Payments, refunds, reversals: whatever has a `payment_status`.
//!
//! A refund, reversal or cancelled reversal has its own `txn_id`, names the payment in
//! `parent_txn_id`, and mostly has no `txn_type` (IPN and PDT variables,
//! developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables).

use super::super::ReadError;
use super::doubt::Doubt;
use super::reading::{Context, word};
use crate::event::{EventData, EventType, Subject};
use crate::ids::{EventKey, Reason};
use crate::key::Identity;
use crate::money::Money;
use crate::notification::Reading;
use crate::status::PaymentStatus;

/// Reads a message with a `payment_status`.
pub(super) fn read(context: &Context<'_>) -> Result<Reading, ReadError> {
    let event_type = context
        .status
        .as_ref()
        .map_or(EventType::Unknown, EventType::of_status);
    let mut doubts = context.doubts();
    if event_type == EventType::Unknown {
        doubts.push(Doubt::UnknownStatus.reason());
    }
    let mut data = context.data(Subject::Message(String::new()))?;
    data.subject = subject(context, &data, &mut doubts);
    context.add_lines(event_type, &mut data, &mut doubts)?;
    doubt_amount(event_type, data.gross, &mut doubts);
    // A payment that is only authorised is Pending; its capture has a `txn_id` of its own. Should
    // the authorisation itself ever say Completed, counting both would ship twice.
    let entity = word(context.fields.text("transaction_entity"));
    if event_type == EventType::Completed && matches!(entity.as_str(), "auth" | "reauth" | "order")
    {
        doubts.push(Doubt::AuthorizationOnly.reason());
    }
    let key = key(context, &data)?;
    Ok(context.reading(event_type, key, data, doubts))
}

/// A message that this build cannot apply: recorded, with the `doubt`, for a person.
pub(super) fn unrecognised(context: &Context<'_>, doubt: Doubt) -> Result<Reading, ReadError> {
    let mut doubts = context.doubts();
    doubts.push(doubt.reason());
    let mut data = context.data(Subject::Message(String::new()))?;
    data.subject = match &data.txn_id {
        Some(txn_id) => Subject::Payment(txn_id.clone()),
        None => Subject::Message(context.digest().to_owned()),
    };
    // Not the key of a payment: an unknown message about one must not look like one of its own.
    let key = context.message_key("")?;
    Ok(context.reading(EventType::Unknown, key, data, doubts))
}

/// The payment that the event is about.
fn subject(context: &Context<'_>, data: &EventData, doubts: &mut Vec<Reason>) -> Subject {
    if data.txn_id.is_none() {
        doubts.push(Doubt::MissingTxnId.reason());
    }
    let about_parent = matches!(
        context.status,
        Some(PaymentStatus::Refunded | PaymentStatus::Reversed | PaymentStatus::CanceledReversal)
    );
    let subject = if about_parent {
        if data.parent_txn_id.is_none() {
            doubts.push(Doubt::MissingParent.reason());
        }
        data.parent_txn_id.as_ref().or(data.txn_id.as_ref())
    } else {
        data.txn_id.as_ref()
    };
    subject.map_or_else(
        || Subject::Message(context.digest().to_owned()),
        |txn_id| Subject::Payment(txn_id.clone()),
    )
}

/// An event about money that came or went says how much.
fn doubt_amount(event_type: EventType, gross: Option<Money>, doubts: &mut Vec<Reason>) {
    match (event_type, gross) {
        (EventType::Completed | EventType::Refunded, None) => {
            doubts.push(Doubt::MissingAmount.reason());
        }
        (EventType::Completed, Some(gross)) if gross.is_negative() => {
            doubts.push(Doubt::NegativeAmount.reason());
        }
        _ => {}
    }
}

/// `txn_id`, status, and the reason that the status has: Pending and Completed of one payment
/// share the `txn_id`. The messages of one auction share all of that, and tell an item each.
fn key(context: &Context<'_>, data: &EventData) -> Result<EventKey, ReadError> {
    let Some(txn_id) = &data.txn_id else {
        return context.message_key("");
    };
    let pending = context.status == Some(PaymentStatus::Pending);
    let detail = data
        .pending_reason
        .as_ref()
        .filter(|_| pending)
        .map(ToString::to_string)
        .or_else(|| data.reason_code.as_ref().map(ToString::to_string))
        .or_else(|| context.fields.owned("auth_status"));
    let status = context.status.as_ref().map(PaymentStatus::as_str);
    let (txn_id, status) = (txn_id.as_str(), word(status));
    let detail = word(detail.as_deref());
    context.key(&match &data.auction {
        None => Identity::Payment {
            txn_id,
            status: &status,
            detail: &detail,
        },
        Some(auction) => Identity::AuctionItem {
            txn_id,
            status: &status,
            detail: &detail,
            item: &auction.item,
        },
    })
}
