//! Waiting for something to become true, with a limit and a useful failure text.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Asks `probe` again and again until it gives a value, at most for `patience`.
///
/// The pause between two questions starts at 20 ms and grows to half a second. One question may
/// not outlast the patience either: it is cut off. The error names `what` was waited for, how
/// long, and how often it was asked.
pub async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    let mut asked = 0_u32;
    loop {
        asked += 1;
        match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) if Instant::now() + pause < deadline => tokio::time::sleep(pause).await,
            Ok(None) => bail!("{what}: not within {patience:?}, asked {asked} times"),
            Err(_) => bail!("{what}: no answer within {patience:?}, asked {asked} times"),
        }
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_value_ends_the_wait() {
        let mut left = 3;
        let value = eventually("three", Duration::from_mins(1), async || {
            left -= 1;
            (left == 0).then_some("done")
        })
        .await;
        assert_eq!(value.unwrap(), "done");
    }

    #[tokio::test]
    async fn a_failure_names_what_was_awaited() {
        let failure = eventually("the moon", Duration::from_millis(200), async || None::<()>)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            failure.starts_with("the moon: not within 200ms, asked "),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_cut_off() {
        let failure = eventually(
            "an answer",
            Duration::from_millis(200),
            std::future::pending::<Option<()>>,
        )
        .await
        .unwrap_err()
        .to_string();
        assert_eq!(failure, "an answer: no answer within 200ms, asked 1 times");
    }
}
