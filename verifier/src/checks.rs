//! The business checks on a verified notification, in the contract's order: environment, receiver,
//! currency and amount, items. Pure. `VERIFIED` proves only that the gateway sent this to somebody;
//! these prove that it is ours and right.
//!
//! Every check answers with a [`Refusal`] that has a stable reason code. A person may waive one
//! refusal of one message: then that check, and no other, is passed over and flagged.

mod payee;
mod price;

use std::collections::{BTreeSet, HashMap};

use quittance_common::event::{EventType, Line};
use quittance_common::ids::{OrderId, Reason, Sku};
use quittance_common::money::Money;
use quittance_common::notification::{Notification, Reading};
use quittance_common::order::Order;
use quittance_common::settings::{Account, OrderPolicy, Settings, Unmatched};
use secrecy::SecretString;

pub use payee::environment;

/// The flag of an event of which a refusal was waived; the reason stands beside it.
const RELEASED: &str = "released";

/// Why a genuine notification must not have an effect without a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub reason: Reason,
    /// What was expected and what was found, in words; no personal data.
    pub detail: String,
    /// What was expected, where two values are compared.
    pub expected: Option<String>,
    /// What was found instead.
    pub found: Option<String>,
}

impl Refusal {
    fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason: Reason::of(reason),
            detail: detail.into(),
            expected: None,
            found: None,
        }
    }

    fn compared(mut self, expected: &impl ToString, found: &impl ToString) -> Self {
        self.expected = Some(expected.to_string());
        self.found = Some(found.to_string());
        self
    }
}

/// What the catalogue asks for each sku.
pub type Prices = HashMap<Sku, Money>;

/// What the shop knows about what a notification names.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The catalogue.
    pub prices: Prices,
    /// The registered orders.
    pub orders: HashMap<OrderId, Order>,
}

/// What the settings say about checks.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// What happens when there is nothing to hold an amount against.
    pub unmatched: Unmatched,
    /// Whether a payment must name an order.
    pub orders: OrderPolicy,
    /// Minor units by which a payment may be too small.
    pub tolerance: u32,
    /// The secrets of signed orders.
    pub secrets: &'a [SecretString],
}

impl<'a> Policy<'a> {
    /// The policy of these settings.
    pub fn of(settings: &'a Settings) -> Self {
        Self {
            unmatched: settings.verifier.unmatched,
            orders: settings.verifier.orders,
            tolerance: settings.verifier.tolerance,
            secrets: &settings.orders.secrets,
        }
    }
}

/// A reading that may go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// What the checks noted without refusing.
    pub flags: Vec<Reason>,
    /// The order that it is for and may settle.
    pub order: Option<OrderId>,
}

/// Checks a whole notification. Refusals whose reason is in `waived` are passed over.
///
/// # Errors
/// The first refusal, in the contract's order.
pub fn check(
    notification: &Notification,
    account: &Account,
    known: &Known,
    policy: Policy<'_>,
    waived: &BTreeSet<Reason>,
) -> Result<Vec<Passed>, Refusal> {
    let mut common = Notes::new(waived);
    common.judge(environment(
        notification.claimed_environment,
        account.environment,
    ))?;
    notification
        .readings
        .iter()
        .map(|reading| {
            let mut notes = common.clone();
            let order = check_reading(notification, reading, account, known, policy, &mut notes)?;
            Ok(Passed {
                flags: notes.flags,
                order,
            })
        })
        .collect()
}

/// What was noted so far, and what a person has waived.
#[derive(Debug, Clone)]
struct Notes<'a> {
    waived: &'a BTreeSet<Reason>,
    flags: Vec<Reason>,
}

impl<'a> Notes<'a> {
    const fn new(waived: &'a BTreeSet<Reason>) -> Self {
        Self {
            waived,
            flags: Vec::new(),
        }
    }

    /// The value of a check; `None` when it refuses and that refusal is waived.
    fn judge<T>(&mut self, checked: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
        match checked {
            Ok(value) => Ok(Some(value)),
            Err(refusal) if self.waived.contains(&refusal.reason) => {
                self.flag(Reason::of(RELEASED));
                self.flag(refusal.reason);
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn flag(&mut self, flag: Reason) {
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
    }
}

/// The order that the reading is for and may settle.
fn check_reading(
    notification: &Notification,
    reading: &Reading,
    account: &Account,
    known: &Known,
    policy: Policy<'_>,
    notes: &mut Notes<'_>,
) -> Result<Option<OrderId>, Refusal> {
    let payee = payee::receiver(&notification.payee, account, reading.event_type);
    if let Some(Some(flag)) = notes.judge(payee)? {
        notes.flag(flag);
    }
    for doubt in &reading.doubts {
        notes.judge::<()>(Err(Refusal {
            reason: doubt.clone(),
            ..Refusal::new(
                "",
                "the message is genuine, and this build cannot tell what it means",
            )
        }))?;
    }
    // Only money that comes in is asked.
    if !matches!(
        reading.event_type,
        EventType::Completed | EventType::Pending
    ) {
        return Ok(None);
    }
    let data = &reading.data;
    let gross = notes.judge(price::incoming(reading.event_type, data.gross))?;
    let expected = price::expectation(data, notification.added, known, policy);
    let Some(expected) = notes.judge(expected)? else {
        return Ok(None);
    };
    if let Some(gross) = gross
        && let Some(Some(flag)) = notes.judge(price::amount(&expected, gross, policy.tolerance))?
    {
        notes.flag(flag);
    }
    if let Some(Some(flag)) = notes.judge(price::items(&expected, &data.lines))? {
        notes.flag(flag);
    }
    // A renewal repeats the order of the first payment and must not settle it again.
    Ok(expected.order.filter(|_| !price::is_renewal(data)))
}

/// The skus that [`check`] will look for in the catalogue.
pub fn skus(notification: &Notification) -> Vec<Sku> {
    let lines = notification
        .readings
        .iter()
        .flat_map(|reading| &reading.data.lines);
    let mut skus: Vec<Sku> = lines.filter_map(|line: &Line| line.sku.clone()).collect();
    skus.sort();
    skus.dedup();
    skus
}

/// The orders that [`check`] will look for: only what the message itself names, never its URL.
pub fn order_refs(notification: &Notification) -> Vec<&str> {
    let mut refs: Vec<&str> = notification
        .readings
        .iter()
        .flat_map(|reading| [&reading.data.order.invoice, &reading.data.order.custom])
        .filter_map(Option::as_deref)
        .collect();
    refs.sort_unstable();
    refs.dedup();
    refs
}

#[cfg(test)]
mod tests;
