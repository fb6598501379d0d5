//! What all the events of one payment mean together. Pure, and blind to the order of arrival:
//! the events are sorted before anything is concluded.
//!
//! The rules: a completed payment takes its goods, once; a pending one reserves them; a full
//! refund puts them back, a partial one does not; reversals and disputes move nothing and are
//! flagged for a person; a payment that was refused and completed is for a person as well, and so
//! is one for an order that was cancelled.
//!
//! An authorisation and its captures are one payment: what is captured adds up, the goods are
//! reserved by the one and taken by the first of the others, and the authorisation's end (voided,
//! expired) says nothing about money that was captured before or is on its way.
//!
//! The result depends on *which* events there are, not on when each was received: nothing is
//! chosen by time. What a customer was told on the way (pending, failed) is true of the day on
//! which it was told, and is the only thing that differs between two orders of arrival; see
//! [`due`].

use std::collections::{BTreeMap, BTreeSet};

use quittance_common::event::{EventType, Line, PaymentEvent};
use quittance_common::ids::Sku;
use quittance_common::money::Money;
use quittance_common::settings::Restock;

mod auction;
mod binding;
mod captures;
mod effects;
mod ledger;
mod standing;
mod status;

pub(crate) use auction::Auction;
use binding::{bound, invoice, sound};
use captures::{Family, authorized, counts_for_itself, goods};
pub use effects::{Effect, due, effects};
pub use ledger::Refund;
use ledger::{captured, is_full, is_reversed, mark_captures, refunds, sum};
pub(crate) use standing::Incoming;
pub use standing::{
    INVOICE_ALREADY_PAID, ORDER_ALREADY_PAID, ORDER_CANCELLED, OrderState, PAID_AFTER_DENIED,
    PENDING_FOR_CANCELLED, PENDING_FOR_PAID, Standing, awaits_a_decision,
};
pub use status::Status;

/// That something was bought of which nobody knows how many there are.
pub(crate) const ITEM_WITHOUT_SKU: &str = "item_without_sku";

/// A payment after all of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// What became of it.
    pub status: Status,
    /// What was paid, or is to be.
    pub gross: Option<Money>,
    /// The sum of what was given back.
    pub refunded: Option<Money>,
    /// What was bought: how many of each sku.
    pub lines: BTreeMap<Sku, i64>,
    /// What a person should see, as reason codes.
    pub flags: BTreeSet<String>,
    /// The order that this payment settles, alone or with the other payments of its series: the one
    /// that the checks held it against; only when it is paid.
    pub settles: Option<String>,
    /// The order that it was held against, whatever speaks against it, and paid or not yet.
    pub(crate) claims: Option<String>,
    /// The invoice of a paid one that no check has bound to an order.
    pub(crate) invoice: Option<String>,
    /// What happened to it that a person hears of each time: a flag, and the reversal or case.
    pub(crate) raised: BTreeSet<(&'static str, String)>,
    /// What is known about it beside its events.
    pub(crate) standing: Standing,
    /// Whether the money was there at some time, and what speaks against it.
    pub(crate) money: Incoming,
    /// Refunds of a payment that is known to be paid.
    refunds: Vec<Refund>,
    /// Whether all of it was given back, and the goods go back on the shelf for that.
    puts_back: bool,
}

/// Concludes what `events`, all of one subject, mean together. Their order does not matter.
pub fn fold(events: &[PaymentEvent]) -> Payment {
    fold_for(OrderState::Open, events)
}

/// The same where something is known about the payment beside its events. It makes no difference
/// whether its order was cancelled, or a person decided, before the events or between them.
pub fn fold_for(standing: impl Into<Standing>, events: &[PaymentEvent]) -> Payment {
    let standing = standing.into();
    let mut sorted: Vec<&PaymentEvent> = events.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let of = |wanted: EventType| {
        sorted
            .iter()
            .copied()
            .filter(move |e| e.event_type == wanted)
    };

    let family = Family::of(&sorted);
    let mut flags: BTreeSet<String> = sorted
        .iter()
        .flat_map(|event| event.data.flags.iter().cloned())
        .collect();
    let refusal = sorted
        .iter()
        .filter(|event| !counts_for_itself(event, &sorted, &family))
        .filter_map(|event| Status::of_refusal(event.event_type))
        .max_by_key(|status| status.weight());
    let completed: Vec<&PaymentEvent> = of(EventType::Completed).collect();
    let sound = sound(&sorted, &completed, standing, &mut flags);
    let pending: Vec<&PaymentEvent> = of(EventType::Pending).collect();
    let telling = telling([&sound, &completed, &pending], &sorted);
    let counted = if sound.is_empty() { &completed } else { &sound };
    let gross =
        captured(counted, &mut flags).or_else(|| telling.iter().find_map(|event| event.data.gross));
    let authorized = authorized(&pending, &family);
    let auction = Auction::of(telling.iter().copied());
    let asked = match &auction {
        Some(auction) => auction.asked(),
        None => telling.iter().find_map(|event| event.data.asked),
    };
    mark_captures(&sound, gross, authorized, asked, &mut flags);
    let refunds = refunds(&sorted, gross, &mut flags);
    let refunded = sum(&refunds);
    let refunded_in_full = is_full(gross, refunded, &mut flags);
    let reversed = is_reversed(&sorted, &mut flags);
    mark(&sorted, &completed, &mut flags);
    if let Some(auction) = auction
        .as_ref()
        .filter(|_| !completed.is_empty() || refusal.is_none())
    {
        auction.mark(gross, &mut flags);
    }
    let lines = match &auction {
        Some(auction) => auction.goods(&mut flags),
        None => goods(&telling, &family, &mut flags),
    };
    let settles = bound(&sound, &mut flags);

    let status = match (completed.is_empty(), refusal) {
        _ if reversed => Status::Reversed,
        (false, _) if refunded_in_full => Status::Refunded,
        (false, _) if !refunds.is_empty() => Status::PartiallyRefunded,
        (false, _) => Status::Completed,
        (true, Some(refusal)) => refusal,
        (true, None) if !pending.is_empty() => Status::Pending,
        (true, None) => Status::Noted,
    };
    flags.extend(
        standing
            .flags(!completed.is_empty(), status)
            .map(str::to_owned),
    );
    Payment {
        status,
        standing,
        money: standing.money(&completed, &sound),
        claims: bound(&completed, &mut BTreeSet::new())
            .or_else(|| bound(&pending, &mut BTreeSet::new())),
        invoice: invoice(&sound),
        raised: raised(&sorted),
        gross,
        refunded,
        lines,
        settles,
        flags,
        refunds,
        puts_back: refunded_in_full,
    }
}

