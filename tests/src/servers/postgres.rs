//! A private PostgreSQL.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Signal, geteuid};
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
        format!("postgres://postgres@{}/{database}", self.address)
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
    bin: PathBuf,
    /// PostgreSQL refuses to run as root: the user and group that it is run as instead.
    owner: Option<(u32, u32)>,
}

impl Postgres {
    /// A fresh cluster. It does not sync: it is thrown away, and survives `SIGKILL` all the same.
    pub async fn start() -> anyhow::Result<Self> {
        let place = Place {
            folder: super::folder("quittance-postgres-")?,
            bin: bin()?,
            owner: owner()?,
        };
        place.init().await?;
        let databases = Databases {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)),
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
            return Ok(Databases { address });
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
        let data = self.place.data();
        eventually("PostgreSQL's children end", BOOT, async || {
            let mut processes = fs::read_dir("/proc").ok()?.flatten();
            let left = processes.any(|process| {
                fs::read_link(process.path().join("cwd")).is_ok_and(|at| at == data)
            });
            (!left).then_some(())
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
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    async fn init(&self) -> anyhow::Result<()> {
        if let Some((user, group)) = self.owner {
            chown(self.folder.path(), Some(user), Some(group))?;
        }
        let mut command = self.command("initdb");
        command
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(self.data());
        let output = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .output()
            .await
            .context("cannot run initdb")?;
        ensure!(
            output.status.success(),
            "initdb: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn spawn(&self, address: SocketAddr) -> anyhow::Result<Daemon> {
        // A server that was killed leaves its lock file, with a pid that may be somebody else's
        // by now; the data are ours alone.
        let lock = self.data().join("postmaster.pid");
        if lock.exists() {
            fs::remove_file(&lock)?;
        }
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", address.port()),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "max_connections=200".to_owned(),
            "shared_buffers=32MB".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        let log = self.folder.path().join("postgres.log");
        // SIGQUIT is its immediate shutdown: quick, and its shared memory is given back.
        Daemon::spawn("PostgreSQL", command, &log, Signal::QUIT)
    }
}

/// User and group `postgres` when we are root.
fn owner() -> anyhow::Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .context("there is no user postgres to run PostgreSQL as")?;
    let mut fields = line.split(':').skip(2).map(str::parse::<u32>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok(Some((user, group))),
        _ => anyhow::bail!("the line of postgres in /etc/passwd has no ids"),
    }
}

/// The programs of the newest version that is installed.
fn bin() -> anyhow::Result<PathBuf> {
    let parent = Path::new("/usr/lib/postgresql");
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .with_context(|| format!("{}: is postgresql installed?", parent.display()))?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").is_file())
        .collect();
    found.sort();
    let (_, bin) = found
        .pop()
        .with_context(|| format!("no server below {}", parent.display()))?;
    Ok(bin)
}
