//! Auctions: what their messages say beyond those of other payments.

use super::fields::Fields;
use crate::claims::Fingerprint;
use crate::event::{AuctionItem, EventData, Line};

/// Whether the payment is for an auction.
pub(super) fn is_auction(fields: &Fields) -> bool {
    let value = fields.text("for_auction");
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Which item of an auction of several the message with `lines` is about. `None` for every other
/// message, and for one that does not name one item.
pub(super) fn item(fields: &Fields, lines: &[Line]) -> Option<AuctionItem> {
    let items: u32 = fields.text("auction_multi_item")?.parse().ok()?;
    let [line] = lines else {
        return None;
    };
    if !is_auction(fields) || items < 2 {
        return None;
    }
    let item = match &line.sku {
        Some(sku) => sku.to_string(),
        None if line.name.is_empty() => return None,
        None => format!("#{}", Fingerprint::of(line.name.as_bytes()).as_str()),
    };
    Some(AuctionItem { items, item })
}

/// How many of its item a message of such an auction is about: the amount does not tell it.
pub(super) fn quantity(data: &EventData) -> Option<String> {
    data.auction.as_ref()?;
    Some(data.lines.first()?.quantity.to_string())
}
