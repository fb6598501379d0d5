//! The items of an auction of several: each has a message of its own, which shows the amount of the
//! whole. Pure.

use std::collections::{BTreeMap, BTreeSet};

use quittance_common::event::{EventType, Line, PaymentEvent};
use quittance_common::ids::Sku;
use quittance_common::money::Money;

use super::lines;

/// That not every item has been told.
const INCOMPLETE: &str = "auction_incomplete";

/// That the items cost more than was paid.
const SHORT: &str = "auction_short";

/// What is known of an auction of several items.
#[derive(Debug)]
pub(crate) struct Auction<'a> {
    /// How many it has.
    items: usize,
    /// Those that are known, each by the event that says most.
    parts: BTreeMap<&'a str, &'a PaymentEvent>,
}

impl<'a> Auction<'a> {
    /// What the events of a payment tell, of which the first says most; `None` where it is for no
    /// such auction. A paid transaction is paid for all of its items: those that are only known to
    /// be pending count.
    pub(crate) fn of(telling: impl Iterator<Item = &'a PaymentEvent> + Clone) -> Option<Self> {
        let telling = telling
            .filter(|event| matches!(event.event_type, EventType::Completed | EventType::Pending));
        let auctions = telling
            .clone()
            .filter_map(|event| event.data.auction.as_ref());
        let items = auctions.map(|auction| auction.items).max()?;
        let mut parts = BTreeMap::new();
        for event in telling {
            if let Some(part) = part(event) {
                parts.entry(part).or_insert(event);
            }
        }
        Some(Self {
            items: usize::try_from(items).unwrap_or(usize::MAX),
            parts,
        })
    }

    /// Whether every item is known.
    pub(crate) fn is_complete(&self) -> bool {
        self.parts.len() >= self.items
    }

    /// The lines of the items that are known.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'a Line> {
        self.parts.values().flat_map(|event| &event.data.lines)
    }

    /// How many of each sku are known to be bought.
    pub(super) fn goods(&self, flags: &mut BTreeSet<String>) -> BTreeMap<Sku, i64> {
        let mut goods: BTreeMap<Sku, i64> = BTreeMap::new();
        for event in self.parts.values() {
            for (sku, quantity) in lines(&[event], flags) {
                let total = goods.entry(sku).or_default();
                *total = total.saturating_add(quantity);
            }
        }
        goods
    }

    /// What the whole auction was to cost: what its order asks, or each item by itself. `None`
    /// where that is not known.
    pub(super) fn asked(&self) -> Option<Money> {
        let mut parts = self.parts.values().map(|event| &event.data);
        if let Some(order) = self.by_order() {
            return order.data.asked;
        }
        let first = parts.next()?.asked?;
        let sum = parts.try_fold(first, |sum, part| sum.checked_add(part.asked?))?;
        self.is_complete().then_some(sum)
    }

    /// An event that an order decides.
    fn by_order(&self) -> Option<&'a PaymentEvent> {
        let mut parts = self.parts.values().copied();
        parts.find(|event| event.data.order.bound.is_some())
    }

    /// Flags what a person should see.
    pub(super) fn mark(&self, gross: Option<Money>, flags: &mut BTreeSet<String>) {
        if !self.is_complete() {
            flags.insert(INCOMPLETE.to_owned());
        }
        // The checks have compared the amount with that of an order.
        let asked = self.asked().filter(|_| self.by_order().is_none());
        if let (Some(asked), Some(gross)) = (asked, gross)
            && (asked.currency() != gross.currency() || asked.minor() > gross.minor())
        {
            flags.insert(SHORT.to_owned());
        }
    }
}

/// Which item the event is about. An older build did not say: then by what was bought.
fn part(event: &PaymentEvent) -> Option<&str> {
    match &event.data.auction {
        Some(auction) => Some(&auction.item),
        None => Some(event.data.lines.first()?.sku.as_ref()?.as_str()),
    }
}
