//! What the checkout takes, and what it says about the rest.

use std::collections::BTreeMap;

use quittance_common::order::Order;
use quittance_common::order::link::{Link, Offer, Offers};
use quittance_common::settings::Settings;

use super::*;

const SINGLE: &str = "cmd=_xclick&business=DEMOSHOP00001&currency_code=EUR&charset=utf-8&\
    item_name=Mug&item_number=MUG&amount=9.90&quantity=2&invoice=1001&rm=1&no_note=1&\
    notify_url=http://127.0.0.1:1/ipn&return=http://localhost:1/return";
const CART: &str = "cmd=_cart&upload=1&business=pay@shop.example&currency_code=EUR&charset=UTF-8&\
    item_name_1=Mug&item_number_1=MUG&amount_1=9.90&quantity_1=2&item_name_2=Pot&amount_2=20&\
    handling_cart=4.90&discount_amount_cart=1.00&rm=2&\
    notify_url=http://127.0.0.1:1/ipn&return=http://[::1]:1/return";

fn asked(form: &str) -> Result<Purchase, Vec<Problem>> {
    let merchants = [Merchant::default()];
    let rules = Rules {
        merchants: &merchants,
        allow_remote: false,
    };
    read(form.as_bytes(), rules)
}

/// The names of the variables that are complained about.
fn complaints(form: &str) -> Vec<String> {
    let problems = asked(form).unwrap_err();
    problems.into_iter().map(|problem| problem.name).collect()
}

#[test]
fn a_single_item_and_a_cart_are_read_to_the_cent() {
    let single = asked(SINGLE).unwrap();
    assert_eq!(single.total.to_string(), "19.80 EUR");
    assert_eq!((single.kind, single.way_back), (Kind::Single, WayBack::Get));
    let cart = asked(CART).unwrap();
    assert_eq!(cart.total.to_string(), "43.70 EUR");
    assert_eq!((cart.lines.len(), cart.way_back), (2, WayBack::Post));
    assert_eq!(cart.lines[0].gross.to_string(), "19.80 EUR");
}

#[test]
fn every_variable_that_is_wrong_missing_or_unknown_is_named() {
    for (from, to, name) in [
        ("cmd=_xclick", "cmd=_donations", "cmd"),
        ("cmd=_xclick&", "", "cmd"),
        ("DEMOSHOP00001", "SOMEBODYELSE1", "business"),
        ("currency_code=EUR", "currency_code=EURO", "currency_code"),
        ("charset=utf-8", "charset=windows-1252", "charset"),
        ("charset=utf-8&", "", "charset"),
        ("amount=9.90", "amount=9,901", "amount"),
        ("amount=9.90", "amount=-9.90", "amount"),
        ("amount=9.90&", "", "amount"),
        ("item_name=Mug&", "", "item_name"),
        ("quantity=2", "quantity=0", "quantity"),
        ("quantity=2", "quantity=1.5", "quantity"),
        ("rm=1", "rm=3", "rm"),
        ("no_note=1", "no_note=yes", "no_note"),
        ("invoice=1001", "invoice=1001&invoice=1002", "invoice"),
        ("invoice=1001", "upload=1", "upload"),
        ("invoice=1001", "colour=blue", "colour"),
        ("invoice=1001", "amount_1=1.00", "amount_1"),
        ("notify_url=http://127.0.0.1:1/ipn&", "", "notify_url"),
        ("http://127.0.0.1:1/ipn", "ftp://127.0.0.1/", "notify_url"),
        ("http://localhost:1/return", "javascript:alert(1)", "return"),
    ] {
        assert!(SINGLE.contains(from), "{from}");
        let form = SINGLE.replace(from, to);
        assert!(
            complaints(&form).contains(&name.to_owned()),
            "{from} -> {to}"
        );
    }
    for (from, to, name) in [
        ("upload=1&", "", "upload"),
        ("amount_2=20", "amount_2=", "amount_2"),
        (
            "discount_amount_cart=1.00",
            "discount_amount_cart=39.80",
            "discount_amount_cart",
        ),
        (
            "item_name_2=Pot&amount_2=20",
            "item_name_3=Pot&amount_3=20",
            "item_name_3",
        ),
    ] {
        let form = CART.replace(from, to);
        assert!(
            complaints(&form).contains(&name.to_owned()),
            "{from} -> {to}"
        );
    }
    let all = complaints("colour=blue");
    for name in [
        "cmd",
        "business",
        "charset",
        "currency_code",
        "notify_url",
        "return",
        "colour",
    ] {
        assert!(all.contains(&name.to_owned()), "{name}: {all:?}");
    }
}

