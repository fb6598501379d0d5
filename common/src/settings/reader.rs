//! Turns what was set into [`Settings`], or into every mistake at once.

mod accounts;
mod outlets;
mod retention;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::credential::Credential;
use super::keys;
use super::mistake::{Mistake, Origin, SettingsErrors};
use super::parse::{folder, is_url, ladder, public_url, queue_prefix, web_url};
use super::source::Sources;
use super::{
    AdminSettings, ClusterSettings, Engine, FulfillerSettings, IngestSettings, LogFormat,
    LogSettings, OrderPolicy, OrderSettings, PdtSettings, Restock, Settings, ShopDatabase,
    Unmatched, VerifierSettings, rule_tables, rules,
};
use crate::order::signature::SECRET_LEAST;
use crate::queue::ArchiveLimits;
use accounts::read_accounts;
use outlets::{read_notify, read_stock};
use retention::read_retention;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

/// The environment of this process; variables that are not Unicode are left out.
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The settings of a stage's process: the file that `--config FILE` or else `QUITTANCE_CONFIG`
/// names, if any, and the environment.
///
/// # Errors
/// Every mistake at once; the process should exit with [`super::EXIT_CONFIG`].
pub fn from_process() -> Result<Settings, SettingsErrors> {
    let environment = process_environment();
    let file = config_argument(std::env::args().skip(1))
        .or_else(|| environment.get("QUITTANCE_CONFIG").cloned())
        .map(PathBuf::from);
    Settings::load(file.as_deref(), &environment)
}

/// The file of `--config FILE` or `--config=FILE`, the one argument that a stage's binary takes.
fn config_argument(mut arguments: impl Iterator<Item = String>) -> Option<String> {
    let first = arguments.next()?;
    match first.strip_prefix("--config")? {
        "" => arguments.next(),
        rest => rest.strip_prefix('=').map(str::to_owned),
    }
}

impl Settings {
    /// Reads the file, then the environment over it.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, SettingsErrors> {
        let mut reader = Reader {
            sources: Sources::gather(file, environment),
        };
        let settings = read(&mut reader);
        if let Some(settings) = &settings {
            rules::check(settings, &mut reader);
        }
        let mistakes = reader.sources.mistakes;
        match settings {
            Some(settings) if mistakes.is_empty() => Ok(settings),
            _ => Err(SettingsErrors(mistakes)),
        }
    }
}

/// Reads one key after the other and collects what is wrong.
#[derive(Debug)]
pub(super) struct Reader {
    sources: Sources,
}

/// The value is wrong, which is noted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted;

impl Reader {
    /// Notes a mistake about `key`, with the place where it was set.
    pub(super) fn mistake(&mut self, key: &str, problem: String) {
        let origin = self
            .sources
            .values
            .get(key)
            .map_or(Origin::Default, |raw| raw.origin.clone());
        self.sources.mistakes.push(Mistake {
            key: key.to_owned(),
            origin,
            problem,
        });
    }

    /// The text of a key: as set, or its default.
    fn text(&self, key: &str) -> Option<String> {
        let set = self.sources.values.get(key).map(|raw| raw.text.clone());
        set.or_else(|| keys::find(key)?.default.map(str::to_owned))
    }

    /// Whether one of these keys is noted as wrong: then a rule between them says nothing new.
    pub(super) fn is_wrong(&self, keys: &[&str]) -> bool {
        let mistakes = &self.sources.mistakes;
        mistakes
            .iter()
            .any(|mistake| keys.contains(&mistake.key.as_str()))
    }

    /// The value of a key; `None` when it is not set and has no default. A wrong value is noted,
    /// and the default goes on in its place, so that the rules between settings are checked too.
    fn read<T>(&mut self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let parsed = parse(text.trim());
        if parsed.is_none() {
            let known = keys::find(key);
            let allowed = known.map_or("", |key| key.allowed);
            let found = if known.is_none_or(|key| key.secret) {
                "the value (not shown)".to_owned()
            } else {
                format!("`{text}`")
            };
            self.mistake(key, format!("{found} is not allowed; allowed: {allowed}"));
            return parse(known?.default?);
        }
        parsed
    }

