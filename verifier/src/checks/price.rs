//! What should have been paid, and for what. Pure.
//!
//! In this order: an order that the payment itself carries, signed by the shop; an order that the
//! shop has registered; the catalogue. The message's own word for a price counts for nothing.

use std::cmp::Ordering;

use quittance_common::event::{EventData, EventType, Line};
use quittance_common::ids::{OrderId, Reason};
use quittance_common::money::Money;
use quittance_common::order::signature::{self, Signed};
use quittance_common::order::{self, Order, Quantities};
use quittance_common::settings::{OrderPolicy, Unmatched};
use quittance_common::status::TxnType;

use super::{Known, Policy, Prices, Refusal};

/// What a payment is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expectation {
    /// The order that it is for.
    pub(super) order: Option<OrderId>,
    /// What should have been paid; `None` when nothing says.
    total: Option<Money>,
    /// What should have been bought, where an order says.
    lines: Quantities,
    /// Who says so, for people.
    by: &'static str,
    /// What to note.
    flag: Option<&'static str>,
    /// Set where `total` is only what the known items of a cart cost: what happens to a payment
    /// that is not below it.
    partly: Option<Unmatched>,
}

/// The amount of money that comes in.
pub(super) fn incoming(event_type: EventType, gross: Option<Money>) -> Result<Money, Refusal> {
    match gross {
        None => Err(Refusal::new(
            "missing_amount",
            "the message names no amount",
        )),
        Some(gross) if gross.minor() <= 0 => Err(Refusal::new(
            "amount_not_positive",
            format!("a {event_type} of {gross} is no money coming in"),
        )
        .compared(&"more than zero", &gross)),
        Some(gross) => Ok(gross),
    }
}

/// Whether this is one of a series of payments that all carry the first one's order.
pub(super) const fn is_renewal(data: &EventData) -> bool {
    matches!(
        data.txn_type,
        Some(
            TxnType::SubscrPayment
                | TxnType::RecurringPayment
                | TxnType::RecurringPaymentOutstandingPayment
        )
    )
}

/// What to hold the payment against.
pub(super) fn expectation(
    data: &EventData,
    added: Option<Money>,
    known: &Known,
    policy: Policy<'_>,
) -> Result<Expectation, Refusal> {
    if let Some(signed) = signed_order(data, policy)? {
        return Ok(signed);
    }
    if let Some(order) = registered_order(data, known)? {
        return Ok(Expectation {
            order: Some(order.id.clone()),
            total: Some(order.total),
            lines: order.lines.clone(),
            by: "the order",
            flag: None,
            partly: None,
        });
    }
    if policy.orders == OrderPolicy::Required && !is_renewal(data) {
        let named = data.order.invoice.is_some() || data.order.custom.is_some();
        return Err(if named {
            Refusal::new(
                "order_unknown",
                "no order of that invoice or custom is registered",
            )
        } else {
            Refusal::new(
                "order_missing",
                "the message names no order, neither as invoice nor as custom",
            )
        });
    }
    by_catalogue(data, added, &known.prices, policy.unmatched)
}

/// Without a secret nothing is signed here, and a `custom` of that form is the shop's own text.
fn signed_order(data: &EventData, policy: Policy<'_>) -> Result<Option<Expectation>, Refusal> {
    let Some(custom) = &data.order.custom else {
        return Ok(None);
    };
    if policy.secrets.is_empty() {
        return Ok(None);
    }
    let items = order::quantities(&data.lines);
    match signature::read(custom, policy.secrets, items.as_ref()) {
        Signed::Not => Ok(None),
        Signed::Invalid => Err(Refusal::new(
            "order_signature_invalid",
            "custom has the form of a signed order, and the shop did not sign it for these items",
        )),
        Signed::Valid { id, total } => Ok(Some(Expectation {
            order: Some(id),
            total: Some(total),
            lines: Quantities::new(),
            by: "the signed order",
            flag: None,
            partly: None,
        })),
    }
}

