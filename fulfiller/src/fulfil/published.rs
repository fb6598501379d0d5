//! What the shop's own queues get: the event, with the verdict of the books.

use std::collections::BTreeSet;

use quittance_common::event::{InTheBooks, PaymentEvent};
use quittance_common::shop::{Outgoing, OutgoingTo, ShopError};

use super::ApplyError;

/// What the books say about the event's payment.
#[derive(Debug, Clone)]
pub(super) struct Standing<'a> {
    /// Every flag of the record.
    pub(super) flags: &'a BTreeSet<String>,
    /// Whether the payment may not be taken for its order's.
    pub(super) refused: bool,
    /// The order that it settles, or its series.
    pub(super) settles: Option<&'a str>,
    /// Whether another payment of its series has settled that order, and told so.
    pub(super) renews: bool,
    /// Its name, and whether this event sold its goods; `None` of what is no payment.
    pub(super) payment: Option<InTheBooks>,
}

/// A copy of the event that says what the books know: flags of the record, no order where the
/// payment does not settle it, and whether the goods were sold by it. Of the payments of a series
/// the one that settles their order tells it, as any payment does; renewals do not.
pub(super) fn for_the_shop(
    event: &PaymentEvent,
    standing: &Standing<'_>,
) -> Result<Outgoing, ApplyError> {
    let mut told = event.clone();
    let mut flags = standing.flags.clone();
    flags.extend(told.data.flags);
    told.data.flags = flags.into_iter().collect();
    let of_series = told.data.order.held_against.clone();
    let of_series = of_series.filter(|_| standing.settles.is_some() && !standing.renews);
    let bound = told.data.order.bound.take().or(of_series);
    told.data.order.bound = bound.filter(|order| {
        let is_its_own = standing
            .settles
            .is_none_or(|settled| settled == order.as_str());
        !standing.refused && is_its_own
    });
    outgoing(&told, standing.payment.as_ref())
}

/// The same once more, after a person has accepted the payment: an event of its own, whose id ends
/// in `:accepted`.
pub(super) fn accepted(
    event: &PaymentEvent,
    standing: &Standing<'_>,
) -> Result<Outgoing, ApplyError> {
    let key = format!("{}:accepted", event.key);
    let again = PaymentEvent {
        key: key.parse().map_err(|_| ShopError::Unreadable {
            what: "event key",
            detail: "too long to be told again".to_owned(),
        })?,
        ..event.clone()
    };
    for_the_shop(&again, standing)
}

fn outgoing(event: &PaymentEvent, payment: Option<&InTheBooks>) -> Result<Outgoing, ApplyError> {
    let unreadable = |detail: String| ShopError::Unreadable {
        what: "payment event",
        detail,
    };
    let json = event
        .to_published_json(payment)
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(Outgoing {
        id: event.message_id(),
        to: OutgoingTo::Payments {
            routing_key: event.routing_key(),
        },
        gateway: event.gateway,
        account: event.account.clone(),
        received_at: event.received_at,
        payload: String::from_utf8(json).map_err(|error| unreadable(error.to_string()))?,
    })
}
