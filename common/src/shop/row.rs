//! What several listings read from their rows in the same way.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::ShopError;
use crate::money::{Currency, Money};

/// Selects the rows of payments as `listing` reads them, narrowed and ordered by what follows.
macro_rules! payments_where {
    ($rest:literal) => {
        concat!(
            "SELECT p.subject, p.gateway, p.environment, p.account, p.kind, p.txn_id, p.status, ",
            "p.amount_minor, p.refunded_minor, p.currency, p.flags, p.last_at, ",
            "(SELECT COUNT(*) FROM event e WHERE e.subject = p.subject OR e.about = p.subject) ",
            "FROM payment p WHERE ",
            $rest
        )
    };
}
pub(super) use payments_where;

/// The amount of minor units in column `minor`, in the currency of column `code`; `None` when that
/// is blank: no event told an amount.
pub(super) fn told_amount(
    row: &AnyRow,
    minor: usize,
    code: usize,
) -> Result<Option<Money>, sqlx::Error> {
    let minor: i64 = row.try_get(minor)?;
    let code: String = row.try_get(code)?;
    let currency: Option<Currency> = code.parse().ok();
    Ok(currency.map(|currency| Money::from_minor(minor, currency)))
}

/// The same of a row that always has an amount.
pub(super) fn amount(
    row: &AnyRow,
    minor: usize,
    code: usize,
    doing: &'static str,
) -> Result<Money, ShopError> {
    told_amount(row, minor, code)
        .map_err(ShopError::during(doing))?
        .ok_or_else(|| ShopError::Unreadable {
            what: "currency",
            detail: "not three letters of ISO 4217".to_owned(),
        })
}

/// The amount without its currency, such as `19.95`; blank where there is none.
pub(super) fn value(amount: Option<Money>) -> String {
    amount.map_or_else(String::new, Money::value)
}
