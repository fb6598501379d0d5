//! The listener as a gateway sees it, with a broker that does as it is told.

use std::collections::BTreeMap;

use quittance_common::message::MessageKind;
use quittance_common::metrics::Metrics;
use quittance_common::queue::QueueNames;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::*;
use crate::connections::Door;
use crate::server;

/// A publish that waits for the test's word.
type Asked = (Message, oneshot::Sender<Result<(), PublishError>>);

/// A running listener and the far end of its publishes.
struct Listener {
    url: String,
    asked: UnboundedReceiver<Asked>,
    metrics: Metrics,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn settings(pairs: &[(&str, &str)]) -> Arc<Settings> {
    let mut environment = BTreeMap::from([
        ("QUITTANCE_ACCOUNT__0__RECEIVERS", "pay@shop.example"),
        ("QUITTANCE_ACCOUNT__1__ID", "second"),
        ("QUITTANCE_ACCOUNT__1__RECEIVERS", "pay@shop.example"),
    ]);
    environment.extend(pairs.iter().copied());
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Arc::new(Settings::load(None, &environment).unwrap())
}

async fn listen(pairs: &[(&str, &str)], body_timeout: Duration) -> Listener {
    let settings = settings(pairs);
    let metrics = Metrics::new(&QueueNames::default()).unwrap();
    let own = IngestMetrics::register(&metrics, &settings).unwrap();
    let (asking, asked): (UnboundedSender<Asked>, _) = unbounded_channel();
    let door = Door::new(64, own.connections.clone());
    let publish: Publish = Arc::new(move |message| {
        let (answer, answered) = oneshot::channel();
        asking.send((message, answer)).ok();
        Box::pin(async move {
            let gone = PublishError::Unavailable {
                detail: "the test has ended".into(),
            };
            answered.await.unwrap_or(Err(gone))
        })
    });
    let stop = CancellationToken::new();
    let ingest = Ingest::new(settings, publish, own, stop.clone()).with_body_timeout(body_timeout);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stopped = {
        let (ingest, stop) = (ingest.clone(), stop.clone());
        async move {
            stop.cancelled().await;
            ingest.idle().await;
        }
    };
    let grace = Duration::from_secs(10);
    let server = tokio::spawn(server::serve(
        listener,
        door,
        router(ingest),
        stopped,
        grace,
    ));
    Listener {
        url,
        asked,
        metrics,
        stop,
        server,
    }
}

impl Listener {
    async fn new() -> Self {
        listen(&[], BODY_TIMEOUT).await
    }

    /// A notification to that path.
    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let limit = Duration::from_secs(30);
        quittance_common::http::client(limit, limit)
            .unwrap()
            .post(format!("{}{path}", self.url))
            .header("content-type", accept::FORM)
            .body(body)
    }

    /// Confirms everything from now on, and shows what was published.
    fn confirm_all(&mut self) -> UnboundedReceiver<Message> {
        let (show, shown) = unbounded_channel();
        let (_, empty) = unbounded_channel();
        let mut asked = std::mem::replace(&mut self.asked, empty);
        tokio::spawn(async move {
            while let Some((message, answer)) = asked.recv().await {
                show.send(message).ok();
                answer.send(Ok(())).ok();
            }
        });
        shown
    }

    fn counted(&self, outcome: &str) -> bool {
        let line = format!(
            "quittance_notifications_received_total{{account=\"default\",gateway=\"paypal\",outcome=\"{outcome}\"}} 1"
        );
        self.metrics.render().unwrap().contains(&line)
    }

    /// A connection on which bytes are written by hand.
    async fn raw(&self) -> TcpStream {
        let address = self.url.trim_start_matches("http://");
        TcpStream::connect(address).await.unwrap()
    }
}

/// What a connection says until it closes.
async fn everything(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_notification_is_answered_with_an_empty_200_after_the_confirm() {
    let mut listener = Listener::new().await;
    let request = tokio::spawn(listener.post("/ipn/paypal", "a=%FC&b=").send());
    let (message, answer) = listener.asked.recv().await.unwrap();
    assert!(!request.is_finished(), "answered before the confirm");
    answer.send(Ok(())).unwrap();
    let response = request.await.unwrap().unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.bytes().await.unwrap().len(), 0);

    assert_eq!(message.body.as_ref(), b"a=%FC&b=");
    assert_eq!(message.kind, MessageKind::NotificationV1);
    assert_eq!(message.content_type, accept::FORM);
    assert_eq!(message.headers.account.unwrap().as_str(), "default");
    assert_eq!(
        message.headers.remote_addr.unwrap().to_string(),
        "127.0.0.1"
    );
    assert!(message.headers.received_at.is_some());
    assert!(message.headers.traceparent.is_some());
    assert!(listener.counted("accepted"));
}

#[tokio::test]
async fn the_account_comes_from_the_url() {
    let mut listener = Listener::new().await;
    let mut published = listener.confirm_all();
    let response = listener.post("/ipn/paypal/second", "a=b").send().await;
    assert_eq!(response.unwrap().status().as_u16(), 200);
    let account = published.recv().await.unwrap().headers.account.unwrap();
    assert_eq!(account.as_str(), "second");
}

