//! One item of an auction of several.

use serde::{Deserialize, Serialize};

/// Which item of a multi-item auction an event is about. Each item has a message of its own, and
/// each message shows the amount of the whole auction (`auction_multi_item`, IPN and PDT variables,
/// developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AuctionItem {
    /// `auction_multi_item`: how many items the auction has, 2 or more.
    pub items: u32,
    /// Which of them this is: its `item_number`, or else `#` and the hash of its `item_name`.
    pub item: String,
}
