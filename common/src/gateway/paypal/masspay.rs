//! Mass payments: the merchant pays many; one message tells of every item.
//!
//! There is no `txn_id` and no receiver of the message; each item N has `masspay_txn_id_N`,
//! `status_N`, `mc_gross_N` and so on, and the same items come again as their statuses change (IPN
//! and PDT variables, developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables).

use std::collections::BTreeSet;

use super::super::ReadError;
use super::doubt::Doubt;
use super::reading::{Context, word};
use super::{amount, details};
use crate::event::{EventType, OrderRef, Payer, Subject};
use crate::key::Identity;
use crate::notification::Reading;
use crate::status::{MassPayStatus, PaymentStatus, ReasonCode};

/// The most items that are read of one message: a `MassPay` request takes up to 250 payments
/// (`MassPay` API operation, developer.paypal.com/docs/nvp-soap-api/masspay-soap/). Each item is an
/// event of its own, so that a message with more is for a person, and no flood.
const ITEMS: usize = 250;

/// One reading for each item, or one for the whole message when it names none.
pub(super) fn read(context: &Context<'_>) -> Result<Vec<Reading>, ReadError> {
    let numbers = item_numbers(context);
    if numbers.is_empty() {
        return Ok(vec![whole(context)?]);
    }
    if numbers.len() > ITEMS {
        return Err(ReadError::TooMany {
            found: numbers.len(),
            most: ITEMS,
        });
    }
    numbers
        .into_iter()
        .map(|number| item(context, number))
        .collect()
}

/// The numbers N of the items.
fn item_numbers(context: &Context<'_>) -> BTreeSet<u32> {
    const STEMS: [&str; 5] = [
        "masspay_txn_id_",
        "mc_gross_",
        "receiver_email_",
        "status_",
        "unique_id_",
    ];
    context
        .fields
        .iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .filter_map(|(name, _)| {
            let number = STEMS.iter().find_map(|stem| name.strip_prefix(stem))?;
            let plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
            plain.then(|| number.parse().ok()).flatten()
        })
        .collect()
}

/// A batch without items: it was refused as a whole.
fn whole(context: &Context<'_>) -> Result<Reading, ReadError> {
    let key = context.message_key("")?;
    let mut data = context.data(Subject::Message(context.digest().to_owned()))?;
    data.payer = Payer::default();
    let mut doubts = context.doubts();
    doubts.push(Doubt::MissingItems.reason());
    Ok(context.reading(EventType::PayoutItem, key, data, doubts))
}

/// Item `number`.
fn item(context: &Context<'_>, number: u32) -> Result<Reading, ReadError> {
    let fields = context.fields;
    let named = |stem: &str| format!("{stem}_{number}");
    let mut doubts = context.doubts();
    let txn_id = context.txn_id(&named("masspay_txn_id"))?;
    let status_text = fields
        .text(&named("status"))
        .or_else(|| fields.text("payment_status"));
    let status = status_text.map(MassPayStatus::parse);
    if !status.as_ref().is_some_and(MassPayStatus::is_known) {
        doubts.push(Doubt::UnknownStatus.reason());
    }
    let (subject, key) = if let Some(txn_id) = &txn_id {
        let key = context.key(&Identity::Payout {
            id: txn_id.as_str(),
            status: &word(status.as_ref().map(MassPayStatus::as_str)),
        })?;
        (Subject::Payout(txn_id.to_string()), key)
    } else {
        doubts.push(Doubt::MissingTxnId.reason());
        let key = context.message_key(&number.to_string())?;
        let subject = format!("{}/{number}", context.digest());
        (Subject::Message(subject), key)
    };
    let currency = match amount::currency_named(fields, &named("mc_currency"))? {
        Some(currency) => Some(currency),
        None => amount::currency(fields)?,
    };
    let mut data = context.data(subject)?;
    data.txn_id = txn_id;
    data.payment_status = status_text.map(PaymentStatus::parse);
    data.reason_code = fields.text(&named("reason_code")).map(ReasonCode::parse);
    data.gross = amount::money_or_dollars(
        fields,
        &named("mc_gross"),
        &named("payment_gross"),
        currency,
    )?;
    data.fee = amount::money_or_dollars(fields, &named("mc_fee"), &named("payment_fee"), currency)
        .unwrap_or_default();
    // The payer is the merchant himself, not a customer, and there is no order.
    data.payer = Payer::default();
    data.order = OrderRef::default();
    data.subscription = None;
    data.details.payee = details::payee(fields, number);
    let receiver = word(fields.text(&named("receiver_email")));
    let meaning = context
        .meaning(EventType::PayoutItem, &data)
        .with("receiver", Some(&receiver))
        .with("unique_id", fields.text(&named("unique_id")));
    Ok(Reading {
        key,
        fingerprint: meaning.fingerprint(),
        event_type: EventType::PayoutItem,
        data,
        doubts,
    })
}
