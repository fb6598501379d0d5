//! Is it from the right world, and was it paid to us? Pure.

use quittance_common::event::{Environment, EventType};
use quittance_common::ids::Reason;
use quittance_common::notification::Payee;
use quittance_common::refusal::RefusalCode;
use quittance_common::settings::Account;

use super::Refusal;

/// A sandbox message on a live account (or the other way round) is no fraud, but it is no money:
/// anybody can open a sandbox business with any e-mail address.
pub fn environment(claimed: Option<Environment>, account: Environment) -> Result<(), Refusal> {
    match claimed {
        Some(claimed) if claimed != account => Err(Refusal::new(
            RefusalCode::EnvironmentMismatch,
            format!("the account is {account}, the message says {claimed}"),
        )
        .compared(&account, &claimed)),
        _ => Ok(()),
    }
}

/// Is the payee one of ours? `receiver_id` decides where both sides have one; else any of the
/// addresses does: `business` may be an alias, `receiver_email` is always the primary address.
pub(super) fn receiver(
    payee: &Payee,
    account: &Account,
    event_type: EventType,
) -> Result<Option<Reason>, Refusal> {
    let ours = |value: &str| {
        account
            .receivers
            .iter()
            .any(|own| own.eq_ignore_ascii_case(value))
    };
    if payee.merchant_pays {
        return if payee.payer.iter().any(|payer| ours(payer)) {
            Ok(None)
        } else {
            Err(Refusal::new(
                RefusalCode::PayerMismatch,
                "a mass payment that another account sent",
            ))
        };
    }
    let is_id = |value: &str| !value.contains('@');
    let knows_ids = account.receivers.iter().any(|own| is_id(own));
    if let Some(id) = payee
        .receiver_id
        .as_deref()
        .filter(|id| is_id(id) && knows_ids)
    {
        return if ours(id) {
            Ok(None)
        } else {
            Err(Refusal::new(
                RefusalCode::ReceiverMismatch,
                "receiver_id is none of the account's receivers",
            ))
        };
    }
    let named: Vec<&str> = [&payee.receiver_id, &payee.business, &payee.receiver_email]
        .into_iter()
        .filter_map(Option::as_deref)
        .collect();
    if named.is_empty() {
        return match event_type {
            // These carry no money and often no payee.
            EventType::DisputeOpened
            | EventType::DisputeAdjusted
            | EventType::SubscriptionChanged => Ok(Some(Reason::of("receiver_missing"))),
            _ => Err(Refusal::new(
                RefusalCode::ReceiverMissing,
                "the message names no payee",
            )),
        };
    }
    if named.into_iter().any(ours) {
        Ok(None)
    } else {
        Err(Refusal::new(
            RefusalCode::ReceiverMismatch,
            "neither business nor receiver_email is one of the account's receivers",
        ))
    }
}
