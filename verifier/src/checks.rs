//! The business checks on a verified notification, in the contract's order: environment, receiver,
//! currency and amount, items. Pure. `VERIFIED` proves only that the gateway sent this to somebody;
//! these prove that it is ours and right.
//!
//! Every check answers with a [`Refusal`] that has a stable reason code. A person may waive one
//! refusal of one message: then that check, and no other, is passed over and flagged.

mod auction;
mod capture;
mod catalogue;
mod items;
mod order;
mod payee;
mod price;
mod signup;
mod variants;

use std::collections::{BTreeSet, HashMap, HashSet};

use quittance_common::event::{EventData, EventType, Line};
use quittance_common::ids::{OrderId, Reason, Sku, TxnId};
use quittance_common::money::Money;
use quittance_common::notification::{Notification, Reading};
use quittance_common::order::{Order, signature};
use quittance_common::refusal::{RELEASED, RefusalCode};
use quittance_common::settings::{Account, OrderPolicy, Settings, Unmatched};
use quittance_common::shop::Authorization;
use quittance_common::variant::Variants;
use secrecy::SecretString;

use capture::Authorized;
pub use payee::environment;
use price::Expectation;
use variants::Resolved;
pub use variants::{items, skus};

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
    /// Whether the payment is a capture whose authorisation, once it is in the books, may lift the
    /// refusal: they may come in any order.
    pub awaits_authorization: bool,
}

