//! What the ports promise, as stories that run against every engine.
//!
//! A story fails by an error that says what was seen; its name is put before it.

mod claims;
mod lookups;
mod queues;

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::LocalBoxFuture;

pub use self::claims::claims;
pub use self::lookups::lookups;
pub use self::queues::queues;

/// How long anything may take that must happen. Generous: it bounds a failing run only.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often something is looked at that gives no sign of its own.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A promise and the story that tries it.
type Story<'a> = (&'static str, LocalBoxFuture<'a, anyhow::Result<()>>);

/// Runs stories one after the other and names the one that fails.
async fn tell(stories: Vec<Story<'_>>) -> anyhow::Result<()> {
    for (name, story) in stories {
        tokio::time::timeout(PATIENCE.saturating_mul(2), story)
            .await
            .context("it took too long")
            .flatten()
            .with_context(|| format!("not kept: {name}"))?;
    }
    Ok(())
}

/// Looks until `seen` has found something.
async fn eventually<T>(
    what: &str,
    mut seen: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let look = async {
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        loop {
            ticks.tick().await;
            if let Some(found) = seen().await? {
                return Ok(found);
            }
        }
    };
    tokio::time::timeout(PATIENCE, look)
        .await
        .with_context(|| format!("never came true: {what}"))?
}
