//! Stories of payments that the books hold back: what the shop's own queues get of them, and what a
//! person decides.

use std::time::Duration;

use anyhow::Context;
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use quittance_deploy::demo::body::Ipn;
use quittance_tests::{World, eventually};
use serde_json::Value;
use sqlx::Row as _;
use tokio::sync::Mutex;

use crate::pipeline::{Engine, PATIENCE, Pipeline, on_both_engines};

on_both_engines!(
    the_shops_queue_gets_the_verdict_of_the_books_and_an_accepted_payment_once_more,
    a_shop_that_ships_what_was_sold_ships_two_captures_once,
    a_closed_payment_gives_its_goods_back_and_frees_its_order,
    an_invoice_of_somebody_else_does_not_block_his_signed_order,
);

const SECRET: &str = "[orders]\nsecret = \"the secret of the stories\"\n";

async fn start(engine: Engine) -> anyhow::Result<Pipeline> {
    let world = match engine {
        Engine::Embedded => World::embedded()?,
        Engine::Cluster => World::cluster("resolve").await?,
    };
    let mut pipeline = Pipeline::prepare_in(engine, world.with_table(SECRET)).await?;
    pipeline.start_all().await?;
    Ok(pipeline)
}

/// The value of a setting, as the file has it.
fn setting(pipeline: &Pipeline, key: &str) -> Option<String> {
    let text = pipeline.world.settings();
    let start = format!("{key} = \"");
    let line = text.lines().find_map(|line| line.strip_prefix(&start))?;
    line.strip_suffix('"').map(str::to_owned)
}

/// What listens where the shop would.
enum Source {
    /// A queue that the shop binds; it is there as long as its connection.
    Queue(Box<(Channel, Connection)>),
    /// What the embedded engine has announced.
    Table(sqlx::AnyPool),
}

/// The shop's ear, and what it has heard.
struct Listener {
    source: Source,
    heard: Mutex<Vec<Value>>,
}

const QUEUE: &str = "of-the-shop";

impl Listener {
    async fn start(pipeline: &Pipeline) -> anyhow::Result<Self> {
        if pipeline.engine == Engine::Embedded {
            sqlx::any::install_default_drivers();
            let file = pipeline.world.folder().join("data/queue.sqlite");
            let url = format!("sqlite://{}?mode=ro", file.display());
            return Ok(Self::on(Source::Table(sqlx::AnyPool::connect(&url).await?)));
        }
        let url = setting(pipeline, "amqp_url").context("a cluster has a broker")?;
        let prefix = setting(pipeline, "queue_prefix").context("and a prefix")?;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let (queue, all) = (QueueDeclareOptions::default(), FieldTable::default());
        channel
            .queue_declare(QUEUE.into(), queue, all.clone())
            .await?;
        let exchange = format!("{prefix}payments");
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(
                QUEUE.into(),
                exchange.as_str().into(),
                "#".into(),
                bind,
                all,
            )
            .await?;
        Ok(Self::on(Source::Queue(Box::new((channel, connection)))))
    }

    const fn on(source: Source) -> Self {
        let heard = Mutex::const_new(Vec::new());
        Self { source, heard }
    }

    /// Waits for the event of this id.
    async fn event(&self, id_starts: &str, id_ends: &str) -> anyhow::Result<Value> {
        let what = format!("{id_starts}...{id_ends} is published");
        eventually(&what, PATIENCE, async || {
            let mut heard = self.heard.lock().await;
            heard.extend(self.take().await.ok()?);
            let found = heard.iter().find(|event| {
                let id = event["id"].as_str().unwrap_or_default();
                id.contains(id_starts) && id.ends_with(id_ends)
            });
            found.cloned()
        })
        .await
    }

    async fn take(&self) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        match &self.source {
            Source::Queue(queue) => {
                let channel = &queue.0;
                let get = BasicGetOptions { no_ack: true };
                while let Some(got) = channel.basic_get(QUEUE.into(), get).await? {
                    all.push(serde_json::from_slice(&got.delivery.data)?);
                }
            }
            Source::Table(pool) => {
                for row in sqlx::query("SELECT body FROM announced")
                    .fetch_all(pool)
                    .await?
                {
                    let body: Vec<u8> = row.try_get(0)?;
                    all.push(serde_json::from_slice(&body)?);
                }
            }
        }
        Ok(all)
    }
}

async fn order(pipeline: &Pipeline, id: &str) -> anyhow::Result<()> {
    let terms = ["--id", id, "--total", "20.00", "--currency", "EUR"];
    let mut arguments = vec!["orders", "add", "--line", "POT=1"];
    arguments.extend(terms);
    pipeline.quittance(&arguments).await?;
    Ok(())
}

fn paid_for(txn: &str, order: &str) -> Ipn {
    Ipn::payment(txn, "POT", 1, "20.00").with("invoice", order)
}

async fn decide(pipeline: &Pipeline, verb: &str, txn: &str) -> anyhow::Result<Value> {
    let arguments = [
        "payments",
        verb,
        txn,
        "--because",
        "he called",
        "--by",
        "kim",
    ];
    let mut told = pipeline.listing(&arguments).await?;
    anyhow::ensure!(told.len() == 1, "{told:?}");
    Ok(told.remove(0))
}

async fn flagged(pipeline: &Pipeline) -> anyhow::Result<Vec<String>> {
    let rows = pipeline.listing(&["payments", "list", "--flagged"]).await?;
    let txn = |row: &Value| row["txn_id"].as_str().unwrap_or_default().to_owned();
    Ok(rows.iter().map(txn).collect())
}

