//! From settings to the engine that they name.

use crate::claims::embedded::EmbeddedClaims;
use crate::claims::redis::RedisClaims;
use crate::claims::{ClaimTimes, Claims};
use crate::queue::embedded::Embedded;
use crate::queue::rabbitmq::RabbitMq;
use crate::queue::{QueueError, Queues};
use crate::settings::{Engine, Settings};

/// Why the engine cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The queues cannot be opened.
    #[error("the queues cannot be opened")]
    Queues(#[from] QueueError),
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
    let times = ClaimTimes {
        lease: settings.verifier.claim_lease,
        done_ttl: settings.verifier.claim_ttl,
    };
    let names = settings.queue_names();
    match &settings.engine {
        Engine::Embedded { data_dir } => {
            crate::private_folder::make(data_dir).map_err(|source| EngineError::DataDir {
                path: data_dir.clone(),
                source,
            })?;
            let queues = Embedded::open(data_dir, names).await?;
            if let Err(error) = queues.let_tools_in(data_dir) {
                // The flow does without; `quittance queues` is refused beside this process.
                tracing::warn!(%error, "no tool can change queues beside this process");
            }
            let claims = EmbeddedClaims::open(&queues, times);
            Ok((Queues::Embedded(queues), Claims::Embedded(claims)))
        }
        Engine::Cluster(cluster) => {
            let queues = RabbitMq::start(cluster, names)?;
            // One Redis may serve several deployments; the queues' prefix tells them apart too.
            let claims = RedisClaims::connect(&cluster.redis_url, &settings.queue_prefix, times);
            Ok((Queues::RabbitMq(queues), Claims::Redis(claims)))
        }
    }
}
