//! The form of a scenario: what is sent, and what must come of it. Data only.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::catalogue::Product;
use crate::sandbox::Fault;

/// One scenario. Its payments, products and buyer belong to it alone, so that what is seen of
/// them comes from it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// A short name in lower case.
    pub name: &'static str,
    /// What happens, in one sentence.
    pub story: &'static str,
    /// What its buyer's address and its marker in `custom` are made of.
    pub slug: &'static str,
    /// The payment that it is about.
    pub txn: String,
    /// The products that it may touch.
    pub products: Vec<Product>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What must be seen in the end.
    pub expected: Outcome,
}

/// One thing that is done.
#[derive(Debug, Clone)]
pub enum Step {
    /// The gateway sends a message.
    Send(Bytes),
    /// The gateway sends so many copies of a message at once.
    SendAtOnce(Bytes, usize),
    /// Somebody else posts a message that the gateway knows nothing of.
    Forge(Bytes),
    /// Somebody makes a request that is no notification.
    Request(Odd),
    /// The gateway's endpoint breaks, or is mended.
    Fault(Fault),
    /// Go on when the broken endpoint was asked so many times in this scenario.
    UntilAsked(usize),
    /// Go on when the payment is in this state.
    UntilStatus(&'static str),
    /// Go on when no message is on its way.
    UntilIdle,
}

/// Requests that are no notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// A form without a byte.
    Empty,
    /// A form that is too large.
    Oversized,
    /// JSON.
    NotAForm,
    /// GET.
    Get,
}

/// What is expected of a scenario, and in the same form what was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The listener's statuses, in the order of the requests.
    pub http: Vec<u16>,
    /// The payment's status in the books; `None`: no such payment.
    pub payment: Option<String>,
    /// By sku, how the stock differs from the morning's. Products that do not differ are left out.
    pub stock: BTreeMap<String, StockChange>,
    /// How many mails the buyer got.
    pub mails: usize,
    /// Text that must stand in one of the mails (expected), or does (observed).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail_says: Option<String>,
    /// Why its messages are parked, sorted.
    pub quarantined: Vec<String>,
}

/// A difference in one product's stock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StockChange {
    /// On hand.
    pub on_hand: i64,
    /// Reserved.
    pub reserved: i64,
    /// Back-ordered.
    pub backordered: i64,
}

impl StockChange {
    /// So many went out.
    pub const fn sold(count: i64) -> Self {
        Self {
            on_hand: count.saturating_neg(),
            reserved: 0,
            backordered: 0,
        }
    }

    /// Whether nothing differs.
    pub const fn is_none(self) -> bool {
        self.on_hand == 0 && self.reserved == 0 && self.backordered == 0
    }
}

impl Scenario {
    /// The address of its buyer, in `payer_email`.
    pub fn buyer(&self) -> String {
        buyer(self.slug)
    }

    /// Its marker, in `custom`.
    pub fn marker(&self) -> String {
        marker(self.slug)
    }
}

/// The address of a scenario's buyer.
pub(super) fn buyer(slug: &str) -> String {
    format!("{slug}@buyer.example")
}

/// The marker of a scenario: what its messages carry in `custom`.
pub(super) fn marker(slug: &str) -> String {
    format!("demo-{slug}.")
}
