//! `PayPal`'s closed vocabularies, each with a door for words we do not know: those are kept and go
//! to a person, never to "paid", never to a crash.
//!
//! Sources: "IPN and PDT variables", developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Defines a vocabulary: canonical lower-case names, a tolerant reading, `Other` kept verbatim.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// A word that this build does not know, as it came.
            Other(String),
        }

        impl $name {
            /// Every word that this build knows, by canonical name.
            pub const KNOWN: &'static [&'static str] = &[$($text),+];

            /// The canonical name: lower case with underscores.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }

            /// Reads a word. Case, `-` for `_` and spaces around it do not matter.
            pub fn parse(text: &str) -> Self {
                match normalised(text).as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text.to_owned()),
                }
            }

            /// Whether this build knows the word.
            pub const fn is_known(&self) -> bool {
                !matches!(self, Self::Other(_))
            }
        }

        impl FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self::parse(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

/// Lower case, `-` as `_`, no spaces around; `paymentreview` and `payment_review` are one word.
fn normalised(text: &str) -> String {
    let word = text.trim().to_ascii_lowercase().replace('-', "_");
    if word == "payment_review" {
        "paymentreview".to_owned()
    } else {
        word
    }
}

vocabulary! {
    /// `payment_status`: what became of the money.
    PaymentStatus {
        /// A reversal was cancelled: the funds are back.
        CanceledReversal = "canceled_reversal",
        /// The funds are in the balance.
        Completed = "completed",
        /// A German ELV payment was made; not paid.
        Created = "created",
        /// Denied after it was pending.
        Denied = "denied",
        /// The authorisation expired.
        Expired = "expired",
        /// Failed, from the buyer's bank account.
        Failed = "failed",
        /// See [`PendingReason`].
        Pending = "pending",
        /// Refunded by the merchant, in full or in part.
        Refunded = "refunded",
        /// Charged back or reversed; see [`ReasonCode`].
        Reversed = "reversed",
        /// Accepted; informational.
        Processed = "processed",
        /// The authorisation was voided.
        Voided = "voided",
    }
}

vocabulary! {
    /// `pending_reason`: why a payment is pending.
    PendingReason {
        /// No confirmed shipping address.
        Address = "address",
        /// Authorised and not captured.
        Authorization = "authorization",
        /// Approved, awaiting bank funding.
        DelayedDisbursement = "delayed_disbursement",
        /// An eCheck that has not cleared.
        Echeck = "echeck",
        /// A non-US account without withdrawal.
        Intl = "intl",
        /// No balance in that currency.
        MultiCurrency = "multi_currency",
        /// Part of an order that is authorised and not settled.
        Order = "order",
        /// Reviewed for risk.
        PaymentReview = "paymentreview",
        /// Reviewed for compliance.
        RegulatoryReview = "regulatory_review",
        /// Sent to an address that is not registered or confirmed.
        Unilateral = "unilateral",
        /// The account must be upgraded.
        Upgrade = "upgrade",
        /// The account is not verified.
        Verify = "verify",
    }
}

impl PendingReason {
    /// Whether the money comes only once the merchant captures it.
    pub const fn awaits_capture(&self) -> bool {
        matches!(self, Self::Authorization | Self::Order)
    }
}

vocabulary! {
    /// `reason_code`: why it was reversed, refunded or disputed.
    ReasonCode {
        /// Reversal of an adjustment.
        AdjustmentReversal = "adjustment_reversal",
        /// Reversed by `PayPal` for fraud.
        AdminFraudReversal = "admin_fraud_reversal",
        /// Reversed by `PayPal`.
        AdminReversal = "admin_reversal",
        /// The buyer complained.
        BuyerComplaint = "buyer_complaint",
        /// The buyer's card issuer reversed it.
        Chargeback = "chargeback",
        /// Reimbursement of a chargeback.
        ChargebackReimbursement = "chargeback_reimbursement",
        /// Settlement of a chargeback.
        ChargebackSettlement = "chargeback_settlement",
        /// A money-back guarantee.
        Guarantee = "guarantee",
        /// A refund.
        Refund = "refund",
        /// Blocked by regulation.
        RegulatoryBlock = "regulatory_block",
        /// Rejected by regulation.
        RegulatoryReject = "regulatory_reject",
        /// Not received.
        NonReceipt = "non_receipt",
        /// Not as described.
        NotAsDescribed = "not_as_described",
        /// The buyer did not authorise it.
        UnauthorizedClaim = "unauthorized_claim",
        /// The buyer was deceived.
        UnauthorizedSpoof = "unauthorized_spoof",
    }
}

vocabulary! {
    /// `txn_type`: what kind of message it is. Absent in refunds, reversals and chargebacks.
    TxnType {
        /// A dispute was resolved and closed.
        Adjustment = "adjustment",
        /// Several items.
        Cart = "cart",
        /// A single item through Express Checkout.
        ExpressCheckout = "express_checkout",
        /// A mass payment that the merchant sent.
        Masspay = "masspay",
        /// A payment by billing agreement.
        MerchPmt = "merch_pmt",
        /// A billing agreement was made.
        MpSignup = "mp_signup",
        /// A billing agreement was cancelled.
        MpCancel = "mp_cancel",
        /// A dispute was opened.
        NewCase = "new_case",
        /// Global shipping pay-out.
        Payout = "payout",
        /// Website Payments Pro Hosted.
        ProHosted = "pro_hosted",
        /// A recurring payment was received.
        RecurringPayment = "recurring_payment",
        /// A recurring profile expired.
        RecurringPaymentExpired = "recurring_payment_expired",
        /// A recurring payment failed.
        RecurringPaymentFailed = "recurring_payment_failed",
        /// A recurring profile was cancelled.
        RecurringPaymentProfileCancel = "recurring_payment_profile_cancel",
        /// A recurring profile was created.
        RecurringPaymentProfileCreated = "recurring_payment_profile_created",
        /// A recurring payment was skipped.
        RecurringPaymentSkipped = "recurring_payment_skipped",
        /// A recurring profile was suspended.
        RecurringPaymentSuspended = "recurring_payment_suspended",
        /// A recurring profile was suspended after too many failures.
        RecurringPaymentSuspendedDueToMaxFailedPayment =
            "recurring_payment_suspended_due_to_max_failed_payment",
        /// An outstanding recurring amount was paid.
        RecurringPaymentOutstandingPayment = "recurring_payment_outstanding_payment",
        /// An outstanding recurring amount was not paid.
        RecurringPaymentOutstandingPaymentFailed = "recurring_payment_outstanding_payment_failed",
        /// Money sent outside a shop.
        SendMoney = "send_money",
        /// A subscription was cancelled.
        SubscrCancel = "subscr_cancel",
        /// A subscription reached its end of term.
        SubscrEot = "subscr_eot",
        /// A subscription payment failed.
        SubscrFailed = "subscr_failed",
        /// A subscription was modified.
        SubscrModify = "subscr_modify",
        /// A subscription payment was received.
        SubscrPayment = "subscr_payment",
        /// A subscription was signed up for.
        SubscrSignup = "subscr_signup",
        /// Virtual Terminal.
        VirtualTerminal = "virtual_terminal",
        /// Buy Now, Donation, or a button.
        WebAccept = "web_accept",
        /// `PayPal` Here.
        PaypalHere = "paypal_here",
    }
}

vocabulary! {
    /// `status_N` of a mass-payment item.
    MassPayStatus {
        /// Paid out.
        Completed = "completed",
        /// Not paid out.
        Failed = "failed",
        /// Taken back.
        Reversed = "reversed",
        /// The payee has no account yet.
        Unclaimed = "unclaimed",
        /// Sent, not settled.
        Pending = "pending",
        /// Not claimed in 30 days and returned.
        Returned = "returned",
        /// Blocked.
        Blocked = "blocked",
        /// Denied.
        Denied = "denied",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spelling_drifts_are_one_word() {
        assert_eq!(
            PendingReason::parse("multi-currency"),
            PendingReason::MultiCurrency
        );
        assert_eq!(
            PendingReason::parse("PaymentReview"),
            PendingReason::PaymentReview
        );
        assert_eq!(
            PendingReason::parse("payment_review"),
            PendingReason::PaymentReview
        );
        assert_eq!(
            ReasonCode::parse("buyer-complaint"),
            ReasonCode::BuyerComplaint
        );
        assert_eq!(
            PaymentStatus::parse("Canceled_Reversal"),
            PaymentStatus::CanceledReversal
        );
    }

    #[test]
    fn an_unknown_word_is_kept_as_it_came() {
        let status = PaymentStatus::parse("Completed-Funds-Held");
        assert_eq!(status.as_str(), "Completed-Funds-Held");
        assert!(!status.is_known());
    }

    proptest! {
        #[test]
        fn display_then_parse_is_the_identity(text in ".*") {
            let word = TxnType::parse(&text);
            prop_assert_eq!(TxnType::parse(word.as_str()), word);
        }
    }
}
