//! The postback: asking `PayPal` whether it sent a message, and what its answer means.
//!
//! Source: "Implementing an IPN listener", developer.paypal.com/api/nvp-soap/ipn/IPNImplementation:
//! the complete message, unchanged, behind `cmd=_notify-validate`; one word comes back.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::super::{Reply, Request, Verdict};
use crate::ids::Reason;
use crate::notification::Proof;
use crate::settings::Account;

/// The content type of both requests that are made to `PayPal`.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// What comes before the exact bytes.
const PREFIX: &[u8] = b"cmd=_notify-validate&";

/// The request that asks about `body`. The host is the account's, never the message's `test_ipn`.
pub(super) fn request(body: &Bytes, account: &Account) -> Request {
    let mut asked = BytesMut::with_capacity(PREFIX.len().saturating_add(body.len()));
    asked.put_slice(PREFIX);
    asked.put_slice(body);
    Request {
        url: account.postback_url.clone(),
        content_type: FORM,
        body: asked.freeze(),
    }
}

/// What the answer means: exactly the one word or the other, with status 200; all else is no answer.
pub(super) fn judge(reply: &Reply) -> Verdict {
    let reason = match (not_an_answer(reply), reply.body.trim_ascii()) {
        (Some(reason), _) => reason,
        (None, b"VERIFIED") => return Verdict::Verified(Proof(())),
        (None, b"INVALID") => return Verdict::Invalid,
        (None, _) => Reason::of("unexpected_answer"),
    };
    let retry_after = reply
        .retry_after
        .filter(|_| matches!(reply.status, 429 | 503));
    Verdict::Indeterminate {
        reason,
        retry_after,
    }
}

/// Why a reply cannot be an answer of `PayPal`'s application at all, if so. `PayPal`'s edge answers
/// HTML ("Fatal Failure") with status 200 when it is in trouble, and redirects drop the body.
pub(super) fn not_an_answer(reply: &Reply) -> Option<Reason> {
    let body = reply.body.trim_ascii();
    match reply.status {
        300..=399 => Some(Reason::of("redirect")),
        200 if body.is_empty() => Some(Reason::of("empty_answer")),
        200 if body.starts_with(b"<") => Some(Reason::of("html_answer")),
        200 => None,
        _ => Some(Reason::of("http_status")),
    }
}
