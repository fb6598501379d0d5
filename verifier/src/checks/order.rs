//! Which order a payment is for, and what that order asks. Pure.
//!
//! A signed order and a registered one say the same, or a person decides: what a buyer's browser
//! carries may be older than the register, and neither is put above the other in silence.

use quittance_common::event::EventData;
use quittance_common::ids::OrderId;
use quittance_common::money::Money;
use quittance_common::order::signature::{self, Signed};
use quittance_common::order::{self, Order, Quantities};
use quittance_common::refusal::RefusalCode;
use quittance_common::settings::OrderPolicy;

use super::price::Expectation;
use super::{Known, Policy, Refusal};

/// The order that the payment is held against; `None` when it names none and need not.
pub(super) fn find(
    data: &EventData,
    known: &Known,
    policy: Policy<'_>,
) -> Result<Option<Expectation>, Refusal> {
    if let Some(signed) = signed(data, known, policy)? {
        return Ok(Some(signed));
    }
    if let Some(order) = registered(data, known)? {
        return Ok(Some(Expectation::of_order(
            order.id.clone(),
            order.total,
            order.lines.clone(),
            "the order",
        )));
    }
    if policy.orders == OrderPolicy::Required && !renews(data, known) {
        let named = data.order.invoice.is_some() || data.order.custom.is_some();
        return Err(if named {
            Refusal::new(
                RefusalCode::OrderUnknown,
                "no order of that invoice or custom is registered",
            )
        } else {
            Refusal::new(
                RefusalCode::OrderMissing,
                "the message names no order, neither as invoice nor as custom",
            )
        });
    }
    Ok(None)
}

/// A renewal needs no order of its own where its subscription is in the books: what opened it has
/// passed these checks. Of a subscription that nobody has heard of, it does.
fn renews(data: &EventData, known: &Known) -> bool {
    data.is_of_a_series()
        && data
            .subscription
            .as_ref()
            .is_some_and(|id| known.subscriptions.contains(id))
}

/// The registered order of that name.
fn named<'a>(name: Option<&str>, known: &'a Known) -> Option<&'a Order> {
    let id: OrderId = name?.parse().ok()?;
    known.orders.get(&id)
}

/// Without a secret nothing is signed here, and a `custom` of that form is the shop's own text.
fn signed(
    data: &EventData,
    known: &Known,
    policy: Policy<'_>,
) -> Result<Option<Expectation>, Refusal> {
    let Some(custom) = &data.order.custom else {
        return Ok(None);
    };
    if policy.secrets.is_empty() {
        return Ok(None);
    }
    let registered = signature::claimed(custom).and_then(|id| known.orders.get(&id));
    let cart = order::quantities(&data.lines);
    let items: Vec<&Quantities> = registered
        .map(|order| &order.lines)
        .into_iter()
        .chain(&cart)
        .collect();
    let (id, total, lines) = match signature::read(custom, policy.secrets, &items) {
        Signed::Not => return Ok(None),
        Signed::Invalid => {
            return Err(Refusal::new(
                RefusalCode::OrderSignatureInvalid,
                "custom has the form of a signed order, and the shop did not sign it for these items",
            ));
        }
        Signed::Valid { id, total, lines } => (id, total, lines),
    };
    if let Some(other) = named(data.order.invoice.as_deref(), known)
        && other.id != id
    {
        return Err(ambiguous(&id, &other.id));
    }
    let lines = match registered {
        Some(order) => agreed(order, total, lines)?,
        None => lines,
    };
    Ok(Some(Expectation::of_order(
        id,
        total,
        lines,
        "the signed order",
    )))
}

/// The items of an order that is signed and registered. Whoever of the two names none leaves it to
/// the other.
fn agreed(order: &Order, total: Money, lines: Quantities) -> Result<Quantities, Refusal> {
    if order.total != total {
        let (there, here) = (order.total, total);
        return Err(Refusal::new(
            RefusalCode::OrderDiffers,
            format!("the register asks {there} for this order, its signature says {here}"),
        )
        .compared(&there, &here));
    }
    if order.lines.is_empty() || order.lines == lines {
        return Ok(lines);
    }
    if lines.is_empty() {
        return Ok(order.lines.clone());
    }
    Err(Refusal::new(
        RefusalCode::OrderDiffers,
        "the register has other items for this order than its signature",
    ))
}

fn registered<'a>(data: &EventData, known: &'a Known) -> Result<Option<&'a Order>, Refusal> {
    let invoice = named(data.order.invoice.as_deref(), known);
    let custom = named(data.order.custom.as_deref(), known);
    match (invoice, custom) {
        (Some(one), Some(other)) if one.id != other.id => Err(ambiguous(&one.id, &other.id)),
        (one, other) => Ok(one.or(other)),
    }
}

fn ambiguous(one: &OrderId, other: &OrderId) -> Refusal {
    Refusal::new(
        RefusalCode::OrderAmbiguous,
        "invoice and custom name two different orders",
    )
    .compared(one, other)
}
