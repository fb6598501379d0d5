//! What should have been paid. Pure.
//!
//! In this order: of a capture, what its authorisation was held against; an order that the payment
//! itself carries, signed by the shop; an order that the shop has registered; the catalogue. The
//! message's own word for a price counts for nothing.

use std::cmp::Ordering;

use quittance_common::event::EventType;
use quittance_common::ids::{OrderId, Reason};
use quittance_common::money::Money;
use quittance_common::order::Quantities;
use quittance_common::refusal::RefusalCode;
use quittance_common::settings::Unmatched;

use super::Refusal;
use super::capture::Authorized;
use super::catalogue::unmatched_item;

/// What a payment is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expectation {
    /// The order that it is for.
    pub(super) order: Option<OrderId>,
    /// What should have been paid; `None` when nothing says.
    pub(super) total: Option<Money>,
    /// What should have been bought, where an order or an authorisation says.
    pub(super) lines: Quantities,
    /// Who says so, for people.
    by: &'static str,
    /// What to note.
    flag: Option<&'static str>,
    /// Set where `total` is only what the known items of a cart cost: what happens to a payment
    /// that is not below it.
    partly: Option<Unmatched>,
}

impl Expectation {
    /// What an order asks; `by` says for people which kind of order.
    pub(super) const fn of_order(
        id: OrderId,
        total: Money,
        lines: Quantities,
        by: &'static str,
    ) -> Self {
        Self {
            order: Some(id),
            total: Some(total),
            lines,
            by,
            flag: None,
            partly: None,
        }
    }

    /// What the authorisation of a capture was held against.
    pub(super) const fn of_authorization(
        order: Option<OrderId>,
        total: Money,
        lines: Quantities,
    ) -> Self {
        let by = match order {
            Some(_) => "the order",
            None => "the catalogue",
        };
        Self {
            order,
            total: Some(total),
            lines,
            by,
            flag: None,
            partly: None,
        }
    }

    /// What the catalogue asks.
    pub(super) const fn of_catalogue(
        total: Option<Money>,
        flag: Option<&'static str>,
        partly: Option<Unmatched>,
    ) -> Self {
        Self {
            order: None,
            total,
            lines: Quantities::new(),
            by: "the catalogue",
            flag,
            partly,
        }
    }

    /// The whole of what is asked, where that is known.
    pub(super) fn asked(&self) -> Option<Money> {
        self.total.filter(|_| self.partly.is_none())
    }
}

/// The amount of money that comes in.
pub(super) fn incoming(event_type: EventType, gross: Option<Money>) -> Result<Money, Refusal> {
    match gross {
        None => Err(Refusal::new(
            RefusalCode::MissingAmount,
            "the message names no amount",
        )),
        Some(gross) if gross.minor() <= 0 => Err(Refusal::new(
            RefusalCode::AmountNotPositive,
            format!("a {event_type} of {gross} is no money coming in"),
        )
        .compared(&"more than zero", &gross)),
        Some(gross) => Ok(gross),
    }
}

/// Currency and amount together: 500 JPY are not 500 USD. The flag, if any.
pub(super) fn amount(
    expected: &Expectation,
    gross: Money,
    tolerance: u32,
    authorized: Authorized<'_>,
) -> Result<Option<Reason>, Refusal> {
    let Some(total) = expected.total else {
        return Ok(expected.flag.map(Reason::of));
    };
    let refusal = |reason| {
        let detail = format!("{} asks {total}, paid was {gross}", expected.by);
        Refusal::new(reason, detail).compared(&total, &gross)
    };
    if total.currency() != gross.currency() {
        return Err(refusal(RefusalCode::CurrencyMismatch));
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
        Ordering::Less if missing <= i64::from(tolerance) => {
            Ok(Some(Reason::of("underpaid_within_tolerance")))
        }
        Ordering::Less => authorized
            .allows_less_than(total, tolerance, refusal(RefusalCode::AmountMismatch))
            .map(|()| Some(Reason::of("partial_capture"))),
    }
}
