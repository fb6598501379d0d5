//! The business key of an event: what makes two messages the same, and the fingerprint that tells
//! a resend from a conflict. PURE.
//!
//! The bare `txn_id` is no key: a payment's Pending and Completed share it, a dispute carries the
//! original payment's, subscriptions and mass payments have none (IPN and PDT variables,
//! developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables).

use std::fmt::Write as _;

use crate::claims::Fingerprint;
use crate::event::Environment;
use crate::ids::{EventKey, IdError};

/// The most bytes of one escaped part; a longer one is replaced by its hash. Six parts of this
/// size fit an [`EventKey`].
const PART_LIMIT: usize = 72;

/// What an event is known by at `PayPal`. Absent parts stay blank in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity<'a> {
    /// One status of one payment, refund or reversal.
    Payment {
        /// `txn_id`.
        txn_id: &'a str,
        /// `payment_status`.
        status: &'a str,
        /// `pending_reason`, `reason_code` or `auth_status`: whichever the status has.
        detail: &'a str,
    },
    /// The same of one item of an auction of several, each of which has a message of its own.
    AuctionItem {
        /// `txn_id`.
        txn_id: &'a str,
        /// `payment_status`.
        status: &'a str,
        /// As of a payment.
        detail: &'a str,
        /// `item_number`, or what stands for the name of an item without one.
        item: &'a str,
    },
    /// One step of a dispute.
    Case {
        /// `case_id`.
        case_id: &'a str,
        /// `txn_type`.
        txn_type: &'a str,
        /// `case_type`.
        case_type: &'a str,
        /// `reason_code`.
        reason: &'a str,
        /// `txn_id` of the payment in dispute.
        txn_id: &'a str,
    },
    /// One change of a subscription or recurring profile.
    Subscription {
        /// `subscr_id` or `recurring_payment_id`.
        id: &'a str,
        /// `txn_type`.
        txn_type: &'a str,
        /// What tells this change from the next one of the same kind: the dates it carries.
        occasion: &'a str,
    },
    /// One status of one item of a mass payment.
    Payout {
        /// `masspay_txn_id_N`.
        id: &'a str,
        /// `status_N`.
        status: &'a str,
    },
    /// A message that has none of these, by the hash of its fields.
    Message {
        /// The hash.
        digest: &'a str,
        /// Which of several things that the message tells; blank for the only one.
        part: &'a str,
    },
}

/// The key of `identity` in `environment`.
///
/// # Errors
/// None in practice: parts are escaped and shortened to what a key can hold.
pub fn event_key(environment: Environment, identity: &Identity<'_>) -> Result<EventKey, IdError> {
    let parts: &[&str] = match *identity {
        Identity::Payment {
            txn_id,
            status,
            detail,
        } => &[txn_id, status, detail],
        Identity::AuctionItem {
            txn_id,
            status,
            detail,
            item,
        } => &[txn_id, status, detail, "auction", item],
        Identity::Case {
            case_id,
            txn_type,
            case_type,
            reason,
            txn_id,
        } => &["case", case_id, txn_type, case_type, reason, txn_id],
        Identity::Subscription {
            id,
            txn_type,
            occasion,
        } => &["sub", id, txn_type, occasion],
        Identity::Payout { id, status } => &["mp", id, status],
        Identity::Message { digest, part: "" } => &["msg", digest],
        Identity::Message { digest, part } => &["msg", digest, part],
    };
    let mut key = format!("pp:{environment}");
    for part in parts {
        key.push(':');
        key.push_str(&escaped(part));
    }
    key.parse()
}

/// Percent-escapes what a key cannot hold, and `:`, `%`, `#`, which it uses itself; a part that is
/// too long then becomes `#` and its hash.
fn escaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b':' | b'%' | b'#') {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(text, "%{byte:02X}").ok();
        }
    }
    if text.len() > PART_LIMIT {
        return format!("#{}", Fingerprint::of(part.as_bytes()).as_str());
    }
    text
}

