//! The interface as a shop meets it.

use std::collections::BTreeMap;

use axum::body::to_bytes;
use quittance_common::money::Money;
use quittance_common::shop::ProductRow;
use quittance_common::variant::Variant;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

const TOKEN: &str = "a-token-of-more-than-32-characters-0";
const MUGS: &str =
    r#"{"id":"1001","total":"19.80","currency":"EUR","lines":[{"sku":"MUG","quantity":2}]}"#;

struct Shopfront {
    router: Router,
    settings: Settings,
    _folder: tempfile::TempDir,
}

fn front(pairs: &[(&str, &str)]) -> Shopfront {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_string_lossy().into_owned();
    let mut environment = BTreeMap::from([
        ("QUITTANCE_DATA_DIR", data.as_str()),
        ("QUITTANCE_ACCOUNT__0__RECEIVERS", "pay@shop.example"),
        ("QUITTANCE_PUBLIC_URL", "https://shop.example/"),
        ("QUITTANCE_ADMIN__TOKEN", TOKEN),
    ]);
    environment.extend(pairs.iter().copied());
    let environment = environment
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let settings = Settings::load(None, &environment).unwrap();
    Shopfront {
        router: router(&settings).unwrap(),
        settings,
        _folder: folder,
    }
}

impl Shopfront {
    async fn ask(&self, headers: &[(&str, &str)], body: &str) -> (Response, Value) {
        let mut request = Request::builder().method("POST").uri("/orders");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        let json = serde_json::from_slice(&bytes).unwrap_or_default();
        (Response::from_parts(parts, Body::empty()), json)
    }

    async fn order(&self, body: &str) -> (u16, Value) {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let (response, json) = self.ask(&headers, body).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        (response.status().as_u16(), json)
    }

    async fn registered(&self) -> Vec<String> {
        let shop = Shop::open(&self.settings.shop_database).await.unwrap();
        let orders = shop.order_list().await.unwrap();
        orders.into_iter().map(|order| order.id).collect()
    }
}

#[tokio::test]
async fn an_order_is_registered_and_answered_with_its_link() {
    let front = front(&[]);
    let (status, json) = front.order(MUGS).await;
    assert_eq!(status, 200, "{json}");
    assert_eq!(
        (
            &json["order"],
            &json["total"],
            &json["currency"],
            &json["account"]
        ),
        (
            &"1001".into(),
            &"19.80".into(),
            &"EUR".into(),
            &"default".into()
        )
    );
    let url = json["url"].as_str().unwrap();
    assert!(
        url.starts_with("https://www.paypal.com/cgi-bin/webscr?cmd=_xclick&"),
        "{url}"
    );
    assert!(
        url.contains("invoice=1001") && url.contains("amount=9.90"),
        "{url}"
    );
    assert!(json["form"].as_str().unwrap().contains("<form action="));
    assert_eq!(json["fields"][0][1], "_xclick");
    assert_eq!(front.registered().await, ["1001"]);
}

#[tokio::test]
async fn the_same_order_is_answered_the_same_and_another_under_its_number_is_a_conflict() {
    let front = front(&[("QUITTANCE_ORDERS__SECRET", "the secret of the shop")]);
    let (_, first) = front.order(MUGS).await;
    assert_eq!(front.order(MUGS).await, (200, first));
    for other in [
        MUGS.replace("19.80", "19.81"),
        MUGS.replace("EUR", "USD"),
        MUGS.replace(":2}", ":1}"),
    ] {
        let (status, json) = front.order(&other).await;
        assert_eq!(status, 409, "{other}: {json}");
        assert!(json["error"].as_str().unwrap().contains("`1001`"));
    }
    assert_eq!(front.registered().await, ["1001"]);
}

#[tokio::test]
async fn without_the_token_nothing_is_registered_and_the_scheme_is_named() {
    let front = front(&[]);
    let wrong = TOKEN.replace('0', "1");
    for authorization in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {wrong}"),
        format!("Bearer {TOKEN}0"),
        format!("Bearer  {TOKEN}"),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
    ] {
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let (response, _) = front.ask(&headers, MUGS).await;
        assert_eq!(response.status(), 401, "{authorization}");
        let scheme = &response.headers()["www-authenticate"];
        assert!(scheme.to_str().unwrap().starts_with("Bearer"));
    }
    assert!(front.registered().await.is_empty());
}

