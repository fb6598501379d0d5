//! The table of keys: every name that can be set, its default and what is allowed.
//!
//! The reader, the documentation and the example file are checked against it.

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The full name; in a list of tables `*` stands for the index.
    pub name: &'static str,
    /// The value when nothing is set, as it would be written; `None` when there is no fixed one.
    pub default: Option<&'static str>,
    /// What is allowed, for messages.
    pub allowed: &'static str,
    /// Whether the value must never be shown; such a key can also be set by `..._file`.
    pub secret: bool,
}

const fn key(name: &'static str, default: &'static str, allowed: &'static str) -> Key {
    Key {
        name,
        default: Some(default),
        allowed,
        secret: false,
    }
}

const fn optional(name: &'static str, allowed: &'static str) -> Key {
    Key {
        name,
        default: None,
        allowed,
        secret: false,
    }
}

impl Key {
    const fn secret(self) -> Self {
        Self {
            secret: true,
            ..self
        }
    }
}

const AMQP: &str = "one or more amqp:// or amqps:// URLs, separated by commas";
const SHOP: &str = "`sqlite`, `sqlite:PATH` or a postgres:// URL";
const SECOND_TO_DAY: &str = "a duration from 1s to 1 day, such as `30s`";
const COUNT: &str = "a whole number from 1 to 65535";
const POSTBACK_URL: &str = "an https:// URL (http:// only to a loopback host or in the sandbox)";

const HOOK_URL: &str = "an https:// URL of a public host (any host and http:// with allow_private); needed with driver = \"http\"";
const HOOK_SECRETS: &str = "one or more secrets `whsec_` and base64 of 24 to 64 bytes, the newest first, separated by commas";

/// Every key, in the order of the example file.
pub const KEYS: &[Key] = &[
    key("engine", "embedded", "`embedded` or `cluster`"),
    key("data_dir", "./quittance-data", "a folder"),
    key("shop_database", "sqlite", SHOP).secret(),
    key(
        "queue_prefix",
        "ipn.",
        "1 to 32 letters, digits, `.`, `-` or `_`",
    ),
    key("shutdown_grace", "25s", "a duration from 0s to 10m"),
    optional(
        "public_url",
        "an https:// URL without a query (http:// only to a loopback host); needed with admin.token",
    ),
    key(
        "cluster.amqp_url",
        "amqp://guest:guest@localhost:5672/%2f",
        AMQP,
    )
    .secret(),
    key(
        "cluster.redis_url",
        "redis://localhost:6379",
        "a redis:// or rediss:// URL",
    )
    .secret(),
    optional(
        "cluster.management_url",
        "an http:// or https:// URL of the broker's HTTP API",
    )
    .secret(),
    key(
        "cluster.publish_channels",
        "64",
        "a whole number from 1 to 1024",
    ),
    key(
        "cluster.publish_timeout",
        "5s",
        "a duration from 100ms to 20s",
    ),
    key("cluster.heartbeat", "10s", "whole seconds from 1s to 60s"),
    key(
        "ingest.listen",
        "127.0.0.1:8080",
        "an address and port, such as `0.0.0.0:8080`",
    ),
    key(
        "ingest.max_body",
        "65536",
        "bytes, a whole number from 1024 to 1048576",
    ),
    key(
        "ingest.max_in_flight",
        "512",
        "a whole number from 1 to 65535",
    ),
    key(
        "ingest.max_connections",
        "768",
        "a whole number from 1 to 65535",
    ),
    key(
        "ingest.confirm_timeout",
        "10s",
        "a duration from 100ms to 20s: PayPal waits 20s",
    ),
    key("pdt.keep", "1h", "a duration from 1m to 1 day"),
    key("pdt.timeout", "10s", "a duration from 100ms to 1m"),
    key("pdt.patience", "3s", "a duration from 0s to 20s"),
    optional(
        "pdt.cookie_secret",
        "at least 32 visible characters, the same for all replicas",
    )
    .secret(),
    optional("pdt.templates", "a folder"),
    key(
        "admin.listen",
        "127.0.0.1:9090",
        "an address and port, such as `0.0.0.0:9090`",
    ),
    optional("admin.token", "at least 32 visible characters").secret(),
    key("verifier.concurrency", "16", COUNT),
    key("verifier.connect_timeout", "10s", SECOND_TO_DAY),
    key("verifier.postback_timeout", "30s", SECOND_TO_DAY),
    key(
        "verifier.give_up_after",
        "4 days",
        "a duration from 1s to 28 days",
    ),
    key(
        "verifier.recheck_after",
        "30s",
        "a duration from 0s to 1 day",
    ),
    key(
        "verifier.unmatched",
        "quarantine",
        "`quarantine` or `accept`",
    ),
    key("verifier.orders", "optional", "`optional` or `required`"),
    key(
        "verifier.tolerance",
        "0",
        "minor units (cents), a whole number from 0 to 1000000",
    ),
    key(
        "verifier.claim_lease",
        "60s",
        "a duration from 1s to 1 day, longer than verifier.postback_timeout",
    ),
    key(
        "verifier.claim_ttl",
        "90 days",
        "a duration from 35 days to 3650 days: PayPal resends for 28 days",
    ),
    key(
        "verifier.breaker_failures",
        "5",
        "a whole number from 1 to 1000",
    ),
    key(
        "verifier.breaker_cooldown",
        "10s",
        "a duration from 100ms to 1h",
    ),
    optional(
        "orders.secret",
        "one or more secrets of at least 16 characters, separated by commas; the first one signs",
    )
    .secret(),
    optional("orders.cancel_url", "an http:// or https:// URL"),
    key("fulfiller.concurrency", "8", COUNT),
    key(
        "fulfiller.reserve_for",
        "14 days",
        "a duration from 1s to 3650 days, longer than an eCheck takes",
    ),
    key(
        "fulfiller.restock_on",
        "full_refund",
        "`full_refund` or `never`",
    ),
    key("notify.driver", "maildir", "`maildir`, `smtp` or `http`"),
    key(
        "notify.from",
        "shop@localhost",
        "an e-mail address or `Name <address>`",
    ),
    key(
        "notify.shop_name",
        "Shop",
        "1 to 100 characters, no control characters",
    ),
    optional("notify.maildir", "a folder; default `{data_dir}/mail`"),
    optional(
        "notify.smtp_url",
        "an smtp:// or smtps:// URL; needed with notify.driver = \"smtp\"",
    )
    .secret(),
    optional("notify.url", HOOK_URL),
    optional("notify.secrets", HOOK_SECRETS).secret(),
    key("notify.allow_private", "false", "`true` or `false`"),
    optional(
        "notify.merchant",
        "the e-mail address that is told of what waits for a person",
    ),
    optional(
        "notify.templates",
        "a folder with templates of the shop's own; see docs/notifications.md",
    ),
    key("notify.language", "en", "two lower-case letters"),
    key(
        "notify.languages",
        "AT:de, CH:de, DE:de, LI:de, LU:de",
        "pairs of a two-letter country and a two-letter language",
    ),
    key("stock.driver", "sql", "`sql` or `http`"),
    optional("stock.url", HOOK_URL),
    optional("stock.secrets", HOOK_SECRETS).secret(),
    key("stock.allow_private", "false", "`true` or `false`"),
    key(
        "retry.ladder",
        "1s, 5s, 30s, 2m, 10m, 1h, 6h",
        "1 to 16 durations from 1ms to 1 day",
    ),
    key(
        "archive.keep",
        "35 days",
        "a duration from 1h to 3650 days, or `off`",
    ),
    key(
        "archive.max_bytes",
        "10000000000",
        "bytes, a whole number from 1000000",
    ),
    key(
        "retention.personal_data",
        "365 days",
        "a duration from 1s to 3650 days, or `off`",
    ),
    key(
        "account.*.id",
        "default",
        "1 to 64 letters, digits, `-`, `_` or `.`",
    ),
    key("account.*.gateway", "paypal", "`paypal`"),
    key("account.*.environment", "live", "`live` or `sandbox`"),
    optional(
        "account.*.receivers",
        "at least one id or e-mail address under which the account is paid",
    ),
    optional(
        "account.*.pdt_token",
        "the identity token of Payment Data Transfer",
    )
    .secret(),
    optional("account.*.postback_url", POSTBACK_URL),
    optional("account.*.pdt_url", POSTBACK_URL),
    optional("account.*.checkout_url", POSTBACK_URL),
    optional("rule.*.gateway", "`paypal`"),
    optional("rule.*.account", "the `id` of an account"),
    optional(
        "rule.*.event",
        "an event type such as `payment.refunded`, with `*` for any text: `subscription.*`",
    ),
    optional(
        "rule.*.txn_type",
        "a transaction type such as `web_accept`, with `*` for any text: `subscr_*`",
    ),
    optional(
        "rule.*.item",
        "a sku, with `*` for any text: `EBOOK-*`; every item must match",
    ),
    optional("rule.*.action", "`process`, `record` or `ignore`"),
    optional("rule.*.stock", "`apply` or `ignore`"),
    optional("rule.*.notify", "`send` or `none`"),
    key("log.format", "text", "`text` or `json`"),
    key(
        "log.filter",
        "info,sqlx=warn",
        "a tracing filter, such as `info,quittance_verifier=debug`",
    ),
];

