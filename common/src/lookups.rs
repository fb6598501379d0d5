//! The look-up port: who may ask a gateway about a returning buyer's token now, and what it has
//! answered.
//!
//! A gateway answers only so many look-ups of one token, whoever asks. So the counter, the right
//! to ask and the answer belong to all replicas together. Two engines: Redis (Lua scripts), and
//! the one process that the embedded engine is, with its counters in a file.

pub mod embedded;
pub mod redis;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claims::Owner;
use crate::gateway::paypal::pdt::Token;
use crate::ids::{AccountId, GatewayId, Reason};
use crate::settings::{Engine, Settings};

/// How often one token may be looked up: at `PayPal` the sixth look-up is refused.
pub const LOOKUPS_PER_TOKEN: u32 = 5;

/// How long the number of look-ups of a token that exists is remembered.
const REMEMBER: Duration = Duration::from_hours(30 * 24);

/// Which token of which account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LookupKey {
    /// Who is asked.
    pub gateway: GatewayId,
    /// Whose identity token is used.
    pub account: AccountId,
    /// What is asked about.
    pub token: Token,
}

impl LookupKey {
    /// The key as one text.
    pub fn name(&self) -> String {
        let token = self.token.as_str();
        format!("{}/{}/{token}", self.gateway, self.account)
    }
}

/// One visit that wants to ask: its owner, and how often it has asked before. Beginning the same
/// attempt of the same owner again counts nothing, so a lost reply can be asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Who asks.
    pub owner: Owner,
    /// 1 for the first request, 2 for the retry.
    pub attempt: u32,
}

/// What the gateway answered; kept for the page.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KeptAnswer {
    /// The details, as the form body of the evidence. Personal data.
    Success {
        /// See [`crate::gateway::paypal::pdt::evidence`]; ASCII.
        evidence: String,
        /// Whether the evidence is in the verifier's queue.
        submitted: bool,
    },
    /// Refused, with the gateway's number. Says nothing about the payment.
    Fail {
        /// The number, if one was given.
        code: Option<u32>,
    },
    /// No answer, or none that means anything.
    Unclear {
        /// A stable reason.
        reason: Reason,
    },
}

impl fmt::Debug for KeptAnswer {
    /// Shows what kind of answer it is, never the details.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success { submitted, .. } => out
                .debug_struct("Success")
                .field("submitted", submitted)
                .finish_non_exhaustive(),
            Self::Fail { code } => out.debug_struct("Fail").field("code", code).finish(),
            Self::Unclear { reason } => {
                out.debug_struct("Unclear").field("reason", reason).finish()
            }
        }
    }
}

impl KeptAnswer {
    const fn is_success(&self) -> bool {
        matches!(self, Self::Success { .. })
    }
}

/// Whether this visit may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Ask now, and [`Lookups::finish`].
    Ask {
        /// The how-many-th look-up of the token this is; 1 for the browser that came first.
        number: u32,
    },
    /// It was answered before.
    Known(KeptAnswer),
    /// Somebody else is asking.
    Busy {
        /// The rest of their lease.
        remaining: Duration,
    },
    /// One more would be one too many.
    Spent,
}

/// The store did not answer; whether it did what was asked is unknown. Nobody may ask the gateway.
#[derive(Debug, thiserror::Error)]
#[error("the look-up store is unavailable: {0}")]
pub struct LookupError(pub String);

/// How long things are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupTimes {
    /// How long a visit that has begun and never finishes keeps others out.
    pub lease: Duration,
    /// How long an answer is kept: it holds personal data.
    pub keep: Duration,
}

/// The engine in use. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Lookups {
    /// Lua scripts on Redis.
    Redis(redis::RedisLookups),
    /// This process's memory, and a file for the counters.
    Embedded(embedded::EmbeddedLookups),
}

impl Lookups {
    /// The store that the settings name. Connects when first asked.
    pub fn of(settings: &Settings) -> Self {
        // A look asks at most twice.
        let asking = settings.pdt.timeout.saturating_mul(2);
        let times = LookupTimes {
            lease: asking.saturating_add(Duration::from_secs(5)),
            keep: settings.pdt.keep,
        };
        match &settings.engine {
            Engine::Embedded { data_dir } => {
                Self::Embedded(embedded::EmbeddedLookups::open(data_dir, times))
            }
            Engine::Cluster(cluster) => Self::Redis(redis::RedisLookups::connect(
                &cluster.redis_url,
                &settings.queue_prefix,
                times,
            )),
        }
    }

    /// Asks for the right to look `key` up.
    ///
    /// # Errors
    /// When the store is away; then nobody may look up.
    pub async fn begin(&self, key: &LookupKey, look: &Look) -> Result<Begun, LookupError> {
        match self {
            Self::Redis(store) => store.begin(key, look).await,
            Self::Embedded(store) => store.begin(key, look).await,
        }
    }

    /// What is known already; asks for nothing and counts nothing.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn known(&self, key: &LookupKey) -> Result<Option<KeptAnswer>, LookupError> {
        match self {
            Self::Redis(store) => store.known(key).await,
            Self::Embedded(store) => Ok(store.known(key).await),
        }
    }

    /// Keeps an answer and lets others in. A success is never replaced by anything less.
    ///
    /// # Errors
    /// When the store is away; the answer may have been kept.
    pub async fn finish(&self, key: &LookupKey, answer: &KeptAnswer) -> Result<(), LookupError> {
        match self {
            Self::Redis(store) => store.finish(key, answer).await,
            Self::Embedded(store) => store.finish(key, answer).await,
        }
    }
}

#[cfg(test)]
mod tests;
