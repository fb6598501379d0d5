//! What the flags of the books ask for: the one list. Pure; asked by whoever tells the merchant, by
//! whoever tells the buyer, and by listings. A shop that reads `ipn.payments` ships by it.
//!
//! A payment's flags are asked about together: that a person has released a refusal says what the
//! refusal's own code beside it is worth.

use crate::refusal::{RELEASED, is_refusal};

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

/// Every flag that this build raises of its own, and what it asks for.
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
    ("released", Concern::Note),
    ("overpaid", Concern::Told),
    ("underpaid_within_tolerance", Concern::Told),
    ("partial_capture", Concern::Told),
    ("auction", Concern::Told),
    ("initial_payment", Concern::Told),
    ("invoice_already_paid", Concern::Told),
    ("reversal_canceled", Concern::Told),
    ("dispute_adjusted", Concern::Told),
    ("amount_changed", Concern::Person),
    ("auction_incomplete", Concern::Person),
    ("auction_short", Concern::Person),
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
    ("pending_for_paid_order", Concern::Person),
    ("receiver_missing", Concern::Person),
    ("refund_currency_mismatch", Concern::Person),
    ("refund_without_amount", Concern::Person),
    ("reversed", Concern::Person),
    ("settles_another_order", Concern::Person),
    ("unknown_event", Concern::Person),
];

/// What a flag asks for; `is_released`: of a payment that a person has released.
fn concern(flag: &str, is_released: bool) -> Concern {
    // What the checks refused and a person has let pass: decided, and told when it was parked.
    if flag.starts_with(OF_ADJUSTED) || (is_released && is_refusal(flag)) {
        return Concern::Note;
    }
    ALL.iter()
        .find(|(name, _)| *name == flag)
        .map_or(Concern::Person, |(_, concern)| *concern)
}

/// What each of a payment's flags asks for, in view of all of them.
pub fn concerns<'a, F>(flags: F) -> impl Iterator<Item = (&'a str, Concern)>
where
    F: IntoIterator<Item = &'a String> + Clone,
{
    let is_released = flags.clone().into_iter().any(|flag| flag == RELEASED);
    flags
        .into_iter()
        .map(move |flag| (flag.as_str(), concern(flag, is_released)))
}

/// Whether a payment with these flags waits for a person before its goods go.
pub fn waits_for_a_person<'a, F>(flags: F) -> bool
where
    F: IntoIterator<Item = &'a String> + Clone,
{
    concerns(flags).any(|(_, concern)| concern == Concern::Person)
}

/// Those of a payment's flags that the merchant is told of.
pub fn told<'a, F>(flags: F) -> impl Iterator<Item = &'a str>
where
    F: IntoIterator<Item = &'a String> + Clone,
{
    concerns(flags)
        .filter(|(_, concern)| *concern != Concern::Note)
        .map(|(flag, _)| flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::paypal::doubt::Doubt;
    use crate::refusal::RefusalCode;

    fn waits(flags: &[&str]) -> bool {
        waits_for_a_person(&owned(flags))
    }

    fn tells(flags: &[&str]) -> Vec<String> {
        told(&owned(flags)).map(str::to_owned).collect()
    }

    fn owned(flags: &[&str]) -> Vec<String> {
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }

    #[test]
    fn what_nobody_knows_yet_waits_for_a_person() {
        assert!(waits(&["reversed"]) && waits(&["a_flag_of_tomorrow"]));
        assert!(!waits(&["refund_awaits_payment"]) && tells(&["refund_awaits_payment"]).is_empty());
        assert!(!waits(&["invoice_already_paid"]));
        assert_eq!(tells(&["invoice_already_paid"]), ["invoice_already_paid"]);
    }

    #[test]
    fn whatever_check_a_person_has_released_waits_no_longer_and_is_not_told_again() {
        let checks = RefusalCode::ALL.iter().map(|code| code.as_str());
        for code in checks.chain(Doubt::ALL.iter().map(|doubt| doubt.as_str())) {
            assert!(!waits(&[code, "released"]), "{code}");
            assert!(tells(&[code, "released"]).is_empty(), "{code}");
            // Accepted without a person where the settings say so, and so worth a note alone.
            assert_eq!(waits(&[code]), code != "unmatched_item", "{code}");
        }
    }

    #[test]
    fn a_release_says_nothing_about_what_the_books_find_beside_it() {
        for flag in ["order_already_paid", "order_cancelled", "disputed", "new"] {
            let flags = ["items_mismatch", flag, "released"];
            assert!(waits(&flags), "{flag}");
            assert_eq!(tells(&flags), [flag]);
        }
    }
}
