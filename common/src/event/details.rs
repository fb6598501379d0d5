//! What an event tells that nothing is decided by: for people who look at it, and for accounting.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::money::Money;

/// Further members of an event, each where the message has it. No state, stock or mail depends on
/// one of them, and none is part of the fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Details {
    /// `auth_exp`: until when an authorisation can be captured, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorized_until: Option<Timestamp>,
    /// What was booked in the account's own currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
    /// `case_type`, lower case: `chargeback`, `complaint` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_type: Option<String>,
    /// When a subscription began, and when money is due next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Who is paid by an item of a mass payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<Payee>,
}

impl Details {
    /// Whether the message has none of them.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A payment in another currency than the account's, as it was converted. Orders are held against
/// the gross; accounts are kept by this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settled {
    /// `settle_amount` with `settle_currency`.
    pub amount: Money,
    /// `exchange_rate`, digits and a point as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_rate: Option<String>,
}

/// The dates of a subscription or recurring profile, UTC, and what a profile costs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule {
    /// `amount_per_cycle` of a recurring profile; a subscription's price stands in its terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// `payment_cycle` of a recurring profile: `Monthly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycle: Option<String>,
    /// `subscr_date`, or `time_created` of a recurring profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// `subscr_effective`: when a change begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_at: Option<Timestamp>,
    /// `retry_at`: when a payment that failed is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// `next_payment_date`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_payment_at: Option<Timestamp>,
}

/// Who is paid. The address is personal data: never in logs or metrics.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payee {
    /// `receiver_email_N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `unique_id_N`: the shop's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl fmt::Debug for Payee {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Payee(..)")
    }
}