    /// A key that need not be set.
    pub(super) fn read_optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Noted> {
        if self.sources.values.contains_key(key) {
            self.read(key, parse).map(Some).ok_or(Noted)
        } else {
            Ok(None)
        }
    }

    /// A credential, which is read again from the file that it came from. `key` is one that need not
    /// be set, or has a default.
    pub(super) fn credential(
        &mut self,
        key: &str,
        allowed: fn(&str) -> bool,
    ) -> Result<Option<Credential>, Noted> {
        if self.text(key).is_none() {
            return Ok(None);
        }
        let file = self.file(key);
        let read = self.read(key, |text| {
            Credential::new(key, text, file.clone(), allowed)
        });
        read.map(Some).ok_or(Noted)
    }

    /// The file that the value of a key stands in, where that was set.
    fn file(&self, key: &str) -> Option<PathBuf> {
        self.sources.values.get(key)?.file.clone()
    }

    fn parsed<T: FromStr>(&mut self, key: &str) -> Option<T> {
        self.read(key, |text| text.parse().ok())
    }

    fn duration(&mut self, key: &str, least: Duration, most: Duration) -> Option<Duration> {
        self.read(key, |text| {
            humantime::parse_duration(text)
                .ok()
                .filter(|value| (least..=most).contains(value))
        })
    }

    fn number<T: FromStr + PartialOrd + Copy>(
        &mut self,
        key: &str,
        least: T,
        most: T,
    ) -> Option<T> {
        self.read(key, |text| {
            text.parse()
                .ok()
                .filter(|value| *value >= least && *value <= most)
        })
    }

    /// The indices under which the tables of a list (`account`, `rule`) are set, in rising order.
    pub(super) fn indices(&self, list: &str) -> BTreeSet<usize> {
        self.sources
            .values
            .keys()
            .filter_map(|key| {
                let rest = key.strip_prefix(list)?.strip_prefix('.')?;
                rest.split('.').next()?.parse().ok()
            })
            .collect()
    }
}

/// Every section is read before any of them is missed, so that all mistakes are found.
fn read(reader: &mut Reader) -> Option<Settings> {
    let data_dir = reader.read("data_dir", folder);
    let engine = read_engine(reader, data_dir.as_deref());
    let shop_database = read_shop_database(reader, data_dir.as_deref());
    let queue_prefix = reader.read("queue_prefix", queue_prefix);
    let shutdown_grace =
        reader.duration("shutdown_grace", Duration::ZERO, MINUTE.saturating_mul(10));
    let ingest = read_ingest(reader);
    let pdt = read_pdt(reader);
    let admin = read_admin(reader);
    let public_url = reader.read_optional("public_url", public_url);
    let verifier = read_verifier(reader);
    let orders = read_orders(reader);
    let fulfiller = read_fulfiller(reader);
    let notify = read_notify(reader, data_dir.as_deref());
    let stock = read_stock(reader);
    let ladder = reader.read("retry.ladder", ladder);
    let accounts = read_accounts(reader);
    let rules = rule_tables::read(reader);
    let archive = read_archive(reader);
    let retention = read_retention(reader);
    let log = read_log(reader);
    Some(Settings {
        archive: archive?,
        retention: retention?,
        engine: engine?,
        shop_database: shop_database?,
        queue_prefix: queue_prefix?,
        shutdown_grace: shutdown_grace?,
        ingest: ingest?,
        pdt: pdt?,
        admin: admin?,
        public_url: public_url.ok()?,
        verifier: verifier?,
        orders: orders?,
        fulfiller: fulfiller?,
        notify: notify?,
        stock: stock?,
        ladder: ladder?,
        accounts: accounts?,
        rules: rules?,
        log: log?,
    })
}

/// `[cluster]` is checked on either engine, so that a mistake shows before the day of the switch.
fn read_engine(reader: &mut Reader, data_dir: Option<&Path>) -> Option<Engine> {
    let cluster = read_cluster(reader);
    let is_cluster = reader.read("engine", |text| match text {
        "embedded" => Some(false),
        "cluster" => Some(true),
        _ => None,
    })?;
    if is_cluster {
        cluster.map(Engine::Cluster)
    } else {
        data_dir.map(|data_dir| Engine::Embedded {
            data_dir: data_dir.to_owned(),
        })
    }
}

