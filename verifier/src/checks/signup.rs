//! What a subscription was agreed to cost. Pure.
//!
//! A sign-up carries no money, and its amounts and periods stand in the buyer's browser as those of
//! any button. What recurs is held against the price; a trial below it gives something away, which
//! only a person can have meant: nothing in an order or the catalogue speaks of trials.

use quittance_common::event::{BillingPeriod, EventData, EventType};
use quittance_common::money::Money;
use quittance_common::refusal::RefusalCode;
use quittance_common::status::TxnType;

use super::Refusal;

/// Whether the reading agrees on what a subscription costs.
pub(super) const fn is_agreement(event_type: EventType, data: &EventData) -> bool {
    matches!(event_type, EventType::SubscriptionChanged)
        && matches!(
            data.txn_type,
            Some(TxnType::SubscrSignup | TxnType::SubscrModify)
        )
}

/// What recurs.
pub(super) fn regular(data: &EventData) -> Result<Money, Refusal> {
    let regular = data
        .terms
        .iter()
        .find(|period| period.number == BillingPeriod::REGULAR);
    match regular.and_then(|period| period.amount) {
        Some(amount) if amount.minor() > 0 => Ok(amount),
        Some(amount) => Err(Refusal::new(
            RefusalCode::AmountNotPositive,
            format!("a subscription that costs {amount} is no money coming in"),
        )
        .compared(&"more than zero", &amount)),
        None => Err(Refusal::new(
            RefusalCode::MissingAmount,
            "the sign-up does not say what recurs",
        )),
    }
}

/// Is there a trial for less than `total`, which is what a period costs?
pub(super) fn trials(data: &EventData, total: Money) -> Result<(), Refusal> {
    let trials = data
        .terms
        .iter()
        .filter(|period| period.number != BillingPeriod::REGULAR);
    for trial in trials {
        let is_whole = trial.amount.is_some_and(|amount| {
            amount.currency() == total.currency() && amount.minor() >= total.minor()
        });
        if !is_whole {
            let found = trial
                .amount
                .map_or_else(|| "free".to_owned(), |amount| amount.to_string());
            return Err(Refusal::new(
                RefusalCode::TrialNotExpected,
                format!(
                    "a period costs {total}, trial period {} is {found}",
                    trial.number
                ),
            )
            .compared(&total, &found));
        }
    }
    Ok(())
}
