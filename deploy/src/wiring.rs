//! The one place where the command touches the other packages: settings, engines, the shop
//! database, the all-in-one server. Everything else in this package works on the values given here.

pub mod checks;
mod orders;
mod resolutions;
mod stages;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quittance_common::clock;
use quittance_common::ids::Sku;
use quittance_common::message::Message;
use quittance_common::queue::embedded::{Embedded, Onlooker, Remote};
use quittance_common::queue::rabbitmq::RabbitMq;
use quittance_common::queue::{Depth, QueueError, QueueId, Queues, WorkQueue};
use quittance_common::runtime::Shell;
use quittance_common::runtime::process::Process;
use quittance_common::settings::reader::process_environment;
use quittance_common::settings::{Engine, Settings};
use quittance_common::shop::catalogue::ProductRow;
use quittance_common::shop::flags::waits_for_a_person;
use quittance_common::shop::listing::PaymentFilter;
use quittance_common::shop::{PaymentStory, Shop};
use quittance_common::variant::Variants;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::catalogue::{Catalogue, Product};

/// The most parked messages of one queue that are looked at.
const PEEK: u32 = 1000;

/// How long a tool waits for the broker.
const CONNECTING: Duration = Duration::from_secs(15);

/// How long closing connections may take.
const CLOSING: Duration = Duration::from_secs(2);

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
    /// `file`, or else the one that `QUITTANCE_CONFIG` names, and the environment of this process.
    pub fn of_process(file: Option<&Path>) -> Self {
        let environment = process_environment();
        Self {
            file: file
                .map(Path::to_owned)
                .or_else(|| environment.get("QUITTANCE_CONFIG").map(PathBuf::from)),
            environment,
        }
    }

    /// Reads and validates.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(&self) -> Result<Settings, SettingsMistakes> {
        Settings::load(self.file.as_deref(), &self.environment)
            .map_err(|errors| SettingsMistakes(errors.0.iter().map(ToString::to_string).collect()))
    }
}

/// The settings in effect as `(key, value)`, secrets as `(set)`.
pub fn describe(settings: &Settings) -> Vec<(String, String)> {
    settings.describe()
}

/// How full the queues are. Beside a server the embedded engine's file is only looked at.
pub async fn depths(settings: &Settings) -> anyhow::Result<Vec<Depth>> {
    let names = settings.queue_names();
    match &settings.engine {
        Engine::Embedded { data_dir } => {
            if let Ok(Some(server)) = Remote::connect(data_dir, names.clone()).await {
                return Ok(server.depths().await?);
            }
            Ok(Onlooker::open(data_dir, names).await?.depths().await?)
        }
        Engine::Cluster(cluster) => {
            let broker = RabbitMq::start(cluster, names)?;
            let depths = broker.depths().await;
            broker.close(CLOSING).await;
            Ok(depths?)
        }
    }
}

/// The queues, for a tool that changes them. On the embedded engine by way of the server that owns
/// them, or, when none runs, as their owner.
pub async fn tool_queues(settings: &Settings) -> anyhow::Result<Queues> {
    let names = settings.queue_names();
    match &settings.engine {
        Engine::Embedded { data_dir } => {
            if let Some(server) = Remote::connect(data_dir, names.clone()).await? {
                return Ok(Queues::Remote(server));
            }
            match Embedded::open(data_dir, names).await {
                Ok(engine) => Ok(Queues::Embedded(engine)),
                Err(error @ QueueError::Unavailable(_)) => Err(anyhow::Error::from(error).context(
                    "another tool owns these queues, or a server that is just starting or \
                         stopping: try again; `queues list`, `queues peek` and `--dry-run` work \
                         meanwhile",
                )),
                Err(error) => Err(error.into()),
            }
        }
        Engine::Cluster(cluster) => {
            let broker = RabbitMq::start(cluster, names)?;
            broker.ready(CONNECTING).await?;
            Ok(Queues::RabbitMq(broker))
        }
    }
}

/// Closes what [`tool_queues`] opened.
pub async fn close_tool_queues(queues: &Queues) {
    queues.close(CLOSING).await;
}

/// One payment as listings show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PaymentRow {
    /// `paypal`.
    pub gateway: String,
    /// `payment`, `case`, `subscription`, `payout` or `message`.
    pub kind: String,
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
    /// Only this kind: `payment`, `case`, `subscription`, `payout` or `message`.
    pub kind: Option<String>,
    /// Only those with this flag.
    pub flag: Option<String>,
    /// Only those that a person must look at before the goods go.
    pub flagged: bool,
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
    /// The item that it is a variant of; blank when it is none.
    pub item_number: String,
    /// The options that select it, in canonical form.
    pub options: String,
}

/// The shop database, as far as the command needs it.
#[derive(Debug, Clone)]
pub struct Books {
    shop: Shop,
}