#[test]
fn other_machines_are_sent_to_only_when_that_is_allowed() {
    for url in [
        "http://192.0.2.1/",
        "https://shop.example/ipn",
        "http://127.0.0.1.example/",
    ] {
        for name in ["notify_url", "return", "cancel_return"] {
            let mut pairs: BTreeMap<String, String> = form_urlencoded::parse(SINGLE.as_bytes())
                .into_owned()
                .collect();
            pairs.insert(name.to_owned(), url.to_owned());
            let mut form = form_urlencoded::Serializer::new(String::new());
            let form = form.extend_pairs(&pairs).finish();
            assert_eq!(complaints(&form), [name], "{url}");
            let merchants = [Merchant::default()];
            let rules = Rules {
                merchants: &merchants,
                allow_remote: true,
            };
            assert!(read(form.as_bytes(), rules).is_ok(), "{url}");
        }
    }
}

#[test]
fn every_link_that_is_made_is_taken_and_asks_for_the_orders_total_and_items() {
    let environment = [
        (
            "QUITTANCE_ACCOUNT__0__RECEIVERS",
            "pay@shop.example, DEMOSHOP00001",
        ),
        ("QUITTANCE_PUBLIC_URL", "http://127.0.0.1:1/"),
        ("QUITTANCE_ORDERS__SECRET", "the secret of the shop"),
        ("QUITTANCE_ORDERS__CANCEL_URL", "http://localhost:1/"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::load(None, &environment.into()).unwrap();
    let offer = |sku: &str, minor| {
        let price = Money::from_minor(minor, "EUR".parse().unwrap());
        let name = format!("{sku} & <b>Öl</b> %41+");
        (sku.parse().unwrap(), Offer { name, price })
    };
    let offers = Offers::from([offer("MUG", 990), offer("POT", 2_000)]);
    for (total, lines) in [
        ("5.00", &[][..]),
        ("19.80", &[("MUG", 2)]),
        ("15.00", &[("MUG", 2)]),
        ("25.00", &[("MUG", 2)]),
        ("39.80", &[("MUG", 2), ("POT", 1)]),
        ("0.01", &[("MUG", 2), ("POT", 1)]),
        ("99.99", &[("MUG", 2), ("POT", 1)]),
    ] {
        let lines = lines.iter().map(|(sku, n)| (sku.parse().unwrap(), *n));
        let (id, currency) = ("Ä 1/ö".parse().unwrap(), "EUR".parse().unwrap());
        let order = Order::of_terms(id, total, currency, lines).unwrap();
        let link = Link::of(&order, &settings.accounts[0], &offers, &settings).unwrap();
        let url = link.url();
        let purchase = asked(url.query().unwrap()).unwrap_or_else(|p| panic!("{total}: {p:?}"));
        assert_eq!(purchase.total, order.total);
        assert_eq!(purchase.invoice.as_deref(), Some("Ä 1/ö"));
        assert!(purchase.custom.is_some() && purchase.cancel_url.is_some());
        let bought: Vec<(String, u64)> = purchase
            .lines
            .iter()
            .filter(|line| !line.number.is_empty())
            .map(|line| (line.number.clone(), u64::from(line.quantity)))
            .collect();
        let ordered: Vec<(String, u64)> = order
            .lines
            .iter()
            .map(|(sku, n)| (sku.to_string(), *n))
            .collect();
        assert_eq!(bought, ordered);
    }
}
