//! Look-ups in a crowd and over a restart, with a gateway that answers when it is let.

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use quittance_common::ids::GatewayId;
use quittance_common::metrics::Metrics;
use quittance_common::queue::QueueNames;
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::form_urlencoded;

use super::*;

/// A gateway that knows every token, and answers one request for each permit of `open`.
struct Gateway {
    url: String,
    asked: watch::Receiver<usize>,
    open: Arc<Semaphore>,
}

async fn gateway() -> Gateway {
    let (asking, asked) = watch::channel(0);
    let open = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&open);
    let asking = Arc::new(asking);
    let app = Router::new().fallback(move |body: String| {
        let (asking, opened) = (Arc::clone(&asking), Arc::clone(&opened));
        async move {
            asking.send_modify(|asked| *asked += 1);
            opened.acquire().await.unwrap().forget();
            let mut fields = form_urlencoded::parse(body.as_bytes());
            let (_, tx) = fields.find(|(name, _)| name == "tx").unwrap();
            format!(
                "SUCCESS\ntxn_id={tx}\npayment_status=Completed\ntxn_type=web_accept\n\
                 receiver_id=SHOPID0000001\nmc_gross=12.50\nmc_currency=EUR\n"
            )
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Gateway { url, asked, open }
}

/// What one process looks up with.
struct Process {
    looker: Looker,
    account: Account,
    metrics: Metrics,
}

/// Starts the embedded engine's look-ups on `data_dir`.
fn process(gateway: &Gateway, data_dir: &Path, patience: &str) -> Process {
    let data_dir = data_dir.to_string_lossy();
    let environment = [
        ("QUITTANCE_DATA_DIR", &*data_dir),
        ("QUITTANCE_ACCOUNT__0__RECEIVERS", "SHOPID0000001"),
        (
            "QUITTANCE_ACCOUNT__0__PDT_TOKEN",
            "an-identity-token-of-some-length",
        ),
        ("QUITTANCE_ACCOUNT__0__PDT_URL", &gateway.url),
        ("QUITTANCE_PDT__TIMEOUT", "1m"),
        ("QUITTANCE_PDT__PATIENCE", patience),
    ];
    let environment: BTreeMap<String, String> = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let settings = Settings::load(None, &environment).unwrap();
    let metrics = Metrics::new(&QueueNames::default()).unwrap();
    let own = IngestMetrics::register(&metrics, &settings).unwrap();
    let publish: Publish = Arc::new(|_message| Box::pin(async { Ok(()) }));
    Process {
        looker: Looker::new(&settings, Lookups::of(&settings), publish, own).unwrap(),
        account: settings.accounts[0].clone(),
        metrics,
    }
}

impl Process {
    async fn look(&self, token: &str) -> Heard {
        let key = LookupKey {
            gateway: GatewayId::PayPal,
            account: self.account.id.clone(),
            token: token.parse().unwrap(),
        };
        self.looker.look(&key, &self.account, None).await
    }

    fn counted(&self, outcome: Outcome) -> u64 {
        let name = outcome.as_label();
        let start = format!("quittance_pdt_lookups_total{{outcome=\"{name}\"}} ");
        let text = self.metrics.render().unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.unwrap().parse().unwrap()
    }
}

fn is_success(heard: &Heard) -> bool {
    matches!(heard.answer, Some(KeptAnswer::Success { .. }))
}

#[tokio::test]
async fn a_crowd_uses_no_look_up_up_and_leaves_no_answer_that_nobody_gave() {
    let mut gateway = gateway().await;
    let folder = tempfile::tempdir().unwrap();
    let process = Arc::new(process(&gateway, folder.path(), "500ms"));
    gateway.open.add_permits(1);
    process.look("TXBEFORE0001").await;
    process.looker.idle().await;
    let crowd: Vec<_> = (0..AT_ONCE)
        .map(|n| {
            let process = Arc::clone(&process);
            tokio::spawn(async move { process.look(&format!("TXCROWD{n:05}")).await })
        })
        .collect();
    gateway
        .asked
        .wait_for(|asked| *asked == AT_ONCE + 1)
        .await
        .unwrap();
    let late = process.look("TXLATE000001").await;
    assert_eq!(
        late,
        Heard::default(),
        "nothing is known, and nobody is first"
    );
    assert_eq!(process.counted(Outcome::Crowded), 1);
    let before = process.look("TXBEFORE0001").await;
    assert!(is_success(&before), "what is known is shown in any crowd");
    assert_eq!(*gateway.asked.borrow(), AT_ONCE + 1);

    gateway.open.add_permits(AT_ONCE + 1);
    for visit in crowd {
        visit.await.unwrap();
    }
    process.looker.idle().await;
    let late = process.look("TXLATE000001").await;
    assert!(late.first, "the first look-up was not used up");
    process.looker.idle().await;
    assert!(is_success(&process.look("TXLATE000001").await));
    assert_eq!(*gateway.asked.borrow(), AT_ONCE + 2);
}

#[tokio::test]
async fn over_a_restart_only_one_browser_came_first_and_the_sixth_look_up_is_never_made() {
    let gateway = gateway().await;
    gateway.open.add_permits(10);
    let folder = tempfile::tempdir().unwrap();
    for start in 1..=5 {
        let process = process(&gateway, folder.path(), "20s");
        let heard = process.look("TXRESTART001").await;
        assert!(is_success(&heard), "{start}");
        assert_eq!(heard.first, start == 1, "{start}");
        assert!(!process.look("TXRESTART001").await.first);
        assert_eq!(*gateway.asked.borrow(), start);
    }
    let sixth = process(&gateway, folder.path(), "20s");
    assert_eq!(sixth.look("TXRESTART001").await, Heard::default());
    assert_eq!(sixth.counted(Outcome::Spent), 1);
    assert_eq!(*gateway.asked.borrow(), 5);
}

#[tokio::test]
async fn without_the_count_nobody_is_looked_up() {
    let gateway = gateway().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lookups.sqlite")).unwrap();
    let process = process(&gateway, folder.path(), "20s");
    assert_eq!(process.look("TXNOCOUNT001").await, Heard::default());
    assert_eq!(process.counted(Outcome::StoreAway), 1);
    assert_eq!(*gateway.asked.borrow(), 0);
}