#[tokio::test]
async fn what_is_no_notification_is_refused_and_never_published() {
    let mut listener = Listener::new().await;
    let mut published = listener.confirm_all();
    let long = vec![b'x'; 65_537];
    for (request, status) in [
        (listener.post("/ipn/paypal", long), 413),
        (listener.post("/ipn/paypal", ""), 400),
        (listener.post("/ipn/stripe", "a=b"), 404),
        (listener.post("/ipn/paypal/third", "a=b"), 404),
        (listener.post("/ipn/paypal/%FF", "a=b"), 404),
        (listener.post("/ipn", "a=b"), 404),
        (listener.post("/", "a=b"), 404),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{}", response.url());
    }
    let limit = Duration::from_secs(30);
    let client = quittance_common::http::client(limit, limit).unwrap();
    let url = format!("{}/ipn/paypal", listener.url);
    let response = client.post(&url).header("content-type", "application/json");
    let response = response.body("{}").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 415);
    for request in [client.get(&url), client.head(&url), client.put(&url)] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 405);
        assert_eq!(response.headers().get("allow").unwrap(), "POST");
    }
    assert!(published.try_recv().is_err(), "something was published");
    assert!(listener.counted("empty") && listener.counted("not_a_form"));
}

#[tokio::test]
async fn ten_megabytes_are_answered_413_and_the_next_request_is_served() {
    let mut listener = Listener::new().await;
    let _published = listener.confirm_all();
    let body = vec![b'x'; 10 * 1024 * 1024];
    let response = listener.post("/ipn/paypal", body).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 413);
    let response = listener.post("/ipn/paypal", "a=b").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
}

#[tokio::test]
async fn a_chunked_body_is_limited_while_it_is_read() {
    let mut listener = listen(&[("QUITTANCE_INGEST__MAX_BODY", "1024")], BODY_TIMEOUT).await;
    let mut published = listener.confirm_all();
    let head = "POST /ipn/paypal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    for (length, status) in [(1024, "200"), (1025, "413")] {
        let mut stream = listener.raw().await;
        let body = "x".repeat(length);
        let request = format!("{head}Connection: close\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let text = everything(stream).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    }
    assert_eq!(published.recv().await.unwrap().body.len(), 1024);
    assert!(published.try_recv().is_err());
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_answered_408() {
    let listener = listen(&[], Duration::from_millis(50)).await;
    let mut stream = listener.raw().await;
    stream
        .write_all(
            b"POST /ipn/paypal HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\
              Content-Type: application/x-www-form-urlencoded\r\n\r\na=b",
        )
        .await
        .unwrap();
    let text = everything(stream).await;
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(listener.counted("slow"));
}

#[tokio::test]
async fn without_a_confirm_the_answer_is_503_with_retry_after() {
    let mut listener = listen(
        &[("QUITTANCE_INGEST__CONFIRM_TIMEOUT", "100ms")],
        BODY_TIMEOUT,
    )
    .await;
    let request = tokio::spawn(listener.post("/ipn/paypal", "a=b").send());
    let (_, answer) = listener.asked.recv().await.unwrap();
    answer.send(Err(PublishError::Unroutable)).unwrap();
    let response = request.await.unwrap().unwrap();
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(response.headers().get("retry-after").unwrap(), "10");

    let request = tokio::spawn(listener.post("/ipn/paypal", "a=b").send());
    let (_, _never_answered) = listener.asked.recv().await.unwrap();
    assert_eq!(request.await.unwrap().unwrap().status().as_u16(), 503);
    let text = listener.metrics.render().unwrap();
    assert!(text.contains("quittance_publish_failures_total{reason=\"unroutable\"} 1"));
    assert!(text.contains("quittance_publish_failures_total{reason=\"timeout\"} 1"));
}

#[tokio::test]
async fn more_at_once_than_allowed_is_answered_503() {
    let mut listener = listen(&[("QUITTANCE_INGEST__MAX_IN_FLIGHT", "1")], BODY_TIMEOUT).await;
    let first = tokio::spawn(listener.post("/ipn/paypal", "a=b").send());
    let (_, answer) = listener.asked.recv().await.unwrap();
    let second = listener.post("/ipn/paypal", "a=b").send().await.unwrap();
    assert_eq!(second.status().as_u16(), 503);
    assert!(listener.counted("busy"));
    answer.send(Ok(())).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn at_the_stop_requests_in_hand_are_finished_and_new_ones_refused() {
    let mut listener = Listener::new().await;
    let first = tokio::spawn(listener.post("/ipn/paypal", "a=b").send());
    let (_, answer) = listener.asked.recv().await.unwrap();
    listener.stop.cancel();
    let late = listener.post("/ipn/paypal", "a=b").send().await.unwrap();
    assert_eq!(late.status().as_u16(), 503);
    assert_eq!(late.headers().get("connection").unwrap(), "close");
    assert!(!listener.server.is_finished());
    answer.send(Ok(())).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status().as_u16(), 200);
    listener.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_stop() {
    let listener = Listener::new().await;
    let mut stream = listener.raw().await;
    let request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut first = [0_u8; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 404");
    listener.stop.cancel();
    listener.server.await.unwrap().unwrap();
    everything(stream).await;
}
