//! A running pipeline for one story, on either engine, driven and observed from outside only: HTTP
//! in, the `quittance` command and the metrics out.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use quittance_common::clock;
use quittance_common::ids::MessageId;
use quittance_common::settings::Settings;
use quittance_common::shop::Shop;
use quittance_common::shop::announcement::Begun;
use quittance_deploy::demo::body::{Ipn, RECEIVER_EMAIL, RECEIVER_ID};
use quittance_deploy::sandbox::{Options, Sandbox, SandboxHandle};
use quittance_tests::{ChaosProxy, Process, World, eventually, http, ports, process};
use serde_json::Value;
use tokio::net::TcpListener;

/// How long a story waits for something that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// What every story sells, as `stock import` reads it: amounts are EUR.
const CATALOGUE: &str = "sku,name,price,currency,on_hand\n\
    MUG,Mug,9.90,EUR,10\nPOT,Pot,20.00,EUR,10\nLAST,The last one,50.00,EUR,1\n";

/// Short waits, so that a story takes seconds; the rules between them still hold.
const QUICK: &str = "[retry]\nladder = [\"200ms\", \"500ms\", \"1s\"]\n\
    [verifier]\nconnect_timeout = \"1s\"\npostback_timeout = \"2s\"\nrecheck_after = \"300ms\"\n\
    claim_lease = \"3s\"\nbreaker_failures = 3\nbreaker_cooldown = \"500ms\"\n";

/// Which engine a story runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// One process on SQLite.
    Embedded,
    /// `ingest`, `verifier`, `fulfiller` on the shared RabbitMQ, Redis and PostgreSQL.
    Cluster,
}

/// Runs each story of a module on both engines, as tests of their own.
macro_rules! on_both_engines {
    ($($story:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $story() -> anyhow::Result<()> {
                super::$story(crate::pipeline::Engine::Embedded).await
            })+
        }
        mod cluster {
            $(#[tokio::test]
            async fn $story() -> anyhow::Result<()> {
                super::$story(crate::pipeline::Engine::Cluster).await
            })+
        }
    };
}
pub(crate) use on_both_engines;

/// A deployment with its gateway. Everything ends with it.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) engine: Engine,
    pub(crate) world: World,
    pub(crate) sandbox: SandboxHandle,
    processes: BTreeMap<String, (Process, SocketAddr)>,
}

impl Pipeline {
    /// Starts everything, with stock: one process, or one of each stage.
    pub(crate) async fn start(engine: Engine) -> anyhow::Result<Self> {
        let mut pipeline = Self::prepare(engine).await?;
        pipeline.start_all().await?;
        Ok(pipeline)
    }

    /// A deployment with stock, and nothing running but the gateway.
    pub(crate) async fn prepare(engine: Engine) -> anyhow::Result<Self> {
        Self::prepare_in(engine, Self::world(engine).await?).await
    }

    /// A deployment's folder and servers.
    pub(crate) async fn world(engine: Engine) -> anyhow::Result<World> {
        match engine {
            Engine::Embedded => World::embedded(),
            Engine::Cluster => World::cluster("story").await,
        }
    }

