//! The checkout over real HTTP, as a browser without a script uses it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use tokio::net::TcpListener;

use super::super::{Options, Post, Sandbox, SandboxHandle, client};
use super::*;

/// A shop that takes notifications and is a thousand times quicker than life.
struct Shop {
    sandbox: SandboxHandle,
    url: String,
    told: Arc<Mutex<Vec<Bytes>>>,
}

async fn shop() -> Shop {
    let told: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let seen = Arc::clone(&told);
    let ipn = async move |body: Bytes| {
        let mut seen = seen.lock().unwrap();
        seen.push(body);
        // The first post of every message is refused, so that it has to be sent again.
        let copies = seen.iter().filter(|other| **other == seen[seen.len() - 1]);
        if copies.count() > 1 {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(socket, Router::new().route("/ipn", post(ipn))).await });
    let options = Options {
        time_scale: 1000,
        echeck_clears_after: Duration::from_secs(100),
        ..Options::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sandbox = Sandbox::start_with(listener, options).unwrap();
    Shop { sandbox, url, told }
}

impl Shop {
    fn query(&self, more: &str) -> String {
        let url = &self.url;
        format!(
            "cmd=_xclick&business=DEMOSHOP00001&currency_code=EUR&charset=utf-8&item_name=Mug\
             &item_number=MUG&amount=9.90&quantity=2&invoice=1001&notify_url={url}/ipn\
             &return={url}/return{more}"
        )
    }

    async fn get(&self, query: &str) -> (u16, String) {
        let url = format!("{}?{query}", self.sandbox.webscr_url());
        let response = client().unwrap().get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Opens the checkout of `query`; where its form goes.
    async fn open(&self, query: &str) -> String {
        let (status, page) = self.get(query).await;
        assert_eq!(status, 200, "{page}");
        action(&page, &self.sandbox)
    }

    /// Chooses; status, where the browser is sent, and the page.
    async fn choose(&self, action: &str, form: &str) -> (u16, String, String) {
        let request = client().unwrap().post(action).body(form.to_owned());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let location = response.headers().get("location");
        let location = location
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        (status, location, response.text().await.unwrap())
    }

    /// Waits until so many messages have been taken.
    async fn taken(&self, count: usize) -> Vec<Bytes> {
        tokio::time::timeout(Duration::from_secs(10), async {
            while self
                .sandbox
                .sent()
                .iter()
                .filter(|sent| sent.posts.iter().any(Post::is_taken))
                .count()
                < count
            {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        let mut told = self.told.lock().unwrap().clone();
        told.dedup();
        told
    }
}

/// Where the form of a page goes.
fn action(page: &str, sandbox: &SandboxHandle) -> String {
    let (_, rest) = page.split_once("action=\"/checkout/").unwrap();
    let (id, _) = rest.split_once('"').unwrap();
    format!("http://{}/checkout/{id}", sandbox.address())
}

fn said(body: &[u8], name: &str) -> String {
    form::field(body, name).unwrap_or_default()
}

fn token(location: &str) -> String {
    let url = Url::parse(location).unwrap();
    let pair = url.query_pairs().find(|(name, _)| name == "tx").unwrap();
    pair.1.into_owned()
}

#[tokio::test]
async fn paying_sends_the_buyer_back_with_the_token_and_tells_the_shop_until_it_listens() {
    let shop = shop().await;
    let action = shop.open(&shop.query("&custom=c")).await;
    let (status, location, _) = shop
        .choose(&action, "choice=pay&first_name=%C3%84nne")
        .await;
    assert_eq!(status, 303);
    assert!(
        location.starts_with(&format!("{}/return?", shop.url)),
        "{location}"
    );
    assert!(location.contains("st=Completed") && location.contains("amt=19.80"));
    let tx = token(&location);
    let told = shop.taken(1).await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (said(&told[0], "txn_id"), said(&told[0], "mc_gross")),
        (tx.clone(), "19.80".into())
    );
    assert_eq!(
        (said(&told[0], "first_name"), said(&told[0], "invoice")),
        ("Änne".into(), "1001".into())
    );
    let look_up = format!("cmd=_notify-synch&tx={tx}&at=sandbox-identity-token");
    let webscr = shop.sandbox.webscr_url();
    let answer = client()
        .unwrap()
        .post(webscr)
        .body(look_up)
        .send()
        .await
        .unwrap();
    assert!(answer.text().await.unwrap().starts_with("SUCCESS\n"));
}

#[tokio::test]
async fn an_echeck_is_pending_at_once_and_completed_by_itself() {
    let shop = shop().await;
    let action = shop.open(&shop.query("")).await;
    let (_, location, _) = shop.choose(&action, "choice=echeck").await;
    assert!(location.contains("st=Pending"), "{location}");
    let told = shop.taken(2).await;
    let statuses: Vec<String> = told
        .iter()
        .map(|body| said(body, "payment_status"))
        .collect();
    assert_eq!(statuses, ["Pending", "Completed"]);
    assert_eq!(said(&told[0], "pending_reason"), "echeck");
    assert_eq!(said(&told[0], "txn_id"), said(&told[1], "txn_id"));
}

#[tokio::test]
async fn who_gives_up_goes_to_the_shops_page_or_stays_and_nobody_is_told() {
    let shop = shop().await;
    let cancel = format!("&cancel_return={}/basket", shop.url);
    let action = shop.open(&shop.query(&cancel)).await;
    let (status, location, _) = shop.choose(&action, "choice=cancel").await;
    assert_eq!((status, location), (303, format!("{}/basket", shop.url)));
    let action = shop.open(&shop.query("")).await;
    let (status, _, page) = shop.choose(&action, "choice=cancel").await;
    assert!(
        status == 200 && page.contains("You have not paid"),
        "{page}"
    );
    assert!(shop.sandbox.sent().is_empty());
}

#[tokio::test]
async fn a_second_click_and_a_second_checkout_of_an_invoice_are_no_second_payment() {
    let shop = shop().await;
    let (one, other) = (
        shop.open(&shop.query("")).await,
        shop.open(&shop.query("")).await,
    );
    let (_, first, _) = shop.choose(&one, "choice=pay").await;
    let (_, again, _) = shop.choose(&one, "choice=pay").await;
    assert_eq!(first, again);
    let (status, _, page) = shop.choose(&other, "choice=pay").await;
    assert!(status == 409 && page.contains("paid before"), "{page}");
    assert_eq!(shop.get(&shop.query("")).await.0, 409);
    assert_eq!(shop.sandbox.sent().len(), 1);
    let (status, ..) = shop.choose(&format!("{one}X"), "choice=pay").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_return_by_post_is_a_form_with_the_token_that_needs_no_script() {
    let shop = shop().await;
    let webscr = shop.sandbox.webscr_url();
    let asked = client().unwrap().post(webscr).body(shop.query("&rm=2"));
    let page = asked.send().await.unwrap().text().await.unwrap();
    let action = action(&page, &shop.sandbox);
    let (status, _, page) = shop.choose(&action, "choice=pay").await;
    assert_eq!(status, 200);
    let encoded = format!("{}/return", shop.url).replace('/', "&#x2f;");
    assert!(
        page.contains(&format!("<form action=\"{encoded}\" method=\"post\"")),
        "{page}"
    );
    assert!(
        page.contains("name=\"tx\"")
            && page.contains("name=\"payment_status\" value=\"Completed\"")
    );
    assert!(!page.contains("<script") && !page.contains("verify_sign"));
}

#[tokio::test]
async fn what_is_wrong_with_a_link_is_told_on_a_page_and_nothing_of_it_is_markup() {
    let shop = shop().await;
    let odd = shop
        .query("&%3Cscript%3Ealert(1)%3C/script%3E=1")
        .replace("DEMOSHOP00001", "nobody");
    let (status, page) = shop.get(&odd).await;
    assert_eq!(status, 400);
    assert!(
        page.contains("business") && page.contains("is not registered here"),
        "{page}"
    );
    assert!(
        page.contains("&lt;script&gt;") && !page.contains("<script"),
        "{page}"
    );
    let named = shop
        .query("")
        .replace("item_name=Mug", "item_name=%3Cimg%20src=x%3E");
    let (status, page) = shop.get(&named).await;
    assert!(
        status == 200 && page.contains("&lt;img") && !page.contains("<img"),
        "{page}"
    );
}
