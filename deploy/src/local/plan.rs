//! Which ports and files the cluster of a folder has. The ports are kept over a stop, so that a
//! notification's address stays the same, as long as nobody else has taken one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ports;
use crate::demo::body::{Ipn, RECEIVER_EMAIL, RECEIVER_ID};

/// The file that a plan is kept in; where it is, `up` has been.
pub(super) const PLAN: &str = "plan.json";

/// The settings file, for `--config`.
pub(super) const SETTINGS: &str = "quittance.toml";
/// A notification to try it with.
pub(super) const NOTIFICATION: &str = "notification.txt";
/// What the example notification pays for.
pub(super) const CATALOGUE: &str = "catalogue.csv";

/// How many of each service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instances {
    /// At least 1.
    pub ingest: u16,
    /// At least 1.
    pub verifier: u16,
    /// At least 1.
    pub fulfiller: u16,
}

/// Every port, all on 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// RabbitMQ: AMQP.
    pub amqp: u16,
    /// RabbitMQ: HTTP API and its page.
    pub management: u16,
    /// RabbitMQ's port mapper.
    pub epmd: u16,
    /// RabbitMQ: `rabbitmqctl`.
    pub dist: u16,
    /// Redis.
    pub redis: u16,
    /// PostgreSQL.
    pub postgres: u16,
    /// The sandbox gateway.
    pub sandbox: u16,
    /// Where each ingest takes notifications.
    pub ingest: Vec<u16>,
    /// The admin listener of each ingest.
    pub ingest_admin: Vec<u16>,
    /// The admin listener of each verifier.
    pub verifier: Vec<u16>,
    /// The admin listener of each fulfiller.
    pub fulfiller: Vec<u16>,
}

impl Plan {
    /// Free ports for everything.
    ///
    /// # Errors
    /// When none are free.
    pub fn fresh(instances: Instances) -> anyhow::Result<Self> {
        let many = |count: u16| (0..count).map(|_| ports::free()).collect::<Result<_, _>>();
        Ok(Self {
            amqp: ports::free()?,
            management: ports::free()?,
            epmd: ports::free()?,
            dist: ports::free()?,
            redis: ports::free()?,
            postgres: ports::free()?,
            sandbox: ports::free()?,
            ingest: many(instances.ingest)?,
            ingest_admin: many(instances.ingest)?,
            verifier: many(instances.verifier)?,
            fulfiller: many(instances.fulfiller)?,
        })
    }

