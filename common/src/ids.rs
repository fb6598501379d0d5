//! Identifiers: parsed once, never mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is longer than the identifier's limit.
    #[error("is longer than {limit} bytes")]
    TooLong {
        /// The most bytes allowed.
        limit: usize,
    },
    /// A character outside the identifier's alphabet.
    #[error("has a character outside {alphabet}")]
    Alphabet {
        /// The alphabet in words.
        alphabet: &'static str,
    },
    /// Not one of a closed set.
    #[error("is not one of {allowed}")]
    Unknown {
        /// The allowed values.
        allowed: &'static str,
    },
}

/// Defines a text newtype with a length limit and an alphabet; `FromStr` is its only door.
macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident, $limit:literal, $alphabet:literal, $allowed:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.is_empty() {
                    return Err(IdError::Empty);
                }
                if text.len() > $limit {
                    return Err(IdError::TooLong { limit: $limit });
                }
                let allowed: fn(char) -> bool = $allowed;
                if !text.chars().all(allowed) {
                    return Err(IdError::Alphabet { alphabet: $alphabet });
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A merchant account as the settings and the URL name it (`/ipn/paypal/{account}`).
    AccountId, 64, "letters, digits, '-', '_' and '.'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

text_id! {
    /// A gateway's transaction id. `PayPal` documents 19 characters; treated as opaque.
    TxnId, 64, "visible ASCII", |c| c.is_ascii_graphic()
}

text_id! {
    /// What the merchant sells: `item_number` at the gateway, `sku` in the catalogue.
    Sku, 255, "anything but control characters", |c| !c.is_control()
}

text_id! {
    /// An order as the shop names it: `invoice` or `custom` at the gateway. 127 characters are the
    /// most that `PayPal` keeps of an `invoice`.
    OrderId, 127, "anything but control characters", |c| !c.is_control()
}

text_id! {
    /// The business key of one event: two messages with the same key mean the same thing.
    /// Made by [`crate::key`] only.
    EventKey, 512, "visible ASCII", |c| c.is_ascii_graphic()
}

text_id! {
    /// A stable machine-readable reason (`receiver_mismatch`): header, metric label, listing.
    Reason, 64, "lower-case letters, digits and '_'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

impl Reason {
    /// A reason from a literal in the code. A literal outside the alphabet becomes
    /// `unnamed_reason` rather than a panic.
    pub fn of(name: &'static str) -> Self {
        name.parse()
            .unwrap_or_else(|_: IdError| Self("unnamed_reason".to_owned()))
    }
}

/// The gateways that this build speaks. A closed set: adding one makes every `match` ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayId {
    /// `PayPal` Instant Payment Notification and Payment Data Transfer.
    PayPal,
}

impl GatewayId {
    /// Every gateway, for label sets and listings.
    pub const ALL: [Self; 1] = [Self::PayPal];

    /// The name in URLs, headers, keys and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PayPal => "paypal",
        }
    }
}

impl FromStr for GatewayId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "paypal" => Ok(Self::PayPal),
            _ => Err(IdError::Unknown { allowed: "paypal" }),
        }
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A message's identity, given at ingest and kept through every hop (`UUIDv7`); a derived message's
/// id is a `UUIDv5` of its parent's, so that a crash repeats an id and never invents one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A new id, ordered by time of making.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the message that this one gives rise to under `name`; always the same.
    #[must_use]
    pub fn derive(self, name: &str) -> Self {
        Self(Uuid::new_v5(&self.0, name.as_bytes()))
    }

    /// The id for something that is identified by a text alone; always the same.
    pub fn from_name(name: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
    }

    /// The UUID itself.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl Default for MessageId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_refuses_a_path_separator() {
        assert!("shop-1".parse::<AccountId>().is_ok());
        assert!("../etc".parse::<AccountId>().is_err());
        assert_eq!("".parse::<AccountId>(), Err(IdError::Empty));
    }

    #[test]
    fn a_derived_message_id_is_the_same_every_time() {
        let parent = MessageId::new();
        assert_eq!(parent.derive("event/0"), parent.derive("event/0"));
        assert_ne!(parent.derive("event/0"), parent.derive("event/1"));
    }
}
