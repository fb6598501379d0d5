//! A private PostgreSQL.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use quittance_deploy::local::packages;
use quittance_deploy::local::servers::postgres::Cluster;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::rabbitmq::address;
use crate::daemon::Daemon;
use crate::eventually::eventually;
use crate::ports;

/// The URL of the PostgreSQL of the whole run.
pub const POSTGRES_URL: &str = "QUITTANCE_TEST_POSTGRES_URL";

const BOOT: Duration = Duration::from_mins(1);

/// How to reach a server. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Databases {
    address: SocketAddr,
    /// With a colon; empty where everybody is let in.
    password: String,
}

impl Databases {
    /// The URL of the maintenance database.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of the listener, for a proxy in front of it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes an empty database and gives its URL. `name` is made unique.
    pub async fn database(&self, name: &str) -> anyhow::Result<String> {
        let name = format!("{name}_{}", uuid::Uuid::now_v7().simple());
        let mut connection = PgConnection::connect(&self.url()).await?;
        let statement = format!("CREATE DATABASE \"{name}\"");
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(self.url_of(&name))
    }

    fn url_of(&self, database: &str) -> String {
        let Self { address, password } = self;
        format!("postgres://postgres{password}@{address}/{database}")
    }

    async fn answers(&self) -> bool {
        match PgConnection::connect(&self.url()).await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        }
    }
}

/// A server that this value owns.
#[derive(Debug)]
pub struct Postgres {
    daemon: Daemon,
    databases: Databases,
    place: Place,
}

#[derive(Debug)]
struct Place {
    folder: TempDir,
    cluster: Cluster,
}

impl Postgres {
    /// A fresh cluster. It does not sync: it is thrown away, and survives `SIGKILL` all the same.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = super::folder("quittance-postgres-")?;
        let cluster = Cluster::new(folder.path(), &packages::postgres()?)?;
        Self::start_as(folder, cluster, String::new()).await
    }

    /// The same where everybody needs a password; the superuser's is this.
    pub async fn start_with_password(password: &str) -> anyhow::Result<Self> {
        let folder = super::folder("quittance-postgres-")?;
        let cluster = Cluster::new(folder.path(), &packages::postgres()?)?.with_password(password);
        Self::start_as(folder, cluster, format!(":{password}")).await
    }

    async fn start_as(folder: TempDir, cluster: Cluster, password: String) -> anyhow::Result<Self> {
        let initialised = cluster.clone();
        tokio::task::spawn_blocking(move || initialised.initialise()).await??;
        let place = Place { folder, cluster };
        let databases = Databases {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)),
            password,
        };
        let daemon = place.spawn(databases.address)?;
        let mut started = Self {
            daemon,
            databases,
            place,
        };
        started.wait_until_up().await?;
        Ok(started)
    }

    /// The one of the whole run: use a [`Databases::database`] of your own.
    pub async fn shared() -> anyhow::Result<Databases> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        if let Ok(url) = std::env::var(POSTGRES_URL) {
            let address = address(POSTGRES_URL, &url)?;
            let password = String::new();
            return Ok(Databases { address, password });
        }
        let server = SHARED.get_or_try_init(Self::start).await?;
        Ok(server.databases.clone())
    }

    /// How to reach it.
    pub fn databases(&self) -> &Databases {
        &self.databases
    }

    /// The URL of the maintenance database.
    pub fn url(&self) -> String {
        self.databases.url()
    }

    /// Makes an empty database and gives its URL.
    pub async fn database(&self, name: &str) -> anyhow::Result<String> {
        self.databases.database(name).await
    }

    /// `SIGKILL` to the server; its children end with it.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.daemon.kill().await?;
        // They notice a little later, and a new server refuses to start beside them.
        let cluster = &self.place.cluster;
        eventually("PostgreSQL's children end", BOOT, async || {
            (!cluster.has_processes()).then_some(())
        })
        .await
    }

    /// Starts it again on the same port and data, through crash recovery if need be.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        self.daemon = self.place.spawn(self.databases.address)?;
        self.wait_until_up().await
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        eventually("PostgreSQL answers", BOOT, async || {
            if let Err(ended) = self.daemon.expect_running() {
                return Some(Err(ended));
            }
            self.databases.answers().await.then_some(Ok(()))
        })
        .await?
    }
}

impl Place {
    fn spawn(&self, address: SocketAddr) -> anyhow::Result<Daemon> {
        let command = self.cluster.server(address, &["fsync=off"])?;
        let log = self.folder.path().join("postgres.log");
        // SIGQUIT is its immediate shutdown: quick, and its shared memory is given back.
        Daemon::spawn("PostgreSQL", command, &log, Signal::QUIT)
    }
}
