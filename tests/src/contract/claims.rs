//! What [`Claims`] promises.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use quittance_common::claims::{
    Claim, ClaimOutcome, ClaimTimes, Claims, DoneOutcome, Fingerprint, Owner,
};
use quittance_common::ids::{EventKey, MessageId};

use super::{eventually, tell};

/// A lease that no story outlasts.
const HELD: ClaimTimes = ClaimTimes {
    lease: Duration::from_mins(10),
    done_ttl: Duration::from_hours(24),
};

/// A lease that a story waits for.
const SHORT: ClaimTimes = ClaimTimes {
    lease: Duration::from_millis(200),
    done_ttl: Duration::from_hours(24),
};

/// Tells every story about claims. `make` gives a store with these times; all may share one
/// server, because each story has keys of its own.
///
/// # Errors
/// The first promise that the store does not keep.
pub async fn claims(
    make: impl AsyncFn(ClaimTimes) -> anyhow::Result<Claims>,
) -> anyhow::Result<()> {
    macro_rules! stories {
        ($($times:ident: $story:ident)*) => {
            vec![$((stringify!($story), async {
                $story(&make($times).await?, &Subject::new()?).await
            }.boxed_local()),)*]
        };
    }
    tell(stories! {
        HELD: the_store_answers
        HELD: a_finished_key_is_done_for_everybody
        HELD: a_held_key_is_busy_for_others
        HELD: a_repeated_claim_is_the_same_claim
        HELD: another_meaning_is_a_conflict
        HELD: a_released_key_is_free_at_once
        HELD: a_released_claim_can_not_be_finished
        HELD: a_claim_that_nobody_made_is_stale
        HELD: of_many_at_once_one_gets_the_key
        SHORT: a_key_is_taken_over_when_its_lease_is_over
        SHORT: an_expired_claim_does_not_bind_the_meaning
        SHORT: an_owner_who_overslept_unnoticed_may_finish
    })
    .await
}

/// A key of its own, two meanings and two owners.
struct Subject {
    key: EventKey,
    meaning: Fingerprint,
    other_meaning: Fingerprint,
    one: Owner,
    two: Owner,
}

impl Subject {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            key: format!("paypal/default/{}", MessageId::new()).parse()?,
            meaning: Fingerprint::of(b"amount=10.00"),
            other_meaning: Fingerprint::of(b"amount=99.00"),
            one: Owner::new(),
            two: Owner::new(),
        })
    }

    async fn claim(&self, claims: &Claims, owner: &Owner) -> anyhow::Result<ClaimOutcome> {
        Ok(claims.claim(&self.key, owner, &self.meaning).await?)
    }

    /// Claims for the first owner, who must get it.
    async fn first(&self, claims: &Claims) -> anyhow::Result<Claim> {
        let (claim, takeover) = mine(self.claim(claims, &self.one).await?)?;
        ensure!(!takeover, "a new key is called taken over");
        Ok(claim)
    }
}

fn mine(outcome: ClaimOutcome) -> anyhow::Result<(Claim, bool)> {
    match outcome {
        ClaimOutcome::Mine { claim, takeover } => Ok((claim, takeover)),
        other => bail!("expected to get the key, got {other:?}"),
    }
}

async fn the_store_answers(claims: &Claims, _: &Subject) -> anyhow::Result<()> {
    Ok(claims.ping().await?)
}

async fn a_finished_key_is_done_for_everybody(
    claims: &Claims,
    subject: &Subject,
) -> anyhow::Result<()> {
    let claim = subject.first(claims).await?;
    ensure!(claim.key == subject.key, "the claim is for another key");
    let before = claims.finished(&subject.key).await?;
    ensure!(before.is_none(), "a held key is called finished");
    for _ in 0..2 {
        let done = claims.done(&claim, &subject.one).await?;
        ensure!(done == DoneOutcome::Recorded, "done was answered {done:?}");
    }
    let finished = claims.finished(&subject.key).await?;
    ensure!(finished.as_ref() == Some(&subject.meaning), "{finished:?}");
    claims.release(&claim, &subject.one).await?;
    for owner in [&subject.one, &subject.two] {
        let again = subject.claim(claims, owner).await?;
        ensure!(again == ClaimOutcome::Done, "claimed again: {again:?}");
        let conflict = claims
            .claim(&subject.key, owner, &subject.other_meaning)
            .await?;
        ensure!(conflict == ClaimOutcome::Conflict, "{conflict:?}");
    }
    Ok(())
}

async fn a_held_key_is_busy_for_others(claims: &Claims, subject: &Subject) -> anyhow::Result<()> {
    subject.first(claims).await?;
    match subject.claim(claims, &subject.two).await? {
        ClaimOutcome::Busy { remaining } => ensure!(
            remaining > Duration::from_mins(5) && remaining <= HELD.lease,
            "remaining is {remaining:?}"
        ),
        other => bail!("expected busy, got {other:?}"),
    }
    Ok(())
}

async fn a_repeated_claim_is_the_same_claim(
    claims: &Claims,
    subject: &Subject,
) -> anyhow::Result<()> {
    let first = subject.first(claims).await?;
    let again = subject.first(claims).await?;
    ensure!(first == again, "first {first:?}, then {again:?}");
    let done = claims.done(&again, &subject.one).await?;
    ensure!(done == DoneOutcome::Recorded, "done was answered {done:?}");
    Ok(())
}

async fn another_meaning_is_a_conflict(claims: &Claims, subject: &Subject) -> anyhow::Result<()> {
    let claim = subject.first(claims).await?;
    for owner in [&subject.one, &subject.two] {
        let outcome = claims
            .claim(&subject.key, owner, &subject.other_meaning)
            .await?;
        ensure!(outcome == ClaimOutcome::Conflict, "{outcome:?}");
    }
    let done = claims.done(&claim, &subject.one).await?;
    ensure!(
        done == DoneOutcome::Recorded,
        "the conflict ended the claim"
    );
    Ok(())
}