/// Every key.
pub fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
}

/// The key of a full name, with an index in place of `*`.
pub fn find(name: &str) -> Option<&'static Key> {
    let pattern = pattern(name);
    all().find(|key| key.name == pattern)
}

/// `account.0.id` → `account.*.id`.
fn pattern(name: &str) -> String {
    name.split('.')
        .map(|part| {
            if part.parse::<usize>().is_ok() {
                "*"
            } else {
                part
            }
        })
        .collect::<Vec<_>>()
        .join(".")
}

/// The known name that a mistyped one was probably meant to be.
pub fn nearest(name: &str) -> Option<&'static str> {
    let pattern = pattern(name);
    all()
        .map(|key| {
            let tail = key.name.rsplit('.').next().unwrap_or(key.name);
            let whole = distance(&pattern, key.name);
            // A right name in the wrong section is the commonest mistake of all.
            let misplaced = if pattern.rsplit('.').next() == Some(tail) {
                2
            } else {
                usize::MAX
            };
            (whole.min(misplaced), key.name)
        })
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}

/// The number of edits (Levenshtein) between two names.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.chars().enumerate() {
        let mut beside = index + 1;
        let mut next = vec![beside];
        for (b, (diagonal, above)) in right.iter().zip(row.iter().zip(row.iter().skip(1))) {
            let substitution = diagonal + usize::from(a != *b);
            beside = substitution.min(above + 1).min(beside + 1);
            next.push(beside);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_with_any_index() {
        assert_eq!(find("account.12.id").unwrap().name, "account.*.id");
        assert!(find("account.id").is_none());
    }

    #[test]
    fn a_mistyped_key_is_given_its_nearest_name() {
        assert_eq!(nearest("ingest.listn"), Some("ingest.listen"));
        assert_eq!(nearest("max_body"), Some("ingest.max_body"));
        assert_eq!(nearest("weather.tomorrow"), None);
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<&str> = all().map(|key| key.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
