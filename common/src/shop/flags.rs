//! Which flags of the books are a matter for a person. Pure; asked by whoever tells the merchant, and
//! by whoever tells the buyer.

/// Whether a flag of the books waits for a person. The others resolve by themselves, or come with
/// every payment of a shop that keeps no catalogue.
pub fn waits_for_a_person(flag: &str) -> bool {
    !matches!(
        flag,
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
            | "options_not_checked"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_yet_waits_for_a_person() {
        assert!(waits_for_a_person("reversed") && waits_for_a_person("a_flag_of_tomorrow"));
        assert!(!waits_for_a_person("refund_awaits_payment"));
    }
}
