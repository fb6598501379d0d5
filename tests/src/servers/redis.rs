//! A private Redis.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use quittance_deploy::local::{self, packages};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::rabbitmq::address;
use crate::daemon::Daemon;
use crate::eventually::eventually;
use crate::ports;

/// The URL of the Redis of the whole run.
pub const REDIS_URL: &str = "QUITTANCE_TEST_REDIS_URL";

const BOOT: Duration = Duration::from_secs(20);

/// A server that this value owns, with an append-only file synced at every write.
#[derive(Debug)]
pub struct Redis {
    daemon: Daemon,
    address: SocketAddr,
    folder: TempDir,
}

impl Redis {
    /// A fresh, empty one.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = super::folder("quittance-redis-")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let daemon = spawn(&folder, address)?;
        let mut started = Self {
            daemon,
            address,
            folder,
        };
        started.wait_until_up().await?;
        Ok(started)
    }

    /// The URL of the one of the whole run, for tests that neither break nor flush it: keep to
    /// keys with a prefix of your own.
    pub async fn shared() -> anyhow::Result<String> {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        if let Ok(url) = std::env::var(REDIS_URL) {
            address(REDIS_URL, &url)?;
            return Ok(url);
        }
        Ok(SHARED.get_or_try_init(Self::start).await?.url())
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its address, for a proxy in front of it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, for signals such as `SIGSTOP`.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// `SIGKILL`.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.daemon.kill().await?;
        Ok(())
    }

    /// Starts it again on the same port and data.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        self.daemon = spawn(&self.folder, self.address)?;
        self.wait_until_up().await
    }

    /// `FLUSHALL`: it forgets everything.
    pub async fn flush(&self) -> anyhow::Result<()> {
        self.command(&["FLUSHALL"]).await?;
        Ok(())
    }

    /// One command on a connection of its own.
    pub async fn command(&self, words: &[&str]) -> anyhow::Result<redis::Value> {
        let (name, arguments) = words.split_first().context("a command has a name")?;
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(name);
        command.arg(arguments);
        Ok(command.query_async(&mut connection).await?)
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        eventually("Redis answers", BOOT, async || {
            if let Err(ended) = self.daemon.expect_running() {
                return Some(Err(ended));
            }
            self.command(&["PING"]).await.is_ok().then_some(Ok(()))
        })
        .await?
    }
}

fn spawn(folder: &TempDir, address: SocketAddr) -> anyhow::Result<Daemon> {
    let command = local::servers::redis::server(&packages::redis()?, address, folder.path(), None);
    let log = folder.path().join("redis.log");
    Daemon::spawn("Redis", command, &log, Signal::KILL)
}