fn read_cluster(reader: &mut Reader) -> Option<ClusterSettings> {
    let amqp_url = reader.credential("cluster.amqp_url", |text| {
        text.split(',')
            .all(|url| is_url(url.trim(), &["amqp", "amqps"]))
    });
    let redis_url = reader.credential("cluster.redis_url", |text| {
        is_url(text, &["redis", "rediss"])
    });
    let management_url = reader.credential("cluster.management_url", |text| {
        is_url(text, &["http", "https"])
    });
    let publish_channels = reader.number("cluster.publish_channels", 1, 1_024);
    let publish_timeout =
        reader.duration("cluster.publish_timeout", TENTH, SECOND.saturating_mul(20));
    let heartbeat = reader.read("cluster.heartbeat", |text| {
        humantime::parse_duration(text)
            .ok()
            .filter(|value| value.subsec_nanos() == 0)
            .filter(|value| (SECOND..=MINUTE).contains(value))
    });
    Some(ClusterSettings {
        amqp_url: amqp_url.ok()??,
        redis_url: redis_url.ok()??,
        management_url: management_url.ok()?,
        publish_channels: publish_channels?,
        publish_timeout: publish_timeout?,
        heartbeat: heartbeat?,
    })
}

fn read_shop_database(reader: &mut Reader, data_dir: Option<&Path>) -> Option<ShopDatabase> {
    let key = "shop_database";
    let file = reader.file(key);
    reader.read(key, |text| {
        if text == "sqlite" {
            // Without a data folder that mistake is already noted; any path will do.
            let folder = data_dir.unwrap_or(Path::new("."));
            return Some(ShopDatabase::Sqlite(folder.join("shop.sqlite")));
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return folder(path).map(ShopDatabase::Sqlite);
        }
        let allowed = |text: &str| is_url(text, &["postgres", "postgresql"]);
        Credential::new(key, text, file.clone(), allowed).map(ShopDatabase::Postgres)
    })
}

fn read_ingest(reader: &mut Reader) -> Option<IngestSettings> {
    let listen = reader.parsed("ingest.listen");
    let max_body = reader.number("ingest.max_body", 1_024, 1_048_576);
    let max_in_flight = reader.number("ingest.max_in_flight", 1, 65_535);
    let max_connections = reader.number("ingest.max_connections", 1, 65_535);
    let confirm_timeout =
        reader.duration("ingest.confirm_timeout", TENTH, SECOND.saturating_mul(20));
    Some(IngestSettings {
        listen: listen?,
        max_body: max_body?,
        max_in_flight: max_in_flight?,
        max_connections: max_connections?,
        confirm_timeout: confirm_timeout?,
    })
}

fn read_pdt(reader: &mut Reader) -> Option<PdtSettings> {
    let keep = reader.duration("pdt.keep", MINUTE, DAY);
    let timeout = reader.duration("pdt.timeout", TENTH, MINUTE);
    let patience = reader.duration("pdt.patience", Duration::ZERO, SECOND.saturating_mul(20));
    let cookie_secret = reader.read_optional("pdt.cookie_secret", long_secret);
    let templates = reader.read_optional("pdt.templates", folder);
    Some(PdtSettings {
        keep: keep?,
        timeout: timeout?,
        patience: patience?,
        cookie_secret: cookie_secret.ok()?,
        templates: templates.ok()?,
    })
}

fn read_admin(reader: &mut Reader) -> Option<AdminSettings> {
    let listen = reader.parsed("admin.listen");
    let token = reader.read_optional("admin.token", long_secret);
    Some(AdminSettings {
        listen: listen?,
        token: token.ok()?,
    })
}

/// A secret that nobody guesses and every header can carry.
fn long_secret(text: &str) -> Option<SecretString> {
    let fits = text.len() >= 32 && text.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| SecretString::from(text))
}

