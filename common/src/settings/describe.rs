//! The effective settings as text, for `config check`: secrets are only said to be set.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::{
    Account, Engine, HttpTarget, LogFormat, NotifyDriver, OrderPolicy, Restock, Settings,
    ShopDatabase, StockDriver, Unmatched,
};

/// What is shown in place of a secret.
const SET: &str = "(set)";

fn wait(value: Duration) -> String {
    super::span::span(value)
}

impl Settings {
    /// Every key with its effective value, in the order of the example file.
    pub fn describe(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut put = |key: &str, value: String| all.push((key.to_owned(), value));
        let ladder = self.ladder.rungs().iter().map(ToString::to_string);
        self.describe_engine(&mut put);
        put("queue_prefix", self.queue_prefix.clone());
        put("shutdown_grace", wait(self.shutdown_grace));
        if let Some(url) = &self.public_url {
            put("public_url", url.to_string());
        }
        put("ingest.listen", self.ingest.listen.to_string());
        put("ingest.max_body", self.ingest.max_body.to_string());
        put(
            "ingest.max_in_flight",
            self.ingest.max_in_flight.to_string(),
        );
        put(
            "ingest.max_connections",
            self.ingest.max_connections.to_string(),
        );
        put("ingest.confirm_timeout", wait(self.ingest.confirm_timeout));
        self.describe_pdt(&mut put);
        put("admin.listen", self.admin.listen.to_string());
        if self.admin.token.is_some() {
            put("admin.token", SET.to_owned());
        }
        self.describe_verifier(&mut put);
        if !self.orders.secrets.is_empty() {
            let secrets = self.orders.secrets.len();
            put("orders.secret", format!("{SET}, {secrets} secret(s)"));
        }
        if let Some(url) = &self.orders.cancel_url {
            put("orders.cancel_url", url.to_string());
        }
        let fulfiller = &self.fulfiller;
        let restock = match fulfiller.restock_on {
            Restock::OnFullRefund => "full_refund",
            Restock::Never => "never",
        };
        put("fulfiller.concurrency", fulfiller.concurrency.to_string());
        put("fulfiller.reserve_for", wait(fulfiller.reserve_for));
        put("fulfiller.restock_on", restock.to_owned());
        self.describe_outlets(&mut put);
        put("retry.ladder", ladder.collect::<Vec<_>>().join(", "));
        match self.archive {
            Some(limits) => {
                put("archive.keep", wait(limits.keep));
                put("archive.max_bytes", limits.max_bytes.to_string());
            }
            None => put("archive.keep", "off".to_owned()),
        }
        let personal = self.retention.personal_data;
        put(
            "retention.personal_data",
            personal.map_or_else(|| "off".to_owned(), wait),
        );
        for (index, account) in self.accounts.iter().enumerate() {
            describe_account(index, account, &mut put);
        }
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        put("log.format", format.to_owned());
        put("log.filter", self.log.filter.clone());
        all
    }

    fn describe_engine(&self, put: &mut impl FnMut(&str, String)) {
        match &self.engine {
            Engine::Embedded { data_dir } => {
                put("engine", "embedded".to_owned());
                put("data_dir", data_dir.display().to_string());
            }
            Engine::Cluster(cluster) => {
                put("engine", "cluster".to_owned());
                let hosts = cluster.amqp_url.now().expose_secret().split(',').count();
                put("cluster.amqp_url", format!("{SET}, {hosts} host(s)"));
                put("cluster.redis_url", SET.to_owned());
                if cluster.management_url.is_some() {
                    put("cluster.management_url", SET.to_owned());
                }
                let channels = cluster.publish_channels.to_string();
                put("cluster.publish_channels", channels);
                put("cluster.publish_timeout", wait(cluster.publish_timeout));
                put("cluster.heartbeat", wait(cluster.heartbeat));
            }
        }
        let shop = match &self.shop_database {
            ShopDatabase::Sqlite(path) => format!("sqlite:{}", path.display()),
            ShopDatabase::Postgres(_) => format!("postgres {SET}"),
        };
        put("shop_database", shop);
    }

