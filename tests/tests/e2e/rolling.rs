//! A rolling restart of the cluster engine: every instance of every service, one after the other,
//! while notifications come in and messages of the former format are in the queues.

mod former;
mod load;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use quittance_deploy::sandbox::Outcome;
use quittance_tests::{SmtpSink, eventually, ports};
use serde_json::Value;

use crate::pipeline::{Engine, PATIENCE, Pipeline};
use former::Former;
use load::Load;

const INSTANCES: [(&str, usize); 6] = [
    ("ingest", 0),
    ("ingest", 1),
    ("verifier", 0),
    ("verifier", 1),
    ("fulfiller", 0),
    ("fulfiller", 1),
];
const ON_HAND: i64 = 100_000;

/// Two of each service, and whatever they are started with.
struct Fleet {
    pipeline: Pipeline,
    ingest: [SocketAddr; 2],
    smtp: String,
}

impl Fleet {
    async fn start(&mut self, (binary, number): (&str, usize)) -> anyhow::Result<()> {
        let listen = self.ingest[number].to_string();
        let environment = [
            ("QUITTANCE_INGEST__LISTEN", listen.as_str()),
            ("QUITTANCE_NOTIFY__DRIVER", "smtp"),
            ("QUITTANCE_NOTIFY__SMTP_URL", &self.smtp),
        ];
        let name = format!("{binary}-{number}");
        self.pipeline
            .start_stage(binary, &name, &environment)
            .await
            .with_context(|| name.clone())
    }
}

#[tokio::test]
async fn a_rolling_restart_under_load_fulfils_everything_once_and_only_the_dying_refuse()
-> anyhow::Result<()> {
    let sink = SmtpSink::start().await?;
    let free = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)));
    let mut fleet = Fleet {
        pipeline: Pipeline::prepare(Engine::Cluster).await?,
        ingest: [free()?, free()?],
        smtp: sink.url(),
    };
    let on_hand = ON_HAND.to_string();
    fleet
        .pipeline
        .quittance(&["stock", "set", "MUG", &on_hand])
        .await?;
    for instance in INSTANCES {
        fleet.start(instance).await?;
    }
    let mut former = Former::connect(&fleet.pipeline).await?;
    let load = Load::start(&fleet.pipeline, &fleet.ingest);
    let mut expected = BTreeSet::new();
    for instance in INSTANCES {
        let (binary, number) = instance;
        accepts_more(&load, "before").await?;
        if binary == "ingest" {
            load.dies(number);
        }
        let mut old = fleet.pipeline.take(&format!("{binary}-{number}"))?;
        // While one instance stops, what the former build has left is in the queues.
        let (stopped, published) =
            tokio::join!(old.terminate(PATIENCE), former.publish(&fleet.pipeline));
        assert!(stopped?.success(), "{binary}-{number} stops cleanly");
        expected.extend(published?);
        accepts_more(&load, "while one instance is away").await?;
        fleet.start(instance).await?;
        load.nobody_dies();
    }
    let (accepted, faults) = load.stop().await?;
    assert_eq!(faults, Vec::<String>::new());
    let sent = accepted.len();
    expected.extend(accepted);
    assert_eq!(
        expected.len(),
        sent + 12,
        "every notification has a name of its own"
    );

    let pipeline = &fleet.pipeline;
    pipeline.drained().await?;
    fulfilled_once(pipeline, &expected).await?;
    told_once(
        &sink,
        expected.len() + usize::try_from(former.announcements())?,
    )?;
    asked_the_gateway(pipeline, sent);
    Ok(())
}

/// The load goes on: some more notifications are accepted.
async fn accepts_more(load: &Load, when: &str) -> anyhow::Result<()> {
    let before = load.count();
    eventually(
        &format!("notifications are accepted {when}"),
        PATIENCE,
        async || (load.count() >= before + 5).then_some(()),
    )
    .await
}

/// The books have exactly the expected payments, each with one event and its two effects.
async fn fulfilled_once(pipeline: &Pipeline, expected: &BTreeSet<String>) -> anyhow::Result<()> {
    let payments = pipeline
        .listing(&["payments", "list", "--limit", "10000"])
        .await?;
    let found: BTreeSet<String> = payments
        .iter()
        .filter_map(|payment| payment["txn_id"].as_str().map(str::to_owned))
        .collect();
    let lost: Vec<&String> = expected.difference(&found).collect();
    let unheard: Vec<&String> = found.difference(expected).collect();
    assert_eq!((lost, unheard), (vec![], vec![]), "accepted is fulfilled");
    assert_eq!(payments.len(), expected.len());
    for payment in &payments {
        assert_eq!(payment["status"], "completed", "{payment}");
        assert_eq!(payment["events"], 1, "{payment}");
        let effects = serde_json::json!(["mail_received", "stock_decremented"]);
        assert_eq!(payment["effects"], effects, "{payment}");
    }
    let sold = i64::try_from(expected.len())?;
    assert_eq!(pipeline.stock("MUG").await?, (ON_HAND - sold, 0, 0));
    let left: Vec<Value> = pipeline
        .listing(&["queues", "list"])
        .await?
        .into_iter()
        .filter(|queue| queue["ready"] != 0)
        .filter(|queue| {
            !queue["queue"]
                .as_str()
                .is_some_and(|name| name.ends_with(".archive"))
        })
        .collect();
    assert_eq!(left, Vec::<Value>::new(), "nothing is parked");
    Ok(())
}

/// Every buyer got one mail.
fn told_once(sink: &SmtpSink, count: usize) -> anyhow::Result<()> {
    let mails = sink.messages();
    let ids: BTreeSet<&str> = mails
        .iter()
        .map(|mail| {
            let line = mail
                .data
                .lines()
                .find(|line| line.starts_with("Message-ID: "));
            line.context("a Message-ID")
        })
        .collect::<Result<_, _>>()?;
    assert_eq!((mails.len(), ids.len()), (count, count), "one mail each");
    Ok(())
}

/// The gateway was asked about everything that was accepted or left over, and knew all of it.
fn asked_the_gateway(pipeline: &Pipeline, sent: usize) {
    let postbacks = pipeline.sandbox.postbacks();
    let asked: BTreeSet<&str> = postbacks
        .iter()
        .map(|postback| {
            assert_eq!(postback.outcome, Outcome::Verified);
            postback.sha256.as_str()
        })
        .collect();
    // Of the former messages only the raw notifications are verified.
    assert_eq!(asked.len(), sent + INSTANCES.len());
}
