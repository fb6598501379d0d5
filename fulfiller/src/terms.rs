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