/// Collects what an event means into the canonical form that is hashed. Each value is written with
/// its name and its length, so that no value can pose as two.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Meaning(String);

/// The values are personal data in part.
impl std::fmt::Debug for Meaning {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Meaning(..)")
    }
}

impl Meaning {
    /// Adds one value. An absent one adds nothing.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            writeln!(self.0, "{}:{name}={}:{value}", name.len(), value.len()).ok();
        }
        self
    }

    /// The hash of all that was added.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payment<'a>(txn_id: &'a str, status: &'a str, detail: &'a str) -> String {
        let identity = Identity::Payment {
            txn_id,
            status,
            detail,
        };
        event_key(Environment::Live, &identity).unwrap().to_string()
    }

    #[test]
    fn keys_have_the_documented_forms() {
        let of = |identity| {
            event_key(Environment::Sandbox, &identity)
                .unwrap()
                .to_string()
        };
        assert_eq!(
            payment("61E67681CH3238416", "pending", "echeck"),
            "pp:live:61E67681CH3238416:pending:echeck"
        );
        assert_eq!(
            of(Identity::AuctionItem {
                txn_id: "T1",
                status: "completed",
                detail: "",
                item: "BOOK 1",
            }),
            "pp:sandbox:T1:completed::auction:BOOK%201"
        );
        assert_eq!(
            of(Identity::Case {
                case_id: "PP-D-1",
                txn_type: "new_case",
                case_type: "chargeback",
                reason: "",
                txn_id: "T1",
            }),
            "pp:sandbox:case:PP-D-1:new_case:chargeback::T1"
        );
        assert_eq!(
            of(Identity::Subscription {
                id: "I-1",
                txn_type: "subscr_eot",
                occasion: "",
            }),
            "pp:sandbox:sub:I-1:subscr_eot:"
        );
        assert_eq!(
            of(Identity::Payout {
                id: "M1",
                status: "unclaimed",
            }),
            "pp:sandbox:mp:M1:unclaimed"
        );
        assert_eq!(
            of(Identity::Message {
                digest: "ab",
                part: "",
            }),
            "pp:sandbox:msg:ab"
        );
    }

    #[test]
    fn a_colon_in_a_part_cannot_move_into_the_next_one() {
        assert_ne!(payment("A:b", "c", "d"), payment("A", "b:c", "d"));
        assert_eq!(payment("A:%#ü ", "c", ""), "pp:live:A%3A%25%23%C3%BC%20:c:");
    }

    #[test]
    fn a_long_part_is_replaced_by_its_hash() {
        let long = "x".repeat(4000);
        let key = payment("T1", &long, &long);
        assert!(key.len() < 200 && key.contains(":#"));
        assert_ne!(key, payment("T1", &"x".repeat(4001), &long));
    }

    #[test]
    fn a_value_cannot_pose_as_two() {
        let two = Meaning::default().with("a", Some("1")).with("b", Some("2"));
        for posing in ["1\nb=2", "1\n1:b=1:2"] {
            let one = Meaning::default().with("a", Some(posing));
            assert_ne!(one.fingerprint(), two.fingerprint());
        }
        assert_ne!(
            Meaning::default().with("a", Some("")).fingerprint(),
            Meaning::default().with("a", None).fingerprint()
        );
    }

    proptest! {
        #[test]
        fn any_text_gives_a_key(a in ".*", b in ".*", c in ".*", d in ".*", e in ".*") {
            let identity = Identity::Case {
                case_id: &a, txn_type: &b, case_type: &c, reason: &d, txn_id: &e,
            };
            prop_assert!(event_key(Environment::Live, &identity).is_ok());
        }

        #[test]
        fn other_parts_give_another_key(a in "[ -~]{0,90}", b in "[ -~]{0,90}") {
            prop_assume!(a != b);
            prop_assert_ne!(payment(&a, "s", "d"), payment(&b, "s", "d"));
        }
    }
}
