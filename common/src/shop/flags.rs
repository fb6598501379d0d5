//! What each flag of the books asks for: the one list. Pure; asked by whoever tells the merchant, by
//! whoever tells the buyer, and by listings. A shop that reads `ipn.payments` ships by it.

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

/// Every flag that this build raises, and what it asks for.
pub const ALL: [(&str, Concern); 48] = [
    ("refund_awaits_payment", Concern::Note),
    ("reservation_short", Concern::Note),
    ("reservation_expired", Concern::Note),
    ("signup_not_seen", Concern::Note),
    ("first_payment_due", Concern::Note),
    ("end_of_term", Concern::Note),
    ("modified", Concern::Note),
    ("payment_skipped", Concern::Note),
    ("unmatched_item", Concern::Note),
    ("unknown_item", Concern::Note),
    ("item_without_sku", Concern::Note),
    ("options_not_checked", Concern::Note),
    ("partly_captured", Concern::Note),
    ("accepted", Concern::Note),
    ("closed", Concern::Note),
    // Of the checks' reasons only such a one is a flag that a person has released.
    ("released", Concern::Told),
    ("amount_mismatch", Concern::Told),
    ("currency_mismatch", Concern::Told),
    ("receiver_mismatch", Concern::Told),
    ("overpaid", Concern::Told),
    ("underpaid_within_tolerance", Concern::Told),
    ("partial_capture", Concern::Told),
    ("auction", Concern::Told),
    ("initial_payment", Concern::Told),
    ("invoice_already_paid", Concern::Told),
    ("reversal_canceled", Concern::Told),
    ("dispute_adjusted", Concern::Told),
    ("amount_changed", Concern::Person),
    ("backorder", Concern::Person),
    ("capture_currency_mismatch", Concern::Person),
    ("cart_count_differs", Concern::Person),
    ("disputed", Concern::Person),
    ("items_not_checked", Concern::Person),
    ("items_not_told", Concern::Person),
    ("order_already_paid", Concern::Person),
    ("order_cancelled", Concern::Person),
    ("over_captured", Concern::Person),
    ("over_refunded", Concern::Person),
    ("paid_after_denied", Concern::Person),
    ("paid_without_amount", Concern::Person),
    ("payment_failed", Concern::Person),
    ("pending_for_cancelled_order", Concern::Person),
    ("receiver_missing", Concern::Person),
    ("refund_currency_mismatch", Concern::Person),
    ("refund_without_amount", Concern::Person),
    ("reversed", Concern::Person),
    ("settles_another_order", Concern::Person),
    ("unknown_event", Concern::Person),
];

/// Which flag asks for what.
pub fn concern(flag: &str) -> Concern {
    ALL.iter()
        .find(|(name, _)| *name == flag)
        .map_or(Concern::Person, |(_, concern)| *concern)
}

/// Whether a payment with this flag waits for a person before its goods go.
pub fn waits_for_a_person(flag: &str) -> bool {
    concern(flag) == Concern::Person
}

/// Whether the merchant is told of a flag.
pub fn is_told(flag: &str) -> bool {
    concern(flag) != Concern::Note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_yet_waits_for_a_person() {
        assert!(waits_for_a_person("reversed") && waits_for_a_person("a_flag_of_tomorrow"));
        assert!(!waits_for_a_person("refund_awaits_payment") && !is_told("refund_awaits_payment"));
        assert!(!waits_for_a_person("invoice_already_paid") && is_told("invoice_already_paid"));
    }
}
