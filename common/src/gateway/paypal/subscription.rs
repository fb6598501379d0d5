//! The life of subscriptions, recurring profiles and billing agreements, as far as no money moves.
//!
//! These messages have neither `payment_status` nor `txn_id`. Standard subscriptions use
//! `subscr_id`, and yet send some `recurring_payment_*` messages with `recurring_payment_id` (IPN
//! and PDT variables, developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables).

use super::super::ReadError;
use super::doubt::Doubt;
use super::fields::Fields;
use super::reading::{Context, SUBSCRIPTION};
use super::{amount, date};
use crate::event::{BillingPeriod, EventType, Subject};
use crate::key::Identity;
use crate::notification::Reading;
use crate::status::TxnType;

/// What a lifecycle message agrees on, for the fingerprint.
const TERMS: [&str; 13] = [
    "amount",
    "amount_per_cycle",
    "initial_payment_amount",
    "initial_payment_txn_id",
    "mc_amount1",
    "mc_amount2",
    "mc_amount3",
    "outstanding_balance",
    "payment_cycle",
    "period1",
    "period2",
    "period3",
    "profile_status",
];

/// The dates that tell one message from the next of the same kind. All that are there count: a
/// profile's `time_created` never changes, while each failure has another `next_payment_date`.
const OCCASIONS: [&str; 5] = [
    "subscr_date",
    "subscr_effective",
    "retry_at",
    "time_created",
    "next_payment_date",
];

/// Whether messages of this type need no `payment_status`.
pub(super) const fn is_lifecycle(txn_type: &TxnType) -> bool {
    matches!(
        txn_type,
        TxnType::SubscrSignup
            | TxnType::SubscrCancel
            | TxnType::SubscrModify
            | TxnType::SubscrFailed
            | TxnType::SubscrEot
            | TxnType::RecurringPaymentProfileCreated
            | TxnType::RecurringPaymentProfileCancel
            | TxnType::RecurringPaymentExpired
            | TxnType::RecurringPaymentFailed
            | TxnType::RecurringPaymentSkipped
            | TxnType::RecurringPaymentSuspended
            | TxnType::RecurringPaymentSuspendedDueToMaxFailedPayment
            | TxnType::RecurringPaymentOutstandingPaymentFailed
            | TxnType::MpSignup
            | TxnType::MpCancel
    )
}

/// The flag of a sign-up whose first period costs something: the payment for it is a message of its
/// own, and until then nothing was paid.
pub(super) const FIRST_PAYMENT_DUE: &str = "first_payment_due";

/// Whether the first period of what is signed up for costs something. Without a trial
/// (`period1`) that is the regular price. A price that cannot be read is not free.
pub(super) fn is_first_payment_due(fields: &Fields) -> bool {
    let name = if fields.text("period1").is_some() {
        "mc_amount1"
    } else {
        "mc_amount3"
    };
    let currency = amount::currency(fields).ok().flatten();
    match amount::money_named(fields, name, currency) {
        Ok(price) => price.is_some_and(|price| price.minor() != 0),
        Err(_) => true,
    }
}

/// Reads a lifecycle message.
pub(super) fn read(context: &Context<'_>) -> Result<Reading, ReadError> {
    let fields = context.fields;
    let mut doubts = context.doubts();
    let id = SUBSCRIPTION.into_iter().find_map(|name| fields.owned(name));
    let Some(id) = id else {
        doubts.push(Doubt::MissingSubscription.reason());
        let key = context.message_key("")?;
        let data = context.data(Subject::Message(context.digest().to_owned()))?;
        return Ok(context.reading(EventType::SubscriptionChanged, key, data, doubts));
    };
    let key = context.key(&Identity::Subscription {
        id: &id,
        txn_type: context.txn_type.as_ref().map_or("", TxnType::as_str),
        occasion: &occasion(context),
    })?;
    let event_type = EventType::SubscriptionChanged;
    let mut data = context.data(Subject::Subscription(id))?;
    if matches!(
        context.txn_type,
        Some(TxnType::SubscrSignup | TxnType::SubscrModify)
    ) {
        data.terms = terms(fields);
        context.add_lines(event_type, &mut data, &mut doubts)?;
    }
    let meaning = TERMS
        .into_iter()
        .fold(context.meaning(event_type, &data), |meaning, name| {
            meaning.with(name, fields.text(name))
        });
    Ok(Reading {
        key,
        fingerprint: meaning.fingerprint(),
        event_type,
        data,
        doubts,
    })
}

/// What was agreed: a button's amounts and periods, and so the buyer's browser's word. An amount
/// that cannot be read is none, which is never what was asked.
fn terms(fields: &Fields) -> Vec<BillingPeriod> {
    let currency = amount::currency(fields).ok().flatten();
    (1..=BillingPeriod::REGULAR)
        .filter_map(|number| {
            let named = |stem: &str| format!("{stem}{number}");
            let (name, dollars) = (named("mc_amount"), named("amount"));
            let length = fields.owned(&named("period"));
            let is_there = [&name, &dollars]
                .into_iter()
                .any(|name| fields.text(name).is_some());
            (is_there || length.is_some()).then(|| BillingPeriod {
                number,
                amount: amount::money_or_dollars(fields, &name, &dollars, currency)
                    .unwrap_or_default(),
                length,
            })
        })
        .collect()
}

/// The dates as seconds since 1970, so that their spelling does not matter; a text that is no date
/// as it is.
fn occasion(context: &Context<'_>) -> String {
    OCCASIONS
        .into_iter()
        .filter_map(|name| context.fields.text(name))
        .map(|text| {
            date::parse(text).map_or_else(|| text.to_owned(), |at| at.as_second().to_string())
        })
        .collect::<Vec<_>>()
        .join(",")
}
