//! The codes for which a person is asked, in one place: whoever puts them into words can see
//! whether he has words for all of them. Pure.

use std::collections::BTreeSet;

use crate::gateway::paypal::doubt::Doubt;
use crate::refusal::RefusalCode;
use crate::shop::flags;
use crate::status::ReasonCode;

/// Why a notification goes to quarantine without a check.
pub const NOT_CHECKED: [&str; 6] = [
    "ambiguous_field",
    "conflict",
    "invalid",
    "not_a_notification",
    "too_many_items",
    "unreadable_field",
];

/// Why a stage gives a message up.
pub const GIVEN_UP: [&str; 14] = [
    "event_not_writable",
    "gave_up",
    "mail_not_taken",
    "malformed_event",
    "panic",
    "shop_error",
    "smtp_rejected",
    "stock_not_configured",
    "template_error",
    "too_large",
    "unsupported_version",
    "webhook_gone",
    "webhook_not_taken",
    "webhook_rejected",
];

/// Every code, once: these, the doubts, the flags of the books, and why a case was opened.
pub fn all() -> BTreeSet<&'static str> {
    RefusalCode::ALL
        .iter()
        .map(|code| code.as_str())
        .chain(NOT_CHECKED)
        .chain(GIVEN_UP)
        .chain(Doubt::ALL.map(Doubt::as_str))
        .chain(flags::ALL.map(|(name, _)| name))
        .chain(ReasonCode::KNOWN.iter().copied())
        .collect()
}