/// The payment's own events, which say what it is about; the first says most. `money` are those
/// about money that comes in, by rank.
fn telling<'a>(
    money: [&[&'a PaymentEvent]; 3],
    sorted: &[&'a PaymentEvent],
) -> Vec<&'a PaymentEvent> {
    let refusals = sorted
        .iter()
        .filter(|event| Status::of_refusal(event.event_type).is_some());
    money
        .into_iter()
        .flatten()
        .chain(refusals)
        .copied()
        .collect()
}

/// The transaction that an event is its own of, where it has one.
fn txn(event: &PaymentEvent) -> &str {
    event
        .data
        .txn_id
        .as_ref()
        .map_or(event.key.as_str(), |txn| txn.as_str())
}

impl Payment {
    /// Whether the money was there at some time and nothing speaks against it.
    pub(crate) fn is_paid(&self) -> bool {
        self.money == Incoming::Sound
    }

    /// The same in a shop that puts goods back as `restock` says.
    #[must_use]
    pub fn by(self, restock: Restock) -> Self {
        let puts_back = self.puts_back && restock == Restock::OnFullRefund;
        Self { puts_back, ..self }
    }

    /// Whether what was sold goes back on the shelf.
    pub const fn puts_back(&self) -> bool {
        self.puts_back
    }
}

/// Each reversal and dispute, and each end of one, by the flag that it raises. They are not taken
/// back by one another, so that the same are told in every order of arrival.
fn raised(sorted: &[&PaymentEvent]) -> BTreeSet<(&'static str, String)> {
    let raised = sorted.iter().filter_map(|event| {
        let case = || event.data.subject.id().to_owned();
        match event.event_type {
            EventType::Reversed => Some(("reversed", txn(event).to_owned())),
            EventType::ReversalCanceled => Some(("reversal_canceled", txn(event).to_owned())),
            EventType::DisputeOpened => Some(("disputed", case())),
            EventType::DisputeAdjusted => Some(("dispute_adjusted", case())),
            _ => None,
        }
    });
    raised.collect()
}

/// The remaining flags.
fn mark(sorted: &[&PaymentEvent], completed: &[&PaymentEvent], flags: &mut BTreeSet<String>) {
    let has = |wanted: EventType| sorted.iter().any(|event| event.event_type == wanted);
    let mut flag = |when: bool, name: &str| {
        if when {
            flags.insert(name.to_owned());
        }
    };
    flag(
        completed.is_empty() && has(EventType::Refunded),
        "refund_awaits_payment",
    );
    let mut amounts: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
    for event in completed {
        let known = amounts.entry(txn(event)).or_default();
        known.extend(
            event
                .data
                .gross
                .map(|gross| (gross.currency(), gross.minor())),
        );
    }
    flag(
        amounts.values().any(|known| known.len() > 1),
        "amount_changed",
    );
    flag(
        amounts.values().any(BTreeSet::is_empty),
        "paid_without_amount",
    );
    flag(has(EventType::Unknown), "unknown_event");
    let cases = |wanted: EventType| {
        sorted
            .iter()
            .filter(move |event| event.event_type == wanted)
            .map(|event| event.data.subject.id())
            .collect::<BTreeSet<&str>>()
    };
    let adjusted = cases(EventType::DisputeAdjusted);
    let opened = cases(EventType::DisputeOpened);
    flag(opened.difference(&adjusted).next().is_some(), "disputed");
    flag(!adjusted.is_empty(), "dispute_adjusted");
}

/// What was bought, from the first event that says so; how many of each sku.
fn lines(telling: &[&PaymentEvent], flags: &mut BTreeSet<String>) -> BTreeMap<Sku, i64> {
    let lines: &[Line] = telling
        .iter()
        .map(|event| event.data.lines.as_slice())
        .find(|lines| !lines.is_empty())
        .unwrap_or_default();
    let mut counted = BTreeMap::new();
    for line in lines {
        let Some(sku) = &line.sku else {
            flags.insert(ITEM_WITHOUT_SKU.to_owned());
            continue;
        };
        let total: &mut i64 = counted.entry(sku.clone()).or_default();
        *total = total.saturating_add(i64::from(line.quantity));
    }
    counted
}

#[cfg(test)]
mod tests;
