//! Claims in the embedded engine's file: a decision on one row, inside the writer's transaction.

use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};

use super::{Claim, ClaimError, ClaimOutcome, ClaimTimes, DoneOutcome, Fingerprint, Owner};
use crate::ids::EventKey;
use crate::queue::embedded::Embedded;

/// The claim store beside the queues. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedClaims {
    engine: Embedded,
    times: ClaimTimes,
}

impl EmbeddedClaims {
    /// The claims of an open engine.
    pub fn open(engine: &Embedded, times: ClaimTimes) -> Self {
        Self {
            engine: engine.clone(),
            times,
        }
    }

    /// The fingerprint under which `key` was finished, if it was.
    ///
    /// # Errors
    /// [`ClaimError::Store`] when the file cannot be read.
    pub async fn finished(&self, key: &EventKey) -> Result<Option<Fingerprint>, ClaimError> {
        let fingerprint: Option<String> = sqlx::query_scalar(
            "SELECT fingerprint FROM claim WHERE key = ? AND state = 'done' AND forget_at > ?",
        )
        .bind(key.as_str().to_owned())
        .bind(self.engine.now())
        .fetch_optional(self.engine.readers())
        .await?;
        Ok(fingerprint.map(Fingerprint::from_stored))
    }

    /// Claims `key` for `owner`.
    ///
    /// # Errors
    /// [`ClaimError::Unavailable`] when the file cannot be written or the engine is closed.
    pub async fn claim(
        &self,
        key: &EventKey,
        owner: &Owner,
        fingerprint: &Fingerprint,
    ) -> Result<ClaimOutcome, ClaimError> {
        let step = Step::Claim {
            fingerprint: fingerprint.clone(),
            times: self.times,
        };
        match self.run(key, owner, step).await? {
            Answer::Claim(outcome) => Ok(outcome),
            Answer::Done(_) | Answer::Released => Err(misplaced()),
        }
    }

    /// Marks a claimed key as finished.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn done(&self, claim: &Claim, owner: &Owner) -> Result<DoneOutcome, ClaimError> {
        let step = Step::Done {
            fence: claim.fence,
            times: self.times,
        };
        match self.run(&claim.key, owner, step).await? {
            Answer::Done(outcome) => Ok(outcome),
            Answer::Claim(_) | Answer::Released => Err(misplaced()),
        }
    }

    /// Gives a claim up; one that is not ours any more is left alone.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn release(&self, claim: &Claim, owner: &Owner) -> Result<(), ClaimError> {
        let step = Step::Release { fence: claim.fence };
        self.run(&claim.key, owner, step).await.map(|_| ())
    }

    /// Whether the file can be read.
    ///
    /// # Errors
    /// [`ClaimError::Store`] when it cannot.
    pub async fn ping(&self) -> Result<(), ClaimError> {
        sqlx::query("SELECT 1 FROM claim LIMIT 1")
            .fetch_optional(self.engine.readers())
            .await?;
        Ok(())
    }

    async fn run(&self, key: &EventKey, owner: &Owner, step: Step) -> Result<Answer, ClaimError> {
        let operation = Operation {
            key: key.clone(),
            owner: owner.clone(),
            step,
        };
        self.engine.claim(operation).await
    }
}

/// Cannot happen: each step has its own answer.
fn misplaced() -> ClaimError {
    ClaimError::Unavailable("the engine gave the answer to another question".to_owned())
}

/// What an owner wants with a key.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    key: EventKey,
    owner: Owner,
    step: Step,
}

#[derive(Debug, Clone)]
enum Step {
    Claim {
        fingerprint: Fingerprint,
        times: ClaimTimes,
    },
    Done {
        fence: u64,
        times: ClaimTimes,
    },
    Release {
        fence: u64,
    },
}

/// The answer to an [`Operation`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// To a claim.
    Claim(ClaimOutcome),
    /// To done.
    Done(DoneOutcome),
    /// To a release.
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Claimed,
    Released,
    Done,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Released => "released",
            Self::Done => "done",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "done" => Self::Done,
            "released" => Self::Released,
            _ => Self::Claimed,
        }
    }
}

/// What is stored of a key. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    state: State,
    owner: String,
    fence: u64,
    fingerprint: String,
    lease_until: i64,
    forget_at: i64,
}

