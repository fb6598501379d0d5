//! The page as a browser meets it, with a gateway and a broker that do as they are told. The numbers
//! of traps are those of `docs/returns.md`.

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

#[tokio::test]
async fn trap_71_a_success_is_submitted_as_evidence_and_nothing_else_is_done() {
    let gateway = gateway(&[PAID]).await;
    let shop = shop(&gateway.url, 1, &[]);
    assert_eq!(shop.state(QUERY).await, "paid");
    let published = shop.published();
    assert_eq!(published.len(), 1);
    let message = &published[0];
    assert_eq!(message.kind, MessageKind::EvidenceV1);
    assert_eq!(
        message.headers.account.as_ref().unwrap().as_str(),
        "default"
    );
    let again = accept::evidence(
        "pdt/paypal/default/TXRETURN0001/completed",
        Route {
            gateway: message.headers.gateway.unwrap(),
            account: "default".parse().unwrap(),
        },
        Bytes::new(),
        clock::now(),
    );
    assert_eq!(message.id, again.id, "a repeat repeats the id");
}

#[tokio::test]
async fn trap_75_an_encoded_line_break_or_separator_in_a_value_changes_no_state() {
    let gateway = gateway(&[PAID]).await;
    assert_eq!(shop(&gateway.url, 1, &[]).state(QUERY).await, "paid");
}

#[tokio::test]
async fn trap_76_nothing_of_the_url_is_believed_but_the_token() {
    let gateway = gateway(&[PENDING]).await;
    let shop = shop(&gateway.url, 1, &[]);
    let forged = "?tx=TXRETURN0001&st=Completed&amt=0.01&cc=USD&cm=order-7&sig=x";
    let seen = shop.get(forged, &[JSON]).await.json();
    assert_eq!(seen["state"], "pending");
    assert_eq!(
        (seen["amount"].as_str(), seen["currency"].as_str()),
        (Some("12.50"), Some("EUR"))
    );
    let asked = gateway.asked.lock().unwrap().clone();
    assert_eq!(asked, [format!("cmd=_notify-synch&tx={TX}&at={IDENTITY}")]);
}

#[tokio::test]
async fn trap_77_ten_refreshes_on_two_replicas_cause_one_look_up() {
    let gateway = gateway(&[PAID]).await;
    let shop = shop(&gateway.url, 2, &[]);
    let visits = (0..10).map(|visit| shop.get_from(visit % 2, QUERY, &[JSON]));
    let seen = futures_util::future::join_all(visits).await;
    assert!(seen.iter().all(|seen| seen.json()["state"] == "paid"));
    assert_eq!(gateway.asked(), 1);
    assert_eq!(shop.published().len(), 1);
    assert_eq!(shop.counted("success"), 1);
    let first = seen.iter().filter(|seen| seen.cookie().is_some());
    assert_eq!(first.count(), 1, "only one browser came first");
}

#[tokio::test]
async fn trap_78_a_refusal_or_silence_is_never_shown_as_a_failed_payment() {
    for answers in [
        &[REFUSED][..],
        &["SILENCE"],
        &["<html> <body> Fatal Failure <br> </body> </html>"],
        &[""],
    ] {
        let gateway = gateway(answers).await;
        let shop = shop(&gateway.url, 1, &[]);
        assert_eq!(shop.state(QUERY).await, "waiting", "{answers:?}");
        assert!(shop.published().is_empty());
    }
    let nobody = shop("http://127.0.0.1:1/", 1, &[]);
    assert_eq!(nobody.state(QUERY).await, "waiting");
    assert_eq!(nobody.counted("unreachable"), 2);
}

#[tokio::test]
async fn trap_79_without_a_token_nothing_is_looked_up_and_nothing_is_believed() {
    let gateway = gateway(&[PAID]).await;
    let shop = shop(&gateway.url, 1, &[]);
    for query in [
        "",
        "?",
        "?PayerID=ABC",
        "?st=Completed&amt=12.50",
        "?tx=",
        "?tx=short",
        "?tx=TXRETURN0001%26at%3Dx",
        "?tx=TXRETURN0001&tx=TXRETURN0002",
    ] {
        let seen = shop.get(query, &[JSON]).await;
        assert_eq!(
            seen.json(),
            serde_json::json!({
                "state": "unknown", "confirmed": false, "seen": "unknown-gateway",
            }),
            "{query}"
        );
    }
    assert_eq!(gateway.asked(), 0);
    assert!(shop.published().is_empty());
}

