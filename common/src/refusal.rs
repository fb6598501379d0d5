//! The codes under which a check refuses a genuine message: a closed set, because a person waives a
//! refusal by its code, and what was waived stands among the payment's flags from then on. The
//! verifier's checks can give no other ([`RefusalCode`]) beside the gateway's doubts ([`Doubt`]).

use crate::gateway::paypal::doubt::Doubt;
use crate::ids::Reason;

/// The flag of an event of which a refusal was waived; the refusal's code stands beside it.
pub const RELEASED: &str = "released";

/// The enum, its list and its names from one table, so that no code is forgotten in any of them.
macro_rules! codes {
    ($($(#[$about:meta])+ $code:ident = $name:literal),+ $(,)?) => {
        /// Why a business check refuses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum RefusalCode {
            $($(#[$about])+ $code),+
        }

        impl RefusalCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name),+
                }
            }
        }
    };
}

codes! {
    /// Less was paid than was asked.
    AmountMismatch = "amount_mismatch",
    /// Nothing, or less, came in.
    AmountNotPositive = "amount_not_positive",
    /// Less was captured than was asked, and its authorisation is not in the books.
    AuthorizationUnknown = "authorization_unknown",
    /// Another currency was paid than was asked.
    CurrencyMismatch = "currency_mismatch",
    /// A sandbox message on a live account, or the other way round.
    EnvironmentMismatch = "environment_mismatch",
    /// Other items were paid for than were ordered.
    ItemsMismatch = "items_mismatch",
    /// The message names no amount.
    MissingAmount = "missing_amount",
    /// An item that comes in variants, with options that select none.
    OptionsMismatch = "options_mismatch",
    /// It names two different orders.
    OrderAmbiguous = "order_ambiguous",
    /// Its order is signed and registered with different terms.
    OrderDiffers = "order_differs",
    /// It names no order, and the settings require one.
    OrderMissing = "order_missing",
    /// It names a signed order that the shop did not sign.
    OrderSignatureInvalid = "order_signature_invalid",
    /// It names an order that is not registered, and the settings require one.
    OrderUnknown = "order_unknown",
    /// A mass payment that another account sent.
    PayerMismatch = "payer_mismatch",
    /// It was paid to somebody else.
    ReceiverMismatch = "receiver_mismatch",
    /// It names no payee.
    ReceiverMissing = "receiver_missing",
    /// A sign-up with a trial that nobody offered.
    TrialNotExpected = "trial_not_expected",
    /// Nothing says what its items cost.
    UnmatchedItem = "unmatched_item",
}

impl RefusalCode {
    /// The name as a reason code.
    pub fn reason(self) -> Reason {
        Reason::of(self.as_str())
    }
}

/// Whether a check may refuse under this name.
pub fn is_refusal(code: &str) -> bool {
    RefusalCode::ALL.iter().any(|one| one.as_str() == code)
        || Doubt::ALL.iter().any(|one| one.as_str() == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_a_reason_code_of_its_own() {
        let mut names: Vec<String> = RefusalCode::ALL
            .iter()
            .map(|code| code.reason().to_string())
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RefusalCode::ALL.len());
        assert!(!names.contains(&"unnamed_reason".to_owned()));
    }

    #[test]
    fn what_no_check_says_is_no_refusal() {
        for code in ["order_already_paid", "disputed", "released", "conflict", ""] {
            assert!(!is_refusal(code), "{code}");
        }
    }
}