impl Books {
    /// Opens the database of `settings`.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let shop = Shop::open(&settings.shop_database).await?;
        Ok(Self { shop })
    }

    /// The payments that `query` leaves, newest first.
    pub async fn payments(&self, query: &PaymentQuery) -> anyhow::Result<Vec<PaymentRow>> {
        let filter = PaymentFilter {
            status: query.status.clone(),
            account: query.account.clone(),
            kind: query.kind.clone(),
            flag: query.flag.clone(),
            flagged: query.flagged,
            // What a flag asks for is not the database's to know.
            limit: if query.flagged {
                Some(u32::MAX)
            } else {
                query.limit
            },
        };
        let mut rows = self.shop.payments(&filter).await?;
        if query.flagged {
            rows.retain(|row| waits_for_a_person(&row.flags));
            let limit = query.limit.unwrap_or(u32::MAX);
            rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        rows.iter().map(converted).collect()
    }

    /// Everything that is recorded about each payment, subscription, case or payout that `id`
    /// names; empty when nothing is.
    pub async fn payment_story(&self, id: &str) -> anyhow::Result<Vec<PaymentStory>> {
        Ok(self.shop.payment_story(id).await?)
    }

    /// Every product's stock, by sku.
    pub async fn stock(&self) -> anyhow::Result<Vec<StockRow>> {
        self.shop.stock().await?.iter().map(converted).collect()
    }

    /// Sets what is on hand.
    ///
    /// # Errors
    /// Also when there is no such product.
    pub async fn set_stock(&self, sku: &Sku, on_hand: u32) -> anyhow::Result<()> {
        Ok(self.shop.set_stock(sku, on_hand, clock::now()).await?)
    }

    /// Adds products, or changes those that are there.
    pub async fn import(&self, products: &[Product]) -> anyhow::Result<()> {
        let rows = rows(products);
        Ok(self.shop.import_products(&rows, clock::now()).await?)
    }

    /// The same for a whole list, with what its products are variants of.
    ///
    /// # Errors
    /// Also when options would no longer say which product is meant.
    pub async fn import_catalogue(&self, list: &Catalogue) -> anyhow::Result<()> {
        let (rows, now) = (rows(&list.products), clock::now());
        Ok(self
            .shop
            .import_catalogue(&rows, &list.variants, now)
            .await?)
    }

    /// The variants of each of `items`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn variants<'a>(
        &self,
        items: impl IntoIterator<Item = &'a Sku>,
    ) -> anyhow::Result<Variants> {
        Ok(self.shop.variants(items).await?)
    }
}

fn rows(products: &[Product]) -> Vec<ProductRow> {
    products
        .iter()
        .map(|product| ProductRow {
            sku: product.sku.clone(),
            name: product.name.clone(),
            price: product.price,
            on_hand: product.on_hand,
        })
        .collect()
}

/// All stages in this process.
#[derive(Debug)]
pub struct Running {
    /// The shop database that the stages write.
    pub books: Books,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    process: Process,
}

impl Running {
    /// Starts every stage on the engine of `settings`, with ingest on `listener`, bound by the
    /// caller so that it knows the port. The admin listener is opened from the settings.
    pub async fn start(settings: Settings, listener: TcpListener) -> anyhow::Result<Self> {
        let books = Books {
            shop: Shop::lazy(&settings.shop_database)?,
        };
        let routes = quittance_ingest::orders::router(&settings)?;
        let mut process = Process::start_with(settings, routes).await?;
        stages::spawn(&mut process, listener)?;
        let admin = process.admin_address;
        Ok(Self {
            books,
            admin,
            process,
        })
    }

    /// How full the queues are.
    pub async fn depths(&self) -> anyhow::Result<Vec<Depth>> {
        Ok(self.process.shell.queues.depths().await?)
    }

    /// Every message on the quarantine and the dead queues, with the name of its queue. Embedded
    /// engine only: a broker shows a message only by handing it out.
    pub async fn parked(&self) -> anyhow::Result<Vec<(String, Message)>> {
        let Shell { queues, names, .. } = &self.process.shell;
        let Queues::Embedded(engine) = queues else {
            anyhow::bail!("parked messages can be looked at on the embedded engine only");
        };
        let mut parked = Vec::new();
        for queue in WorkQueue::ALL
            .map(QueueId::Dead)
            .into_iter()
            .chain([QueueId::Quarantine])
        {
            let name = names.name(queue);
            let messages = engine.peek(queue, PEEK).await?;
            parked.extend(messages.into_iter().map(|message| (name.clone(), message)));
        }
        Ok(parked)
    }

    /// Runs until `stop`, or until a stage ends by itself, which is an error.
    pub async fn until(self, stop: CancellationToken) -> anyhow::Result<()> {
        Ok(self.process.run_until(stop.cancelled_owned()).await?)
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
///
/// # Errors
/// When signal handlers cannot be installed.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(quittance_common::runtime::stop_signal()?)
}
