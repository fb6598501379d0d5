//! What people ask the books first: which payments, subscriptions, cases and payouts there are.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Shop, ShopError, row, time_text};

/// Which payments to list; what is `None` does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Only this status.
    pub status: Option<String>,
    /// Only this account.
    pub account: Option<String>,
    /// Only this kind: `payment`, `case`, `subscription`, `payout` or `message`.
    pub kind: Option<String>,
    /// Only those with this flag.
    pub flag: Option<String>,
    /// Only those with any flag.
    pub flagged: bool,
    /// At most so many, newest first; 1000 when `None`.
    pub limit: Option<u32>,
}

/// One line of `quittance payments list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PaymentRow {
    /// Who told us.
    pub gateway: String,
    /// Live or sandbox.
    pub environment: String,
    /// Whose account.
    pub account: String,
    /// `payment`, `case`, `subscription`, `payout` or `message`.
    pub kind: String,
    /// The transaction id (of other kinds: their id).
    pub txn_id: String,
    /// Lower case: `completed`, `pending`, `partially_refunded` ...
    pub status: String,
    /// Such as `19.95`; empty when no event told one.
    pub amount: String,
    /// How much of it was given back.
    pub refunded: String,
    /// ISO 4217; empty when no event told one.
    pub currency: String,
    /// How many events.
    pub events: i64,
    /// Names such as `stock_decremented` and `mail_received`, in the order in which they happened.
    pub effects: Vec<String>,
    /// What a person should see, as reason codes.
    pub flags: Vec<String>,
    /// When the last change was applied, RFC 3339.
    pub updated_at: String,
    /// The row's whole name; not shown.
    #[serde(skip)]
    pub subject: String,
}

const DOING: &str = "listing payments";

impl Shop {
    /// The payments that `filter` leaves, newest change first.
    pub async fn payments(&self, filter: &PaymentFilter) -> Result<Vec<PaymentRow>, ShopError> {
        let flag = filter.flag.as_ref().map(|flag| format!("\"{flag}\""));
        let rows = sqlx::query(row::payments_where!(
            "($1 = '' OR p.status = $1) AND ($2 = '' OR p.account = $2) \
             AND ($3 = '' OR p.flags LIKE '%' || $3 || '%') AND ($4 = '' OR p.kind = $4) \
             AND ($5 = 0 OR p.flags <> '[]') ORDER BY p.last_at DESC, p.subject LIMIT $6"
        ))
        .bind(filter.status.clone().unwrap_or_default())
        .bind(filter.account.clone().unwrap_or_default())
        .bind(flag.unwrap_or_default())
        .bind(filter.kind.clone().unwrap_or_default())
        .bind(i64::from(filter.flagged))
        .bind(i64::from(filter.limit.unwrap_or(1000)))
        .fetch_all(self.pool().await?)
        .await
        .map_err(ShopError::during(DOING))?;
        self.with_effects(&rows).await
    }

    pub(super) async fn with_effects(&self, rows: &[AnyRow]) -> Result<Vec<PaymentRow>, ShopError> {
        let pool = self.pool().await?;
        let mut listed = Vec::new();
        for row in rows {
            let mut payment = read_payment(row).map_err(ShopError::during(DOING))?;
            let effects =
                sqlx::query("SELECT effect FROM effect WHERE subject = $1 ORDER BY at, effect")
                    .bind(payment.subject.as_str())
                    .fetch_all(pool)
                    .await
                    .map_err(ShopError::during(DOING))?;
            for effect in &effects {
                let full: String = effect.try_get(0).map_err(ShopError::during(DOING))?;
                payment.effects.push(effect_name(&full).to_owned());
            }
            listed.push(payment);
        }
        Ok(listed)
    }

    /// The effects that the event of `key` has had, such as `stock_decremented`; `None` when the
    /// books have no such event.
    pub async fn effects_of_event(&self, key: &str) -> Result<Option<Vec<String>>, ShopError> {
        let known = self
            .rows("SELECT subject FROM event WHERE key = $1", key)
            .await?;
        if known.is_empty() {
            return Ok(None);
        }
        let rows = self
            .rows(
                "SELECT effect FROM effect WHERE event_key = $1 ORDER BY at, effect",
                key,
            )
            .await?;
        let names = rows.iter().map(|row| {
            let full: String = row.try_get(0)?;
            Ok(effect_name(&full).to_owned())
        });
        let names: Result<Vec<String>, sqlx::Error> = names.collect();
        names.map(Some).map_err(ShopError::during(DOING))
    }

    /// How often each effect has happened over all payments; for tests and the demo.
    pub async fn effect_counts(&self) -> Result<BTreeMap<String, u64>, ShopError> {
        let rows = sqlx::query("SELECT effect FROM effect")
            .fetch_all(self.pool().await?)
            .await
            .map_err(ShopError::during(DOING))?;
        let mut counts = BTreeMap::new();
        for row in &rows {
            let full: String = row.try_get(0).map_err(ShopError::during(DOING))?;
            let count: &mut u64 = counts.entry(effect_name(&full).to_owned()).or_default();
            *count = count.saturating_add(1);
        }
        Ok(counts)
    }
}

/// `mail_refunded` of `mail_refunded:{refund's id}`.
pub(super) fn effect_name(full: &str) -> &str {
    full.split_once(':').map_or(full, |(name, _)| name)
}

fn read_payment(row: &AnyRow) -> Result<PaymentRow, sqlx::Error> {
    let flags: String = row.try_get(10)?;
    Ok(PaymentRow {
        subject: row.try_get(0)?,
        gateway: row.try_get(1)?,
        environment: row.try_get(2)?,
        account: row.try_get(3)?,
        kind: row.try_get(4)?,
        txn_id: row.try_get(5)?,
        status: row.try_get(6)?,
        amount: row::value(row::told_amount(row, 7, 9)?),
        refunded: row::value(row::told_amount(row, 8, 9)?),
        events: row.try_get(12)?,
        effects: Vec::new(),
        flags: serde_json::from_str(&flags).unwrap_or_default(),
        updated_at: time_text(row.try_get(11)?),
        currency: row.try_get(9)?,
    })
}