/// Decides on one key: what is stored afterwards (`None`: what was) and what is answered.
fn decide(before: Option<&Entry>, operation: &Operation, now: i64) -> (Option<Entry>, Answer) {
    let before = before.filter(|entry| entry.forget_at > now);
    let ours = |fence: u64| {
        before.filter(|entry| {
            entry.fence == fence
                && entry.owner == operation.owner.as_str()
                && entry.state != State::Released
        })
    };
    match &operation.step {
        Step::Claim { fingerprint, times } => {
            let (after, outcome) = claim(before, operation, fingerprint, *times, now);
            (after, Answer::Claim(outcome))
        }
        Step::Done { fence, times } => match ours(*fence) {
            Some(entry) => {
                let after = Entry {
                    state: State::Done,
                    forget_at: now.saturating_add(millis(times.done_ttl)),
                    ..entry.clone()
                };
                (Some(after), Answer::Done(DoneOutcome::Recorded))
            }
            None => (None, Answer::Done(DoneOutcome::Stale)),
        },
        Step::Release { fence } => {
            let after = ours(*fence)
                .filter(|entry| entry.state == State::Claimed)
                .map(|entry| Entry {
                    state: State::Released,
                    lease_until: 0,
                    ..entry.clone()
                });
            (after, Answer::Released)
        }
    }
}

fn claim(
    before: Option<&Entry>,
    operation: &Operation,
    fingerprint: &Fingerprint,
    times: ClaimTimes,
    now: i64,
) -> (Option<Entry>, ClaimOutcome) {
    let lease_until = now.saturating_add(millis(times.lease));
    let forget_at = lease_until.saturating_add(millis(times.done_ttl));
    let mine = |fence: u64, takeover: bool| {
        let entry = Entry {
            state: State::Claimed,
            owner: operation.owner.as_str().to_owned(),
            fence,
            fingerprint: fingerprint.as_str().to_owned(),
            lease_until,
            forget_at,
        };
        let claim = Claim {
            key: operation.key.clone(),
            fence,
        };
        (Some(entry), ClaimOutcome::Mine { claim, takeover })
    };
    let Some(entry) = before else {
        return mine(1, false);
    };
    let same = entry.fingerprint == fingerprint.as_str();
    let own = entry.owner == operation.owner.as_str();
    let live = entry.lease_until > now;
    match entry.state {
        State::Done if same => (None, ClaimOutcome::Done),
        State::Done => (None, ClaimOutcome::Conflict),
        State::Claimed if live && !same => (None, ClaimOutcome::Conflict),
        State::Claimed if own && same => mine(entry.fence, false),
        State::Claimed if live => {
            let rest = u64::try_from(entry.lease_until.saturating_sub(now)).unwrap_or(0);
            let remaining = Duration::from_millis(rest);
            (None, ClaimOutcome::Busy { remaining })
        }
        State::Claimed => mine(entry.fence.saturating_add(1), !own),
        State::Released => mine(entry.fence.saturating_add(1), false),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Runs one operation inside the writer's transaction.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    operation: &Operation,
    now: i64,
) -> Result<Answer, sqlx::Error> {
    let before = load(connection, &operation.key).await?;
    let (after, answer) = decide(before.as_ref(), operation, now);
    if let Some(entry) = after {
        save(connection, &operation.key, entry).await?;
    }
    Ok(answer)
}

/// Deletes what need not be remembered any more.
pub(crate) async fn purge(connection: &mut SqliteConnection, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM claim WHERE forget_at <= ?")
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

async fn load(
    connection: &mut SqliteConnection,
    key: &EventKey,
) -> Result<Option<Entry>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT state, owner, fence, fingerprint, lease_until, forget_at FROM claim WHERE key = ?",
    )
    .bind(key.as_str().to_owned())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(Entry {
        state: State::parse(&row.try_get::<String, _>("state")?),
        owner: row.try_get("owner")?,
        fence: u64::try_from(row.try_get::<i64, _>("fence")?).unwrap_or(0),
        fingerprint: row.try_get("fingerprint")?,
        lease_until: row.try_get("lease_until")?,
        forget_at: row.try_get("forget_at")?,
    }))
}

async fn save(
    connection: &mut SqliteConnection,
    key: &EventKey,
    entry: Entry,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR REPLACE INTO claim \
         (key, state, owner, fence, fingerprint, lease_until, forget_at) VALUES (?,?,?,?,?,?,?)",
    )
    .bind(key.as_str().to_owned())
    .bind(entry.state.as_str())
    .bind(entry.owner)
    .bind(i64::try_from(entry.fence).unwrap_or(i64::MAX))
    .bind(entry.fingerprint)
    .bind(entry.lease_until)
    .bind(entry.forget_at)
    .execute(connection)
    .await?;
    Ok(())
}