fn read_verifier(reader: &mut Reader) -> Option<VerifierSettings> {
    let concurrency = reader.number("verifier.concurrency", 1, u16::MAX);
    let connect_timeout = reader.duration("verifier.connect_timeout", SECOND, DAY);
    let postback_timeout = reader.duration("verifier.postback_timeout", SECOND, DAY);
    let give_up_after = reader.duration("verifier.give_up_after", SECOND, DAY.saturating_mul(28));
    let recheck_after = reader.duration("verifier.recheck_after", Duration::ZERO, DAY);
    let unmatched = reader.read("verifier.unmatched", |text| match text {
        "quarantine" => Some(Unmatched::Quarantine),
        "accept" => Some(Unmatched::Accept),
        _ => None,
    });
    let orders = reader.read("verifier.orders", |text| match text {
        "optional" => Some(OrderPolicy::Optional),
        "required" => Some(OrderPolicy::Required),
        _ => None,
    });
    let tolerance = reader.number("verifier.tolerance", 0, 1_000_000);
    let claim_lease = reader.duration("verifier.claim_lease", SECOND, DAY);
    let claim_ttl = reader.duration(
        "verifier.claim_ttl",
        DAY.saturating_mul(35),
        DAY.saturating_mul(3_650),
    );
    let breaker_failures = reader.number("verifier.breaker_failures", 1, 1_000);
    let breaker_cooldown = reader.duration("verifier.breaker_cooldown", TENTH, HOUR);
    Some(VerifierSettings {
        concurrency: concurrency?,
        connect_timeout: connect_timeout?,
        postback_timeout: postback_timeout?,
        give_up_after: give_up_after?,
        recheck_after: recheck_after?,
        unmatched: unmatched?,
        orders: orders?,
        tolerance: tolerance?,
        claim_lease: claim_lease?,
        claim_ttl: claim_ttl?,
        breaker_failures: breaker_failures?,
        breaker_cooldown: breaker_cooldown?,
    })
}

/// `Some(None)` when it is off.
#[expect(
    clippy::option_option,
    reason = "the outer one is a mistake in the settings, like everywhere here"
)]
fn read_archive(reader: &mut Reader) -> Option<Option<ArchiveLimits>> {
    let keep = reader.read("archive.keep", |text| {
        if text == "off" {
            return Some(None);
        }
        humantime::parse_duration(text)
            .ok()
            .filter(|keep| (HOUR..=DAY.saturating_mul(3_650)).contains(keep))
            .map(Some)
    });
    let max_bytes = reader.number("archive.max_bytes", 1_000_000, u64::MAX);
    let (keep, max_bytes) = (keep?, max_bytes?);
    Some(keep.map(|keep| ArchiveLimits { keep, max_bytes }))
}

fn read_orders(reader: &mut Reader) -> Option<OrderSettings> {
    let secrets = reader.read_optional("orders.secret", |text| {
        text.split(',')
            .map(str::trim)
            .map(|secret| {
                let is_long = secret.len() >= SECRET_LEAST;
                is_long.then(|| SecretString::from(secret))
            })
            .collect::<Option<Vec<_>>>()
    });
    let cancel_url = reader.read_optional("orders.cancel_url", web_url);
    Some(OrderSettings {
        secrets: secrets.ok()?.unwrap_or_default(),
        cancel_url: cancel_url.ok()?,
    })
}

fn read_fulfiller(reader: &mut Reader) -> Option<FulfillerSettings> {
    let concurrency = reader.number("fulfiller.concurrency", 1, u16::MAX);
    let longest = DAY.saturating_mul(3_650);
    let reserve_for = reader.duration("fulfiller.reserve_for", SECOND, longest);
    let restock_on = reader.read("fulfiller.restock_on", |text| match text {
        "full_refund" => Some(Restock::OnFullRefund),
        "never" => Some(Restock::Never),
        _ => None,
    });
    Some(FulfillerSettings {
        concurrency: concurrency?,
        reserve_for: reserve_for?,
        restock_on: restock_on?,
    })
}

fn read_log(reader: &mut Reader) -> Option<LogSettings> {
    let format = reader.read("log.format", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let filter = reader.read("log.filter", |text| {
        let known = tracing_subscriber::EnvFilter::try_new(text).is_ok();
        known.then(|| text.to_owned())
    });
    Some(LogSettings {
        format: format?,
        filter: filter?,
    })
}

#[cfg(test)]
mod tests;
