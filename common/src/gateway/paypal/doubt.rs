//! What may be odd about a genuine message: a closed set, because the names are reasons that an
//! operator filters by.

use crate::ids::Reason;

/// An oddity that a person should see before the message has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// An Adaptive Payments message: another vocabulary, not applied.
    AdaptivePayments,
    /// Completed, and yet the authorisation, not the capture.
    AuthorizationOnly,
    /// Completed or refunded without a readable amount and currency.
    MissingAmount,
    /// A dispute without `case_id`.
    MissingCase,
    /// A mass payment that names no item.
    MissingItems,
    /// A refund or reversal without `parent_txn_id`.
    MissingParent,
    /// Neither a `payment_status` nor a type that goes without one.
    MissingStatus,
    /// A change of a subscription without its id.
    MissingSubscription,
    /// A payment or mass-payment item without its transaction id.
    MissingTxnId,
    /// Completed with less than nothing: money that the merchant sent.
    NegativeAmount,
    /// A `charset` that is not known; read as windows-1252.
    UnknownCharset,
    /// A status that this build does not know.
    UnknownStatus,
    /// A `txn_type` that this build does not know.
    UnknownTxnType,
    /// An item with the quantity 0.
    ZeroQuantity,
}

impl Doubt {
    /// Every doubt, for listings and documentation.
    pub const ALL: [Self; 14] = [
        Self::AdaptivePayments,
        Self::AuthorizationOnly,
        Self::MissingAmount,
        Self::MissingCase,
        Self::MissingItems,
        Self::MissingParent,
        Self::MissingStatus,
        Self::MissingSubscription,
        Self::MissingTxnId,
        Self::NegativeAmount,
        Self::UnknownCharset,
        Self::UnknownStatus,
        Self::UnknownTxnType,
        Self::ZeroQuantity,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdaptivePayments => "adaptive_payments",
            Self::AuthorizationOnly => "authorization_only",
            Self::MissingAmount => "missing_amount",
            Self::MissingCase => "missing_case",
            Self::MissingItems => "missing_items",
            Self::MissingParent => "missing_parent",
            Self::MissingStatus => "missing_status",
            Self::MissingSubscription => "missing_subscription",
            Self::MissingTxnId => "missing_txn_id",
            Self::NegativeAmount => "negative_amount",
            Self::UnknownCharset => "unknown_charset",
            Self::UnknownStatus => "unknown_status",
            Self::UnknownTxnType => "unknown_txn_type",
            Self::ZeroQuantity => "zero_quantity",
        }
    }

    /// The name as a reason code.
    pub fn reason(self) -> Reason {
        Reason::of(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_doubt_has_a_reason_code_of_its_own() {
        let mut names: Vec<String> = Doubt::ALL.map(|doubt| doubt.reason().to_string()).into();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Doubt::ALL.len());
        assert!(!names.contains(&"unnamed_reason".to_owned()));
    }

    /// The compiler sees to it that each has a name.
    #[test]
    fn every_doubt_that_has_a_name_is_listed() {
        let arms = include_str!("doubt.rs").lines().filter(|line| {
            let line = line.trim_start();
            line.starts_with("Self::") && line.contains("=> \"")
        });
        assert_eq!(arms.count(), Doubt::ALL.len());
    }
}
