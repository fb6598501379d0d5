//! `PayPal`. Stub.
use super::{AuthPlan, ReadError, Reply, Request, Verdict};
use crate::ids::Reason;
use crate::notification::{Notification, Payee, RawNotification};
use crate::settings::Account;

/// Stub.
pub fn authenticate(raw: &RawNotification, account: &Account) -> AuthPlan {
    AuthPlan::Postback(Request {
        url: account.postback_url.clone(),
        content_type: "application/x-www-form-urlencoded",
        body: raw.body.clone(),
    })
}

/// Stub.
pub fn judge(_reply: &Reply) -> Verdict {
    Verdict::Indeterminate {
        reason: Reason::of("stub"),
        retry_after: None,
    }
}

/// Stub.
pub fn read(_raw: &RawNotification, _account: &Account) -> Result<Notification, ReadError> {
    Ok(Notification {
        claimed_environment: None,
        payee: Payee::default(),
        readings: Vec::new(),
    })
}
