//! What the `main` of every stage has in common: settings, log, engine, admin listener, stop.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::service::{BoxError, Service, ServiceError, stop_signal};
use super::{EngineError, Shell, connect};
use crate::admin::{self, Readiness};
use crate::claims::Claims;
use crate::metrics::Metrics;
use crate::queue::{QueueError, Queues};
use crate::settings::{self, EXIT_CONFIG, Settings};
use crate::{failpoint, http, telemetry};

/// How long closing connections may take at the very end.
const CLOSE: Duration = Duration::from_secs(2);
/// How long the last log lines may take to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// Why a process could not start, or ended otherwise than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The engine cannot be used.
    #[error("the engine cannot be started")]
    Engine(#[from] EngineError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key}): is something else using it?")]
    Listen {
        /// The setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A metric was registered twice; a bug.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// Signal handlers cannot be installed.
    #[error("signals cannot be handled")]
    Signals(#[source] std::io::Error),
    /// A stage could not start.
    #[error("a stage cannot start")]
    Stage(#[source] BoxError),
    /// A task ended, failed or did not end.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A process that is ready for its stages.
#[derive(Debug)]
pub struct Process {
    /// The settings.
    pub settings: Arc<Settings>,
    /// What stages are handed.
    pub shell: Shell,
    /// The claim store.
    pub claims: Claims,
    /// Where stages are spawned.
    pub service: Service,
    /// Where the admin listener is, whatever port the settings left to the system.
    pub admin_address: SocketAddr,
    admin_stop: CancellationToken,
    admin: tokio::task::JoinHandle<Result<(), std::io::Error>>,
}

impl Process {
    /// Connects the engine and opens the admin listener. Nothing is consumed yet.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_with(settings, Router::new()).await
    }

    /// The same with `routes` beside those that every admin listener has.
    pub async fn start_with(settings: Settings, routes: Router) -> Result<Self, StartError> {
        http::install_crypto_provider();
        let listener = listen("admin.listen", settings.admin.listen).await?;
        let admin_address = listener.local_addr().map_err(|source| StartError::Listen {
            key: "admin.listen",
            address: settings.admin.listen,
            source,
        })?;
        let names = settings.queue_names();
        let metrics = Metrics::new(&names)?;
        let (queues, claims) = connect(&settings).await?;
        metrics.watch_broker(queues.clone())?;
        let readiness = Readiness::new();
        metrics.watch_readiness(readiness.clone())?;
        let mut service = Service::new(settings.shutdown_grace);
        service.spawn("topology", mismatch(queues.clone(), service.stop_token()));
        // The admin listener outlives the service: probes are answered while it drains.
        let admin_stop = CancellationToken::new();
        let admin = tokio::spawn(admin::serve(
            listener,
            readiness.clone(),
            metrics.clone(),
            routes,
            admin_stop.clone(),
        ));
        let shell = Shell {
            queues,
            names,
            metrics,
            readiness,
            stop: service.stop_token(),
            grace: settings.shutdown_grace,
        };
        Ok(Self {
            settings: Arc::new(settings),
            shell,
            claims,
            service,
            admin_address,
            admin_stop,
            admin,
        })
    }

    /// Shows how full the queues are. For processes that consume: ingest, of which there are many,
    /// need not ask as well.
    ///
    /// # Errors
    /// When it is shown already.
    pub fn watch_queues(&mut self) -> Result<(), prometheus::Error> {
        let gauges = self.shell.metrics.watch_queues(&self.shell.names)?;
        let (queues, stop) = (self.shell.queues.clone(), self.shell.stop.clone());
        self.service.spawn("queue gauges", async move {
            tokio::select! {
                () = stop.cancelled() => Ok::<(), Infallible>(()),
                never = gauges.keep(queues) => match never {},
            }
        });
        Ok(())
    }

    /// Runs what was spawned until `stop`, drains, and closes the connections.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let readiness = self.shell.readiness.clone();
        let draining = self.shell.stop.clone();
        let result = self
            .service
            .run_until(async move {
                stop.await;
                readiness.drain();
                draining.cancel();
            })
            .await;
        self.shell.readiness.drain();
        self.shell.queues.close(CLOSE).await;
        self.admin_stop.cancel();
        tokio::time::timeout(FLUSH, self.admin).await.ok();
        result.map_err(StartError::from)
    }
}

/// Fails when the broker's queues are not the topology's, which no waiting mends.
async fn mismatch(queues: Queues, stop: CancellationToken) -> Result<(), QueueError> {
    tokio::select! {
        error = queues.fatal() => Err(error),
        () = stop.cancelled() => Ok(()),
    }
}

/// Binds a listener; the error names the setting.
pub async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            key,
            address,
            source,
        })
}

/// The whole `main` of a stage's binary; `spawn` puts the stage's tasks into the service.
///
/// The exit code is 0 after a stop, 78 with bad settings (a restart does not help), else 1.
pub async fn main(
    name: &'static str,
    spawn: impl AsyncFnOnce(&mut Process) -> Result<(), BoxError>,
) -> ExitCode {
    main_with(name, |_settings| Ok(Router::new()), spawn).await
}

/// The same for a stage that has `routes` of its own on the admin listener.
pub async fn main_with(
    name: &'static str,
    routes: impl FnOnce(&Settings) -> Result<Router, BoxError>,
    spawn: impl AsyncFnOnce(&mut Process) -> Result<(), BoxError>,
) -> ExitCode {
    failpoint::from_environment();
    let settings = match settings::from_process() {
        Ok(settings) => settings,
        Err(mistakes) => {
            // Without settings there is no log yet; whoever started us reads standard error.
            use std::io::Write as _;
            writeln!(std::io::stderr(), "{mistakes}").ok();
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    telemetry::init(&settings.log);
    telemetry::log_panics();
    telemetry::export_traces(service_name(name));
    let result = run(name, settings, routes, spawn).await;
    if let Err(error) = &result {
        tracing::error!(stage = name, error = %telemetry::chain(error), "ended");
    }
    telemetry::stop_export(CLOSE).await;
    telemetry::flush(FLUSH);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if settings::is_bad_settings(&error) => ExitCode::from(EXIT_CONFIG),
        Err(_) => ExitCode::FAILURE,
    }
}

/// The name of a stage's process in a trace store, where other software has names too.
fn service_name(stage: &'static str) -> &'static str {
    match stage {
        "ingest" => "quittance-ingest",
        "verifier" => "quittance-verifier",
        "fulfiller" => "quittance-fulfiller",
        other => other,
    }
}

async fn run(
    name: &'static str,
    settings: Settings,
    routes: impl FnOnce(&Settings) -> Result<Router, BoxError>,
    spawn: impl AsyncFnOnce(&mut Process) -> Result<(), BoxError>,
) -> Result<(), StartError> {
    let stop = stop_signal().map_err(StartError::Signals)?;
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(stage = name, version, "starting");
    let routes = routes(&settings).map_err(StartError::Stage)?;
    let mut process = Process::start_with(settings, routes).await?;
    spawn(&mut process).await.map_err(StartError::Stage)?;
    process.run_until(stop).await?;
    tracing::info!(stage = name, "stopped");
    Ok(())
}