#[tokio::test]
async fn trap_81_a_success_that_says_pending_is_shown_as_pending_with_the_reason() {
    let gateway = gateway(&[PENDING]).await;
    let shop = shop(&gateway.url, 1, &[]);
    let seen = shop.get(QUERY, &[("accept-language", "de")]).await;
    assert!(
        seen.text.contains("unterwegs") && seen.text.contains("Bankkonto"),
        "{}",
        seen.text
    );
    assert!(seen.text.contains("12,50\u{a0}EUR"));
    assert_eq!(shop.get(QUERY, &[JSON]).await.json()["reason"], "echeck");
}

#[tokio::test]
async fn trap_82_a_post_without_cookies_is_sent_on_to_the_page_with_the_token_alone() {
    let gateway = gateway(&[PAID]).await;
    let shop = shop(&gateway.url, 1, &[]);
    let post = |query: &str| {
        Request::builder()
            .method("POST")
            .uri(format!("/return/paypal/default{query}"))
            .header("content-type", accept::FORM)
    };
    let body = "payment_status=Completed&mc_gross=0.01&tx=TXRETURN0001&txn_id=TXOTHER00001";
    for (query, body, location) in [
        ("", body, "?tx=TXRETURN0001"),
        ("?tx=TXRETURN0001&st=Completed", "a=b", "?tx=TXRETURN0001"),
        ("", "payment_status=Completed", "?"),
        ("", "tx=%0D%0ASet-Cookie:%20a", "?"),
    ] {
        let seen = shop.ask(0, post(query), body).await;
        assert_eq!((seen.status, seen.header("location")), (303, location));
        assert_eq!(seen.header("cache-control"), "no-store");
    }
    assert_eq!(gateway.asked(), 0, "a POST looks nothing up");
}

#[tokio::test]
async fn trap_83_a_failed_look_up_is_tried_once_more_and_never_again() {
    let gateway = gateway(&[REFUSED]).await;
    let shop = shop(&gateway.url, 2, &[]);
    for visit in 0..6 {
        let seen = shop.get_from(visit % 2, QUERY, &[JSON]).await;
        assert_eq!(seen.json()["state"], "waiting");
    }
    assert_eq!(gateway.asked(), 2);
    assert_eq!((shop.counted("fail"), shop.counted("cached")), (2, 5));
}

#[tokio::test]
async fn a_retry_that_succeeds_is_as_good_as_a_first_look_up() {
    for first in [REFUSED, "SILENCE", "<html>"] {
        let answers: &'static [&'static str] = Box::leak(Box::new([first, PAID]));
        let gateway = gateway(answers).await;
        let shop = shop(&gateway.url, 1, &[]);
        assert_eq!(shop.state(QUERY).await, "paid", "{first}");
        assert_eq!((gateway.asked(), shop.published().len()), (2, 1));
    }
}

#[tokio::test]
async fn only_the_browser_that_came_first_sees_address_and_e_mail() {
    let gateway = gateway(&[PAID]).await;
    let shop = shop(&gateway.url, 1, &[]);
    let first = shop.get(QUERY, &[]).await;
    for private in [
        "j***@buyer.example",
        "1 Main St",
        "Flat 2",
        "12345 München",
        "1 × ",
    ] {
        assert!(first.text.contains(private), "{private}: {}", first.text);
    }
    assert!(!first.text.contains("jane@"), "the address is masked");
    let cookie = first.cookie().unwrap().to_owned();
    let again = shop.get(QUERY, &[("cookie", &cookie)]).await;
    assert!(again.text.contains("Main St"));
    assert!(again.cookie().is_none());
    let other = shop
        .get(QUERY, &[("cookie", "receipt_TXRETURN0001=1.aa")])
        .await;
    assert!(
        other.text.contains("12.50"),
        "state and amount are for everybody"
    );
    for private in ["buyer.example", "Main St", "München", "1 × "] {
        assert!(!other.text.contains(private), "{private}");
    }
}

#[tokio::test]
async fn what_the_buyer_wrote_is_shown_as_text() {
    let gateway = gateway(&[PAID]).await;
    let seen = shop(&gateway.url, 1, &[]).get(QUERY, &[]).await;
    assert!(!seen.text.contains("<script>alert"), "{}", seen.text);
    assert!(
        seen.text.contains("&lt;script&gt;alert(2)"),
        "{}",
        seen.text
    );
}

#[tokio::test]
async fn every_answer_is_unstored_unframed_unindexed_and_tells_no_referrer() {
    let gateway = gateway(&[PAID]).await;
    let shop = shop(&gateway.url, 1, &[]);
    for query in [QUERY, "?tx=", ""] {
        let seen = shop.get(query, &[]).await;
        assert_eq!(seen.header("cache-control"), "no-store");
        assert_eq!(seen.header("referrer-policy"), "no-referrer");
        assert_eq!(seen.header("x-robots-tag"), "noindex, nofollow");
        assert_eq!(seen.header("x-content-type-options"), "nosniff");
        let policy = seen.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        let inline = ["<style", " style=", "onload=", "onclick=", "<script>"];
        assert!(!inline.iter().any(|inline| seen.text.contains(inline)));
    }
    let css = Request::builder().uri("/return/assets/receipt.css");
    assert_eq!(
        shop.ask(0, css, "").await.header("content-type"),
        "text/css; charset=utf-8"
    );
}

