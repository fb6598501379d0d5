//! What the stand-in remembers: the messages that it sent, the transactions that they tell of, and
//! what was asked of it. Pure: no clock, no sockets.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::form;

/// What a postback body starts with; the rest must be the message, byte for byte.
pub(crate) const POSTBACK_PREFIX: &[u8] = b"cmd=_notify-validate&";

/// How often one transaction token may be looked up (help article ts1005: "a security feature").
const LOOKUPS_PER_TOKEN: u32 = 5;

/// One message that the stand-in made genuine.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    /// Counts from 1.
    pub id: u64,
    /// SHA-256 of the bytes, hex.
    pub sha256: String,
    /// Size of the message.
    pub bytes: usize,
    /// `txn_id`, if it has one.
    pub txn_id: Option<String>,
    /// Where to; `None` when it was only registered.
    pub to: Option<String>,
    /// Every post of it, in order.
    pub posts: Vec<Post>,
}

/// One post of a message to a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Post {
    /// When it was answered.
    pub at: Timestamp,
    /// The listener's status; `None` when there was no answer.
    pub status: Option<u16>,
    /// Why there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Post {
    /// Whether the listener took it: `200` and nothing else.
    pub const fn is_taken(&self) -> bool {
        matches!(self.status, Some(200))
    }
}

/// One request to the gateway's endpoint, for assertions. Bodies are not kept: they hold personal
/// data.
#[derive(Debug, Clone, Serialize)]
pub struct Postback {
    /// Counts from 1.
    pub number: u64,
    /// When it was answered.
    pub at: Timestamp,
    /// SHA-256 of the message, without the postback's prefix; hex.
    pub sha256: String,
    /// Every header, as it came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The HTTP version, such as `HTTP/1.1`.
    pub version: String,
    /// What was answered.
    pub outcome: Outcome,
}

/// What the endpoint answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The message is one of ours.
    Verified,
    /// It is not, or not byte for byte.
    Invalid,
    /// No User-Agent: `403`.
    Forbidden,
    /// A PDT look-up answered with the transaction.
    Success,
    /// A PDT look-up refused.
    Fail,
    /// Neither a postback nor a look-up.
    NotUnderstood,
    /// A fault that was ordered.
    Fault,
}

/// The answer to a PDT look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The transaction, as the latest message told it.
    Success(Bytes),
    /// `Error: 4020`: the identity token is not this account's.
    WrongToken,
    /// `Error: 4002`: no such transaction.
    Unknown,
    /// `Error: 4003`: looked up too often.
    TooOften,
}

/// The memory of one stand-in.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    genuine: HashSet<[u8; 32]>,
    transactions: HashMap<String, Bytes>,
    lookups: HashMap<String, u32>,
    sent: Vec<Sent>,
    postbacks: Vec<Postback>,
}

impl Ledger {
    /// Makes `message` genuine; gives its number.
    pub(crate) fn register(&mut self, message: &Bytes, to: Option<&str>) -> u64 {
        self.genuine.insert(Sha256::digest(message).into());
        let txn_id = form::field(message, "txn_id").filter(|id| !id.is_empty());
        if let Some(txn_id) = &txn_id {
            self.transactions.insert(txn_id.clone(), message.clone());
        }
        let id = u64::try_from(self.sent.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        self.sent.push(Sent {
            id,
            sha256: sha256_hex(message),
            bytes: message.len(),
            txn_id,
            to: to.map(str::to_owned),
            posts: Vec::new(),
        });
        id
    }

    /// Notes how the listener took a post of message `id`.
    pub(crate) fn posted(&mut self, id: u64, post: Post) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.id == id) {
            sent.posts.push(post);
        }
    }

    /// Whether exactly these bytes were sent.
    pub(crate) fn is_genuine(&self, message: &[u8]) -> bool {
        let hash: [u8; 32] = Sha256::digest(message).into();
        self.genuine.contains(&hash)
    }

    /// Answers a look-up of `tx` and counts it.
    pub(crate) fn look_up(&mut self, tx: &str, at: &str, identity_token: &str) -> Lookup {
        if at != identity_token {
            return Lookup::WrongToken;
        }
        let Some(message) = self.transactions.get(tx) else {
            return Lookup::Unknown;
        };
        let count = self.lookups.entry(tx.to_owned()).or_default();
        *count = count.saturating_add(1);
        if *count > LOOKUPS_PER_TOKEN {
            Lookup::TooOften
        } else {
            Lookup::Success(message.clone())
        }
    }

    /// Notes a request to the endpoint; gives it its number.
    pub(crate) fn asked(&mut self, mut postback: Postback) {
        postback.number = u64::try_from(self.postbacks.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        self.postbacks.push(postback);
    }

    /// Everything that was made genuine, in order.
    pub(crate) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Every request to the endpoint, in order.
    pub(crate) fn postbacks(&self) -> &[Postback] {
        &self.postbacks
    }
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            write!(hex, "{byte:02x}").ok();
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger_with(message: &'static [u8]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.register(&Bytes::from_static(message), None);
        ledger
    }

    #[test]
    fn only_the_very_bytes_that_were_sent_are_genuine() {
        let ledger = ledger_with(b"txn_id=T1&item_name=&memo=a+b");
        assert!(ledger.is_genuine(b"txn_id=T1&item_name=&memo=a+b"));
        assert!(!ledger.is_genuine(b"txn_id=T1&item_name=&memo=a%20b"));
        assert!(!ledger.is_genuine(b"txn_id=T1&memo=a+b"));
        assert!(!ledger.is_genuine(b"txn_id=T1&memo=a+b&item_name="));
    }

    #[test]
    fn the_sixth_look_up_of_a_token_is_one_too_many() {
        let mut ledger = ledger_with(b"txn_id=T1");
        for _ in 0..5 {
            assert!(matches!(
                ledger.look_up("T1", "at", "at"),
                Lookup::Success(_)
            ));
        }
        assert_eq!(ledger.look_up("T1", "at", "at"), Lookup::TooOften);
    }

    #[test]
    fn a_wrong_identity_token_counts_no_look_up() {
        let mut ledger = ledger_with(b"txn_id=T1");
        for _ in 0..9 {
            assert_eq!(ledger.look_up("T1", "guess", "at"), Lookup::WrongToken);
        }
        assert!(matches!(
            ledger.look_up("T1", "at", "at"),
            Lookup::Success(_)
        ));
        assert_eq!(ledger.look_up("T2", "at", "at"), Lookup::Unknown);
    }
}
