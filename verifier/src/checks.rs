//! The business checks on a verified notification, in the contract's order: environment, receiver,
//! amount. Pure. `VERIFIED` proves only that the gateway sent this to somebody; these prove that it
//! is ours and right.

use std::collections::HashMap;

use quittance_common::event::{Environment, EventData, EventType, Line};
use quittance_common::ids::{Reason, Sku};
use quittance_common::money::Money;
use quittance_common::notification::{Notification, Payee};
use quittance_common::settings::{Account, Unmatched};

/// Why a genuine notification must not have an effect without a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub reason: Reason,
    /// What was expected and what was found, in words; no personal data.
    pub detail: String,
}

impl Refusal {
    fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason: Reason::of(reason),
            detail: detail.into(),
        }
    }
}

/// What the catalogue asks for each sku.
pub type Prices = HashMap<Sku, Money>;

/// Checks a whole notification; on success the flags for each reading, in order.
///
/// # Errors
/// The first refusal, in the contract's order.
pub fn check(
    notification: &Notification,
    account: &Account,
    prices: &Prices,
    unmatched: Unmatched,
) -> Result<Vec<Vec<Reason>>, Refusal> {
    environment(notification.claimed_environment, account.environment)?;
    notification
        .readings
        .iter()
        .map(|reading| {
            let mut flags = Vec::new();
            flags.extend(receiver(&notification.payee, account, reading.event_type)?);
            if let Some(doubt) = reading.doubts.first() {
                return Err(Refusal {
                    reason: doubt.clone(),
                    detail: "the message is genuine, and this build cannot tell what it means"
                        .into(),
                });
            }
            flags.extend(amount(
                reading.event_type,
                &reading.data,
                prices,
                unmatched,
            )?);
            Ok(flags)
        })
        .collect()
}

/// The skus that [`check`] will look for in `prices`.
pub fn skus(notification: &Notification) -> Vec<Sku> {
    let lines = notification
        .readings
        .iter()
        .flat_map(|reading| &reading.data.lines);
    let mut skus: Vec<Sku> = lines.filter_map(|line| line.sku.clone()).collect();
    skus.sort();
    skus.dedup();
    skus
}

/// A sandbox message on a live account (or the other way round) is no fraud, but it is no money:
/// anybody can open a sandbox business with any e-mail address.
pub fn environment(claimed: Option<Environment>, account: Environment) -> Result<(), Refusal> {
    match claimed {
        Some(claimed) if claimed != account => Err(Refusal::new(
            "environment_mismatch",
            format!("the account is {account}, the message says {claimed}"),
        )),
        _ => Ok(()),
    }
}

/// Is the payee one of ours? `receiver_id` decides where both sides have one; else any of the
/// addresses does: `business` may be an alias, `receiver_email` is always the primary address.
fn receiver(
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
                "payer_mismatch",
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
                "receiver_mismatch",
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
                "receiver_missing",
                "the message names no payee",
            )),
        };
    }
    if named.into_iter().any(ours) {
        Ok(None)
    } else {
        Err(Refusal::new(
            "receiver_mismatch",
            "neither business nor receiver_email is one of the account's receivers",
        ))
    }
}

/// Does the amount fit what was bought? Only money that comes in is asked.
fn amount(
    event_type: EventType,
    data: &EventData,
    prices: &Prices,
    unmatched: Unmatched,
) -> Result<Vec<Reason>, Refusal> {
    if !matches!(event_type, EventType::Completed | EventType::Pending) {
        return Ok(Vec::new());
    }
    let Some(gross) = data.gross else {
        return Err(Refusal::new(
            "missing_amount",
            "the message names no amount",
        ));
    };
    if gross.is_negative() || gross.minor() == 0 {
        return Err(Refusal::new(
            "amount_not_positive",
            format!("a {event_type} of {gross} is no money coming in"),
        ));
    }
    let asked = asked(&data.lines, prices)?;
    let Some(expected) = asked.total else {
        return unmatched_item(unmatched);
    };
    if expected.currency() != gross.currency() {
        return Err(Refusal::new(
            "currency_mismatch",
            format!("the catalogue asks {expected}, paid was {gross}"),
        ));
    }
    match gross.minor().cmp(&expected.minor()) {
        // An unknown item beside known ones does not make the known ones any cheaper.
        std::cmp::Ordering::Equal | std::cmp::Ordering::Greater if !asked.complete => {
            unmatched_item(unmatched)
        }
        std::cmp::Ordering::Equal => Ok(Vec::new()),
        std::cmp::Ordering::Greater => Ok(vec![Reason::of("paid_above_catalogue")]),
        std::cmp::Ordering::Less => Err(Refusal::new(
            "amount_mismatch",
            format!("the catalogue asks {expected}, paid was {gross}"),
        )),
    }
}

fn unmatched_item(unmatched: Unmatched) -> Result<Vec<Reason>, Refusal> {
    match unmatched {
        Unmatched::Accept => Ok(vec![Reason::of("unmatched_item")]),
        Unmatched::Quarantine => Err(Refusal::new(
            "unmatched_item",
            "no item of the catalogue to hold the amount against",
        )),
    }
}

/// What the catalogue asks for a cart.
struct Asked {
    /// For the lines that it knows; `None` when it knows none.
    total: Option<Money>,
    /// Whether it knows them all.
    complete: bool,
}

fn asked(lines: &[Line], prices: &Prices) -> Result<Asked, Refusal> {
    let mut asked = Asked {
        total: None,
        complete: true,
    };
    for line in lines {
        let Some(price) = line.sku.as_ref().and_then(|sku| prices.get(sku)) else {
            asked.complete = false;
            continue;
        };
        let cost = price.checked_mul(i64::from(line.quantity));
        let sum = match asked.total {
            None => cost,
            Some(total) => cost.and_then(|cost| total.checked_add(cost)),
        };
        asked.total = Some(sum.ok_or_else(|| {
            Refusal::new(
                "currency_mismatch",
                "the items of the cart have prices that cannot be added",
            )
        })?);
    }
    Ok(asked)
}

#[cfg(test)]
mod tests;