async fn a_released_key_is_free_at_once(claims: &Claims, subject: &Subject) -> anyhow::Result<()> {
    let first = subject.first(claims).await?;
    claims.release(&first, &subject.one).await?;
    let outcome = claims
        .claim(&subject.key, &subject.two, &subject.other_meaning)
        .await?;
    let (second, takeover) = mine(outcome)?;
    ensure!(!takeover, "a released key is called taken over");
    ensure!(second.fence > first.fence, "the fence did not rise");
    // What the first does now changes nothing.
    claims.release(&first, &subject.one).await?;
    let stale = claims.done(&first, &subject.one).await?;
    ensure!(stale == DoneOutcome::Stale, "{stale:?}");
    let done = claims.done(&second, &subject.two).await?;
    ensure!(done == DoneOutcome::Recorded, "{done:?}");
    let finished = claims.finished(&subject.key).await?;
    ensure!(finished.as_ref() == Some(&subject.other_meaning));
    Ok(())
}

async fn a_released_claim_can_not_be_finished(
    claims: &Claims,
    subject: &Subject,
) -> anyhow::Result<()> {
    let claim = subject.first(claims).await?;
    claims.release(&claim, &subject.one).await?;
    let done = claims.done(&claim, &subject.one).await?;
    ensure!(done == DoneOutcome::Stale, "{done:?}");
    let again = subject.first(claims).await?;
    ensure!(again.fence > claim.fence, "the fence did not rise");
    Ok(())
}

async fn a_claim_that_nobody_made_is_stale(
    claims: &Claims,
    subject: &Subject,
) -> anyhow::Result<()> {
    let invented = Claim {
        key: subject.key.clone(),
        fence: 1,
    };
    let done = claims.done(&invented, &subject.one).await?;
    ensure!(done == DoneOutcome::Stale, "{done:?}");
    ensure!(claims.finished(&subject.key).await?.is_none());
    subject.first(claims).await?;
    // The right fence in the wrong hands.
    let done = claims.done(&invented, &subject.two).await?;
    ensure!(done == DoneOutcome::Stale, "{done:?}");
    Ok(())
}

async fn of_many_at_once_one_gets_the_key(
    claims: &Claims,
    subject: &Subject,
) -> anyhow::Result<()> {
    let owners: Vec<Owner> = (0..20).map(|_| Owner::new()).collect();
    let tasks = owners.into_iter().map(|owner| {
        let (claims, key) = (claims.clone(), subject.key.clone());
        let meaning = subject.meaning.clone();
        tokio::spawn(async move { claims.claim(&key, &owner, &meaning).await })
    });
    let (mut got, mut busy) = (0, 0);
    for outcome in join_all(tasks).await {
        match outcome.context("a task failed")?? {
            ClaimOutcome::Mine { takeover, .. } => {
                ensure!(!takeover, "a new key is called taken over");
                got += 1;
            }
            ClaimOutcome::Busy { .. } => busy += 1,
            other => bail!("got {other:?}"),
        }
    }
    ensure!((got, busy) == (1, 19), "{got} got it, {busy} found it busy");
    Ok(())
}

async fn a_key_is_taken_over_when_its_lease_is_over(
    claims: &Claims,
    subject: &Subject,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let first = subject.first(claims).await?;
    let outcome = eventually("a take-over", async || {
        Ok(match subject.claim(claims, &subject.two).await? {
            ClaimOutcome::Busy { .. } => None,
            outcome => Some(outcome),
        })
    })
    .await?;
    let waited = started.elapsed();
    let (second, takeover) = mine(outcome)?;
    ensure!(takeover, "a take-over is not called one");
    ensure!(second.fence == first.fence + 1, "the fence did not rise");
    // Clocks in whole milliseconds may end a lease within the last one.
    let least = SHORT.lease.saturating_sub(Duration::from_millis(2));
    ensure!(waited >= least, "taken over after {waited:?}");
    let stale = claims.done(&first, &subject.one).await?;
    ensure!(stale == DoneOutcome::Stale, "{stale:?}");
    ensure!(claims.finished(&subject.key).await?.is_none());
    claims.release(&first, &subject.one).await?;
    let done = claims.done(&second, &subject.two).await?;
    ensure!(done == DoneOutcome::Recorded, "{done:?}");
    Ok(())
}

async fn an_expired_claim_does_not_bind_the_meaning(
    claims: &Claims,
    subject: &Subject,
) -> anyhow::Result<()> {
    subject.first(claims).await?;
    let meaning = &subject.other_meaning;
    let outcome = eventually("the end of the lease", async || {
        Ok(
            match claims.claim(&subject.key, &subject.two, meaning).await? {
                ClaimOutcome::Conflict => None,
                outcome => Some(outcome),
            },
        )
    })
    .await?;
    let (claim, _) = mine(outcome)?;
    claims.done(&claim, &subject.two).await?;
    let finished = claims.finished(&subject.key).await?;
    ensure!(finished.as_ref() == Some(meaning), "{finished:?}");
    Ok(())
}

/// Nobody has taken over, so the work is still whole.
async fn an_owner_who_overslept_unnoticed_may_finish(
    claims: &Claims,
    subject: &Subject,
) -> anyhow::Result<()> {
    let claim = subject.first(claims).await?;
    let started = Instant::now();
    eventually("the end of the lease", async || {
        Ok((started.elapsed() > SHORT.lease).then_some(()))
    })
    .await?;
    let done = claims.done(&claim, &subject.one).await?;
    ensure!(done == DoneOutcome::Recorded, "{done:?}");
    Ok(())
}
