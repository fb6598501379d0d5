//! Look-ups on Redis: a hash with the counter and the lease, and beside it the answer, which is
//! forgotten sooner.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use super::{
    Begun, KeptAnswer, LOOKUPS_PER_TOKEN, Look, LookupError, LookupKey, LookupTimes, REMEMBER,
};
use crate::claims::ClaimError;
use crate::claims::redis::link::{Link, Question};
use crate::settings::Credential;

/// Keys: hash, answer. Arguments: owner, attempt, lease, how long to remember, limit.
/// Reply: `{verdict, number, answer}`.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local answer = redis.call('GET', KEYS[2])
if answer then
    return {'known', 0, answer}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local was = redis.call('HMGET', KEYS[1], 'asked', 'owner', 'attempt', 'until')
local asked, rest = tonumber(was[1] or 0), tonumber(was[4] or 0) - now
if rest > 0 then
    if was[2] ~= ARGV[1] then
        return {'busy', rest, ''}
    end
    if tonumber(was[3]) >= tonumber(ARGV[2]) then
        return {'ask', asked, ''}
    end
end
if asked >= tonumber(ARGV[5]) then
    return {'spent', asked, ''}
end
redis.call('HSET', KEYS[1], 'asked', asked + 1, 'owner', ARGV[1], 'attempt', ARGV[2],
    'until', string.format('%.0f', now + tonumber(ARGV[3])))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {'ask', asked + 1, ''}
",
    )
});

/// Keys: hash, answer. Arguments: answer, how long to keep it, how long to remember the counter
/// (0 unless it is a success).
static FINISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
redis.call('HSET', KEYS[1], 'until', '0')
if ARGV[3] ~= '0' then
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2], 'NX')
    if redis.call('PTTL', KEYS[1]) < 0 then
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
end
return 'kept'
",
    )
});

/// The store on Redis. Cheap to clone; all clones share one connection.
#[derive(Debug, Clone)]
pub struct RedisLookups {
    link: Link,
    prefix: String,
    times: LookupTimes,
}

impl RedisLookups {
    /// A store whose keys begin with `{prefix}pdt:`. Connects when first asked.
    pub fn connect(url: &Credential, prefix: &str, times: LookupTimes) -> Self {
        Self {
            link: Link::new(url),
            prefix: prefix.to_owned(),
            times,
        }
    }

    /// See [`super::Lookups::begin`].
    ///
    /// # Errors
    /// When Redis does not answer well in time.
    pub async fn begin(&self, key: &LookupKey, look: &Look) -> Result<Begun, LookupError> {
        let remember = self.times.keep.max(self.times.lease);
        let (hash, answer) = self.names(key);
        let mut invocation = BEGIN.key(hash);
        invocation
            .key(answer)
            .arg(look.owner.as_str())
            .arg(look.attempt)
            .arg(millis(self.times.lease))
            .arg(millis(remember))
            .arg(LOOKUPS_PER_TOKEN);
        let reply = self.link.ask(Question::Script(&invocation)).await;
        let (verdict, number, answer): (String, i64, String) = reply.map_err(away)?;
        read(&verdict, number, &answer)
    }

    /// See [`super::Lookups::known`].
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn known(&self, key: &LookupKey) -> Result<Option<KeptAnswer>, LookupError> {
        let (_, name) = self.names(key);
        let reply = self
            .link
            .ask(Question::Command(redis::cmd("GET").arg(name)))
            .await;
        let answer: Option<String> = reply.map_err(away)?;
        answer.as_deref().map(kept).transpose()
    }

    /// See [`super::Lookups::finish`].
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn finish(&self, key: &LookupKey, answer: &KeptAnswer) -> Result<(), LookupError> {
        let json = serde_json::to_string(answer)
            .map_err(|_error| LookupError("the answer has no JSON form".to_owned()))?;
        let remember = if answer.is_success() {
            millis(REMEMBER)
        } else {
            0
        };
        let (hash, name) = self.names(key);
        let mut invocation = FINISH.key(hash);
        invocation
            .key(name)
            .arg(json)
            .arg(millis(self.times.keep))
            .arg(remember);
        let kept: Result<String, ClaimError> = self.link.ask(Question::Script(&invocation)).await;
        kept.map(|_| ()).map_err(away)
    }

    fn names(&self, key: &LookupKey) -> (String, String) {
        let hash = format!("{}pdt:{}", self.prefix, key.name());
        let answer = format!("{hash}:answer");
        (hash, answer)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn away(error: ClaimError) -> LookupError {
    LookupError(error.to_string())
}

fn read(verdict: &str, number: i64, answer: &str) -> Result<Begun, LookupError> {
    match verdict {
        "known" => kept(answer).map(Begun::Known),
        "ask" => Ok(Begun::Ask {
            number: u32::try_from(number).unwrap_or(u32::MAX),
        }),
        "busy" => Ok(Begun::Busy {
            remaining: Duration::from_millis(u64::try_from(number).unwrap_or(0)),
        }),
        "spent" => Ok(Begun::Spent),
        _ => Err(unexpected()),
    }
}

fn kept(json: &str) -> Result<KeptAnswer, LookupError> {
    serde_json::from_str(json).map_err(|_error| unexpected())
}

fn unexpected() -> LookupError {
    LookupError("redis gave a reply that the script does not give".to_owned())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_of_the_script_is_read() {
        assert_eq!(read("ask", 2, "").unwrap(), Begun::Ask { number: 2 });
        assert_eq!(read("spent", 5, "").unwrap(), Begun::Spent);
        let remaining = Duration::from_millis(7);
        assert_eq!(read("busy", 7, "").unwrap(), Begun::Busy { remaining });
        let fail = KeptAnswer::Fail { code: Some(4003) };
        let json = serde_json::to_string(&fail).unwrap();
        assert_eq!(read("known", 0, &json).unwrap(), Begun::Known(fail));
        assert!(read("known", 0, "{").is_err());
        assert!(read("OK", 0, "").is_err());
    }
}
