//! Starting everything, in the order in which it needs each other; a failure stops what was
//! started before.

use std::fs;
use std::future::Future;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::geteuid;
use tokio::time::Instant;

use super::child::{Child, Role};
use super::down;
use super::packages::Packages;
use super::plan::{self, CATALOGUE, Instances, NOTIFICATION, Plan, SETTINGS, at};
use super::servers::postgres::Cluster;
use super::servers::rabbitmq::Node;
use super::servers::redis;
use super::state::{Lock, State};

/// How long each part may take to answer.
const BOOT: Duration = Duration::from_mins(2);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(100);
/// How long one question may take.
const ASK: Duration = Duration::from_secs(2);

/// What became of an `up`.
#[derive(Debug)]
pub enum Up {
    /// Everything was started and is ready.
    Started(State),
    /// It was started before.
    Before(State),
}

/// Starts the cluster of `folder`, telling each step to `tell`, unless `stop` resolves before.
///
/// # Errors
/// Missing packages, or a part that does not start; then nothing runs.
pub async fn up(
    folder: &Path,
    instances: Instances,
    tell: &(dyn Fn(&str) + Send + Sync),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Up> {
    let packages = Packages::find()?;
    let programs = Programs::beside_this()?;
    let folder = prepare(folder)?;
    let _lock = Lock::take(&folder)?;
    if let Some(state) = State::load(&folder)? {
        if state.processes.iter().any(Child::is_running) {
            return Ok(Up::Before(state));
        }
        State::forget(&folder)?;
    }
    let plan = Plan::of(&folder, instances)?;
    let mut starter = Starter {
        state: State::new(plan),
        folder,
        packages,
        programs,
        client: quittance_common::http::client(ASK, ASK)?,
        tell,
    };
    let started = tokio::select! {
        started = starter.start() => started,
        () = stop => Err(anyhow::anyhow!("told to stop")),
    };
    if let Err(error) = started {
        tell("stopping what was started");
        down::end_all(&starter.state.processes).await?;
        State::forget(&starter.folder)?;
        return Err(error);
    }
    Ok(Up::Started(starter.state))
}

/// Our own binaries.
struct Programs {
    quittance: PathBuf,
    folder: PathBuf,
}

impl Programs {
    fn beside_this() -> anyhow::Result<Self> {
        let quittance = std::env::current_exe()?;
        let folder = quittance
            .parent()
            .context("a program is in a folder")?
            .to_owned();
        for name in ["ingest", "verifier", "fulfiller"] {
            ensure!(
                folder.join(name).is_file(),
                "there is no `{name}` beside {}: build it with `cargo build --release --workspace`",
                quittance.display()
            );
        }
        Ok(Self { quittance, folder })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        without_settings(&mut command);
        command
    }

    fn quittance(&self) -> Command {
        let mut command = Command::new(&self.quittance);
        without_settings(&mut command);
        command
    }
}

/// The settings of the caller's shell must not reach what is started.
fn without_settings(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("QUITTANCE_") {
            command.env_remove(key);
        }
    }
}

/// Makes the folder, and sees to it that PostgreSQL's user can get there.
fn prepare(folder: &Path) -> anyhow::Result<PathBuf> {
    let is_root = geteuid().is_root();
    // Passwords of the servers are known to everybody; the folder is the owner's alone.
    let mode = if is_root { 0o711 } else { 0o700 };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    for name in ["logs", "rabbitmq", "redis", "postgres"] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(folder.join(name))?;
    }
    if is_root {
        for parent in folder.ancestors() {
            let mode = fs::metadata(parent)?.permissions().mode();
            ensure!(
                mode & 0o001 != 0,
                "PostgreSQL does not run as root, and its user `postgres` may not pass through {}: \
                 choose another --dir, such as /var/tmp/quittance",
                parent.display()
            );
        }
    }
    Ok(folder)
}

struct Starter<'a> {
    state: State,
    folder: PathBuf,
    packages: Packages,
    programs: Programs,
    client: reqwest::Client,
    tell: &'a (dyn Fn(&str) + Send + Sync),
}

impl Starter<'_> {
    async fn start(&mut self) -> anyhow::Result<()> {
        let plan = self.state.plan.clone();
        let write = |name: &str, bytes: &[u8]| {
            let file = self.folder.join(name);
            fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))
        };
        let (notification, catalogue) = plan::example();
        write(SETTINGS, plan.settings(&self.folder)?.as_bytes())?;
        write(NOTIFICATION, &notification)?;
        write(CATALOGUE, catalogue.as_bytes())?;
        self.start_servers(&plan).await?;
        (self.tell)("queues, policies and the shop's tables");
        self.run_quittance(&["topology", "apply"]).await?;
        // Not over the stock that an earlier start has left.
        if self
            .run_quittance(&["stock", "list", "--json"])
            .await?
            .is_empty()
        {
            let catalogue = self.folder.join(CATALOGUE);
            self.run_quittance(&["stock", "import", &catalogue.to_string_lossy()])
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
        node.write_settings("")?;
        self.spawn(Role::PortMapper, "epmd", node.port_mapper())?;
        let broker = self.spawn(Role::Broker, "rabbitmq", node.server())?;
        let data = self.folder.join("redis");
        let command = redis::server(&self.packages.redis, at(plan.redis), &data);
        let claims = self.spawn(Role::Claims, "redis", command)?;
        let cluster = Cluster::new(&self.folder.join("postgres"), &self.packages.postgres)?;
        if !cluster.is_initialised() {
            let cluster = cluster.clone();
            tokio::task::spawn_blocking(move || cluster.initialise()).await??;
        }
        let command = cluster.server(at(plan.postgres), &["fsync=off"])?;
        let books = self.spawn(Role::Books, "postgresql", command)?;
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
        let gateway = self.spawn(Role::Gateway, "sandbox", command)?;
        let mut started = Vec::new();
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
                started.push((self.spawn(role, &name, command)?, *admin));
            }
        }
        until(&gateway, async || {
            self.answer(&plan.sandbox_url()).await.is_some()
        })
        .await?;
        for (child, admin) in started {
            let admin = at(admin);
            until(&child, async || {
                self.is_ready(&format!("http://{admin}")).await
            })
            .await?;
        }
        Ok(())
    }

    /// Starts one process and writes it down before anything else can go wrong.
    fn spawn(&mut self, role: Role, name: &str, command: Command) -> anyhow::Result<Child> {
        let log = self.folder.join("logs").join(format!("{name}.log"));
        let child = Child::spawn(role, name, command, &log)?;
        self.state.processes.push(child.clone());
        self.state.save(&self.folder)?;
        Ok(child)
    }

    /// Runs our own command on the cluster's settings; what it printed.
    async fn run_quittance(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
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
    matches!(tokio::time::timeout(ASK, asked).await, Ok(Some(())))
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
