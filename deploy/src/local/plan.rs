//! Which ports, passwords and files the cluster of a folder has. The ports are kept over a stop, so
//! that a notification's address stays the same, as long as nobody else has taken one; the passwords
//! always, because the servers' data go by them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::passwords::{BROKER_USER, Passwords};
use super::{ports, private};
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

/// Every port, all on 127.0.0.1, and who may log in there.
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
    /// Of the servers.
    #[serde(default)]
    pub(super) passwords: Passwords,
}

impl Plan {
    /// Free ports for everything, and new passwords.
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
            passwords: Passwords::fresh(),
        })
    }

    /// The plan of `folder` if it has one that still fits, else one with fresh ports and the passwords
    /// that the folder has, which is kept.
    ///
    /// # Errors
    /// When there is a plan that cannot be read, or one without passwords.
    pub(super) fn of(folder: &Path, instances: Instances) -> anyhow::Result<Self> {
        let kept = Self::read(folder)?;
        if let Some(kept) = &kept {
            kept.must_have_passwords(folder)?;
            if kept.has(instances) && kept.ports().all(ports::is_free) {
                return Ok(kept.clone());
            }
        }
        let mut fresh = Self::fresh(instances)?;
        if let Some(kept) = kept {
            fresh.passwords = kept.passwords;
        }
        private::write(&folder.join(PLAN), serde_json::to_vec_pretty(&fresh)?)?;
        Ok(fresh)
    }

    fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = folder.join(PLAN);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        // Not made anew: the passwords that the servers' data go by stand there.
        serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("{} was not written by `quittance up`", file.display()))
    }

    /// A folder of an older build has data that everybody on the machine may log in to.
    pub(super) fn must_have_passwords(&self, folder: &Path) -> anyhow::Result<()> {
        let folder = folder.display();
        ensure!(
            self.passwords.are_set(),
            "{folder} was made by an older `quittance up`, whose servers have no passwords: choose \
             another --dir, or remove this one and its data with `quittance down --purge --dir {folder}`"
        );
        Ok(())
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

    /// The URL of the broker's HTTP API, with the password.
    pub(super) fn management_url(&self) -> String {
        let password = &self.passwords.broker;
        format!("http://{BROKER_USER}:{password}@{}", at(self.management))
    }

    /// The URL of Redis, with the password.
    pub(super) fn redis_url(&self) -> String {
        format!("redis://:{}@{}", self.passwords.claims, at(self.redis))
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
shop_database = "postgres://postgres:{books}@{postgres}/quittance"
shutdown_grace = "10s"

[cluster]
amqp_url = "amqp://{BROKER_USER}:{broker}@{amqp}/%2f"
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
            books = self.passwords.books,
            broker = self.passwords.broker,
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
        let more = Plan::of(folder.path(), more).unwrap();
        assert_eq!(more.verifier.len(), 3);
        assert_eq!(more.passwords, plan.passwords, "the data go by them");
    }

    #[test]
    fn a_plan_without_passwords_or_that_cannot_be_read_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(PLAN);
        let mut older = serde_json::to_value(Plan::fresh(TWO).unwrap()).unwrap();
        older.as_object_mut().unwrap().remove("passwords");
        for (text, told) in [
            (older.to_string(), "--purge"),
            ("{".to_owned(), "not written"),
        ] {
            fs::write(&file, &text).unwrap();
            let error = Plan::of(folder.path(), TWO).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
