//! What [`Lookups`] promises.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use quittance_common::claims::Owner;
use quittance_common::ids::{GatewayId, MessageId};
use quittance_common::lookups::{
    Begun, KeptAnswer, LOOKUPS_PER_TOKEN, Look, LookupKey, LookupTimes, Lookups,
};

use super::{eventually, tell};

/// Nothing of it ends within a story.
const LONG: LookupTimes = LookupTimes {
    lease: Duration::from_mins(10),
    keep: Duration::from_hours(1),
};

/// A lease that a story waits for.
const SHORT_LEASE: LookupTimes = LookupTimes {
    lease: Duration::from_millis(200),
    keep: Duration::from_hours(1),
};

/// Answers whose end a story waits for.
const SHORT_KEEP: LookupTimes = LookupTimes {
    lease: Duration::from_mins(10),
    keep: Duration::from_millis(100),
};

const FAIL: KeptAnswer = KeptAnswer::Fail { code: Some(4003) };

/// Tells every story about look-ups. `make` gives a store with these times; all may share one
/// server, because each story has a token of its own.
///
/// # Errors
/// The first promise that the store does not keep.
pub async fn lookups(
    make: impl AsyncFn(LookupTimes) -> anyhow::Result<Lookups>,
) -> anyhow::Result<()> {
    macro_rules! stories {
        ($($times:ident: $story:ident)*) => {
            vec![$((stringify!($story), async {
                $story(&make($times).await?, &token()?).await
            }.boxed_local()),)*]
        };
    }
    let mut stories = stories! {
        LONG: of_ten_at_once_one_asks
        LONG: a_lost_reply_asked_for_again_counts_nothing_and_a_retry_counts_one
        LONG: a_failure_is_kept_like_an_answer
        LONG: a_success_is_never_replaced_by_a_failure
        LONG: what_is_known_is_told_without_counting
        LONG: tokens_and_accounts_are_counted_apart
        SHORT_KEEP: the_sixth_look_up_is_never_made
        SHORT_LEASE: who_never_finishes_keeps_others_out_for_the_lease_only
    };
    let restart = async {
        let key = token()?;
        let (former, next) = (make(SHORT_LEASE).await?, make(SHORT_LEASE).await?);
        what_one_process_counted_another_counts_on_from(&former, &next, &key).await
    };
    stories.push((
        "what_one_process_counted_another_counts_on_from",
        restart.boxed_local(),
    ));
    tell(stories).await
}

/// A token that nobody else has.
fn token() -> anyhow::Result<LookupKey> {
    let letters = MessageId::new().to_string().replace('-', "");
    let token = letters.get(letters.len().saturating_sub(24)..);
    Ok(LookupKey {
        gateway: GatewayId::PayPal,
        account: "default".parse()?,
        token: token.context("an id has characters")?.parse()?,
    })
}

fn visit() -> Look {
    Look {
        owner: Owner::new(),
        attempt: 1,
    }
}

fn success(submitted: bool) -> KeptAnswer {
    KeptAnswer::Success {
        evidence: "txn_id=1&payment_status=Completed".to_owned(),
        submitted,
    }
}

/// Begins and must be let.
async fn ask(store: &Lookups, key: &LookupKey, look: &Look, number: u32) -> anyhow::Result<()> {
    let begun = store.begin(key, look).await?;
    ensure!(begun == Begun::Ask { number }, "not {number}: {begun:?}");
    Ok(())
}

/// A new visit must learn `answer` without asking.
async fn learns(store: &Lookups, key: &LookupKey, answer: KeptAnswer) -> anyhow::Result<()> {
    let begun = store.begin(key, &visit()).await?;
    ensure!(begun == Begun::Known(answer), "{begun:?}");
    Ok(())
}

async fn of_ten_at_once_one_asks(store: &Lookups, key: &LookupKey) -> anyhow::Result<()> {
    let visits = (0..10).map(|_| {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move { store.begin(&key, &visit()).await })
    });
    let (mut asking, mut waiting) = (0, 0);
    for begun in join_all(visits).await {
        match begun.context("a task failed")?? {
            Begun::Ask { number: 1 } => asking += 1,
            Begun::Busy { remaining } => {
                let rest = Duration::from_mins(9)..=LONG.lease;
                ensure!(rest.contains(&remaining), "remaining is {remaining:?}");
                waiting += 1;
            }
            other => anyhow::bail!("got {other:?}"),
        }
    }
    ensure!((asking, waiting) == (1, 9), "{asking} ask, {waiting} wait");
    store.finish(key, &success(true)).await?;
    learns(store, key, success(true)).await
}

