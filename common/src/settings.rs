//! The settings: what can be set, and the validated form that everything else is handed.
//!
//! One TOML file, every key overridable by `QUITTANCE_SECTION__KEY`, secrets also by
//! `..._FILE`. [`reader`] turns both into [`Settings`] or into every mistake at once.

pub mod credential;
mod describe;
pub mod keys;
pub mod mistake;
mod parse;
pub mod reader;
mod rule_tables;
mod rules;
mod source;
pub mod span;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use credential::Credential;
pub use mistake::{Mistake, SettingsErrors, is_bad_settings};
pub use reader::{from_process, process_environment};

use crate::event::Environment;
use crate::ids::{AccountId, GatewayId};
use crate::queue::ArchiveLimits;
use crate::retry::Ladder;
use crate::rules::Rules;

/// The exit code for bad settings, `EX_CONFIG` of `sysexits.h`: a restart will not help.
pub const EXIT_CONFIG: u8 = 78;

/// Everything, validated. Built once, immutable.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `engine`: where queues and claims live.
    pub engine: Engine,
    /// `shop_database`: `sqlite` (a file in `data_dir`) or a `postgres://` URL.
    pub shop_database: ShopDatabase,
    /// `queue_prefix`, default `ipn.`.
    pub queue_prefix: String,
    /// `shutdown_grace`, default 25 s.
    pub shutdown_grace: Duration,
    /// `public_url`: under which buyers and the gateway reach ingest, with a slash at the end.
    /// Payment links name it; without it there are none.
    pub public_url: Option<Url>,
    /// `[ingest]`.
    pub ingest: IngestSettings,
    /// `[pdt]`.
    pub pdt: PdtSettings,
    /// `[admin]`.
    pub admin: AdminSettings,
    /// `[verifier]`.
    pub verifier: VerifierSettings,
    /// `[orders]`.
    pub orders: OrderSettings,
    /// `[fulfiller]`.
    pub fulfiller: FulfillerSettings,
    /// `[notify]`.
    pub notify: NotifySettings,
    /// `[stock]`.
    pub stock: StockSettings,
    /// `[retry] ladder`, default 1 s, 5 s, 30 s, 2 min, 10 min, 1 h, 6 h.
    pub ladder: Ladder,
    /// `[[account]]`, at least one.
    pub accounts: Vec<Account>,
    /// `[[rule]]`, in order.
    pub rules: Rules,
    /// `[archive]`: what is kept of it; `None` when it is off.
    pub archive: Option<ArchiveLimits>,
    /// `[retention]`.
    pub retention: RetentionSettings,
    /// `[log]`.
    pub log: LogSettings,
}

impl Settings {
    /// The account of that gateway and id.
    pub fn account(&self, gateway: GatewayId, id: &AccountId) -> Option<&Account> {
        self.accounts
            .iter()
            .find(|account| account.gateway == gateway && account.id == *id)
    }

    /// The table of queues that these settings give.
    pub fn queue_names(&self) -> crate::queue::QueueNames {
        crate::queue::QueueNames::new(self.queue_prefix.clone(), self.ladder.clone())
            .with_archive(self.archive)
    }
}

/// Where queues and claims live.
#[derive(Debug, Clone)]
pub enum Engine {
    /// One `SQLite` file under `data_dir`.
    Embedded {
        /// `data_dir`, default `./quittance-data`; created if missing.
        data_dir: PathBuf,
    },
    /// `RabbitMQ` and Redis.
    Cluster(ClusterSettings),
}

/// `[cluster]`.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// `amqp_url`: one URL, or several with commas: hosts of one cluster, tried in turn.
    pub amqp_url: Credential,
    /// `redis_url`.
    pub redis_url: Credential,
    /// `management_url`: the broker's HTTP API, for `topology check`.
    pub management_url: Option<Credential>,
    /// `publish_channels`, default 64: confirm channels with one publish in flight each.
    pub publish_channels: u16,
    /// `publish_timeout`, default 5 s.
    pub publish_timeout: Duration,
    /// `heartbeat`, default 10 s; 5 to 10 s make sense.
    pub heartbeat: Duration,
}

/// Which database keeps the books.
#[derive(Debug, Clone)]
pub enum ShopDatabase {
    /// A file, default `{data_dir}/shop.sqlite`.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(Credential),
}

