//! How often the gateway is asked, and what becomes of its answer.

use super::*;

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
        None,
    );
    assert_eq!(message.id, again.id, "a repeat repeats the id");
}

#[tokio::test]
async fn evidence_goes_on_in_the_trace_of_the_visit_and_begins_one_without() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let of_visit = format!("00-{trace}-00f067aa0ba902b7-01");
    for (header, expected) in [(of_visit.as_str(), Some(trace)), ("nonsense", None)] {
        let gateway = gateway(&[PAID]).await;
        let shop = shop(&gateway.url, 1, &[]);
        shop.get_from(0, QUERY, &[JSON, ("traceparent", header)])
            .await;
        let published = shop.published();
        let found = published[0].headers.traceparent.as_deref().unwrap();
        let found = TraceContext::parse(found).unwrap();
        let own = TraceContext::of_message(published[0].id);
        match expected {
            Some(trace) => assert_eq!(found.trace_id(), trace),
            None => assert_eq!(found, own),
        }
        assert_eq!(found.span(), own.span(), "a span of its own");
    }
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
