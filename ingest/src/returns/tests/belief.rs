//! What is believed, and what is shown of it.

use super::*;

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

/// The whole address to which a real browser comes back, about another gateway's answer: the fixture
/// claims that it is paid, the gateway says that it is pending.
#[tokio::test]
async fn trap_76_of_a_whole_return_address_only_the_token_is_used() {
    const ADDRESS: &str = include_str!("../../../../tests/fixtures/paypal/pdt_return_query.txt");
    let address = ADDRESS.trim_end();
    let tx = "7QT00000WA0000001";
    let answer: &'static str = String::leak(PENDING.replace(TX, tx).replace("12.50", "7.25"));
    let gateway = gateway(Vec::leak(vec![answer])).await;
    let shop = shop(&gateway.url, 1, &[]);
    let seen = shop.get(&format!("?{address}"), &[JSON]).await.json();
    assert_eq!(seen["state"], "pending");
    assert_eq!(
        (seen["amount"].as_str(), seen["currency"].as_str()),
        (Some("7.25"), Some("EUR"))
    );
    let asked = gateway.asked.lock().unwrap().clone();
    assert_eq!(asked, [format!("cmd=_notify-synch&tx={tx}&at={IDENTITY}")]);
    let published = shop.published();
    for message in &published {
        let body = String::from_utf8_lossy(&message.body);
        assert!(
            !body.contains("InventedSignature") && !body.contains("12.50"),
            "{body}"
        );
    }
    assert_eq!(published.len(), 1, "the gateway's answer is evidence");
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
async fn trap_79_a_post_without_a_token_leads_to_a_page_and_none_of_it_is_processed() {
    let gateway = gateway(&[PAID]).await;
    let shop = shop(&gateway.url, 1, &[]);
    let post = Request::builder()
        .method("POST")
        .uri("/return/paypal/default")
        .header("content-type", accept::FORM);
    let body = "payment_status=Completed&txn_id=TXRETURN0001&mc_gross=12.50&mc_currency=EUR\
                &receiver_id=SHOPID0000001&invoice=1001";
    let seen = shop.ask(0, post, body).await;
    assert_eq!((seen.status, seen.header("location")), (303, "?"));
    assert_eq!(shop.state("?").await, "unknown");
    assert!(shop.published().is_empty(), "unsigned data is no evidence");
    assert_eq!(gateway.asked(), 0);
}
