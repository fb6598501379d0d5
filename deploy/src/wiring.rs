//! The one place where the command touches the other packages: settings, engines, the shop
//! database, the all-in-one server. Everything else in this package works on the values given here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use quittance_common::ids::{Sku, TxnId};
use quittance_common::message::Message;
use quittance_common::queue::Depth;
use quittance_common::settings::Settings;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::catalogue::Product;

/// Every mistake in the settings, one a line.
#[derive(Debug, Clone, thiserror::Error)]
pub struct SettingsMistakes(pub Vec<String>);

impl fmt::Display for SettingsMistakes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("\n"))
    }
}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct SettingsSource {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// The environment of the process; empty for the demo, which must not depend on it.
    pub environment: BTreeMap<String, String>,
}

impl SettingsSource {
    /// `file` and the environment of this process.
    pub fn of_process(file: Option<&Path>) -> Self {
        Self {
            file: file.map(Path::to_owned),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        }
    }

    /// Reads and validates.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(&self) -> Result<Settings, SettingsMistakes> {
        // integrator: Settings::load(self.file.as_deref(), &self.environment)
        Err(not_wired_settings())
    }
}

/// The settings in effect as `(key, value)`, secrets as `(set)`.
pub fn describe(_settings: &Settings) -> Vec<(String, String)> {
    // integrator: settings.describe()
    Vec::new()
}

/// How full the queues are; opens the embedded engine's file read-only, because a server may own it.
pub async fn depths(_settings: &Settings) -> anyhow::Result<Vec<Depth>> {
    // integrator: runtime::engine::connect(settings), Queues::depths()
    not_wired().await
}

/// One payment as listings show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PaymentRow {
    /// `paypal`.
    pub gateway: String,
    /// The account's id.
    pub account: String,
    /// The payment's transaction id.
    pub txn_id: String,
    /// `completed`, `pending`, `refunded` ...
    pub status: String,
    /// The gross, such as `19.95`.
    pub amount: String,
    /// The gross's currency.
    pub currency: String,
    /// How many events are recorded for it.
    pub events: u64,
    /// What was done: `stock_decremented`, `mail_received` ...
    pub effects: Vec<String>,
    /// What a person should look at.
    pub flags: Vec<String>,
}

/// Which payments to list; what is `None` does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentQuery {
    /// Only this status.
    pub status: Option<String>,
    /// Only this account.
    pub account: Option<String>,
    /// Only those with this flag.
    pub flag: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// One product's stock as listings show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StockRow {
    /// The shop's own number.
    pub sku: String,
    /// For people.
    pub name: String,
    /// The price of one, such as `9.90`.
    pub price: String,
    /// The price's currency.
    pub currency: String,
    /// In stock, reserved ones among them.
    pub on_hand: i64,
    /// Held for pending payments.
    pub reserved: i64,
    /// Paid for and not there.
    pub backordered: i64,
}

/// The shop database, as far as the command needs it.
#[derive(Debug, Clone)]
pub struct Books {
    // integrator: shop: Shop
}

impl Books {
    /// Opens the database of `settings`.
    pub async fn open(_settings: &Settings) -> anyhow::Result<Self> {
        // integrator: Shop::open(&settings.shop_database)
        not_wired().await
    }

    /// The payments that `query` leaves, newest first.
    pub async fn payments(&self, _query: &PaymentQuery) -> anyhow::Result<Vec<PaymentRow>> {
        // integrator: shop.payments(&PaymentFilter { .. }), each row by [`converted`]
        not_wired().await
    }

    /// Everything that is recorded about each payment that `txn` names; empty when nothing is.
    pub async fn payment_story(&self, _txn: &TxnId) -> anyhow::Result<Vec<serde_json::Value>> {
        // integrator: shop.payment_story(txn.as_str()), each by serde_json::to_value
        not_wired().await
    }

    /// Every product's stock, by sku.
    pub async fn stock(&self) -> anyhow::Result<Vec<StockRow>> {
        // integrator: shop.stock()
        not_wired().await
    }

    /// Sets what is on hand.
    ///
    /// # Errors
    /// Also when there is no such product.
    pub async fn set_stock(&self, _sku: &Sku, _on_hand: u32) -> anyhow::Result<()> {
        // integrator: shop.set_stock(sku, on_hand, clock::now())
        not_wired().await
    }

    /// Adds products, or changes those that are there.
    pub async fn import(&self, _products: &[Product]) -> anyhow::Result<()> {
        // integrator: shop.import_products(&rows, clock::now())
        not_wired().await
    }
}

/// All stages in this process.
#[derive(Debug)]
pub struct Running {
    /// The shop database that the stages write.
    pub books: Books,
    // integrator: queues: Queues, service: Service
}

impl Running {
    /// Starts every stage on the engine of `settings`, with ingest on `listener`, bound by the
    /// caller so that it knows the port. The admin listener is opened from the settings.
    pub async fn start(_settings: Settings, _listener: TcpListener) -> anyhow::Result<Self> {
        // integrator: Process::start(settings), then every stage's tasks into its service
        not_wired().await
    }

    /// How full the queues are.
    pub async fn depths(&self) -> anyhow::Result<Vec<Depth>> {
        // integrator: self.queues.depths()
        not_wired().await
    }

    /// Every message on the quarantine and the dead queues, with the name of its queue.
    pub async fn parked(&self) -> anyhow::Result<Vec<(String, Message)>> {
        // integrator: Embedded::peek on QueueId::Quarantine and QueueId::Dead(..)
        not_wired().await
    }

    /// Runs until `stop`, or until a stage ends by itself, which is an error.
    pub async fn until(self, _stop: CancellationToken) -> anyhow::Result<()> {
        // integrator: Service::run_until(stop)
        not_wired().await
    }

    /// Stops every stage in order.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        stop.cancel();
        self.until(stop).await
    }
}

/// Takes a row of another package by its JSON form, so that a further member there breaks nothing.
///
/// # Errors
/// When a member is missing or of another type.
pub fn converted<T: for<'de> Deserialize<'de>>(row: &impl Serialize) -> anyhow::Result<T> {
    Ok(serde_json::from_value(serde_json::to_value(row)?)?)
}

/// Resolves when the process is asked to stop: SIGTERM or Ctrl-C.
pub async fn stop_signal() {
    // integrator: quittance_common::runtime::stop_signal()
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// What every function here answers until its other side is there.
async fn not_wired<T>() -> anyhow::Result<T> {
    std::future::ready(()).await;
    anyhow::bail!("this build of quittance has no stages wired in")
}

fn not_wired_settings() -> SettingsMistakes {
    SettingsMistakes(vec![
        "this build of quittance has no settings reader wired in".to_owned(),
    ])
}
