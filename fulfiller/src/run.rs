//! Puts the fulfiller's parts together. What runs them (consumer loops, service, signals) is the
//! shared runtime's.

use std::sync::Arc;

use quittance_common::queue::Queues;
use quittance_common::settings::Settings;
use quittance_common::shop::{Shop, ShopError};
use tokio::sync::Notify;

use crate::mail::{MailSettingsError, Mailer};
use crate::metrics::Metrics;
use crate::notify::NotifyStage;
use crate::relay::Relay;
use crate::stage::FulfilStage;
use crate::templates::{TemplateError, Templates};

/// Why the fulfiller cannot be put together; a restart does not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The shop database's settings.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// The mail settings.
    #[error(transparent)]
    Mail(#[from] MailSettingsError),
    /// The templates.
    #[error(transparent)]
    Template(#[from] TemplateError),
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
    /// The books that all of them share.
    pub shop: Shop,
}

/// Puts the parts together. Connects to nothing: every part waits for its servers by itself.
pub fn parts(settings: &Settings, queues: Queues, metrics: &Metrics) -> Result<Parts, SetupError> {
    let shop = Shop::lazy(&settings.shop_database)?;
    let outbox_written = Arc::new(Notify::new());
    let templates = Templates::built_in(&settings.notify.shop_name)?;
    let mailer = Mailer::new(&settings.notify)?;
    Ok(Parts {
        fulfil: FulfilStage::new(shop.clone(), Arc::clone(&outbox_written), metrics.clone()),
        notify: NotifyStage::new(shop.clone(), templates, mailer, metrics.clone()),
        relay: Relay::new(shop.clone(), queues, outbox_written),
        shop,
    })
}