async fn a_lost_reply_asked_for_again_counts_nothing_and_a_retry_counts_one(
    store: &Lookups,
    key: &LookupKey,
) -> anyhow::Result<()> {
    let mut look = visit();
    for _ in 0..3 {
        ask(store, key, &look, 1).await?;
    }
    look.attempt = 2;
    for _ in 0..3 {
        ask(store, key, &look, 2).await?;
    }
    Ok(())
}

async fn a_failure_is_kept_like_an_answer(store: &Lookups, key: &LookupKey) -> anyhow::Result<()> {
    ask(store, key, &visit(), 1).await?;
    store.finish(key, &FAIL).await?;
    learns(store, key, FAIL).await
}

async fn a_success_is_never_replaced_by_a_failure(
    store: &Lookups,
    key: &LookupKey,
) -> anyhow::Result<()> {
    ask(store, key, &visit(), 1).await?;
    store.finish(key, &FAIL).await?;
    store.finish(key, &success(false)).await?;
    store.finish(key, &FAIL).await?;
    learns(store, key, success(false)).await?;
    store.finish(key, &success(true)).await?;
    learns(store, key, success(true)).await
}

async fn what_is_known_is_told_without_counting(
    store: &Lookups,
    key: &LookupKey,
) -> anyhow::Result<()> {
    for _ in 0..3 {
        let known = store.known(key).await?;
        ensure!(
            known.is_none(),
            "{known:?} of a token that nobody asked about"
        );
    }
    ask(store, key, &visit(), 1).await?;
    ensure!(
        store.known(key).await?.is_none(),
        "known before it is answered"
    );
    store.finish(key, &success(true)).await?;
    let known = store.known(key).await?;
    ensure!(known == Some(success(true)), "{known:?}");
    Ok(())
}

async fn tokens_and_accounts_are_counted_apart(
    store: &Lookups,
    key: &LookupKey,
) -> anyhow::Result<()> {
    ask(store, key, &visit(), 1).await?;
    store.finish(key, &success(true)).await?;
    ask(store, &token()?, &visit(), 1).await?;
    let other = LookupKey {
        account: "other".parse()?,
        ..key.clone()
    };
    ask(store, &other, &visit(), 1).await
}

/// The count outlives each answer.
async fn the_sixth_look_up_is_never_made(store: &Lookups, key: &LookupKey) -> anyhow::Result<()> {
    for number in 1..=LOOKUPS_PER_TOKEN {
        let look = visit();
        let begun = after_the_answer(store, key, &look).await?;
        ensure!(begun == Begun::Ask { number }, "not {number}: {begun:?}");
        store.finish(key, &success(true)).await?;
    }
    for _ in 0..3 {
        let begun = after_the_answer(store, key, &visit()).await?;
        ensure!(begun == Begun::Spent, "{begun:?}");
    }
    Ok(())
}

/// Begins until no answer is kept any more.
async fn after_the_answer(store: &Lookups, key: &LookupKey, look: &Look) -> anyhow::Result<Begun> {
    eventually("the answer is forgotten", async || {
        Ok(match store.begin(key, look).await? {
            Begun::Known(_) => None,
            begun => Some(begun),
        })
    })
    .await
}

/// Begins until nobody else is asking.
async fn after_the_lease(store: &Lookups, key: &LookupKey, look: &Look) -> anyhow::Result<Begun> {
    eventually("the end of the lease", async || {
        Ok(match store.begin(key, look).await? {
            Begun::Busy { .. } => None,
            begun => Some(begun),
        })
    })
    .await
}

async fn who_never_finishes_keeps_others_out_for_the_lease_only(
    store: &Lookups,
    key: &LookupKey,
) -> anyhow::Result<()> {
    let started = Instant::now();
    ask(store, key, &visit(), 1).await?;
    let begun = after_the_lease(store, key, &visit()).await?;
    ensure!(begun == Begun::Ask { number: 2 }, "{begun:?}");
    let waited = started.elapsed();
    // Clocks in whole milliseconds may end a lease within the last one.
    let least = SHORT_LEASE.lease.saturating_sub(Duration::from_millis(2));
    ensure!(waited >= least, "let in after {waited:?}");
    Ok(())
}

async fn what_one_process_counted_another_counts_on_from(
    former: &Lookups,
    next: &Lookups,
    key: &LookupKey,
) -> anyhow::Result<()> {
    ask(former, key, &visit(), 1).await?;
    let begun = after_the_lease(next, key, &visit()).await?;
    ensure!(begun == Begun::Ask { number: 2 }, "{begun:?}");
    Ok(())
}
