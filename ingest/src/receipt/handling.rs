//! What becomes of the goods of a payment, as far as its buyer is told. Pure.

use quittance_common::shop::flags::waits_for_a_person;
use quittance_common::shop::{PaymentRow, reservation};
use serde::Serialize;

/// What is known about the goods of a payment that is paid or on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Handling {
    /// All of them are set aside until the money is there.
    SetAside,
    /// A person has to look at it first: nothing more happens by itself, a receipt included.
    ManualReview,
    /// Our checks refused the message, although it is genuine: the books have no payment yet, and a
    /// person decides whether there will be one.
    Held,
}

impl Handling {
    /// The name in JSON and templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SetAside => "set_aside",
            Self::ManualReview => "manual_review",
            Self::Held => "held",
        }
    }

    /// What a payment's flags and effects say. Goods count as set aside only if nothing speaks
    /// against it: an effect that a rule withheld has another name, and a line that the catalogue
    /// does not know is held by nobody.
    pub(super) fn of_books(row: &PaymentRow) -> Option<Self> {
        if waits_for_a_person(&row.flags) {
            return Some(Self::ManualReview);
        }
        let has = |all: &[String], name: &str| all.iter().any(|one| one == name);
        let spoilt = SPOILS_A_RESERVATION
            .iter()
            .any(|name| has(&row.flags, name) || has(&row.effects, name));
        (has(&row.effects, "stock_reserved") && !spoilt).then_some(Self::SetAside)
    }
}

/// Flags and effects of a payment whose goods are not all set aside, or no longer.
const SPOILS_A_RESERVATION: [&str; 6] = [
    "reservation_short",
    reservation::EXPIRED,
    "stock_released",
    "unknown_item",
    "unmatched_item",
    "item_without_sku",
];
