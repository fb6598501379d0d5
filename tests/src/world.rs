//! One deployment for one test: a folder, a settings file, addresses, and a name for its queues.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::ports;
use crate::process::Process;
use crate::servers::{self, Postgres, RabbitMq, Redis};

/// What a test needs to know of its deployment. Processes are started from it.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    top: String,
    tables: String,
    ingest: SocketAddr,
    admin: SocketAddr,
}

impl World {
    /// The embedded engine in a folder of its own, with no account yet.
    pub fn embedded() -> anyhow::Result<Self> {
        let folder = servers::folder("quittance-world-")?;
        let data = quoted(&folder.path().join("data").to_string_lossy());
        Self::new(
            folder,
            format!("engine = \"embedded\"\ndata_dir = {data}\n"),
            "",
        )
    }

    /// The cluster engine on the shared servers: a virtual host and a database of its own.
    pub async fn cluster(name: &str) -> anyhow::Result<Self> {
        let amqp = RabbitMq::shared().await?.vhost(name).await?;
        let redis = Redis::shared().await?;
        let shop = Postgres::shared().await?.database(name).await?;
        Self::cluster_on(&amqp, &redis, &shop)
    }

    /// The cluster engine on these servers (by URL), for tests that break them.
    pub fn cluster_on(amqp: &str, redis: &str, postgres: &str) -> anyhow::Result<Self> {
        // Redis has no virtual hosts: a prefix of its own keeps the claims of two tests apart.
        let name = uuid::Uuid::now_v7().simple().to_string();
        let (_, random) = name.split_at(16);
        let prefix = format!("t{random}.");
        let top = format!(
            "engine = \"cluster\"\nqueue_prefix = {}\nshop_database = {}\n",
            quoted(&prefix),
            quoted(postgres)
        );
        let tables = format!(
            "[cluster]\namqp_url = {}\nredis_url = {}\n",
            quoted(amqp),
            quoted(redis)
        );
        Self::new(servers::folder("quittance-world-")?, top, &tables)
    }

    fn new(folder: TempDir, top: String, tables: &str) -> anyhow::Result<Self> {
        let ingest = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let tables = format!(
            "{tables}[ingest]\nlisten = {}\n[admin]\nlisten = {}\n",
            quoted(&ingest.to_string()),
            quoted(&admin.to_string())
        );
        Ok(Self {
            folder,
            top,
            tables,
            ingest,
            admin,
        })
    }

    /// Adds a PayPal sandbox account whose gateway is the stand-in at `gateway`.
    #[must_use]
    pub fn account(self, id: &str, receivers: &[&str], gateway: &str) -> Self {
        self.account_of("sandbox", id, receivers, gateway)
    }

    /// Adds a PayPal live account whose gateway is the stand-in at `gateway`.
    #[must_use]
    pub fn live_account(self, id: &str, receivers: &[&str], gateway: &str) -> Self {
        self.account_of("live", id, receivers, gateway)
    }

    fn account_of(
        mut self,
        environment: &str,
        id: &str,
        receivers: &[&str],
        gateway: &str,
    ) -> Self {
        let receivers: Vec<String> = receivers.iter().map(|receiver| quoted(receiver)).collect();
        let account = format!(
            "[[account]]\nid = {}\ngateway = \"paypal\"\nenvironment = {}\n\
             receivers = [{}]\npostback_url = {}\npdt_url = {}\ncheckout_url = {}\n",
            quoted(id),
            quoted(environment),
            receivers.join(", "),
            quoted(gateway),
            quoted(gateway),
            quoted(gateway),
        );
        self.tables.push_str(&account);
        self
    }

    /// Adds lines before the first table, such as `shutdown_grace = "2s"`.
    #[must_use]
    pub fn with_top(mut self, lines: &str) -> Self {
        self.top.push_str(lines);
        self.top.push('\n');
        self
    }

    /// Adds whole tables, such as `[retry]`.
    #[must_use]
    pub fn with_table(mut self, lines: &str) -> Self {
        self.tables.push_str(lines);
        self.tables.push('\n');
        self
    }

    /// The folder of this deployment.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The settings as TOML.
    pub fn settings(&self) -> String {
        format!("{}{}", self.top, self.tables)
    }

    /// Writes the settings file and gives its path.
    pub fn write_settings(&self) -> anyhow::Result<PathBuf> {
        let path = self.folder().join("quittance.toml");
        fs::write(&path, self.settings())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Where ingest listens.
    pub fn ingest(&self) -> SocketAddr {
        self.ingest
    }

    /// The URL of ingest, without a path.
    pub fn ingest_url(&self) -> String {
        format!("http://{}", self.ingest)
    }

    /// Where the admin listener of ingest, or of the all-in-one server, is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Starts the all-in-one server and waits until it is ready.
    pub async fn serve(&self) -> anyhow::Result<Process> {
        let settings = self.write_settings()?;
        let settings = settings.to_string_lossy();
        let arguments = ["serve", "--config", settings.as_ref()];
        let mut process = Process::spawn("quittance", "quittance", &arguments, &[], self.folder())?;
        process.wait_ready(self.admin).await?;
        Ok(process)
    }

    /// Starts one stage (`ingest`, `verifier`, `fulfiller`) with an admin listener of its own,
    /// waits until it is ready, and gives the listener's address too.
    pub async fn stage(&self, binary: &str, name: &str) -> anyhow::Result<(Process, SocketAddr)> {
        let settings = self.write_settings()?;
        let settings = settings.to_string_lossy();
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let listen = admin.to_string();
        let mut process = Process::spawn(
            binary,
            name,
            &["--config", settings.as_ref()],
            &[("QUITTANCE_ADMIN__LISTEN", &listen)],
            self.folder(),
        )?;
        process.wait_ready(admin).await?;
        Ok((process, admin))
    }
}

/// A TOML basic string; JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_top_stands_before_the_first_table() {
        let world = World::cluster_on("amqp://a", "redis://b", "postgres://c")
            .unwrap()
            .account("default", &["pay@shop.example"], "http://127.0.0.1:1/")
            .with_top("shutdown_grace = \"2s\"");
        let settings = world.settings();
        let first_table = settings.find('[').unwrap();
        assert!(settings.find("shutdown_grace").unwrap() < first_table);
        assert!(settings.find("engine = \"cluster\"").unwrap() < first_table);
        assert!(settings.contains("receivers = [\"pay@shop.example\"]"));
    }

    #[test]
    fn two_worlds_on_one_broker_have_queues_of_their_own() {
        let one = World::cluster_on("amqp://a", "redis://b", "postgres://c").unwrap();
        let other = World::cluster_on("amqp://a", "redis://b", "postgres://c").unwrap();
        let prefix = |world: &World| {
            let settings = world.settings();
            let line = settings.lines().find(|l| l.starts_with("queue_prefix"));
            line.unwrap().to_owned()
        };
        assert_ne!(prefix(&one), prefix(&other));
    }
}