fn registered_order<'a>(data: &EventData, known: &'a Known) -> Result<Option<&'a Order>, Refusal> {
    let find = |name: &Option<String>| {
        let id: OrderId = name.as_deref()?.parse().ok()?;
        known.orders.get(&id)
    };
    match (find(&data.order.invoice), find(&data.order.custom)) {
        (Some(one), Some(other)) if one.id != other.id => Err(Refusal::new(
            "order_ambiguous",
            "invoice and custom name two different orders",
        )
        .compared(&one.id, &other.id)),
        (one, other) => Ok(one.or(other)),
    }
}

fn by_catalogue(
    data: &EventData,
    added: Option<Money>,
    prices: &Prices,
    unmatched: Unmatched,
) -> Result<Expectation, Refusal> {
    let expectation = |total, flag| Expectation {
        order: None,
        total,
        lines: Quantities::new(),
        by: "the catalogue",
        flag,
        partly: None,
    };
    let asked = asked(&data.lines, prices)?;
    let Some(items) = asked.total else {
        return unmatched_item(unmatched).map(|flag| expectation(None, Some(flag)));
    };
    if !asked.complete {
        // An unknown item beside known ones does not make the known ones any cheaper.
        return Ok(Expectation {
            partly: Some(unmatched),
            ..expectation(Some(items), None)
        });
    }
    // What was added is in the payment's currency; another one than the catalogue's is refused
    // with the amount itself.
    let total = added.and_then(|added| items.checked_add(added));
    Ok(expectation(Some(total.unwrap_or(items)), None))
}

/// The flag of a payment that nothing says the price of, where such are accepted.
fn unmatched_item(unmatched: Unmatched) -> Result<&'static str, Refusal> {
    match unmatched {
        Unmatched::Accept => Ok("unmatched_item"),
        Unmatched::Quarantine => Err(Refusal::new(
            "unmatched_item",
            "no order, and not every item in the catalogue, to hold the amount against",
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

/// Currency and amount together: 500 JPY are not 500 USD. The flag, if any.
pub(super) fn amount(
    expected: &Expectation,
    gross: Money,
    tolerance: u32,
) -> Result<Option<Reason>, Refusal> {
    let Some(total) = expected.total else {
        return Ok(expected.flag.map(Reason::of));
    };
    let refusal = |reason| {
        let detail = format!("{} asks {total}, paid was {gross}", expected.by);
        Err(Refusal::new(reason, detail).compared(&total, &gross))
    };
    if total.currency() != gross.currency() {
        return refusal("currency_mismatch");
    }
    let missing = total.minor().saturating_sub(gross.minor());
    if let Some(unmatched) = expected.partly
        && missing <= i64::from(tolerance)
    {
        return unmatched_item(unmatched).map(|flag| Some(Reason::of(flag)));
    }
    match gross.minor().cmp(&total.minor()) {
        Ordering::Equal => Ok(None),
        Ordering::Greater => Ok(Some(Reason::of("overpaid"))),
        Ordering::Less => {
            if missing <= i64::from(tolerance) {
                Ok(Some(Reason::of("underpaid_within_tolerance")))
            } else {
                refusal("amount_mismatch")
            }
        }
    }
}

/// Are these the items of the order? Compared only where the order names them; a message that
/// names none at all cannot be compared. The flag, if any.
pub(super) fn items(expected: &Expectation, lines: &[Line]) -> Result<Option<Reason>, Refusal> {
    if expected.lines.is_empty() {
        return Ok(None);
    }
    if lines.is_empty() {
        return Ok(Some(Reason::of("items_not_told")));
    }
    let found = order::quantities(lines);
    if found.as_ref() == Some(&expected.lines) {
        return Ok(None);
    }
    let found = found.map_or_else(|| "items without a sku".to_owned(), |found| listed(&found));
    let ordered = listed(&expected.lines);
    Err(Refusal::new(
        "items_mismatch",
        format!("ordered was {ordered}, paid was for {found}"),
    )
    .compared(&ordered, &found))
}

fn listed(quantities: &Quantities) -> String {
    let items: Vec<String> = quantities
        .iter()
        .map(|(sku, quantity)| format!("{quantity} x {sku}"))
        .collect();
    items.join(", ")
}