impl Refusal {
    fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self {
            reason: code.reason(),
            detail: detail.into(),
            expected: None,
            found: None,
            awaits_authorization: false,
        }
    }

    fn because(mut self, code: RefusalCode) -> Self {
        self.reason = code.reason();
        self
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
    /// Which products the options of items select.
    pub variants: Variants,
    /// The registered orders.
    pub orders: HashMap<OrderId, Order>,
    /// The subscriptions whose sign-up or payment is in the books.
    pub subscriptions: HashSet<String>,
    /// The authorisations of captures, by the parent that these name.
    pub authorizations: HashMap<TxnId, Authorization>,
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
    /// The order that it is for and may settle by itself.
    pub order: Option<OrderId>,
    /// The order that a payment in a series is for.
    pub held_against: Option<OrderId>,
    /// What the amount was held against.
    pub asked: Option<Money>,
    /// What was bought, where the order or the catalogue says and the message does not.
    pub bought: Option<Vec<Line>>,
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
            let resolved = variants::resolve(reading, &known.variants);
            let passed =
                check_reading(notification, &resolved, account, known, policy, &mut notes)?;
            Ok(Passed {
                flags: notes.flags,
                bought: passed.bought.or_else(|| resolved.changed_lines()),
                ..passed
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

/// What is found about one reading, but for the notes.
fn check_reading(
    notification: &Notification,
    resolved: &Resolved<'_>,
    account: &Account,
    known: &Known,
    policy: Policy<'_>,
    notes: &mut Notes<'_>,
) -> Result<Passed, Refusal> {
    let reading = &*resolved.reading;
    let payee = payee::receiver(&notification.payee, account, reading.event_type);
    if let Some(Some(flag)) = notes.judge(payee)? {
        notes.flag(flag);
    }
    for doubt in &reading.doubts {
        notes.judge::<()>(Err(Refusal {
            reason: doubt.clone(),
            detail: "the message is genuine, and this build cannot tell what it means".to_owned(),
            expected: None,
            found: None,
            awaits_authorization: false,
        }))?;
    }
    let data = &reading.data;
    // Only money that comes in is asked, and what was agreed to come in.
    let is_agreement = signup::is_agreement(reading.event_type, data);
    if !is_money(reading.event_type) && !is_agreement {
        return Ok(Passed::default());
    }
    if let Some(mismatch) = &resolved.mismatch {
        notes.judge::<()>(Err(mismatch.clone()))?;
    }
    let amount = if is_agreement {
        signup::regular(data)
    } else {
        price::incoming(reading.event_type, data.gross)
    };
    let amount = notes.judge(amount)?;
    let is_part = data.auction.is_some();
    // What was added to the whole auction says nothing about one of its items.
    let added = notification.added.filter(|_| !is_part);
    let Some(expected) = expectation(data, added, known, policy, notes)? else {
        return Ok(Passed::default());
    };
    if let Some(amount) = amount {
        let authorized = Authorized::of(data, known);
        let checked = price::amount(&expected, amount, policy.tolerance, authorized);
        let flag = notes.judge(checked)?.flatten();
        let is_wanted = |flag: &Reason| !is_part || auction::is_worth_a_flag(flag, &expected);
        if let Some(flag) = flag.filter(is_wanted) {
            notes.flag(flag);
        }
    }
    if is_agreement {
        if let Some(total) = expected.total {
            notes.judge(signup::trials(data, total))?;
        }
        // It settles nothing and takes nothing: no money has come.
        return Ok(Passed::default());
    }
    let items = if is_part {
        auction::check(&expected, &data.lines, &known.prices)
    } else {
        items::check(&expected, &data.lines, &known.prices)
    };
    if let Some(Some(flag)) = notes.judge(items)? {
        notes.flag(flag);
    }
    if resolved.has_other_options {
        // Nothing says what they mean: the buyer's own text, or a dearer choice.
        notes.flag(Reason::of("options_not_checked"));
    }
    let (asked, bought) = (expected.asked(), items::bought(&expected, &data.lines));
    // A payment in a series repeats the order of the first one, and must not settle it again.
    let (held_against, order) = if data.is_of_a_series() {
        (expected.order, None)
    } else {
        (None, expected.order)
    };
    Ok(Passed {
        flags: Vec::new(),
        order,
        held_against,
        asked,
        // The message of one item of an auction is never about the whole order.
        bought: bought.filter(|_| !is_part),
    })
}

/// What to hold an amount against; `None` where a person has waived that there is nothing.
fn expectation(
    data: &EventData,
    added: Option<Money>,
    known: &Known,
    policy: Policy<'_>,
    notes: &mut Notes<'_>,
) -> Result<Option<Expectation>, Refusal> {
    let authorized = Authorized::of(data, known);
    if let Some(before) = authorized.expectation() {
        return Ok(Some(before));
    }
    // A waived refusal of the order says nothing about the amount: the catalogue is asked then.
    let order = order::find(data, known, policy).map_err(|refusal| authorized.lifts(refusal));
    if let Some(Some(order)) = notes.judge(order)? {
        return Ok(Some(order));
    }
    let (lines, prices) = (&data.lines, &known.prices);
    let asked = catalogue::expectation(lines, added, prices, policy.unmatched);
    notes.judge(asked.map_err(|refusal| authorized.lifts(refusal)))
}

/// The orders that [`check`] will look for: only what the message itself names, never its URL.
/// What cannot be an order's number is none.
pub fn order_refs(notification: &Notification) -> BTreeSet<OrderId> {
    let named = |reading: &Reading| {
        let order = &reading.data.order;
        let claimed = order.custom.as_deref().and_then(signature::claimed);
        [&order.invoice, &order.custom]
            .into_iter()
            .filter_map(|name| name.as_deref()?.parse().ok())
            .chain(claimed)
            .collect::<Vec<OrderId>>()
    };
    notification.readings.iter().flat_map(named).collect()
}

/// The subscriptions that [`check`] will look for: those of renewals.
pub fn renewed(notification: &Notification) -> BTreeSet<&str> {
    let renewals = notification.readings.iter().map(|reading| &reading.data);
    renewals
        .filter(|data| data.is_of_a_series())
        .filter_map(|data| data.subscription.as_deref())
        .collect()
}

/// The authorisations that [`check`] will look for: those that captures name as their parents.
pub fn captured(notification: &Notification) -> BTreeSet<&TxnId> {
    let readings = notification.readings.iter();
    readings
        .filter(|reading| is_money(reading.event_type))
        .filter_map(|reading| capture::parent(&reading.data))
        .collect()
}

/// Whether it tells of money that comes in, or is to.
const fn is_money(event_type: EventType) -> bool {
    matches!(event_type, EventType::Completed | EventType::Pending)
}

#[cfg(test)]
mod tests;
