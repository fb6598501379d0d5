//! The page as a browser meets it, with a gateway and a broker that do as they are told. The numbers
//! of traps are those of `docs/returns.md`.

mod answers;
mod belief;
mod lookups;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::to_bytes;
use quittance_common::lookups::LookupTimes;
use quittance_common::lookups::embedded::EmbeddedLookups;
use quittance_common::message::{Message, MessageKind};
use quittance_common::metrics::Metrics;
use quittance_common::queue::{PublishError, QueueNames};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::*;

const TX: &str = "TXRETURN0001";
const IDENTITY: &str = "an-identity-token-of-some-length";

/// A gateway that gives its answers one after the other, the last one for ever.
struct Gateway {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn gateway(answers: &'static [&'static str]) -> Gateway {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let app = Router::new().fallback(move |body: String| {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(body);
            seen.len() - 1
        };
        let answer = answers.get(number).or(answers.last()).unwrap();
        async move {
            if *answer == "SILENCE" {
                std::future::pending::<()>().await;
            }
            *answer
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Gateway { url, asked }
}

impl Gateway {
    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Replicas of the page with one look-up store.
struct Shop {
    replicas: Vec<Router>,
    published: Arc<Mutex<Vec<Message>>>,
    refuse: Arc<AtomicUsize>,
    metrics: Vec<Metrics>,
    _folder: tempfile::TempDir,
}

fn settings(pairs: &[(&str, &str)], folder: &std::path::Path) -> Arc<Settings> {
    let data = folder.to_string_lossy().into_owned();
    let mut environment = BTreeMap::from([
        ("QUITTANCE_DATA_DIR", data.as_str()),
        (
            "QUITTANCE_ACCOUNT__0__RECEIVERS",
            "SHOPID0000001, pay@shop.example",
        ),
        ("QUITTANCE_ACCOUNT__0__PDT_TOKEN", IDENTITY),
        ("QUITTANCE_PDT__TIMEOUT", "300ms"),
    ]);
    environment.extend(pairs.iter().copied());
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Arc::new(Settings::load(None, &environment).unwrap())
}

fn shop(gateway: &str, replicas: usize, pairs: &[(&str, &str)]) -> Shop {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec![("QUITTANCE_ACCOUNT__0__PDT_URL", gateway)];
    all.extend(pairs);
    let settings = settings(&all, folder.path());
    let store = Lookups::Embedded(EmbeddedLookups::new(LookupTimes {
        lease: Duration::from_secs(25),
        keep: settings.pdt.keep,
    }));
    let published: Arc<Mutex<Vec<Message>>> = Arc::default();
    let refuse: Arc<AtomicUsize> = Arc::default();
    let mut shop = Shop {
        replicas: Vec::new(),
        published: Arc::clone(&published),
        refuse: Arc::clone(&refuse),
        metrics: Vec::new(),
        _folder: folder,
    };
    for _ in 0..replicas {
        let metrics = Metrics::new(&QueueNames::default()).unwrap();
        let own = IngestMetrics::register(&metrics, &settings).unwrap();
        let (published, refuse) = (Arc::clone(&published), Arc::clone(&refuse));
        let publish: Publish = Arc::new(move |message| {
            let left = refuse.load(Ordering::SeqCst);
            let refused = left > 0;
            if refused {
                refuse.store(left - 1, Ordering::SeqCst);
            } else {
                published.lock().unwrap().push(message);
            }
            Box::pin(async move {
                if refused {
                    let detail = "the broker is away".to_owned();
                    return Err(PublishError::Unavailable { detail });
                }
                Ok(())
            })
        });
        let returns = Returns::with(&settings, store.clone(), publish, &own).unwrap();
        shop.replicas.push(router(returns));
        shop.metrics.push(metrics);
    }
    shop
}

/// An answer, whole.
struct Seen {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    fn cookie(&self) -> Option<&str> {
        self.header("set-cookie")
            .split(';')
            .next()
            .filter(|c| !c.is_empty())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Shop {
    async fn ask(&self, replica: usize, request: axum::http::request::Builder, body: &str) -> Seen {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.replicas[replica]
            .clone()
            .oneshot(request)
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Seen {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, query: &str, headers: &[(&str, &str)]) -> Seen {
        self.get_from(0, query, headers).await
    }

    async fn get_from(&self, replica: usize, query: &str, headers: &[(&str, &str)]) -> Seen {
        let mut request = Request::builder().uri(format!("/return/paypal/default{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(replica, request, "").await
    }

    async fn state(&self, query: &str) -> String {
        let seen = self.get(query, &[JSON]).await;
        seen.json()["state"].as_str().unwrap().to_owned()
    }

    fn published(&self) -> Vec<Message> {
        self.published.lock().unwrap().clone()
    }

    fn counted(&self, outcome: &str) -> u64 {
        let start = format!("quittance_pdt_lookups_total{{outcome=\"{outcome}\"}} ");
        let rendered = self.metrics.iter().map(|metrics| metrics.render().unwrap());
        rendered
            .flat_map(|text| {
                let value = text.lines().find_map(|line| line.strip_prefix(&start));
                value.unwrap().parse::<u64>()
            })
            .sum()
    }
}

const JSON: (&str, &str) = ("accept", "application/json");
const QUERY: &str = "?tx=TXRETURN0001";

const PAID: &str = "SUCCESS\ntxn_id=TXRETURN0001\npayment_status=Completed\ntxn_type=web_accept\n\
    receiver_id=SHOPID0000001\nreceiver_email=pay%40shop.example\nmc_gross=12.50\nmc_currency=EUR\n\
    payer_email=jane%40buyer.example\nfirst_name=%3Cscript%3Ealert%281%29%3C%2Fscript%3E\n\
    item_name=%3Cscript%3Ealert%282%29%3C%2Fscript%3E\nitem_number=MUG\nquantity=1\n\
    address_name=Jane+Doe\naddress_street=1+Main+St%0D%0AFlat+2\naddress_zip=12345\n\
    address_city=M%FCnchen\naddress_country=Germany\ncharset=windows-1252\n\
    memo=a%3Db%0Apayment_status%3DDenied\n";
const PENDING: &str = "SUCCESS\ntxn_id=TXRETURN0001\npayment_status=Pending\npending_reason=echeck\n\
    txn_type=web_accept\nreceiver_id=SHOPID0000001\nmc_gross=12.50\nmc_currency=EUR\n";
const REFUSED: &str = "FAIL\nError: 4003\n";
