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

/// What the reasons of a case begin with once it was adjusted.
pub const OF_ADJUSTED: &str = "adjusted:";

/// Which flag asks for what.
pub fn concern(flag: &str) -> Concern {
    match flag {
        _ if flag.starts_with(OF_ADJUSTED) => Concern::Note,
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
        | "partly_captured"
        | "accepted"
        | "closed" => Concern::Note,
        // Of the checks' reasons only such a one is a flag that a person has released.
        "released"
        | "amount_mismatch"
        | "authorization_unknown"
        | "currency_mismatch"
        | "receiver_mismatch"
        | "overpaid"
        | "underpaid_within_tolerance"
        | "partial_capture"
        | "auction"
        | "initial_payment"
        | "invoice_already_paid"
        | "reversal_canceled"
        | "dispute_adjusted" => Concern::Told,
        _ => Concern::Person,
    }
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
