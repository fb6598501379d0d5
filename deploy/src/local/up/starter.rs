//! The steps of a start, each process written down before anything else can go wrong. What runs already
//! is left as it is, so that the same steps start again what has ended.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::time::Instant;

use super::Programs;
use crate::local::child::{Child, Role};
use crate::local::packages::Packages;
use crate::local::passwords::BROKER_USER;
use crate::local::plan::{self, CATALOGUE, NOTIFICATION, Plan, SETTINGS, at};
use crate::local::private;
use crate::local::servers::postgres::Cluster;
use crate::local::servers::rabbitmq::Node;
use crate::local::servers::redis;
use crate::local::state::State;

/// How long each part may take to answer.
const BOOT: Duration = Duration::from_mins(2);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(100);

/// A start in the making.
pub(super) struct Starter<'a> {
    /// What runs, and what has ended.
    pub(super) state: State,
    /// What this start has started.
    pub(super) started: Vec<Child>,
    pub(super) folder: PathBuf,
    pub(super) packages: Packages,
    pub(super) programs: Programs,
    pub(super) client: reqwest::Client,
    pub(super) tell: &'a (dyn Fn(&str) + Send + Sync),
}

impl Starter<'_> {
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        let plan = self.state.plan.clone();
        let write = |name: &str, bytes: &[u8]| private::write(&self.folder.join(name), bytes);
        let (notification, catalogue) = plan::example();
        write(SETTINGS, plan.settings(&self.folder)?.as_bytes())?;
        write(NOTIFICATION, &notification)?;
        write(CATALOGUE, catalogue.as_bytes())?;
        self.start_servers(&plan).await?;
        (self.tell)("queues, policies and the shop's tables");
        self.quittance(&["topology", "apply"]).await?;
        // Not over the stock that an earlier start has left.
        if self
            .quittance(&["stock", "list", "--json"])
            .await?
            .is_empty()
        {
            let catalogue = self.folder.join(CATALOGUE);
            self.quittance(&["stock", "import", &catalogue.to_string_lossy()])
                .await?;
        }
        self.start_services(&plan).await
    }

    /// The servers boot side by side.
    async fn start_servers(&mut self, plan: &Plan) -> anyhow::Result<()> {
        (self.tell)("RabbitMQ, Redis and PostgreSQL");
        let node = Node {
            folder: self.folder.join("rabbitmq"),
            sbin: self.packages.rabbitmq.clone(),
            name: "quittance@localhost".to_owned(),
            amqp: at(plan.amqp),
            management_port: plan.management,
            epmd_port: plan.epmd,
            dist_port: plan.dist,
        };
        let passwords = &plan.passwords;
        // They count when the node's data are made.
        node.write_settings(&format!(
            "default_user = {BROKER_USER}\ndefault_pass = {}",
            passwords.broker
        ))?;
        self.run(Role::PortMapper, "epmd", || Ok(node.port_mapper()))
            .await?;
        let broker = self
            .run(Role::Broker, "rabbitmq", || Ok(node.server()))
            .await?;
        let (program, data) = (self.packages.redis.clone(), self.folder.join("redis"));
        let settings = redis::write_settings(&data, &passwords.claims)?;
        let command = || {
            Ok(redis::server(
                &program,
                at(plan.redis),
                &data,
                Some(&settings),
            ))
        };
        let claims = self.run(Role::Claims, "redis", command).await?;
        let cluster = Cluster::new(&self.folder.join("postgres"), &self.packages.postgres)?
            .with_password(&passwords.books);
        if !cluster.is_initialised() {
            let cluster = cluster.clone();
            tokio::task::spawn_blocking(move || cluster.initialise()).await??;
        }
        let books = self.run_books(&cluster, plan).await?;
        until(&books, async || {
            succeeds(cluster.ready(at(plan.postgres))).await
        })
        .await?;
        let created = cluster.clone();
        let address = at(plan.postgres);
        tokio::task::spawn_blocking(move || created.create_database(address, "quittance"))
            .await??;
        until(&claims, async || pongs(&plan.redis_url()).await).await?;
        let overview = format!("{}/api/overview", plan.management_url());
        until(&broker, async || {
            tokio::net::TcpStream::connect(at(plan.amqp)).await.is_ok()
                && self.answer(&overview).await.is_some()
        })
        .await
    }

    async fn start_services(&mut self, plan: &Plan) -> anyhow::Result<()> {
        (self.tell)("the sandbox gateway and the services");
        let mut command = self.programs.quittance();
        command
            .args(["sandbox", "--listen"])
            .arg(at(plan.sandbox).to_string());
        let gateway = self.run(Role::Gateway, "sandbox", || Ok(command)).await?;
        let mut services = Vec::new();
        for (role, binary, admins) in [
            (Role::Fulfiller, "fulfiller", &plan.fulfiller),
            (Role::Verifier, "verifier", &plan.verifier),
            (Role::Ingest, "ingest", &plan.ingest_admin),
        ] {
            for (number, admin) in (1_usize..).zip(admins) {
                let mut command = self.programs.command(binary);
                command
                    .arg("--config")
                    .arg(self.folder.join(SETTINGS))
                    .env("QUITTANCE_ADMIN__LISTEN", at(*admin).to_string())
                    .current_dir(&self.folder);
                if role == Role::Ingest
                    && let Some(port) = plan.ingest.get(number - 1)
                {
                    command.env("QUITTANCE_INGEST__LISTEN", at(*port).to_string());
                }
                let name = format!("{binary}-{number}");
                services.push((self.run(role, &name, || Ok(command)).await?, *admin));
            }
        }
        until(&gateway, async || {
            self.answer(&plan.sandbox_url()).await.is_some()
        })
        .await?;
        for (child, admin) in services {
            let admin = at(admin);
            until(&child, async || {
                self.is_ready(&format!("http://{admin}")).await
            })
            .await?;
        }
        Ok(())
    }

    /// The database, once nothing runs any more of one that was killed.
    async fn run_books(&mut self, cluster: &Cluster, plan: &Plan) -> anyhow::Result<Child> {
        let (role, name) = (Role::Books, "postgresql");
        if self.running(name).is_none() {
            let deadline = Instant::now() + BOOT;
            while cluster.has_processes() {
                ensure!(
                    Instant::now() < deadline,
                    "processes of a PostgreSQL that was killed do not end"
                );
                tokio::time::sleep(LOOK).await;
            }
        }
        let command = || Ok(cluster.server(at(plan.postgres), &["fsync=off"])?);
        self.run(role, name, command).await
    }

    /// The process of that name; started, and written down before anything else can go wrong, unless it
    /// runs. What an earlier one has left behind is ended before.
    async fn run(
        &mut self,
        role: Role,
        name: &str,
        command: impl FnOnce() -> anyhow::Result<Command>,
    ) -> anyhow::Result<Child> {
        if let Some(child) = self.running(name) {
            return Ok(child.clone());
        }
        let mut processes = self.state.processes.iter();
        let place = processes.position(|child| child.name == name);
        if let Some(ended) = place.and_then(|place| self.state.processes.get(place)) {
            ended.end().await?;
        }
        let log = self.folder.join("logs").join(format!("{name}.log"));
        let child = Child::spawn(role, name, command()?, &log, &self.folder)?;
        self.started.push(child.clone());
        match place.and_then(|place| self.state.processes.get_mut(place)) {
            Some(ended) => *ended = child.clone(),
            None => self.state.processes.push(child.clone()),
        }
        self.state.save(&self.folder)?;
        Ok(child)
    }

    /// The process of that name, if it runs.
    fn running(&self, name: &str) -> Option<&Child> {
        let mut processes = self.state.processes.iter();
        processes.find(|child| child.name == name && child.is_running())
    }

    /// Runs our own command on the cluster's settings; what it printed.
    async fn quittance(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let mut command = self.programs.quittance();
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.join(SETTINGS));
        let output = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "quittance {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }

    /// The body of an answer that is a success.
    async fn answer(&self, url: &str) -> Option<String> {
        let answer = self.client.get(url).send().await.ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }

    /// Ready, and connected: ingest is ready without its broker, since it has a truth to tell.
    async fn is_ready(&self, admin: &str) -> bool {
        if self.answer(&format!("{admin}/readyz")).await.is_none() {
            return false;
        }
        let metrics = self.answer(&format!("{admin}/metrics")).await;
        metrics.is_some_and(|text| text.lines().any(|line| line == "quittance_broker_up 1"))
    }
}

async fn succeeds(command: Command) -> bool {
    let mut command = tokio::process::Command::from(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

async fn pongs(url: &str) -> bool {
    let asked = async {
        let client = ::redis::Client::open(url).ok()?;
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let pong: String = ::redis::cmd("PING")
            .query_async(&mut connection)
            .await
            .ok()?;
        (pong == "PONG").then_some(())
    };
    matches!(tokio::time::timeout(super::ASK, asked).await, Ok(Some(())))
}

/// Waits until `answers`, as long as the process runs.
async fn until(child: &Child, mut answers: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + BOOT;
    loop {
        if answers().await {
            return Ok(());
        }
        if !child.is_running() {
            bail!("{} has ended; {}", child.name, child.log_tail());
        }
        if Instant::now() >= deadline {
            bail!(
                "{} did not answer within {}; {}",
                child.name,
                humantime::format_duration(BOOT),
                child.log_tail()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}
