//! Named tasks that live and end together.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// What a task fails with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How long tasks may take to end after their own grace is over: closing connections and files.
pub const CLOSING: Duration = Duration::from_secs(2);

/// Why a service ended otherwise than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A task ended although nobody had told it to.
    #[error("task `{name}` ended without being told to")]
    Ended {
        /// Its name.
        name: String,
    },
    /// A task failed.
    #[error("task `{name}` failed")]
    Failed {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A task panicked; the log has the place.
    #[error("task `{name}` panicked")]
    Panicked {
        /// Its name.
        name: String,
    },
    /// Tasks were still running when the time was over. What they held is delivered again.
    #[error("still running {grace:?} after the stop: {}", names.join(", "))]
    Unfinished {
        /// Their names.
        names: Vec<String>,
        /// The time they had.
        grace: Duration,
    },
}

/// The tasks of one process. Dropping it aborts them.
#[derive(Debug)]
pub struct Service {
    tasks: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, String>,
    stop: CancellationToken,
    grace: Duration,
}

impl Service {
    /// A service without tasks; they have `grace` and [`CLOSING`] to end after the stop.
    pub fn new(grace: Duration) -> Self {
        Self {
            tasks: JoinSet::new(),
            names: HashMap::new(),
            stop: CancellationToken::new(),
            grace: grace.saturating_add(CLOSING),
        }
    }

    /// Cancelled when the tasks should end; hand a clone to each.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. It should end soon after the stop, and not before: one that fails, panics
    /// or ends early stops the whole service and is named in the error.
    pub fn spawn<E: Into<BoxError> + 'static>(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let handle = self
            .tasks
            .spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name.into());
    }

    /// Runs until `stop` resolves or a task ends, then drains.
    ///
    /// # Errors
    /// The first thing that went wrong; the drain happens all the same.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), ServiceError> {
        let first = tokio::select! {
            () = stop => Ok(()),
            () = self.stop.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next_with_id() => match self.verdict(ended) {
                Ok(name) => Err(ServiceError::Ended { name }),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = &first {
            tracing::error!(error = %crate::telemetry::chain(error), "stopping");
        }
        self.stop.cancel();
        let drained = self.drain().await;
        first.and(drained)
    }

    /// Waits for every task, at most the grace; the first failure is the answer.
    async fn drain(&mut self) -> Result<(), ServiceError> {
        let deadline = tokio::time::Instant::now() + self.grace;
        let mut result = Ok(());
        loop {
            match tokio::time::timeout_at(deadline, self.tasks.join_next_with_id()).await {
                Ok(None) => return result,
                Ok(Some(ended)) => {
                    let verdict = self.verdict(ended);
                    result = result.and(verdict.map(|_| ()));
                }
                Err(_elapsed) => {
                    let mut names: Vec<String> = self.names.values().cloned().collect();
                    names.sort_unstable();
                    let grace = self.grace;
                    return result.and(Err(ServiceError::Unfinished { names, grace }));
                }
            }
        }
    }

    /// The name of a task that ended well, or what became of it.
    fn verdict(
        &mut self,
        ended: Result<(Id, Result<(), BoxError>), JoinError>,
    ) -> Result<String, ServiceError> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        match ended {
            Ok((_, Ok(()))) => Ok(name),
            Ok((_, Err(source))) => Err(ServiceError::Failed { name, source }),
            Err(_panic) => Err(ServiceError::Panicked { name }),
        }
    }
}

/// Resolves at the first `SIGTERM` or `SIGINT`. The handlers are installed by the call itself.
///
/// # Errors
/// When the system refuses the handlers.
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "told to stop"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "told to stop"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::future::{pending, ready};

    fn service() -> Service {
        Service::new(Duration::from_secs(25))
    }

    async fn until(stop: CancellationToken) -> Result<(), Infallible> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_end_when_told_end_the_service_well() {
        let mut service = service();
        service.spawn("a", until(service.stop_token()));
        service.spawn("b", until(service.stop_token()));
        assert!(service.run_until(ready(())).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_is_named_and_stops_the_others() {
        let mut service = service();
        let stop = service.stop_token();
        service.spawn("steady", until(stop.clone()));
        service.spawn("hasty", ready(Ok::<(), Infallible>(())));
        let error = service.run_until(pending()).await.unwrap_err();
        assert!(matches!(error, ServiceError::Ended { name } if name == "hasty"));
        assert!(stop.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_is_named_with_the_cause() {
        let mut service = service();
        service.spawn("broken", ready(Err(io::Error::other("no disk"))));
        let error = service.run_until(pending()).await.unwrap_err();
        assert_eq!(
            crate::telemetry::chain(&error),
            "task `broken` failed: no disk"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_named() {
        let mut service = service();
        service.spawn("fragile", async {
            assert!(std::env::args().count() == usize::MAX, "on purpose");
            Ok::<(), Infallible>(())
        });
        let error = service.run_until(pending()).await.unwrap_err();
        assert!(matches!(error, ServiceError::Panicked { name } if name == "fragile"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_left_at_the_deadline() {
        let mut service = service();
        service.spawn("stuck", pending::<Result<(), Infallible>>());
        service.spawn("quick", until(service.stop_token()));
        let start = tokio::time::Instant::now();
        let error = service.run_until(ready(())).await.unwrap_err();
        assert!(matches!(error, ServiceError::Unfinished { names, .. } if names == ["stuck"]));
        assert_eq!(start.elapsed(), Duration::from_secs(27));
    }
}
