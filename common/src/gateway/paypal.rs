//! `PayPal`: Instant Payment Notification (IPN) and Payment Data Transfer (PDT).
//!
//! Sources, cited again at each rule: developer.paypal.com/api/nvp-soap/ipn/ (IPNIntro,
//! IPNImplementation, IPNandPDTVariables) and developer.paypal.com/api/nvp-soap/payment-data-transfer.

pub mod charset;
pub mod fields;
pub mod pdt;
mod postback;

use super::{AuthPlan, ReadError, Reply, Verdict};
use crate::event::Source;
use crate::notification::{Notification, Payee, Proof, RawNotification};
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

/// Stub.
pub fn read(_raw: &RawNotification, _account: &Account) -> Result<Notification, ReadError> {
    Ok(Notification {
        claimed_environment: None,
        payee: Payee::default(),
        readings: Vec::new(),
    })
}
