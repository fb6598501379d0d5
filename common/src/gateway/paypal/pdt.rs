//! Payment Data Transfer: the look-up that we make ourselves, and its answer.
//!
//! Source: "Payment data transfer", developer.paypal.com/api/nvp-soap/payment-data-transfer:
//! POST `cmd=_notify-synch&tx=&at=`; the answer's first line is `SUCCESS` or `FAIL`, then one
//! `key=value` a line, both URL-encoded.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use secrecy::ExposeSecret as _;
use url::form_urlencoded;

use super::super::{Reply, Request};
use super::fields::{BytePair, Fields, byte_pair};
use super::postback;
use crate::ids::{IdError, Reason, TxnId};
use crate::settings::Account;

/// The transaction token of a return URL: the only part of that URL that is used, and only to ask
/// `PayPal` with. 10 to 24 ASCII letters and digits, so that nothing can be smuggled into the
/// request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > 24 {
            return Err(IdError::TooLong { limit: 24 });
        }
        if text.len() < 10 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(IdError::Alphabet {
                alphabet: "10 to 24 letters and digits",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

/// The look-up of `token`; `None` when the account has no identity token. The body holds the
/// identity token: never log it. `PayPal` answers at most five look-ups of one token.
pub fn request(token: &Token, account: &Account) -> Option<Request> {
    let identity = account.pdt_token.as_ref()?;
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("cmd", "_notify-synch")
        .append_pair("tx", token.as_str())
        .append_pair("at", identity.expose_secret())
        .finish();
    Some(Request {
        url: account.pdt_url.clone(),
        content_type: postback::FORM,
        body: Bytes::from(body),
    })
}

/// What `PayPal` answered to a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The details of the payment, as of now.
    Success(Success),
    /// Refused. Says nothing about the payment: a wrong identity token, a wrong environment or a
    /// sixth look-up are refused too.
    Fail(FailCode),
    /// No answer that means anything.
    Indeterminate(Reason),
}

/// The number of `Error: 4003`, if the answer gave one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailCode(pub Option<u32>);

impl FailCode {
    /// What the number is known to mean, for an operator.
    pub const fn meaning(self) -> &'static str {
        match self.0 {
            Some(4003) => {
                "token of another account or environment, or looked up more than five times"
            }
            Some(4020) => "the identity token is missing or wrong",
            _ => "unknown",
        }
    }
}

/// The details in a `SUCCESS` answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Success {
    /// Before the charset, so that they can be handed on unchanged.
    pairs: Vec<BytePair>,
    fields: Fields,
}

impl fmt::Debug for Success {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields.fmt(out)
    }
}

impl Success {
    /// The decoded details.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// `txn_id`, if it is there and readable.
    pub fn txn_id(&self) -> Option<TxnId> {
        self.fields.text("txn_id")?.parse().ok()
    }
}

/// Reads the answer to a look-up.
pub fn decode(reply: &Reply) -> Answer {
    if let Some(reason) = postback::not_an_answer(reply) {
        return Answer::Indeterminate(reason);
    }
    let mut lines = reply
        .body
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .skip_while(|line| line.trim_ascii().is_empty());
    match lines.next().map(<[u8]>::trim_ascii) {
        Some(b"SUCCESS") => success(lines),
        Some(b"FAIL") => Answer::Fail(FailCode(lines.find_map(error_number))),
        _ => Answer::Indeterminate(Reason::of("unexpected_answer")),
    }
}

/// Each line split at its first `=` before anything is decoded, so that an encoded line break or
/// `=` stays inside its value. Lines without `=` (a stray ` -`, the blank last one) say nothing.
fn success<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Answer {
    let pairs: Vec<BytePair> = lines
        .filter(|line| line.contains(&b'=') && !line.starts_with(b" -"))
        .map(byte_pair)
        .collect();
    let mut names = HashSet::with_capacity(pairs.len());
    if !pairs.iter().all(|(name, _)| names.insert(name.as_slice())) {
        return Answer::Indeterminate(Reason::of("ambiguous_field"));
    }
    let fields = Fields::from_byte_pairs(&pairs);
    Answer::Success(Success { pairs, fields })
}

/// The number in a line `Error: 4003`.
fn error_number(line: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(line).ok()?;
    text.trim().strip_prefix("Error:")?.trim().parse().ok()
}

/// The details as a form body, which [`super::read`] reads like any other, with source PDT. Encoded
/// anew from the decoded bytes: a raw `&` in a line must not become a field.
pub fn evidence(success: &Success) -> Bytes {
    let mut body = String::new();
    for (name, value) in &success.pairs {
        if !body.is_empty() {
            body.push('&');
        }
        body.extend(form_urlencoded::byte_serialize(name));
        body.push('=');
        body.extend(form_urlencoded::byte_serialize(value));
    }
    Bytes::from(body)
}

#[cfg(test)]
mod tests;
