//! A private RabbitMQ node with its own node name, ports, cookie and port mapper.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use quittance_deploy::local::packages;
use quittance_deploy::local::servers::rabbitmq::Node;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::daemon::Daemon;
use crate::eventually::eventually;
use crate::{http, ports};

/// The AMQP URL of the broker of the whole run.
pub const AMQP_URL: &str = "QUITTANCE_TEST_AMQP_URL";
/// The URL of that broker's HTTP API.
pub const MANAGEMENT_URL: &str = "QUITTANCE_TEST_MANAGEMENT_URL";

const BOOT: Duration = Duration::from_secs(90);
const SHUTDOWN: Duration = Duration::from_secs(30);
/// `guest:guest`, RabbitMQ's own default; the node listens on the loopback interface alone.
const AUTHORIZATION: &str = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";

/// How to reach a node. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    amqp: SocketAddr,
    management: SocketAddr,
}

impl Broker {
    /// The URL of the default virtual host.
    pub fn amqp_url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.amqp)
    }

    /// The address of the AMQP listener, for a proxy in front of it.
    pub fn amqp_address(&self) -> SocketAddr {
        self.amqp
    }

    /// The URL of the HTTP API, without a path.
    pub fn management_url(&self) -> String {
        format!("http://guest:guest@{}", self.management)
    }

    /// Makes an empty virtual host and gives its URL: a broker of one's own at no cost.
    ///
    /// `name` is made unique, so that two runs of a test do not meet.
    pub async fn vhost(&self, name: &str) -> anyhow::Result<String> {
        let name = format!("{name}-{}", uuid::Uuid::now_v7().simple());
        self.api("PUT", &format!("/api/vhosts/{name}"), "{}")
            .await?;
        self.api(
            "PUT",
            &format!("/api/permissions/{name}/guest"),
            r#"{"configure":".*","write":".*","read":".*"}"#,
        )
        .await?;
        Ok(format!("amqp://guest:guest@{}/{name}", self.amqp))
    }

    /// One request to the HTTP API with a JSON body; an answer other than 2xx is an error.
    pub async fn api(&self, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
        let headers = format!("{AUTHORIZATION}Content-Type: application/json\r\n");
        let response = http::once(self.management, method, path, &headers, body.as_bytes()).await?;
        ensure!(
            (200..300).contains(&response.status),
            "{method} {path}: the broker answered {}: {}",
            response.status,
            response.text()
        );
        Ok(response.text())
    }

    async fn answers(&self) -> bool {
        tokio::net::TcpStream::connect(self.amqp).await.is_ok()
            && self.api("GET", "/api/overview", "").await.is_ok()
    }

    fn from_env() -> anyhow::Result<Option<Self>> {
        let (Ok(amqp), Ok(management)) = (std::env::var(AMQP_URL), std::env::var(MANAGEMENT_URL))
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            amqp: address(AMQP_URL, &amqp)?,
            management: address(MANAGEMENT_URL, &management)?,
        }))
    }
}

/// Host and port of a URL whose host is an IP address.
pub(crate) fn address(name: &str, url: &str) -> anyhow::Result<SocketAddr> {
    let url: url::Url = url.parse().with_context(|| format!("{name} is no URL"))?;
    let host = url
        .host_str()
        .and_then(|host| host.parse::<Ipv4Addr>().ok());
    match (host, url.port()) {
        (Some(host), Some(port)) => Ok(SocketAddr::from((host, port))),
        _ => bail!("{name} must name an IPv4 address and a port"),
    }
}

/// A node that this value owns: it ends with it.
#[derive(Debug)]
pub struct RabbitMq {
    // Declared, hence dropped, in this order: the node goes before its port mapper and folder.
    node: Daemon,
    #[expect(dead_code, reason = "held for its drop")]
    epmd: Daemon,
    broker: Broker,
    place: Place,
}

/// What stays the same when the node is started again.
#[derive(Debug)]
struct Place {
    folder: TempDir,
    node: Node,
}