    fn describe_pdt(&self, put: &mut impl FnMut(&str, String)) {
        put("pdt.keep", wait(self.pdt.keep));
        put("pdt.timeout", wait(self.pdt.timeout));
        put("pdt.patience", wait(self.pdt.patience));
        if self.pdt.cookie_secret.is_some() {
            put("pdt.cookie_secret", SET.to_owned());
        }
        if let Some(templates) = &self.pdt.templates {
            put("pdt.templates", templates.display().to_string());
        }
    }

    fn describe_outlets(&self, put: &mut impl FnMut(&str, String)) {
        let notify = &self.notify;
        match &notify.driver {
            NotifyDriver::Maildir(path) => {
                put("notify.driver", "maildir".to_owned());
                put("notify.maildir", path.display().to_string());
            }
            NotifyDriver::Smtp(_) => {
                put("notify.driver", "smtp".to_owned());
                put("notify.smtp_url", SET.to_owned());
            }
            NotifyDriver::Http(target) => {
                put("notify.driver", "http".to_owned());
                describe_target("notify", target, put);
            }
        }
        put("notify.from", notify.from.clone());
        put("notify.shop_name", notify.shop_name.clone());
        if let Some(merchant) = &notify.merchant {
            put("notify.merchant", merchant.clone());
        }
        if let Some(templates) = &notify.templates {
            put("notify.templates", templates.display().to_string());
        }
        put("notify.language", notify.languages.default.clone());
        let pairs = notify.languages.by_country.iter();
        let pairs: Vec<String> = pairs.map(|(c, l)| format!("{c}:{l}")).collect();
        put("notify.languages", pairs.join(", "));
        match &self.stock.driver {
            StockDriver::Sql => put("stock.driver", "sql".to_owned()),
            StockDriver::Http(target) => {
                put("stock.driver", "http".to_owned());
                describe_target("stock", target, put);
            }
        }
    }

    fn describe_verifier(&self, put: &mut impl FnMut(&str, String)) {
        let verifier = &self.verifier;
        let unmatched = match verifier.unmatched {
            Unmatched::Quarantine => "quarantine",
            Unmatched::Accept => "accept",
        };
        put("verifier.concurrency", verifier.concurrency.to_string());
        put("verifier.connect_timeout", wait(verifier.connect_timeout));
        put("verifier.postback_timeout", wait(verifier.postback_timeout));
        put("verifier.give_up_after", wait(verifier.give_up_after));
        put("verifier.recheck_after", wait(verifier.recheck_after));
        put("verifier.unmatched", unmatched.to_owned());
        let orders = match verifier.orders {
            OrderPolicy::Optional => "optional",
            OrderPolicy::Required => "required",
        };
        put("verifier.orders", orders.to_owned());
        put("verifier.tolerance", verifier.tolerance.to_string());
        put("verifier.claim_lease", wait(verifier.claim_lease));
        put("verifier.claim_ttl", wait(verifier.claim_ttl));
        let failures = verifier.breaker_failures.to_string();
        put("verifier.breaker_failures", failures);
        put("verifier.breaker_cooldown", wait(verifier.breaker_cooldown));
    }
}

/// A URL may hold a token in its path or query: only the host is shown.
fn describe_target(section: &str, target: &HttpTarget, put: &mut impl FnMut(&str, String)) {
    let host = target.url.host_str().unwrap_or_default();
    let url = format!("{}://{host}/...", target.url.scheme());
    let secrets = format!("{SET}, {} secret(s)", target.secrets.len());
    put(&format!("{section}.url"), url);
    put(&format!("{section}.secrets"), secrets);
    put(
        &format!("{section}.allow_private"),
        target.allow_private.to_string(),
    );
}

fn describe_account(index: usize, account: &Account, put: &mut impl FnMut(&str, String)) {
    let mut put = |name: &str, value: String| put(&format!("account.{index}.{name}"), value);
    put("id", account.id.to_string());
    put("gateway", account.gateway.to_string());
    put("environment", account.environment.to_string());
    put("receivers", account.receivers.join(", "));
    if account.pdt_token.is_some() {
        put("pdt_token", SET.to_owned());
    }
    put("postback_url", account.postback_url.to_string());
    put("pdt_url", account.pdt_url.to_string());
    put("checkout_url", account.checkout_url.to_string());
}
