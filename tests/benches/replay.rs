//! What a replay costs live traffic: from ingest to applied, with and without a replay beside it.
//!
//! `cargo bench --workspace --bench replay -- [--engine embedded|cluster] [--messages 2000]
//! [--live 20] [--seconds 40] [--json]`. Everything runs in this process (on the cluster engine with
//! private servers beside it), the gateway takes 100 ms for each postback. Live notifications come
//! at a fixed rate, whatever becomes of them, and each one's latency is what the books say: when
//! the event was applied, less when ingest had received it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use bytes::Bytes;
use quittance_common::claims::Fingerprint;
use quittance_common::settings::Settings;
use quittance_deploy::commands;
use quittance_deploy::demo::body::{Ipn, RECEIVER_EMAIL, RECEIVER_ID};
use quittance_deploy::sandbox::{Fault, Mode, Sandbox, SandboxHandle};
use quittance_deploy::wiring::Running;
use quittance_tests::load::{self, Outcome};
use quittance_tests::{Postgres, RabbitMq, Redis, World, eventually, http};
use serde_json::json;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long everything that was accepted may take to be applied after a phase.
const PATIENCE: Duration = Duration::from_mins(10);

/// What the gateway takes for a postback, in milliseconds.
const POSTBACK: u64 = 100;

#[derive(Debug, Clone)]
struct Options {
    engines: Vec<String>,
    messages: u64,
    live: u64,
    seconds: u64,
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = options(std::env::args().skip(1))?;
    sqlx::any::install_default_drivers();
    if !options.json {
        print("engine    beside the live traffic           live     p50 ms    p99 ms    max ms");
    }
    for engine in &options.engines {
        match engine.as_str() {
            "embedded" => {
                let world = World::embedded()?;
                let shop = world.folder().join("data/shop.sqlite");
                let shop = format!("sqlite:{}", shop.display());
                measure(engine, world, &shop, &options).await?;
            }
            "cluster" => {
                let (broker, redis) = (RabbitMq::start().await?, Redis::start().await?);
                let postgres = Postgres::start().await?;
                let shop = postgres.database("bench").await?;
                let world = World::cluster_on(&broker.amqp_url(), &redis.url(), &shop)?;
                measure(engine, world, &shop, &options).await?;
            }
            other => bail!("no engine `{other}`"),
        }
    }
    Ok(())
}

fn options(arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options {
        engines: vec!["embedded".to_owned(), "cluster".to_owned()],
        messages: 2_000,
        live: 20,
        seconds: 40,
        json: false,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{argument} what?"))
        };
        match argument.as_str() {
            "--engine" => options.engines = vec![value()?],
            "--messages" => options.messages = value()?.parse()?,
            "--live" => options.live = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--json" => options.json = true,
            // Cargo adds it to every benchmark.
            "--bench" => {}
            _ => bail!("unknown option {argument}"),
        }
    }
    ensure!(options.live > 0, "there must be live traffic");
    Ok(options)
}

/// A shop that is open, and its gateway.
struct Site {
    world: World,
    settings: PathBuf,
    sandbox: SandboxHandle,
    books: String,
}

async fn measure(engine: &str, world: World, books: &str, options: &Options) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?)?;
    sandbox.set_fault(Fault {
        millis: POSTBACK,
        ..Fault::lasting(Mode::Slow)
    });
    let receivers = [RECEIVER_ID, RECEIVER_EMAIL];
    let mail = world.folder().join("mail");
    let notify = format!(
        "[notify]\ndriver = \"maildir\"\nmaildir = \"{}\"\n",
        mail.display()
    );
    let world = world
        .live_account("default", &receivers, &sandbox.webscr_url())
        .with_table(&notify);
    let path = world.write_settings()?;
    let settings = Settings::load(Some(&path), &BTreeMap::new())?;
    let goods = world.folder().join("goods.csv");
    std::fs::write(
        &goods,
        "sku,name,price,currency,on_hand\nMUG,Mug,9.90,EUR,1000000\n",
    )?;
    let goods = goods.display().to_string();
    command(&["stock", "import", &goods], &path).await?;
    let listener = TcpListener::bind(world.ingest()).await?;
    let running = Running::start(settings, listener).await?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(running.until(stop.clone()));
    let site = Site {
        world,
        settings: path,
        sandbox,
        books: books.to_owned(),
    };
    eventually("the engine is up", Duration::from_mins(1), async || {
        (site.post(&payment("TXWARM")).await.ok()? == 200).then_some(())
    })
    .await?;
    let phases = [
        ("alone", None),
        ("replay at the default rate", Some("")),
        ("replay, --rate unlimited", Some("unlimited")),
    ];
    for (number, (beside, rate)) in phases.into_iter().enumerate() {
        let outcome = site.phase(number, rate, options).await?;
        tell(engine, beside, &outcome, options.json)?;
    }
    stop.cancel();
    serving.await?
}

/// Runs `quittance` and insists on success.
async fn command(words: &[&str], settings: &Path) -> anyhow::Result<()> {
    let settings = settings.display().to_string();
    let words = [&["quittance"], words, &["--config", &settings]].concat();
    let (mut out, mut complaints) = (Vec::new(), Vec::new());
    let exit = commands::run(&words, &mut out, &mut complaints).await;
    let complaints = String::from_utf8_lossy(&complaints);
    ensure!(exit.code() == 0, "{words:?}: {complaints}");
    Ok(())
}

