//! The stand-in over real HTTP.

use super::*;

const MESSAGE: &[u8] = b"txn_id=T1&payment_status=Completed&first_name=J%F6rg&memo=a+b&tax=";

async fn started() -> SandboxHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Sandbox::start(listener).unwrap()
}

async fn ask(sandbox: &SandboxHandle, body: Vec<u8>) -> reqwest::Result<reqwest::Response> {
    client()
        .unwrap()
        .post(sandbox.webscr_url())
        .body(body)
        .send()
        .await
}

async fn answer(sandbox: &SandboxHandle, body: impl Into<Vec<u8>>) -> (u16, String) {
    let response = ask(sandbox, body.into()).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn postback(message: &[u8]) -> Vec<u8> {
    [b"cmd=_notify-validate&", message].concat()
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

#[tokio::test]
async fn a_postback_is_verified_on_byte_equality_only() {
    let sandbox = started().await;
    sandbox.register(&Bytes::from_static(MESSAGE));
    assert_eq!(answer(&sandbox, postback(MESSAGE)).await, ok("VERIFIED"));
    for changed in [
        &b"txn_id=T1&payment_status=Completed&first_name=J%f6rg&memo=a+b&tax="[..],
        &b"txn_id=T1&payment_status=Completed&first_name=J%F6rg&memo=a%20b&tax="[..],
        &b"txn_id=T1&payment_status=Completed&first_name=J%F6rg&memo=a+b"[..],
        &b""[..],
    ] {
        assert_eq!(answer(&sandbox, postback(changed)).await, ok("INVALID"));
    }
    let outcomes: Vec<Outcome> = sandbox.postbacks().iter().map(|p| p.outcome).collect();
    assert_eq!(outcomes.first(), Some(&Outcome::Verified));
    assert_eq!(outcomes.len(), 5);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_postback_without_a_user_agent_is_forbidden() {
    let sandbox = started().await;
    sandbox.register(&Bytes::from_static(MESSAGE));
    let anonymous = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = anonymous
        .post(sandbox.webscr_url())
        .body(postback(MESSAGE))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(sandbox.postbacks()[0].outcome, Outcome::Forbidden);
}

#[tokio::test]
async fn pdt_answers_five_look_ups_of_a_token_and_no_more() {
    let sandbox = started().await;
    sandbox.register(&Bytes::from_static(MESSAGE));
    let look_up = "cmd=_notify-synch&tx=T1&at=sandbox-identity-token";
    let success =
        "SUCCESS\ntxn_id=T1\npayment_status=Completed\nfirst_name=J%F6rg\nmemo=a+b\ntax=\n";
    for _ in 0..5 {
        assert_eq!(answer(&sandbox, look_up).await, ok(success));
    }
    assert_eq!(answer(&sandbox, look_up).await, ok("FAIL\nError: 4003\n"));
    assert_eq!(
        answer(&sandbox, "cmd=_notify-synch&tx=T1&at=guess").await,
        ok("FAIL\nError: 4020\n")
    );
    assert_eq!(
        answer(
            &sandbox,
            "cmd=_notify-synch&tx=T2&at=sandbox-identity-token"
        )
        .await,
        ok("FAIL\nError: 4002\n")
    );
}

#[tokio::test]
async fn ordered_faults_reach_a_client() {
    let sandbox = started().await;
    sandbox.register(&Bytes::from_static(MESSAGE));
    for (mode, status, body) in [
        (Mode::Html, 200, "Fatal Failure"),
        (Mode::Invalid, 200, "INVALID"),
        (Mode::Error403, 403, "Fatal Failure"),
        (Mode::Error500, 500, "Fatal Failure"),
        (Mode::Redirect, 302, ""),
        (Mode::Empty, 200, ""),
        (Mode::Garbage, 200, "UNVERIFIED"),
        (Mode::RetryAfter, 503, ""),
        (Mode::Slow, 200, "VERIFIED"),
    ] {
        sandbox.set_fault(Fault::lasting(mode));
        let (got, text) = answer(&sandbox, postback(MESSAGE)).await;
        assert_eq!(got, status, "{mode:?}");
        assert!(text.contains(body), "{mode:?}: {text}");
    }
    sandbox.set_fault(Fault::default());
    assert_eq!(answer(&sandbox, postback(MESSAGE)).await, ok("VERIFIED"));
}

#[tokio::test]
async fn a_refused_or_reset_connection_gives_no_answer() {
    let sandbox = started().await;
    sandbox.register(&Bytes::from_static(MESSAGE));
    for mode in [Mode::Refuse, Mode::Reset] {
        sandbox.set_fault(Fault::lasting(mode));
        let whole = async { ask(&sandbox, postback(MESSAGE)).await?.bytes().await }.await;
        assert!(whole.is_err(), "{mode:?}: {whole:?}");
    }
    sandbox.set_fault(Fault::default());
    assert_eq!(answer(&sandbox, postback(MESSAGE)).await, ok("VERIFIED"));
}

#[tokio::test]
async fn retry_after_is_announced_in_seconds() {
    let sandbox = started().await;
    sandbox.set_fault(Fault {
        mode: Mode::RetryAfter,
        millis: 2500,
        count: Some(1),
    });
    let response = ask(&sandbox, postback(MESSAGE)).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "3");
    assert_eq!(answer(&sandbox, postback(MESSAGE)).await, ok("INVALID"));
}

/// A listener that answers `503` so many times and `200` from then on; keeps the bodies.
async fn listener(failures: usize) -> (Url, Arc<Mutex<Vec<Bytes>>>) {
    let bodies: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let seen = Arc::clone(&bodies);
    let ipn = move |body: Bytes| async move {
        let mut seen = seen.lock().unwrap();
        seen.push(body);
        if seen.len() > failures { 200_u16 } else { 503 }
            .try_into()
            .map(|status: axum::http::StatusCode| status)
            .unwrap()
    };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ipn/paypal", socket.local_addr().unwrap());
    tokio::spawn(async move {
        axum::serve(socket, Router::new().route("/ipn/paypal", post(ipn))).await
    });
    (url.parse().unwrap(), bodies)
}

#[tokio::test]
async fn a_message_is_sent_again_until_the_listener_takes_it() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options {
        time_scale: 1000,
        ..Options::default()
    };
    let sandbox = Sandbox::start_with(socket, options).unwrap();
    let (to, bodies) = listener(2).await;
    let first = sandbox.send(to, Bytes::from_static(MESSAGE), true).await;
    assert_eq!(first.status, Some(503));
    tokio::time::timeout(Duration::from_secs(10), async {
        while !sandbox.sent()[0].posts.last().is_some_and(Post::is_taken) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let statuses: Vec<_> = sandbox.sent()[0].posts.iter().map(|p| p.status).collect();
    assert_eq!(statuses, [Some(503), Some(503), Some(200)]);
    assert!(bodies.lock().unwrap().iter().all(|body| body == MESSAGE));
    sandbox.stop().await;
}

#[tokio::test]
async fn the_control_interface_sends_exact_bytes_and_reports_them() {
    let sandbox = started().await;
    let (to, bodies) = listener(0).await;
    let base = format!("http://{}", sandbox.address());
    let control = |path: &str, json: serde_json::Value| {
        client()
            .unwrap()
            .post(format!("{base}/control/{path}"))
            .header("content-type", "application/json")
            .body(json.to_string())
            .send()
    };
    // "\xff" is no UTF-8: only base64 carries it.
    let sent = control(
        "send",
        serde_json::json!({"to": to.as_str(), "body_base64": "bWVtbz3/"}),
    )
    .await
    .unwrap();
    let report: serde_json::Value = serde_json::from_str(&sent.text().await.unwrap()).unwrap();
    assert_eq!(report["status"], 200);
    assert_eq!(bodies.lock().unwrap()[0], &b"memo=\xff"[..]);
    assert_eq!(
        answer(&sandbox, postback(b"memo=\xff")).await,
        ok("VERIFIED")
    );

    let refused = control("register", serde_json::json!({})).await.unwrap();
    assert_eq!(refused.status(), 400);
    let fault = control("faults", serde_json::json!({"mode": "html", "count": 1}))
        .await
        .unwrap();
    assert_eq!(fault.status(), 200);
    assert!(
        answer(&sandbox, postback(b"memo=\xff"))
            .await
            .1
            .contains("Fatal")
    );

    let list = client()
        .unwrap()
        .get(format!("{base}/control/postbacks"))
        .send()
        .await
        .unwrap();
    let list: serde_json::Value = serde_json::from_str(&list.text().await.unwrap()).unwrap();
    assert_eq!(list["count"], 2);
    assert_eq!(list["postbacks"][1]["outcome"], "fault");
}

#[tokio::test]
async fn an_order_to_send_to_another_machine_is_refused_and_nothing_becomes_genuine() {
    let sandbox = started().await;
    let order = serde_json::json!({"to": "http://192.0.2.1/ipn/paypal", "body": "txn_id=T1"});
    let response = client()
        .unwrap()
        .post(format!("http://{}/control/send", sandbox.address()))
        .header("content-type", "application/json")
        .body(order.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.text().await.unwrap().contains("--allow-remote"));
    assert!(sandbox.sent().is_empty());
}

#[tokio::test]
async fn it_is_controlled_under_a_loopback_name_only() {
    let sandbox = started().await;
    let port = sandbox.address().port();
    let own = [format!("localhost:{port}"), format!("127.0.0.1:{port}")];
    let foreign = [
        format!("evil.example:{port}"),
        format!("localhost:{port}@evil.example"),
    ];
    for (hosts, status) in [(own, 200), (foreign, 403)] {
        for host in hosts {
            for path in ["/control/sent", "/"] {
                let asked = client()
                    .unwrap()
                    .get(format!("http://{}{path}", sandbox.address()))
                    .header("host", &host)
                    .send();
                assert_eq!(asked.await.unwrap().status(), status, "{host}");
            }
        }
    }
}
