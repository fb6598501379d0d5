//! Claims on Redis: one hash a key, changed by Lua scripts under Redis's own clock.
//!
//! A reply that does not come leaves open whether the script ran; each is idempotent for the same
//! owner, so the caller simply asks again.

pub(crate) mod link;
mod scripts;

use std::time::Duration;

use redis::Script;

use self::link::{Link, Question};
use super::{Claim, ClaimError, ClaimOutcome, ClaimTimes, DoneOutcome, Fingerprint, Owner};
use crate::ids::EventKey;
use crate::settings::Credential;

/// The claim store on Redis. Cheap to clone; all clones share one connection.
#[derive(Debug, Clone)]
pub struct RedisClaims {
    link: Link,
    prefix: String,
    times: ClaimTimes,
}

impl RedisClaims {
    /// A store whose keys are `{prefix}claim:{event key}`. Connects when first asked, so that a
    /// process starts while Redis is down; an unreadable `url` makes every call fail.
    pub fn connect(url: &Credential, prefix: &str, times: ClaimTimes) -> Self {
        Self {
            link: Link::new(url),
            prefix: prefix.to_owned(),
            times,
        }
    }

    /// The fingerprint under which `key` was finished, if it was.
    ///
    /// # Errors
    /// [`ClaimError::Unavailable`] when Redis does not answer well in time.
    pub async fn finished(&self, key: &EventKey) -> Result<Option<Fingerprint>, ClaimError> {
        let name = self.name(key);
        let mut command = redis::cmd("HMGET");
        command.arg(&name).arg("state").arg("fingerprint");
        let (state, fingerprint): (Option<String>, Option<String>) =
            self.link.ask(Question::Command(&command)).await?;
        Ok(fingerprint
            .filter(|_| state.as_deref() == Some("done"))
            .map(Fingerprint::from_stored))
    }

    /// Claims `key` for `owner`.
    ///
    /// # Errors
    /// As [`Self::finished`]; the claim may have been made.
    pub async fn claim(
        &self,
        key: &EventKey,
        owner: &Owner,
        fingerprint: &Fingerprint,
    ) -> Result<ClaimOutcome, ClaimError> {
        let remember = self.times.lease.saturating_add(self.times.done_ttl);
        let arguments = [
            owner.as_str().to_owned(),
            fingerprint.as_str().to_owned(),
            millis(self.times.lease),
            millis(remember),
        ];
        let (verdict, number) = self.run(scripts::claim(), key, &arguments).await?;
        read_claim(key, &verdict, number)
    }

    /// Marks a claimed key as finished.
    ///
    /// # Errors
    /// As [`Self::finished`]; it may have been marked.
    pub async fn done(&self, claim: &Claim, owner: &Owner) -> Result<DoneOutcome, ClaimError> {
        let arguments = [
            owner.as_str().to_owned(),
            claim.fence.to_string(),
            millis(self.times.done_ttl),
        ];
        let (verdict, _) = self.run(scripts::done(), &claim.key, &arguments).await?;
        match verdict.as_str() {
            "recorded" => Ok(DoneOutcome::Recorded),
            "stale" => Ok(DoneOutcome::Stale),
            _ => Err(unexpected()),
        }
    }

    /// Gives a claim up; one that is not ours any more is left alone.
    ///
    /// # Errors
    /// As [`Self::finished`]; it may have been given up.
    pub async fn release(&self, claim: &Claim, owner: &Owner) -> Result<(), ClaimError> {
        let arguments = [owner.as_str().to_owned(), claim.fence.to_string()];
        self.run(scripts::release(), &claim.key, &arguments)
            .await
            .map(|_| ())
    }

    /// Whether Redis answers now.
    ///
    /// # Errors
    /// As [`Self::finished`].
    pub async fn ping(&self) -> Result<(), ClaimError> {
        let command = redis::cmd("PING");
        self.link.ask(Question::Command(&command)).await
    }

    async fn run(
        &self,
        script: &Script,
        key: &EventKey,
        arguments: &[String],
    ) -> Result<(String, i64), ClaimError> {
        let mut invocation = script.key(self.name(key));
        for argument in arguments {
            invocation.arg(argument);
        }
        self.link.ask(Question::Script(&invocation)).await
    }

    fn name(&self, key: &EventKey) -> String {
        format!("{}claim:{key}", self.prefix)
    }
}

/// Reads the reply of the claim script.
fn read_claim(key: &EventKey, verdict: &str, number: i64) -> Result<ClaimOutcome, ClaimError> {
    let number = u64::try_from(number).unwrap_or(0);
    let mine = |takeover| {
        let key = key.clone();
        ClaimOutcome::Mine {
            claim: Claim { key, fence: number },
            takeover,
        }
    };
    match verdict {
        "mine" => Ok(mine(false)),
        "takeover" => Ok(mine(true)),
        "busy" => Ok(ClaimOutcome::Busy {
            remaining: Duration::from_millis(number),
        }),
        "done" => Ok(ClaimOutcome::Done),
        "conflict" => Ok(ClaimOutcome::Conflict),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> ClaimError {
    ClaimError::Unavailable("redis gave a reply that the script does not give".to_owned())
}

/// Whole milliseconds as Redis takes them.
fn millis(duration: Duration) -> String {
    // PEXPIRE adds this to the time now; a century is far below its overflow.
    const CENTURY: u128 = 3_155_760_000_000;
    duration.as_millis().min(CENTURY).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_of_the_claim_script_is_read() {
        let key: EventKey = "paypal/default/1".parse().unwrap();
        let read = |verdict| read_claim(&key, verdict, 7);
        let claim = Claim {
            key: key.clone(),
            fence: 7,
        };
        for (verdict, takeover) in [("mine", false), ("takeover", true)] {
            let claim = claim.clone();
            assert_eq!(
                read(verdict).unwrap(),
                ClaimOutcome::Mine { claim, takeover }
            );
        }
        let remaining = Duration::from_millis(7);
        assert_eq!(read("busy").unwrap(), ClaimOutcome::Busy { remaining });
        assert_eq!(read("done").unwrap(), ClaimOutcome::Done);
        assert_eq!(read("conflict").unwrap(), ClaimOutcome::Conflict);
        assert!(read("OK").is_err());
    }

    #[test]
    fn an_endless_time_is_one_that_redis_can_add() {
        assert_eq!(millis(Duration::MAX), "3155760000000");
        assert_eq!(millis(Duration::from_mins(1)), "60000");
    }
}
