//! Throughput: what RabbitMQ itself can confirm in a second, and what ingest acknowledges.
//!
//! `cargo bench -p quittance-tests --bench ingest -- [--seconds N] [--connections N] [--json]
//! [--url http://127.0.0.1:8080/ipn/paypal/default]`. The baseline is raw pipelined publishing with
//! confirms to a quorum queue: nothing that waits for a confirm can be faster. Beside it, in the
//! same run and on the same broker, ingest over HTTP on both engines; `--url` measures another one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use quittance_common::queue::Status;
use quittance_common::runtime::process::{self, Process};
use quittance_common::settings::Settings;
use quittance_tests::load::{self, Load, Outcome};
use quittance_tests::{RabbitMq, World, eventually};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

const QUEUE: &str = "bench";
const CHANNELS: usize = 8;
/// Unconfirmed publishes of one channel.
const WINDOW: usize = 256;

#[derive(Debug)]
struct Options {
    seconds: u64,
    connections: usize,
    url: Option<url::Url>,
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = options(std::env::args().skip(1))?;
    let duration = Duration::from_secs(options.seconds);
    let broker = RabbitMq::start().await?;
    let mut rows = vec![Row {
        what: "raw confirmed publish",
        outcome: baseline(&broker.amqp_url(), duration).await?,
    }];
    let load = |address, path: &str| Load {
        address,
        path: path.to_owned(),
        connections: options.connections,
        duration,
    };
    if let Some(url) = &options.url {
        let outcome = load::generate(&load(address(url)?, url.path()), notification).await?;
        rows.push(Row {
            what: "ingest at --url",
            outcome,
        });
    } else {
        let nowhere = "redis://127.0.0.1:1";
        let cluster = World::cluster_on(&broker.amqp_url(), nowhere, "postgres://127.0.0.1:1/x")?;
        for (what, world) in [
            ("ingest, RabbitMQ", cluster),
            ("ingest, embedded", World::embedded()?),
        ] {
            let load = load(world.ingest(), "/ipn/paypal/default");
            rows.push(Row {
                what,
                outcome: ingest(world, &load).await?,
            });
        }
    }
    print(&rows, options.json)
}

/// Runs ingest on the world's engine, in this process, under the load.
async fn ingest(world: World, load: &Load) -> anyhow::Result<Outcome> {
    let world = world.live_account("default", &["pay@shop.example"], "http://127.0.0.1:1/");
    let settings = Settings::load(Some(&world.write_settings()?), &BTreeMap::new())?;
    let mut process = Process::start(settings).await?;
    let listener = process::listen("ingest.listen", world.ingest()).await?;
    let task = quittance_ingest::run(process.settings.clone(), process.shell.clone(), listener);
    process.service.spawn("ingest", task);
    let queues = process.shell.queues.clone();
    eventually("the engine is up", Duration::from_secs(30), async || {
        (queues.status() == Status::Up).then_some(())
    })
    .await?;
    let outcome = load::generate(load, notification).await?;
    process.run_until(std::future::ready(())).await?;
    Ok(outcome)
}

fn options(arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options {
        seconds: 5,
        connections: 64,
        url: None,
        json: false,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} what?"))
        };
        match argument.as_str() {
            "--seconds" => options.seconds = value()?.parse()?,
            "--connections" => options.connections = value()?.parse()?,
            "--url" => options.url = Some(value()?.parse()?),
            "--json" => options.json = true,
            // Cargo adds it to every benchmark.
            "--bench" => {}
            _ => bail!("unknown option {argument}"),
        }
    }
    Ok(options)
}

fn address(url: &url::Url) -> anyhow::Result<SocketAddr> {
    let addresses = url.socket_addrs(|| None)?;
    addresses.first().copied().context("the URL has no address")
}

/// A notification of the usual size, different each time.
fn notification(number: u64) -> Vec<u8> {
    let filler = "x".repeat(700);
    format!(
        "txn_id=BENCH{number:012}&payment_status=Completed&mc_gross=10.00&mc_currency=EUR\
         &receiver_email=pay%40shop.example&item_number=A-1&quantity=1&custom={filler}"
    )
    .into_bytes()
}

async fn baseline(url: &str, duration: Duration) -> anyhow::Result<Outcome> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    declare(&connection.create_channel().await?).await?;
    let start = Instant::now();
    let mut publishers = JoinSet::new();
    for _ in 0..CHANNELS {
        let channel = connection.create_channel().await?;
        publishers.spawn(publish(channel, start + duration));
    }
    let mut outcome = Outcome::default();
    let mut latencies = Vec::new();
    while let Some(done) = publishers.join_next().await {
        latencies.append(&mut done??);
    }
    outcome.ok = u64::try_from(latencies.len())?;
    load::summarise(&mut outcome, latencies, start.elapsed());
    Ok(outcome)
}

async fn declare(channel: &Channel) -> anyhow::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(QUEUE.into(), options, arguments)
        .await?;
    Ok(())
}

/// Keeps the window full until the deadline, then waits for the rest; gives the latencies.
async fn publish(channel: Channel, deadline: Instant) -> anyhow::Result<Vec<u64>> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let body = notification(0);
    let mut unconfirmed = FuturesUnordered::new();
    let mut latencies = Vec::new();
    loop {
        let open = Instant::now() < deadline;
        if open && unconfirmed.len() < WINDOW {
            let sent = Instant::now();
            let confirm = channel
                .basic_publish(
                    "".into(),
                    QUEUE.into(),
                    BasicPublishOptions::default(),
                    &body,
                    BasicProperties::default().with_delivery_mode(2),
                )
                .await?;
            unconfirmed.push(async move { (sent, confirm.await) });
            continue;
        }
        let Some((sent, confirmation)) = unconfirmed.next().await else {
            return Ok(latencies);
        };
        ensure!(confirmation?.is_ack(), "the broker refused a message");
        latencies.push(load::micros(sent.elapsed()));
    }
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn print(rows: &[Row], json: bool) -> anyhow::Result<()> {
    if json {
        for row in rows {
            println!("{}", serde_json::to_string(row)?);
        }
        return Ok(());
    }
    println!("what                       ok/s   refused    failed    p50 us    p99 us    max us");
    for Row { what, outcome } in rows {
        println!(
            "{what:<22} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
            outcome.per_second,
            outcome.refused,
            outcome.failed,
            outcome.p50_us,
            outcome.p99_us,
            outcome.max_us
        );
    }
    Ok(())
}
