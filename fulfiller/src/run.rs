//! Puts the fulfiller's parts together and runs them as tasks of a process.

use std::sync::Arc;
use std::time::Duration;

use quittance_common::consumer;
use quittance_common::queue::{Queues, WorkQueue};
use quittance_common::runtime::{Service, Shell};
use quittance_common::settings::{Engine, Settings};
use quittance_common::shop::{Shop, ShopError};
use tokio::sync::Notify;

use crate::metrics::Metrics;
use crate::notify::{NotifyStage, OutletError, Outlets};
use crate::relay::{Pulse, Relay};
use crate::retention::Retention;
use crate::stage::FulfilStage;
use crate::sweep::Sweeper;
use crate::terms::Terms;

/// Why the fulfiller cannot be put together; a restart does not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The shop database's settings.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// What mail, templates or webhooks are set to.
    #[error("the settings of [notify] or [stock] cannot be used")]
    Outlets(#[from] OutletError),
    /// A metric was registered twice; a bug.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// The fulfiller's parts, to be run side by side.
#[derive(Debug)]
pub struct Parts {
    /// On `ipn.fulfil`.
    pub fulfil: FulfilStage,
    /// On `ipn.notify`.
    pub notify: NotifyStage,
    /// From the outbox to the queues.
    pub relay: Relay,
    /// Whether the relay reads the outbox.
    pub pulse: Pulse,
    /// Old reservations.
    pub sweeper: Sweeper,
    /// Old personal data; `None` when it is kept for ever.
    pub retention: Option<Retention>,
    /// The books that all of them share.
    pub shop: Shop,
}

/// Puts the parts together. Connects to nothing: every part waits for its servers by itself.
pub fn parts(settings: &Settings, queues: Queues, metrics: &Metrics) -> Result<Parts, SetupError> {
    let shop = Shop::lazy(&settings.shop_database)?;
    let outbox_written = Arc::new(Notify::new());
    let outlets = Outlets::of(settings)?;
    let pulse = Pulse::default();
    let fulfil = FulfilStage::new(shop.clone(), Arc::clone(&outbox_written), metrics.clone());
    Ok(Parts {
        fulfil: fulfil.under(Terms::of(settings)),
        sweeper: Sweeper::new(
            shop.clone(),
            settings.fulfiller.reserve_for,
            metrics.clone(),
        ),
        retention: settings
            .retention
            .personal_data
            .map(|keep| Retention::new(shop.clone(), keep)),
        notify: NotifyStage::new(shop.clone(), outlets, metrics.clone())
            .telling_merchant(settings.notify.tells_merchant()),
        relay: Relay::new(
            shop.clone(),
            queues,
            outbox_written,
            publish_timeout(settings),
            pulse.clone(),
        ),
        pulse,
        shop,
    })
}

/// How long a publish may take. The embedded engine has no limit of its own: a disk is quick.
fn publish_timeout(settings: &Settings) -> Duration {
    match &settings.engine {
        Engine::Embedded { .. } => Duration::from_secs(5),
        Engine::Cluster(cluster) => cluster.publish_timeout,
    }
}

/// Starts both stages, the relay and the sweepers in `service`.
pub fn spawn(service: &mut Service, settings: &Settings, shell: &Shell) -> Result<(), SetupError> {
    let duplicates = shell.metrics.duplicates_total.clone();
    let metrics = Metrics::register(shell.metrics.registry(), duplicates)?;
    let Parts {
        fulfil,
        notify,
        relay,
        pulse,
        sweeper,
        retention,
        ..
    } = parts(settings, shell.queues.clone(), &metrics)?;
    let concurrency = settings.fulfiller.concurrency;
    service.spawn(
        "fulfiller",
        consumer::run(
            shell.clone(),
            Arc::new(fulfil),
            WorkQueue::Fulfil,
            concurrency,
        ),
    );
    service.spawn(
        "notifier",
        consumer::run(
            shell.clone(),
            Arc::new(notify),
            WorkQueue::Notify,
            concurrency,
        ),
    );
    // In one process with ingest this would keep notifications out that only have to wait.
    if matches!(settings.engine, Engine::Cluster(_)) {
        shell
            .readiness
            .require("relay of the outbox", move || pulse.is_steady());
    }
    let stop = shell.stop.clone();
    service.spawn("relay", async move {
        relay.run(stop).await;
        Ok::<(), SetupError>(())
    });
    let stop = shell.stop.clone();
    service.spawn("sweeper", async move {
        sweeper.run(stop).await;
        Ok::<(), SetupError>(())
    });
    if let Some(retention) = retention {
        let stop = shell.stop.clone();
        service.spawn("retention", async move {
            retention.run(stop).await;
            Ok::<(), SetupError>(())
        });
    }
    Ok(())
}
