//! The terms on which a shop has effects: its rules, who counts its stock, what comes back to it,
//! and who is told.

use std::time::Duration;

use quittance_common::rules::Rules;
use quittance_common::settings::{Restock, Settings, StockDriver};

/// Who counts the stock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StockBy {
    /// The shop database, in the event's own transaction.
    #[default]
    Sql,
    /// The shop: what it should do is announced, after the commit.
    Http,
}

/// How effects are had.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Which effects are had at all.
    pub rules: Rules,
    /// Who counts the stock.
    pub stock: StockBy,
    /// How long a pending payment may keep goods from others.
    pub reserve_for: Duration,
    /// When goods that were sold go back on the shelf.
    pub restock: Restock,
    /// Whether anybody is there to be told of what waits for a person.
    pub tell_merchant: bool,
}

impl Default for Terms {
    /// Everything is done, with stock in the shop database; nobody is told of what waits.
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            stock: StockBy::default(),
            reserve_for: Duration::from_hours(24 * 14),
            restock: Restock::default(),
            tell_merchant: false,
        }
    }
}

impl Terms {
    /// As the settings say.
    pub fn of(settings: &Settings) -> Self {
        let stock = match settings.stock.driver {
            StockDriver::Sql => StockBy::Sql,
            StockDriver::Http(_) => StockBy::Http,
        };
        Self {
            rules: settings.rules.clone(),
            stock,
            reserve_for: settings.fulfiller.reserve_for,
            restock: settings.fulfiller.restock_on,
            tell_merchant: settings.notify.tells_merchant(),
        }
    }

    /// Only with these rules; stock in the shop database, and no merchant to be told.
    pub fn ruled(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }
}

/// What a flag of the books asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// Nothing: it resolves by itself, or comes with every payment of a shop that keeps no
    /// catalogue, or says what a person has decided.
    Note,
    /// A person is told, and the goods may go: the money is there, and is for them.
    Told,
    /// A person must look before the goods go. So is every flag that nobody knows yet.
    Person,
}

/// Which flag asks for what: the one list.
pub fn concern(flag: &str) -> Concern {
    match flag {
        "refund_awaits_payment"
        | "reservation_short"
        | "reservation_expired"
        | "signup_not_seen"
        | "first_payment_due"
        | "end_of_term"
        | "modified"
        | "payment_skipped"
        | "unmatched_item"
        | "unknown_item"
        | "item_without_sku"
        | "partly_captured"
        | "accepted"
        | "closed" => Concern::Note,
        // Of the checks' reasons only such a one is a flag that a person has released.
        "released"
        | "amount_mismatch"
        | "currency_mismatch"
        | "receiver_mismatch"
        | "overpaid"
        | "auction"
        | "initial_payment"
        | "invoice_already_paid"
        | "reversal_canceled"
        | "dispute_adjusted" => Concern::Told,
        _ => Concern::Person,
    }
}

/// Whether the merchant is told of a flag.
pub fn waits_for_a_person(flag: &str) -> bool {
    concern(flag) != Concern::Note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_yet_waits_for_a_person() {
        assert!(waits_for_a_person("reversed") && waits_for_a_person("a_flag_of_tomorrow"));
        assert!(!waits_for_a_person("refund_awaits_payment"));
        assert_eq!(concern("a_flag_of_tomorrow"), Concern::Person);
        assert_eq!(concern("invoice_already_paid"), Concern::Told);
    }
}
