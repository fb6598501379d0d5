//! What each event does when no rule says otherwise. The fulfiller carries it out, and its tests
//! hold this table against what it does.

use crate::event::EventType;

/// What an event does to the stock and what the customer is told, in words for listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consequence {
    /// `decrement`, `reserve`, `release`, `restock if in full` or `none`.
    pub stock: &'static str,
    /// `received`, `pending`, `failed`, `refunded` or `none`.
    pub notify: &'static str,
}

/// The built-in table. Total: every event has a row.
pub const fn built_in(event_type: EventType) -> Consequence {
    let (stock, notify) = match event_type {
        EventType::Completed => ("decrement", "received"),
        EventType::Pending => ("reserve", "pending"),
        EventType::Denied | EventType::Failed | EventType::Expired | EventType::Voided => {
            ("release", "failed")
        }
        EventType::Refunded => ("restock if in full", "refunded"),
        EventType::Reversed
        | EventType::ReversalCanceled
        | EventType::Noted
        | EventType::DisputeOpened
        | EventType::DisputeAdjusted
        | EventType::SubscriptionChanged
        | EventType::PayoutItem
        | EventType::Unknown => ("none", "none"),
    };
    Consequence { stock, notify }
}