fn payment(txn: &str) -> Bytes {
    Ipn::payment(txn, "MUG", 1, "9.90").bytes()
}

impl Site {
    async fn post(&self, body: &Bytes) -> anyhow::Result<u16> {
        self.sandbox.register(body);
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        let path = "/ipn/paypal/default";
        let answer = http::once(self.world.ingest(), "POST", path, form, body).await?;
        Ok(answer.status)
    }

    /// Live traffic, for the time that was asked for or as long as the replay takes.
    async fn phase(
        &self,
        number: usize,
        rate: Option<&str>,
        options: &Options,
    ) -> anyhow::Result<Outcome> {
        let (live, replayed) = (format!("TXL{number}N"), format!("TXR{number}N"));
        let start = Instant::now();
        let over = CancellationToken::new();
        let tool = async {
            match rate {
                None => tokio::time::sleep(Duration::from_secs(options.seconds)).await,
                Some(rate) => self.replay(&replayed, rate, options.messages).await?,
            }
            over.cancel();
            anyhow::Ok(())
        };
        let (sent, ()) = tokio::try_join!(self.traffic(&live, options.live, &over), tool)?;
        let latencies = self.applied(&live, sent).await?;
        if rate.is_some() {
            self.applied(&replayed, options.messages).await?;
        }
        let mut outcome = Outcome {
            ok: sent,
            ..Outcome::default()
        };
        load::summarise(&mut outcome, latencies, start.elapsed());
        Ok(outcome)
    }

    /// Posts at the rate until told to stop; how many were accepted.
    async fn traffic(
        &self,
        prefix: &str,
        rate: u64,
        over: &CancellationToken,
    ) -> anyhow::Result<u64> {
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
        let mut sent = 0;
        while !over.is_cancelled() {
            ticks.tick().await;
            let status = self.post(&payment(&format!("{prefix}{sent}"))).await?;
            ensure!(status == 200, "ingest answered {status}");
            sent += 1;
        }
        Ok(sent)
    }

    /// Replays payments that the gateway knows and the books do not: the dearest kind.
    async fn replay(&self, prefix: &str, rate: &str, messages: u64) -> anyhow::Result<()> {
        let file = self.world.folder().join(format!("{prefix}.ndjson"));
        let now = quittance_common::clock::now();
        let mut text = json!({
            "quittance": "drain", "version": 1, "queue": "ipn.verify", "begun_at": now,
            "written_by": "bench",
        })
        .to_string();
        for number in 0..messages {
            let body = payment(&format!("{prefix}{number}"));
            self.sandbox.register(&body);
            let record = json!({
                "id": uuid::Uuid::now_v7().to_string(),
                "type": "ipn.notification.v1",
                "content_type": "application/x-www-form-urlencoded",
                "timestamp": now,
                "headers": {
                    "gateway": "paypal", "account": "default", "attempt": "0",
                    "received-at": now,
                },
                "sha256": Fingerprint::of(&body).as_str(),
                "body": base64::engine::general_purpose::STANDARD.encode(&body),
            });
            write!(text, "\n{record}")?;
        }
        text.push('\n');
        std::fs::write(&file, text)?;
        let audit = self.world.folder().join("audit.ndjson");
        let [file, audit] = [&file, &audit].map(|path| path.display().to_string());
        let replay = ["queues", "replay", &file, "--to", "verify"];
        let mut words = [&replay[..], &["--audit", &audit]].concat();
        if !rate.is_empty() {
            words.extend(["--rate", rate]);
        }
        command(&words, &self.settings).await
    }

    /// Waits until all of them are in the books; how long each took, in microseconds.
    async fn applied(&self, prefix: &str, count: u64) -> anyhow::Result<Vec<u64>> {
        let mut books = AnyConnection::connect(&self.books).await?;
        let pattern = format!("{prefix}%");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows =
                sqlx::query("SELECT applied_at - received_at FROM event WHERE txn_id LIKE $1")
                    .bind(pattern.as_str())
                    .fetch_all(&mut books)
                    .await?;
            if u64::try_from(rows.len())? >= count {
                let millis = |row: &sqlx::any::AnyRow| row.try_get::<i64, _>(0);
                let all: Result<Vec<i64>, _> = rows.iter().map(millis).collect();
                let micros = |ms: i64| u64::try_from(ms).unwrap_or_default() * 1_000;
                return Ok(all?.into_iter().map(micros).collect());
            }
            ensure!(
                Instant::now() < deadline,
                "{} of {count} applied",
                rows.len()
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

fn tell(engine: &str, beside: &str, outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    if json {
        let row = json!({"engine": engine, "beside": beside, "outcome": outcome});
        print(&serde_json::to_string(&row)?);
        return Ok(());
    }
    let Outcome {
        ok,
        p50_us,
        p99_us,
        max_us,
        ..
    } = outcome;
    let [p50, p99, max] = [p50_us, p99_us, max_us].map(|us| us / 1_000);
    print(&format!(
        "{engine:<9} {beside:<30} {ok:>7} {p50:>10} {p99:>9} {max:>9}"
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn print(line: &str) {
    println!("{line}");
}