    /// The plan of `folder` if it has one that still fits, else a fresh one, which is kept.
    pub(super) fn of(folder: &Path, instances: Instances) -> anyhow::Result<Self> {
        let file = folder.join(PLAN);
        let kept = fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice::<Self>(&text).ok())
            .filter(|plan| plan.has(instances) && plan.ports().all(ports::is_free));
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let fresh = Self::fresh(instances)?;
        fs::write(&file, serde_json::to_vec_pretty(&fresh)?)?;
        Ok(fresh)
    }

    fn has(&self, instances: Instances) -> bool {
        let is = |ports: &[u16], count: u16| ports.len() == usize::from(count);
        is(&self.ingest, instances.ingest)
            && is(&self.ingest_admin, instances.ingest)
            && is(&self.verifier, instances.verifier)
            && is(&self.fulfiller, instances.fulfiller)
    }

    /// Every port, in no order.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        [
            self.amqp,
            self.management,
            self.epmd,
            self.dist,
            self.redis,
            self.postgres,
            self.sandbox,
        ]
        .into_iter()
        .chain(self.ingest.iter().copied())
        .chain(self.ingest_admin.iter().copied())
        .chain(self.verifier.iter().copied())
        .chain(self.fulfiller.iter().copied())
    }

    /// Where the first ingest takes notifications.
    pub fn notify_url(&self) -> String {
        let port = self.ingest.first().copied().unwrap_or_default();
        format!("http://{}/ipn/paypal", at(port))
    }

    /// The sandbox gateway's control page.
    pub fn sandbox_url(&self) -> String {
        format!("http://{}/", at(self.sandbox))
    }

    /// The URL of the broker's HTTP API.
    pub fn management_url(&self) -> String {
        format!("http://guest:guest@{}", at(self.management))
    }

    /// The URL of Redis.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", at(self.redis))
    }

    /// The settings that every process of the cluster shares.
    pub(super) fn settings(&self, folder: &Path) -> anyhow::Result<String> {
        // A JSON string is a TOML string.
        let mail = serde_json::to_string(&folder.join("mail"))?;
        let webscr = format!("{}cgi-bin/webscr", self.sandbox_url());
        let first = |ports: &[u16]| at(ports.first().copied().unwrap_or_default());
        Ok(format!(
            r#"# Written by `quittance up`, anew at every start: changes here are lost.
engine = "cluster"
shop_database = "postgres://postgres@{postgres}/quittance"
shutdown_grace = "10s"

[cluster]
amqp_url = "amqp://guest:guest@{amqp}/%2f"
redis_url = "{redis}"
management_url = "{management}"

[ingest]
listen = "{ingest}"

[admin]
listen = "{admin}"

[log]
format = "json"

[notify]
driver = "maildir"
maildir = {mail}
from = "shop@shop.example"
shop_name = "Local shop"

[[account]]
id = "default"
gateway = "paypal"
environment = "sandbox"
receivers = ["{RECEIVER_ID}", "{RECEIVER_EMAIL}"]
postback_url = "{webscr}"
pdt_url = "{webscr}"
"#,
            postgres = at(self.postgres),
            amqp = at(self.amqp),
            redis = self.redis_url(),
            management = self.management_url(),
            ingest = first(&self.ingest),
            admin = first(&self.ingest_admin),
        ))
    }
}

/// That port on the loopback interface.
pub(super) fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The example: a notification that is fulfilled, and the product that it pays for.
pub(super) fn example() -> (Vec<u8>, &'static str) {
    let notification = Ipn::payment("LOCAL0000000001", "MUG", 1, "9.90")
        .with("test_ipn", "1")
        .bytes();
    let catalogue = "sku,name,price,currency,on_hand\nMUG,Mug,9.90,EUR,1000\n";
    (notification.to_vec(), catalogue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::settings::{Engine, Settings};
    use std::collections::BTreeMap;

    const TWO: Instances = Instances {
        ingest: 2,
        verifier: 2,
        fulfiller: 2,
    };

    #[test]
    fn no_two_listeners_share_a_port() {
        let plan = Plan::fresh(TWO).unwrap();
        let mut ports: Vec<u16> = plan.ports().collect();
        assert_eq!(ports.len(), 15);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 15);
    }

    #[test]
    fn the_settings_are_valid_and_name_the_servers() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::fresh(TWO).unwrap();
        let file = folder.path().join(SETTINGS);
        fs::write(&file, plan.settings(folder.path()).unwrap()).unwrap();
        let settings = Settings::load(Some(&file), &BTreeMap::new()).unwrap();
        assert!(matches!(settings.engine, Engine::Cluster(_)));
        assert_eq!(settings.ingest.listen.port(), plan.ingest[0]);
    }

    #[test]
    fn ports_stay_until_one_is_taken_or_the_numbers_change() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::of(folder.path(), TWO).unwrap();
        assert_eq!(Plan::of(folder.path(), TWO).unwrap(), plan);
        let _taken = std::net::TcpListener::bind(at(plan.redis)).unwrap();
        let other = Plan::of(folder.path(), TWO).unwrap();
        assert_ne!(other.redis, plan.redis);
        let more = Instances { verifier: 3, ..TWO };
        assert_eq!(Plan::of(folder.path(), more).unwrap().verifier.len(), 3);
    }
}