async fn the_shops_queue_gets_the_verdict_of_the_books_and_an_accepted_payment_once_more(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let listener = Listener::start(&pipeline).await?;
    order(&pipeline, "4001").await?;
    for txn in ["TXRES1", "TXRES2"] {
        pipeline.accept(&paid_for(txn, "4001")).await?;
        pipeline.settled(txn, "completed").await?;
        let event = listener.event(txn, ":completed:").await?;
        let order = &event["data"]["order"];
        if txn == "TXRES1" {
            assert_eq!(order["bound"], "4001", "{event}");
            assert_eq!(event["data"]["flags"], Value::Null, "{event}");
        } else {
            assert_eq!(order["bound"], Value::Null, "{event}");
            assert_eq!(event["data"]["flags"][0], "order_already_paid", "{event}");
        }
        let payment = &event["data"]["payment"];
        assert_eq!(payment["sold"], txn == "TXRES1", "{event}");
        let id = payment["id"].as_str().unwrap_or_default();
        assert!(id.ends_with(&format!(":payment:{txn}")), "{event}");
    }
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    assert_eq!(flagged(&pipeline).await?, ["TXRES2"]);

    let refused = pipeline
        .quittance(&["payments", "accept", "TXRES1", "--because", "x"])
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("waits for no decision"), "{refused}");
    let told = decide(&pipeline, "accept", "TXRES2").await?;
    assert_eq!(told["outcome"], "accepted");
    let again = decide(&pipeline, "accept", "TXRES2").await?;
    assert_eq!(again["outcome"], "accepted_before");
    let event = listener.event("TXRES2", ":accepted").await?;
    assert_eq!(event["data"]["order"]["bound"], "4001", "{event}");
    assert_eq!(event["data"]["flags"], serde_json::json!(["accepted"]));
    assert_eq!(event["data"]["payment"]["sold"], true, "{event}");
    assert_eq!(pipeline.mailed(2).await?.len(), 2);
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (8, 0, 0));
    assert!(flagged(&pipeline).await?.is_empty());
    let shown = pipeline.quittance(&["payments", "show", "TXRES2"]).await?;
    for word in ["accepted", "kim", "he called"] {
        assert!(shown.contains(word), "{word:?} is missing in\n{shown}");
    }
    Ok(())
}

/// Two captures are two events of one payment, of which one says that the goods were sold.
async fn a_shop_that_ships_what_was_sold_ships_two_captures_once(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let listener = Listener::start(&pipeline).await?;
    order(&pipeline, "4005").await?;
    let authorization = Ipn::payment("TXRESA", "POT", 1, "20.00")
        .with("invoice", "4005")
        .with("payment_status", "Pending")
        .with("pending_reason", "authorization")
        .with("transaction_entity", "auth");
    pipeline.accept(&authorization).await?;
    pipeline.settled("TXRESA", "pending").await?;
    for (txn, gross) in [("TXRESC1", "12.00"), ("TXRESC2", "8.00")] {
        let capture = Ipn::payment(txn, "POT", 1, gross)
            .with("invoice", "4005")
            .with("parent_txn_id", "TXRESA")
            .with("auth_id", "TXRESA")
            .with("transaction_entity", "payment");
        pipeline.accept(&capture).await?;
        let event = listener.event(txn, ":completed:").await?;
        let payment = &event["data"]["payment"];
        assert_eq!(payment["sold"], txn == "TXRESC1", "{event}");
        let id = payment["id"].as_str().unwrap_or_default();
        assert!(id.ends_with(":payment:TXRESA"), "{event}");
        assert_eq!(event["data"]["order"]["bound"], "4005", "{event}");
    }
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

async fn a_closed_payment_gives_its_goods_back_and_frees_its_order(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    order(&pipeline, "4002").await?;
    pipeline.accept(&paid_for("TXRES3", "4002")).await?;
    pipeline.settled("TXRES3", "completed").await?;
    pipeline
        .accept(&paid_for("TXRES3", "4002").with("payment_status", "Denied"))
        .await?;
    eventually("both are known", Duration::from_secs(30), async || {
        let waiting = flagged(&pipeline).await.ok()?;
        (waiting == ["TXRES3"]).then_some(())
    })
    .await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0), "kept aside");
    let told = decide(&pipeline, "close", "TXRES3").await?;
    assert_eq!(told["outcome"], "closed");
    assert_eq!(pipeline.stock("POT").await?, (10, 0, 0));
    pipeline.accept(&paid_for("TXRES4", "4002")).await?;
    let row = pipeline.settled("TXRES4", "completed").await?;
    assert_eq!(row["flags"], serde_json::json!([]), "{row}");
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (9, 0, 0));
    Ok(())
}

async fn an_invoice_of_somebody_else_does_not_block_his_signed_order(
    engine: Engine,
) -> anyhow::Result<()> {
    let pipeline = start(engine).await?;
    let sign = [
        "orders",
        "sign",
        "--id",
        "4003",
        "--total",
        "15.00",
        "--currency",
        "EUR",
        "--line",
        "POT=1",
    ];
    let custom = pipeline.quittance(&sign).await?.trim().to_owned();
    // Eve pays an item of the catalogue, and names Bob's order.
    pipeline.accept(&paid_for("TXEVE1", "4003")).await?;
    pipeline.settled("TXEVE1", "completed").await?;
    let bob = Ipn::payment("TXBOB1", "POT", 1, "15.00")
        .with("custom", &custom)
        .with("invoice", "4003");
    pipeline.accept(&bob).await?;
    let row = pipeline.settled("TXBOB1", "completed").await?;
    assert_eq!(row["flags"], serde_json::json!([]), "{row}");
    pipeline.drained().await?;
    assert_eq!(pipeline.stock("POT").await?, (8, 0, 0));
    assert_eq!(pipeline.mailed(2).await?.len(), 2);
    Ok(())
}