    /// Everything running, and the gateway behind a cable that can be cut.
    pub(crate) async fn start_behind_proxy(engine: Engine) -> anyhow::Result<(Self, ChaosProxy)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let proxy = ChaosProxy::start(listener.local_addr()?).await?;
        let gateway = format!("http://{}/cgi-bin/webscr", proxy.address());
        let world = Self::world(engine).await?;
        let options = Options::default();
        let mut pipeline =
            Self::prepare_with(engine, world, listener, Some(&gateway), options).await?;
        pipeline.start_all().await?;
        Ok((pipeline, proxy))
    }

    /// The same in a world of the caller's making.
    pub(crate) async fn prepare_in(engine: Engine, world: World) -> anyhow::Result<Self> {
        Self::prepare_beside(engine, world, Options::default()).await
    }

    /// The same beside a gateway of the caller's making.
    pub(crate) async fn prepare_beside(
        engine: Engine,
        world: World,
        options: Options,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Self::prepare_with(engine, world, listener, None, options).await
    }

    async fn prepare_with(
        engine: Engine,
        world: World,
        listener: TcpListener,
        gateway: Option<&str>,
        options: Options,
    ) -> anyhow::Result<Self> {
        let sandbox = Sandbox::start_with(listener, options)?;
        let mail = world.folder().join("mail");
        let world = world
            .live_account(
                "default",
                &[RECEIVER_ID, RECEIVER_EMAIL],
                gateway.unwrap_or(&sandbox.webscr_url()),
            )
            .with_top("shutdown_grace = \"8s\"")
            .with_table(QUICK)
            .with_table(&format!(
                "[notify]\ndriver = \"maildir\"\nmaildir = \"{}\"\n",
                mail.display()
            ));
        world.write_settings()?;
        let pipeline = Self {
            engine,
            world,
            sandbox,
            processes: BTreeMap::new(),
        };
        let catalogue = pipeline.world.folder().join("catalogue.csv");
        std::fs::write(&catalogue, CATALOGUE)?;
        pipeline
            .quittance(&["stock", "import", &catalogue.to_string_lossy()])
            .await?;
        Ok(pipeline)
    }

    /// Starts one process of each kind that the engine has.
    pub(crate) async fn start_all(&mut self) -> anyhow::Result<()> {
        for stage in self.stages() {
            self.start_stage(stage, stage, &[]).await?;
        }
        Ok(())
    }

    /// The binaries of a complete deployment.
    pub(crate) fn stages(&self) -> &'static [&'static str] {
        match self.engine {
            Engine::Embedded => &["quittance"],
            Engine::Cluster => &["ingest", "verifier", "fulfiller"],
        }
    }

    /// The process that does the work of `stage`: on the embedded engine there is only one.
    pub(crate) fn binary_of(&self, stage: &'static str) -> &'static str {
        match self.engine {
            Engine::Embedded => "quittance",
            Engine::Cluster => stage,
        }
    }

    /// Starts `binary` under `name` and waits until it is ready. `FAILPOINTS` and the like go
    /// into `environment`.
    pub(crate) async fn start_stage(
        &mut self,
        binary: &str,
        name: &str,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let settings = self.settings()?;
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let listen = admin.to_string();
        let mut all = vec![("QUITTANCE_ADMIN__LISTEN", listen.as_str())];
        all.extend(environment);
        let arguments: &[&str] = match binary {
            "quittance" => &["serve", "--config", &settings],
            _ => &["--config", &settings],
        };
        let mut process = Process::spawn(binary, name, arguments, &all, self.world.folder())?;
        process.wait_ready(admin).await?;
        // Ingest is ready while its broker is away; stories begin with a broker that is there.
        eventually("the engine is up", PATIENCE, async || {
            let answer = http::once(admin, "GET", "/metrics", "", b"").await.ok()?;
            (sum_of(&answer.text(), "quittance_broker_up", &[]) == 1).then_some(())
        })
        .await?;
        self.processes.insert(name.to_owned(), (process, admin));
        Ok(())
    }

    /// Takes a process out of the pipeline, to end it in its own way.
    pub(crate) fn take(&mut self, name: &str) -> anyhow::Result<Process> {
        Ok(self.processes.remove(name).context("no such process")?.0)
    }

    /// The admin listener of a process.
    pub(crate) fn admin_of(&self, name: &str) -> anyhow::Result<SocketAddr> {
        Ok(self.processes.get(name).context("no such process")?.1)
    }

    fn settings(&self) -> anyhow::Result<String> {
        let path: PathBuf = self.world.folder().join("quittance.toml");
        Ok(path.to_str().context("a path in UTF-8")?.to_owned())
    }

    // --- driving ------------------------------------------------------------------------------

    /// Makes the body genuine and posts it as the gateway would; the status of the answer.
    pub(crate) async fn send(&self, ipn: &Ipn) -> anyhow::Result<u16> {
        self.send_bytes(ipn.bytes()).await
    }

    /// The same for any bytes.
    pub(crate) async fn send_bytes(&self, body: Bytes) -> anyhow::Result<u16> {
        self.sandbox.register(&body);
        self.post(&body).await
    }

    /// Posts a body that the gateway never sent.
    pub(crate) async fn post(&self, body: &[u8]) -> anyhow::Result<u16> {
        Ok(self.post_to("/ipn/paypal", body).await?.status)
    }

    /// Posts a form to a path of ingest.
    pub(crate) async fn post_to(&self, path: &str, body: &[u8]) -> anyhow::Result<http::Response> {
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        http::once(self.world.ingest(), "POST", path, headers, body).await
    }

    /// Sends and insists on `200`.
    pub(crate) async fn accept(&self, ipn: &Ipn) -> anyhow::Result<()> {
        match self.send(ipn).await? {
            200 => Ok(()),
            other => bail!("ingest answered {other}"),
        }
    }

    // --- observing ----------------------------------------------------------------------------

    /// Runs the command; its standard output. Any exit but 0 is an error.
    pub(crate) async fn quittance(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let settings = self.settings()?;
        let mut all = arguments.to_vec();
        all.extend(["--config", &settings]);
        let output = process::run("quittance", &all, self.world.folder(), PATIENCE).await?;
        if !output.status.success() {
            bail!(
                "quittance {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A listing, one object a line.
    pub(crate) async fn listing(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let mut all = arguments.to_vec();
        all.push("--json");
        let text = self.quittance(&all).await?;
        text.lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// The payment of that transaction, if the books have it.
    pub(crate) async fn payment(&self, txn: &str) -> anyhow::Result<Option<Value>> {
        let payments = self.listing(&["payments", "list"]).await?;
        Ok(payments
            .into_iter()
            .find(|payment| payment["txn_id"] == txn))
    }

    /// Waits until the payment has that status and everything about it has been told.
    pub(crate) async fn settled(&self, txn: &str, status: &str) -> anyhow::Result<Value> {
        let what = format!("payment {txn} is {status}");
        eventually(&what, PATIENCE, async || {
            let payment = self.payment(txn).await.ok()??;
            (payment["status"] == status).then_some(payment)
        })
        .await
    }

    /// `(on_hand, reserved, backordered)` of a sku.
    pub(crate) async fn stock(&self, sku: &str) -> anyhow::Result<(i64, i64, i64)> {
        let rows = self.listing(&["stock", "list"]).await?;
        let row = rows
            .into_iter()
            .find(|row| row["sku"] == sku)
            .context("no such sku")?;
        let number = |name: &str| row[name].as_i64().context("a number");
        Ok((
            number("on_hand")?,
            number("reserved")?,
            number("backordered")?,
        ))
    }

    /// The mails in the Maildir, as they were written.
    pub(crate) fn mails(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.world.folder().join("mail").join("new");
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        std::fs::read_dir(folder)?
            .map(|entry| Ok(std::fs::read_to_string(entry?.path())?))
            .collect()
    }

    /// Waits until there are so many mails. More than that is an error at once.
    pub(crate) async fn mailed(&self, count: usize) -> anyhow::Result<Vec<String>> {
        eventually(&format!("{count} mails"), PATIENCE, async || {
            self.mails().ok().filter(|mails| mails.len() >= count)
        })
        .await
        .and_then(|mails| match mails.len() {
            found if found == count => Ok(mails),
            found => bail!("expected {count} mails, found {found}"),
        })
    }

    /// What `/metrics` of each process answers.
    pub(crate) async fn scrapes(&self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for (_, admin) in self.processes.values() {
            let answer = http::once(*admin, "GET", "/metrics", "", b"").await?;
            all.push(answer.text());
        }
        Ok(all)
    }

    /// The sum of a metric over all processes, of the series that have all of `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let mut sum = 0;
        for (_, admin) in self.processes.values() {
            let Ok(answer) = http::once(*admin, "GET", "/metrics", "", b"").await else {
                continue;
            };
            sum += sum_of(&answer.text(), name, labels);
        }
        sum
    }

    /// The largest value of a metric over all processes, of the series whose labels contain
    /// `label`; `None` when nobody exports one.
    pub(crate) async fn largest(&self, name: &str, label: &str) -> Option<u64> {
        let texts = self.scrapes().await.ok()?;
        let lines = texts.iter().flat_map(|text| text.lines());
        lines
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .max()
    }

    /// Waits until `count` messages have been parked for `reason`.
    pub(crate) async fn parked(&self, reason: &str, count: u64) -> anyhow::Result<()> {
        let label = format!("reason=\"{reason}\"");
        eventually(
            &format!("{count} parked as {reason}"),
            PATIENCE,
            async || {
                let found = self.metric("quittance_dead_letters_total", &[&label]).await;
                (found == count).then_some(())
            },
        )
        .await
    }

    /// Lets so much time pass for the announcement that tells `effect` of payment `txn` that a
    /// sender that died with it in hand is no longer waited for.
    pub(crate) async fn sender_forgotten(&self, txn: &str, effect: &str) -> anyhow::Result<()> {
        let path = PathBuf::from(self.settings()?);
        let settings = Settings::load(Some(&path), &BTreeMap::new())?;
        let shop = Shop::open(&settings.shop_database).await?;
        let later = clock::now() + Duration::from_hours(1);
        for environment in ["sandbox", "live"] {
            let subject = format!("paypal:{environment}:payment:{txn}");
            let id = MessageId::from_name(&format!("{subject}/{effect}"));
            let begun = shop
                .begin_announcement(id, &subject, effect, later, Duration::from_mins(10))
                .await?;
            anyhow::ensure!(begun == Begun::Mine, "{effect} of {txn} is {begun:?}");
            shop.give_up_announcement(id, later).await?;
        }
        shop.close().await;
        Ok(())
    }

    /// Waits until nothing is on its way: in hand, on a work or delay queue, or in the outbox.
    pub(crate) async fn drained(&self) -> anyhow::Result<()> {
        let path = PathBuf::from(self.settings()?);
        let settings = Settings::load(Some(&path), &BTreeMap::new())?;
        let shop = Shop::open(&settings.shop_database).await?;
        eventually("nothing is on its way", PATIENCE, async || {
            // In hand is asked before and after: a broker by AMQP does not tell what it has
            // handed out.
            let idle = async || self.metric("quittance_in_flight", &[]).await == 0;
            let done = idle().await
                && self.queued().await.ok()? == 0
                && shop.outbox_depth().await.ok()? == 0
                && self.queued().await.ok()? == 0
                && idle().await;
            done.then_some(())
        })
        .await?;
        shop.close().await;
        Ok(())
    }

    /// How many messages are on work and delay queues.
    async fn queued(&self) -> anyhow::Result<u64> {
        let parking = |name: &str| {
            matches!(
                name.rsplit('.').next(),
                Some("dead" | "quarantine" | "archive")
            )
        };
        let queues = self.listing(&["queues", "list"]).await?;
        let left = queues
            .iter()
            .filter(|queue| !queue["queue"].as_str().is_some_and(parking))
            .map(|queue| {
                // A broker by AMQP does not tell what it has handed out.
                let unacked = match &queue["unacked"] {
                    Value::Null => 0,
                    told => told.as_u64().unwrap_or(1),
                };
                queue["ready"].as_u64().unwrap_or(1) + unacked
            })
            .sum();
        Ok(left)
    }

    /// How many messages are parked on `queue` (its name without the prefix).
    pub(crate) async fn depth(&self, queue: &str) -> anyhow::Result<u64> {
        let queues = self.listing(&["queues", "list"]).await?;
        let found = queues
            .iter()
            .find(|row| {
                row["queue"]
                    .as_str()
                    .is_some_and(|name| name.ends_with(queue))
            })
            .with_context(|| format!("no queue {queue}"))?;
        found["ready"].as_u64().context("a number")
    }

    /// Everything that the processes have logged.
    pub(crate) fn logs(&self) -> anyhow::Result<String> {
        let mut all = String::new();
        for (process, _) in self.processes.values() {
            all.push_str(&process.output()?);
        }
        Ok(all)
    }
}

/// The sum of the samples of `name` whose labels contain all of `labels`.
fn sum_of(text: &str, name: &str, labels: &[&str]) -> u64 {
    text.lines()
        .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}
