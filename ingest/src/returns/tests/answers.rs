//! The form of the answers: methods, headers, who may see what, templates.

use super::*;

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