/// `[ingest]`.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// `listen`, default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `max_body` in bytes, default 65,536.
    pub max_body: usize,
    /// `max_in_flight`, default 512.
    pub max_in_flight: usize,
    /// `max_connections`, default 768: below the 1024 files that Linux lets a process open as a rule.
    pub max_connections: usize,
    /// `confirm_timeout`, default 10 s: `PayPal` waits 20 s.
    pub confirm_timeout: Duration,
}

/// `[pdt]`: the page that buyers come back to.
#[derive(Debug, Clone)]
pub struct PdtSettings {
    /// `keep`, default 1 h: how long the answer to a look-up is kept, for the page alone.
    pub keep: Duration,
    /// `timeout`, default 10 s: how long the gateway may take to answer one look-up.
    pub timeout: Duration,
    /// `patience`, default 3 s: how long a page waits for a look-up before it is shown without.
    pub patience: Duration,
    /// `cookie_secret`: signs the cookie of the browser that came back first. Without it each
    /// process makes one of its own.
    pub cookie_secret: Option<SecretString>,
    /// `templates`: a folder whose files stand in for those that are built in.
    pub templates: Option<PathBuf>,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// `listen`, default `127.0.0.1:9090`.
    pub listen: SocketAddr,
    /// `token`: whoever bears it may register orders; without it nobody may, over HTTP.
    pub token: Option<SecretString>,
}

/// `[verifier]`.
#[derive(Debug, Clone)]
pub struct VerifierSettings {
    /// `concurrency`, default 16: messages in hand at once.
    pub concurrency: u16,
    /// `connect_timeout`, default 10 s.
    pub connect_timeout: Duration,
    /// `postback_timeout`, default 30 s in all.
    pub postback_timeout: Duration,
    /// `give_up_after`, default 4 days from the first failure.
    pub give_up_after: Duration,
    /// `recheck_after`, default 30 s: an `INVALID` is asked once more.
    pub recheck_after: Duration,
    /// `unmatched`: what happens when a price cannot be checked; default quarantine.
    pub unmatched: Unmatched,
    /// `orders`: whether a payment must name an order that is known; default optional.
    pub orders: OrderPolicy,
    /// `tolerance`, default 0: minor units by which a payment may be too small.
    pub tolerance: u32,
    /// `claim_lease`, default 60 s; longer than `postback_timeout`.
    pub claim_lease: Duration,
    /// `claim_ttl`, default 90 days; at least 35.
    pub claim_ttl: Duration,
    /// `breaker_failures`, default 5: failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// `breaker_cooldown`, default 10 s: the wait before the first probe; doubles up to 16 times.
    pub breaker_cooldown: Duration,
}

/// What happens to a payment that matches no order and no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// It goes to a person.
    Quarantine,
    /// It is recorded and flagged.
    Accept,
}

/// Whether a payment must name an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderPolicy {
    /// One without an order that is known is held against the catalogue.
    Optional,
    /// One without an order that is known goes to a person; renewals excepted.
    Required,
}

/// `[orders]`.
#[derive(Debug, Clone)]
pub struct OrderSettings {
    /// `secret`: the secrets of signed orders. The first one signs, every one is accepted, so
    /// that a secret can be replaced. Empty: orders are not signed.
    pub secrets: Vec<SecretString>,
    /// `cancel_url`: where a buyer goes who gives up at the gateway; its own page unless set.
    pub cancel_url: Option<Url>,
}

/// `[fulfiller]`.
#[derive(Debug, Clone)]
pub struct FulfillerSettings {
    /// `concurrency`, default 8.
    pub concurrency: u16,
    /// `reserve_for`, default 14 days: how long a pending payment holds its goods; longer than an
    /// eCheck takes.
    pub reserve_for: Duration,
    /// `restock_on`, default `full_refund`.
    pub restock_on: Restock,
}

/// When goods that were sold go back on the shelf by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restock {
    /// When all of the money was given back.
    #[default]
    OnFullRefund,
    /// Never: a person puts them back.
    Never,
}