#[tokio::test]
async fn where_no_token_is_set_there_is_no_such_page() {
    let front = front(&[("QUITTANCE_ADMIN__TOKEN", "")]);
    for bearer in ["Bearer ", "Bearer x"] {
        let headers = [
            ("authorization", bearer),
            ("content-type", "application/json"),
        ];
        assert_eq!(front.ask(&headers, MUGS).await.0.status(), 404);
    }
}

#[tokio::test]
async fn what_is_no_order_is_told_and_not_registered() {
    let front = front(&[]);
    for (body, status, told) in [
        ("", 400, "EOF"),
        ("[]", 400, "cannot be read"),
        (r#"{"id":"1","total":"1.00"}"#, 400, "currency"),
        (
            r#"{"id":"","total":"1.00","currency":"EUR"}"#,
            400,
            "is empty",
        ),
        (r#"{"id":"1","total":1.00,"currency":"EUR"}"#, 400, "string"),
        (
            r#"{"id":"1","total":"1.001","currency":"EUR"}"#,
            400,
            "decimals",
        ),
        (
            r#"{"id":"1","total":"0","currency":"EUR"}"#,
            400,
            "more than zero",
        ),
        (
            r#"{"id":"1","total":"1","currency":"EUR","price":2}"#,
            400,
            "price",
        ),
        (
            r#"{"id":"1","total":"1","currency":"EUR","account":"other"}"#,
            400,
            "no account `other`",
        ),
        (
            r#"{"id":"1","total":"1","currency":"EUR","lines":[{"sku":"A","quantity":0}]}"#,
            400,
            "quantity of `A`",
        ),
        (
            r#"{"id":"1","total":"1","currency":"EUR","lines":[{"sku":"A","quantity":-1}]}"#,
            400,
            "cannot be read",
        ),
        (
            r#"{"id":"1","total":"1","currency":"EUR","lines":[{"sku":"A","quantity":3}]}"#,
            422,
            "no price",
        ),
    ] {
        let (found, json) = front.order(body).await;
        let error = json["error"].as_str().unwrap_or_default();
        assert_eq!(found, status, "{body}: {error}");
        assert!(error.contains(told), "{body}: {error}");
    }
    let large = MUGS.replace("1001", &"x".repeat(LARGEST_ORDER));
    assert_eq!(front.order(&large).await.0, 413);
    let bearer = format!("Bearer {TOKEN}");
    let (response, _) = front
        .ask(
            &[("authorization", &bearer), ("content-type", "text/plain")],
            MUGS,
        )
        .await;
    assert_eq!(response.status(), 415);
    assert!(front.registered().await.is_empty());
}

#[tokio::test]
async fn a_line_with_options_orders_and_links_the_variant_that_they_select() {
    let front = front(&[]);
    let shop = Shop::open(&front.settings.shop_database).await.unwrap();
    let large: Sku = "TEE-L".parse().unwrap();
    let product = ProductRow {
        sku: large.clone(),
        name: "Tee L".to_owned(),
        price: Money::from_minor(1990, "EUR".parse().unwrap()),
        on_hand: 5,
    };
    let variant = Variant {
        item: "TEE".parse().unwrap(),
        options: "Size=L".parse().unwrap(),
    };
    let variants = [(large, Some(variant))].into();
    shop.import_catalogue(&[product], &variants, clock::now())
        .await
        .unwrap();
    let ask = async |options: &str| {
        let line = format!(r#"{{"sku":"TEE","quantity":1{options}}}"#);
        let order = format!(r#"{{"id":"1","total":"19.90","currency":"EUR","lines":[{line}]}}"#);
        front.order(&order).await
    };
    for wrong in ["", r#","options":{"Size":"S"}"#] {
        let (status, json) = ask(wrong).await;
        assert_eq!(status, 422, "{json}");
        let error = json["error"].as_str().unwrap();
        assert!(error.contains("`TEE-L` (size=l)"), "{error}");
    }
    assert!(front.registered().await.is_empty());
    let (status, json) = ask(r#","options":{"size":"L"}"#).await;
    assert_eq!(status, 200, "{json}");
    let fields = json["fields"].as_array().unwrap();
    let has = |name: &str, value: &str| fields.contains(&serde_json::json!([name, value]));
    assert!(
        has("item_number", "TEE-L") && has("amount", "19.90"),
        "{json}"
    );
    let options = fields.iter().filter(|field| {
        let name = field[0].as_str().unwrap();
        name.starts_with("on") || name.starts_with("os")
    });
    assert_eq!(options.count(), 0, "the sku says it");
    assert_eq!(shop.order_list().await.unwrap()[0].lines, ["TEE-L=1"]);
}