impl RabbitMq {
    /// A fresh node with the management plugin; takes some ten seconds.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with("").await
    }

    /// As [`Self::start`], with more lines for `rabbitmq.conf`.
    pub async fn start_with(conf: &str) -> anyhow::Result<Self> {
        let broker = Broker {
            amqp: SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)),
            management: SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)),
        };
        let folder = super::folder("quittance-rabbitmq-")?;
        let node = Node {
            folder: folder.path().to_owned(),
            sbin: packages::rabbitmq()?,
            name: format!("q{}@localhost", broker.amqp.port()),
            amqp: broker.amqp,
            management_port: broker.management.port(),
            epmd_port: ports::free()?,
            dist_port: ports::free()?,
        };
        node.write_settings(conf)?;
        let place = Place { folder, node };
        let epmd = place.spawn_epmd()?;
        let node = place.spawn_node()?;
        let mut started = Self {
            node,
            epmd,
            broker,
            place,
        };
        started.wait_until_up().await?;
        Ok(started)
    }

    /// The broker of the whole run, for tests that do not break it: use a [`Broker::vhost`].
    pub async fn shared() -> anyhow::Result<Broker> {
        static SHARED: OnceCell<RabbitMq> = OnceCell::const_new();
        if let Some(broker) = Broker::from_env()? {
            return Ok(broker);
        }
        let node = SHARED.get_or_try_init(Self::start).await?;
        Ok(node.broker.clone())
    }

    /// How to reach it.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The URL of the default virtual host.
    pub fn amqp_url(&self) -> String {
        self.broker.amqp_url()
    }

    /// The URL of the HTTP API.
    pub fn management_url(&self) -> String {
        self.broker.management_url()
    }

    /// The folder with its log and data.
    pub fn folder(&self) -> &Path {
        self.place.folder.path()
    }

    /// The process id of the node's group, for signals such as `SIGSTOP`.
    pub fn daemon(&self) -> &Daemon {
        &self.node
    }

    /// An orderly stop.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.node.stop(Signal::TERM, SHUTDOWN).await?;
        Ok(())
    }

    /// `SIGKILL`.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.node.kill().await?;
        Ok(())
    }

    /// Starts it again on the same ports and data, and waits until it answers.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        self.node = self.place.spawn_node()?;
        self.wait_until_up().await
    }

    /// An orderly stop and a new start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Runs `rabbitmqctl` on this node and gives what it printed.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.place.node.script("rabbitmqctl");
        command
            .args(["--node", &self.place.node.name, "--quiet"])
            .args(arguments);
        let output = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes the node write down which log belongs to which quorum queue.
    ///
    /// RabbitMQ 3.10 keeps that for some three seconds in a write cache, whatever it confirms
    /// meanwhile: a node that is killed so soon after a queue was declared finds neither the
    /// queue's leader nor its messages again. Call this between the declaration and a kill.
    pub async fn write_queue_names(&self) -> anyhow::Result<()> {
        let sync = "[ok = dets:sync(Table) || Table <- dets:all()].";
        self.rabbitmqctl(&["eval", sync]).await?;
        Ok(())
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let up = eventually("RabbitMQ answers", BOOT, async || {
            if let Err(ended) = self.node.expect_running() {
                return Some(Err(ended));
            }
            self.broker.answers().await.then_some(Ok(()))
        })
        .await;
        match up {
            Ok(result) => result,
            Err(error) => Err(error.context(self.node.log_tail())),
        }
    }
}

impl Place {
    fn spawn_epmd(&self) -> anyhow::Result<Daemon> {
        let log = self.folder.path().join("epmd.log");
        Daemon::spawn("epmd", self.node.port_mapper(), &log, Signal::KILL)
    }

    fn spawn_node(&self) -> anyhow::Result<Daemon> {
        let log = self.folder.path().join("rabbitmq.log");
        // Its data is thrown away with it: no need to wait for an orderly end.
        Daemon::spawn("RabbitMQ", self.node.server(), &log, Signal::KILL)
    }
}
