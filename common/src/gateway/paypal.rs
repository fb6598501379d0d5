//! `PayPal`: Instant Payment Notification (IPN) and Payment Data Transfer (PDT).
//!
//! The rules are those of `PayPal`'s public pages below developer.paypal.com/api/nvp-soap/, cited
//! where each is applied.

mod ambiguity;
mod amount;
mod auction;
mod cart;
pub mod charset;
mod date;
mod details;
mod dispute;
pub mod doubt;
pub mod fields;
mod masspay;
mod party;
mod payment;
pub mod pdt;
mod postback;
mod reading;
mod subscription;

use super::{AuthPlan, ReadError, Reply, Verdict};
use crate::event::Source;
use crate::notification::{Notification, Proof, RawNotification};
use crate::settings::Account;

/// A notification is asked about by postback; PDT evidence is `PayPal`'s own answer to us.
pub fn authenticate(raw: &RawNotification, account: &Account) -> AuthPlan {
    match raw.source {
        Source::Ipn | Source::Replay => AuthPlan::Postback(postback::request(&raw.body, account)),
        Source::Pdt => AuthPlan::Known(Proof(())),
    }
}

/// What `PayPal`'s answer to a postback means.
pub fn judge(reply: &Reply) -> Verdict {
    postback::judge(reply)
}

/// Reads what a message claims.
///
/// # Errors
/// When a deciding field is ambiguous or unreadable, or nothing says what the message is about.
pub fn read(raw: &RawNotification, account: &Account) -> Result<Notification, ReadError> {
    reading::read(raw, account)
}

#[cfg(test)]
pub(crate) mod tests;