#[tokio::test]
async fn a_method_or_an_account_that_is_not_there_is_refused() {
    let shop = shop("http://127.0.0.1:1/", 1, &[]);
    let put = Request::builder()
        .method("PUT")
        .uri("/return/paypal/default");
    let seen = shop.ask(0, put, "").await;
    assert_eq!(
        (seen.status, seen.header("allow")),
        (405, "GET, HEAD, POST")
    );
    for path in [
        "/return/paypal/nobody?tx=TXRETURN0001",
        "/return/stripe/default",
    ] {
        let seen = shop.ask(0, Request::builder().uri(path), "").await;
        assert_eq!(seen.status, 404, "{path}");
    }
}

#[tokio::test]
async fn evidence_that_a_broker_did_not_take_is_submitted_at_the_next_visit() {
    let gateway = gateway(&[PAID]).await;
    let shop = shop(&gateway.url, 1, &[]);
    shop.refuse.store(1, Ordering::SeqCst);
    assert_eq!(shop.state(QUERY).await, "paid");
    assert!(shop.published().is_empty());
    assert_eq!(shop.state(QUERY).await, "paid");
    while shop.published().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.asked(), 1);
}

#[tokio::test]
async fn a_payment_to_somebody_else_or_of_another_token_shows_nothing() {
    const ELSEWHERE: &str = "SUCCESS\ntxn_id=TXRETURN0001\npayment_status=Completed\n\
        txn_type=web_accept\nreceiver_id=SOMEBODYELSE1\nreceiver_email=pay%40shop.example\n\
        mc_gross=12.50\nmc_currency=EUR\naddress_name=Jane+Doe\n";
    const ANOTHER: &str = "SUCCESS\ntxn_id=TXRETURN0002\npayment_status=Completed\n\
        receiver_id=SHOPID0000001\nmc_gross=12.50\nmc_currency=EUR\n";
    let elsewhere = gateway(&[ELSEWHERE]).await;
    let theirs = shop(&elsewhere.url, 1, &[]);
    let seen = theirs.get(QUERY, &[JSON]).await;
    assert_eq!(seen.json()["state"], "unknown");
    assert!(!seen.text.contains("12.50") && !seen.text.contains("Jane"));
    let another = gateway(&[ANOTHER]).await;
    let other = shop(&another.url, 1, &[]);
    assert_eq!(other.state(QUERY).await, "waiting");
    assert!(other.published().is_empty());
}

#[tokio::test]
async fn without_an_identity_token_the_books_alone_speak() {
    let gateway = gateway(&[PAID]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut shop = shop(&gateway.url, 1, &[]);
    let data = folder.path().to_string_lossy().into_owned();
    let environment = BTreeMap::from([
        ("QUITTANCE_DATA_DIR".to_owned(), data),
        (
            "QUITTANCE_ACCOUNT__0__RECEIVERS".to_owned(),
            "pay@shop.example".to_owned(),
        ),
    ]);
    let settings = Arc::new(Settings::load(None, &environment).unwrap());
    let metrics = Metrics::new(&QueueNames::default()).unwrap();
    let own = IngestMetrics::register(&metrics, &settings).unwrap();
    let publish: Publish = Arc::new(|_message| Box::pin(async { Ok(()) }));
    shop.replicas = vec![router(Returns::new(&settings, publish, &own).unwrap())];
    assert_eq!(shop.state(QUERY).await, "waiting");
    assert_eq!(gateway.asked(), 0);
}

#[tokio::test]
async fn a_shop_may_bring_its_own_template_and_a_broken_one_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    std::fs::write(
        folder.path().join("receipt.html"),
        "<p>{{ title }} at {{ shop }}</p>",
    )
    .unwrap();
    let own = shop(
        "http://127.0.0.1:1/",
        1,
        &[("QUITTANCE_PDT__TEMPLATES", &path)],
    );
    let seen = own.get("", &[]).await;
    assert_eq!(
        seen.text,
        "<p>We cannot tell how this payment stands at Shop</p>"
    );
    for broken in [
        "{{ titel }}",
        "{% if %}",
        "{% for i in items %}{{ i.nme }}{% endfor %}",
    ] {
        std::fs::write(folder.path().join("receipt.html"), broken).unwrap();
        assert!(Pages::new("Shop", Some(folder.path())).is_err(), "{broken}");
    }
}
