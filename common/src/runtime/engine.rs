//! From settings to the engine that they name.

use crate::claims::{ClaimError, Claims};
use crate::queue::{QueueError, Queues};
use crate::settings::Settings;

/// Why the engine cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The queues cannot be opened.
    #[error("the queues cannot be opened")]
    Queues(#[from] QueueError),
    /// The claim store cannot be opened.
    #[error("the claim store cannot be opened")]
    Claims(#[from] ClaimError),
    /// The folder of the embedded engine cannot be made.
    #[error("the data folder `{path}` cannot be made")]
    DataDir {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Opens queues and claims. With the cluster engine this succeeds while the servers are down:
/// their supervisors connect as soon as they can.
pub async fn connect(settings: &Settings) -> Result<(Queues, Claims), EngineError> {
    // integrator: the constructors of both engines come from other branches.
    let _ = settings;
    std::future::ready(Err(EngineError::Queues(QueueError::Unsupported(
        "this build has no engine",
    ))))
    .await
}
