//! The claim port: who may work on an event key now, and which keys are done.
//!
//! Claims make duplicates cheap; they are not what makes them harmless (Redis can lose writes).
//! The unique keys in the shop database are. Two engines: Redis (Lua scripts) and the embedded
//! one; one contract suite runs against both.

pub mod embedded;
pub mod redis;

use std::fmt;
use std::time::Duration;

use crate::ids::EventKey;

/// A hash of the fields that carry meaning: a resend has the same one, a conflict another.
/// 64 lower-case hex digits (SHA-256).
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The SHA-256 of `canonical`, the canonical form made by [`crate::key`].
    pub fn of(canonical: &[u8]) -> Self {
        use sha2::Digest as _;
        use std::fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in sha2::Sha256::digest(canonical) {
            // Writing to a String cannot fail.
            write!(hex, "{byte:02x}").ok();
        }
        Self(hex)
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fingerprint as a store gave it back.
    pub(crate) const fn from_stored(hex: String) -> Self {
        Self(hex)
    }
}

/// Who claims: one random token a delivery in hand, so that a retry after a lost reply is
/// recognised, and two copies of a message in one process keep out of each other's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(String);

impl Owner {
    /// A new token.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Owner {
    fn default() -> Self {
        Self::new()
    }
}

/// A held claim. The fence rises with every take-over; a store that remembers it can refuse an
/// owner who overslept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The claimed key.
    pub key: EventKey,
    /// Rises by one with every new claim of the key.
    pub fence: u64,
}

/// The answer to a claim. Every arm must be matched: a duplicate cannot be overlooked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The key is ours until the lease ends (also when it was ours already).
    Mine {
        /// What to hand to [`Claims::done`] or [`Claims::release`].
        claim: Claim,
        /// Whether another owner's lease had ended without `done`.
        takeover: bool,
    },
    /// Somebody else works on it.
    Busy {
        /// The rest of their lease.
        remaining: Duration,
    },
    /// It was finished before; the same meaning.
    Done,
    /// It was claimed or finished before with another fingerprint: the same key, another meaning.
    Conflict,
}

/// The answer to [`Claims::done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneOutcome {
    /// Recorded, or recorded before.
    Recorded,
    /// The claim was taken over meanwhile; the new owner finishes it.
    Stale,
}

/// The store did not answer. The command may have been executed: every command is idempotent for
/// the same owner.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Redis is unreachable, slow, read-only or full.
    #[error("the claim store is unavailable: {0}")]
    Unavailable(String),
    /// The embedded store failed.
    #[error("the embedded claim store failed: {0}")]
    Store(#[from] sqlx::Error),
}

/// How long things are remembered. The lease is longer than the longest handling of a message;
/// `done_ttl` outlives every way in which a copy can come back (`PayPal` resends by hand for 28
/// days; our own parked files for longer: the shop database remembers for ever).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimTimes {
    /// How long a claim is held without `done`.
    pub lease: Duration,
    /// How long `done` is remembered.
    pub done_ttl: Duration,
}

/// The engine in use. Cheap to clone.
#[derive(Clone)]
pub enum Claims {
    /// Lua scripts on Redis.
    Redis(redis::RedisClaims),
    /// The embedded engine's file.
    Embedded(embedded::EmbeddedClaims),
}

impl fmt::Debug for Claims {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Redis(_) => "Claims::Redis",
            Self::Embedded(_) => "Claims::Embedded",
        })
    }
}

impl Claims {
    /// The fingerprint under which `key` was finished, if it was.
    pub async fn finished(&self, key: &EventKey) -> Result<Option<Fingerprint>, ClaimError> {
        match self {
            Self::Redis(store) => store.finished(key).await,
            Self::Embedded(store) => store.finished(key).await,
        }
    }

    /// Claims `key` for `owner`.
    pub async fn claim(
        &self,
        key: &EventKey,
        owner: &Owner,
        fingerprint: &Fingerprint,
    ) -> Result<ClaimOutcome, ClaimError> {
        match self {
            Self::Redis(store) => store.claim(key, owner, fingerprint).await,
            Self::Embedded(store) => store.claim(key, owner, fingerprint).await,
        }
    }

    /// Marks a claimed key as finished.
    pub async fn done(&self, claim: &Claim, owner: &Owner) -> Result<DoneOutcome, ClaimError> {
        match self {
            Self::Redis(store) => store.done(claim, owner).await,
            Self::Embedded(store) => store.done(claim, owner).await,
        }
    }

    /// Gives a claim up without finishing, so that the next attempt need not wait for the lease.
    pub async fn release(&self, claim: &Claim, owner: &Owner) -> Result<(), ClaimError> {
        match self {
            Self::Redis(store) => store.release(claim, owner).await,
            Self::Embedded(store) => store.release(claim, owner).await,
        }
    }

    /// Whether the store answers now; for `topology check` and readiness details.
    pub async fn ping(&self) -> Result<(), ClaimError> {
        match self {
            Self::Redis(store) => store.ping().await,
            Self::Embedded(store) => store.ping().await,
        }
    }
}