/// `[notify]`.
#[derive(Debug, Clone)]
pub struct NotifySettings {
    /// `driver`: `maildir` (default; nothing is sent by accident), `smtp` or `http`.
    pub driver: NotifyDriver,
    /// `from`: the sender of customer mail, default `shop@localhost`.
    pub from: String,
    /// `shop_name`, default `Shop`.
    pub shop_name: String,
    /// `merchant`: who is told of what waits for a person; nobody unless set.
    pub merchant: Option<String>,
    /// `templates`: a folder whose files stand in for the built-in templates of the same name.
    pub templates: Option<PathBuf>,
    /// `language` and `languages`.
    pub languages: Languages,
}

impl NotifySettings {
    /// Whether anybody is there to be told of what waits for a person.
    pub const fn tells_merchant(&self) -> bool {
        self.merchant.is_some() || matches!(self.driver, NotifyDriver::Http(_))
    }
}

/// In which language a buyer is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Languages {
    /// `language`, default `en`: for every country that `by_country` does not name.
    pub default: String,
    /// `languages`: two-letter country, upper case, to language, lower case.
    pub by_country: BTreeMap<String, String>,
}

impl Languages {
    /// The language for a buyer of that country.
    pub fn of(&self, country: Option<&str>) -> &str {
        country
            .and_then(|country| self.by_country.get(&country.to_ascii_uppercase()))
            .unwrap_or(&self.default)
    }

    /// Every language that may be asked for, once each.
    pub fn all(&self) -> std::collections::BTreeSet<&str> {
        self.by_country
            .values()
            .map(String::as_str)
            .chain([self.default.as_str()])
            .collect()
    }
}

impl Default for Languages {
    /// German where it is spoken, English elsewhere.
    fn default() -> Self {
        let german = ["AT", "CH", "DE", "LI", "LU"];
        Self {
            default: "en".to_owned(),
            by_country: german.map(|c| (c.to_owned(), "de".to_owned())).into(),
        }
    }
}

/// How customer notifications leave.
#[derive(Debug, Clone)]
pub enum NotifyDriver {
    /// Files in a Maildir, default `{data_dir}/mail`.
    Maildir(PathBuf),
    /// `smtp_url`: `smtp://` or `smtps://`.
    Smtp(Credential),
    /// `url`: the shop's own endpoint.
    Http(HttpTarget),
}

/// `[stock]`.
#[derive(Debug, Clone)]
pub struct StockSettings {
    /// `driver`: `sql` (default) or `http`.
    pub driver: StockDriver,
}

/// Who counts the stock.
#[derive(Debug, Clone)]
pub enum StockDriver {
    /// The shop database.
    Sql,
    /// `url`: the shop, which is told what to reserve, take, release and put back.
    Http(HttpTarget),
}

/// An endpoint that is posted to, signed by the Standard Webhooks scheme.
#[derive(Debug, Clone)]
pub struct HttpTarget {
    /// `url`: `https://`, or `http://` as well with `allow_private`.
    pub url: Url,
    /// `secrets`: `whsec_...`, the newest first; each of them signs, so that a receiver may
    /// change from one to the next at leisure. At least one.
    pub secrets: Vec<SecretString>,
    /// `allow_private`, default false: whether the host may be loopback, private or link-local.
    pub allow_private: bool,
}

/// `[[account]]`.
#[derive(Debug, Clone)]
pub struct Account {
    /// `id`: the last part of the URL.
    pub id: AccountId,
    /// `gateway`.
    pub gateway: GatewayId,
    /// `environment`: decides the hosts that are asked; never the message.
    pub environment: Environment,
    /// `receivers`: every id and e-mail address under which this account is paid, lower case.
    pub receivers: Vec<String>,
    /// `pdt_token`, for PDT look-ups.
    pub pdt_token: Option<SecretString>,
    /// `postback_url`: by environment unless set, to point at a stand-in.
    pub postback_url: Url,
    /// `pdt_url`: by environment unless set.
    pub pdt_url: Url,
    /// `checkout_url`: where payment links lead; by environment unless set.
    pub checkout_url: Url,
}

/// `[retention]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// `personal_data`, default 365 days: how long the shop database keeps who paid and the bytes
    /// of parked messages. `None` when it is `off`: for ever.
    pub personal_data: Option<Duration>,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// `format`: `text` (default) or `json`.
    pub format: LogFormat,
    /// `filter`: a tracing filter, default `info,sqlx=warn`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
