//! The life of a process: tasks that are named, one stop for all of them, a drain with an end.

pub mod engine;
pub mod process;
pub mod service;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::metrics::Metrics;
use crate::queue::{QueueNames, Queues};

pub use engine::{EngineError, connect};
pub use process::{Process, StartError};
pub use service::{Service, ServiceError, stop_signal};

/// What every stage is handed by its process. Cheap to clone; every clone is the same.
#[derive(Debug, Clone)]
pub struct Shell {
    /// The engine.
    pub queues: Queues,
    /// The table of queues.
    pub names: QueueNames,
    /// The registry and the shared metrics.
    pub metrics: Metrics,
    /// Where a stage says what it needs to be ready.
    pub readiness: Readiness,
    /// Cancelled when the process is told to end.
    pub stop: CancellationToken,
    /// How long a stage may finish what it holds after that.
    pub grace: Duration,
}
