//! What a link says for which order.

use std::collections::BTreeMap;

use super::super::Quantities;
use super::super::signature::Signed;
use super::*;

const SECRET: &str = "the secret of the shop";

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let mut environment: BTreeMap<String, String> = BTreeMap::from([
        (
            "QUITTANCE_ACCOUNT__0__RECEIVERS".to_owned(),
            "pay@shop.example, SHOPID0000001".to_owned(),
        ),
        (
            "QUITTANCE_PUBLIC_URL".to_owned(),
            "https://shop.example/q".to_owned(),
        ),
    ]);
    for (name, value) in pairs {
        environment.insert((*name).to_owned(), (*value).to_owned());
    }
    Settings::load(None, &environment).unwrap()
}

fn order(total: &str, currency: &str, lines: &[(&str, u64)]) -> Order {
    let lines = lines.iter().map(|(sku, n)| (sku.parse().unwrap(), *n));
    let currency = currency.parse().unwrap();
    Order::of_terms("1001".parse().unwrap(), total, currency, lines).unwrap()
}

fn offers() -> Offers {
    let offer = |sku: &str, name: &str, minor| {
        let price = Money::from_minor(minor, "EUR".parse().unwrap());
        let name = name.to_owned();
        (sku.parse().unwrap(), Offer { name, price })
    };
    Offers::from([
        offer("MUG", "Mug \"big\" & <blue>", 990),
        offer("POT", "Pot", 2_000),
    ])
}

fn link(order: &Order, pairs: &[(&str, &str)]) -> Result<Link, LinkError> {
    let settings = settings(pairs);
    Link::of(order, &settings.accounts[0], &offers(), &settings)
}

fn field<'a>(link: &'a Link, name: &str) -> Option<&'a str> {
    let mut all = link.fields().iter().filter(|(found, _)| found == name);
    let value = all.next().map(|(_, value)| value.as_str());
    assert!(all.next().is_none(), "{name} is there twice");
    value
}

fn fields<'a>(link: &'a Link, names: &[&str]) -> Vec<&'a str> {
    let value = |name: &&str| field(link, name).unwrap_or("-");
    names.iter().map(value).collect()
}

#[test]
fn one_item_is_a_single_payment_with_every_address_that_is_needed() {
    let cancel = (
        "QUITTANCE_ORDERS__CANCEL_URL",
        "https://shop.example/basket",
    );
    let link = link(&order("19.80", "EUR", &[("MUG", 2)]), &[cancel]).unwrap();
    assert_eq!(
        link.action().as_str(),
        "https://www.paypal.com/cgi-bin/webscr"
    );
    let said = fields(
        &link,
        &[
            "cmd",
            "business",
            "amount",
            "quantity",
            "item_number",
            "currency_code",
        ],
    );
    assert_eq!(
        said,
        ["_xclick", "SHOPID0000001", "9.90", "2", "MUG", "EUR"]
    );
    let said = fields(
        &link,
        &["charset", "rm", "invoice", "upload", "custom", "handling"],
    );
    assert_eq!(said, ["utf-8", "1", "1001", "-", "-", "-"]);
    let said = fields(&link, &["notify_url", "return", "cancel_return"]);
    assert_eq!(
        said,
        [
            "https://shop.example/q/ipn/paypal/default",
            "https://shop.example/q/return/paypal/default",
            "https://shop.example/basket",
        ]
    );
}

#[test]
fn several_items_are_a_cart_and_what_the_total_is_beyond_them_is_handling_or_discount() {
    let lines = [("MUG", 2), ("POT", 1)];
    let same = link(&order("39.80", "EUR", &lines), &[]).unwrap();
    let said = fields(
        &same,
        &[
            "cmd",
            "upload",
            "amount_1",
            "quantity_1",
            "item_number_2",
            "amount_2",
        ],
    );
    assert_eq!(said, ["_cart", "1", "9.90", "2", "POT", "20.00"]);
    let beyond = ["handling", "handling_cart", "discount_amount_cart"];
    assert_eq!(fields(&same, &beyond), ["-", "-", "-"]);
    let more = link(&order("44.70", "EUR", &lines), &[]).unwrap();
    assert_eq!(fields(&more, &beyond), ["-", "4.90", "-"]);
    let less = link(&order("35.00", "EUR", &lines), &[]).unwrap();
    assert_eq!(fields(&less, &beyond), ["-", "-", "4.80"]);
    let single = link(&order("12.00", "EUR", &[("MUG", 1)]), &[]).unwrap();
    assert_eq!(fields(&single, &beyond), ["2.10", "-", "-"]);
    let cheap = link(&order("15.00", "EUR", &[("MUG", 2)]), &[]).unwrap();
    assert_eq!(field(&cheap, "cmd"), Some("_cart"));
    assert_eq!(fields(&cheap, &beyond), ["-", "-", "4.80"]);
}

#[test]
fn an_order_without_items_asks_for_its_total_under_its_number() {
    let yen = link(&order("500", "JPY", &[]), &[]).unwrap();
    let said = fields(
        &yen,
        &["cmd", "item_name", "item_number", "amount", "currency_code"],
    );
    assert_eq!(said, ["_xclick", "Order 1001", "-", "500", "JPY"]);
}

#[test]
fn an_item_without_a_price_is_told_unless_the_total_says_it() {
    let only = link(&order("30.00", "EUR", &[("HAT", 3)]), &[]).unwrap();
    assert_eq!(fields(&only, &["amount", "quantity"]), ["10.00", "3"]);
    // In another currency the catalogue's price says nothing.
    let dollars = link(&order("7.00", "USD", &[("MUG", 1)]), &[]).unwrap();
    assert_eq!(field(&dollars, "amount"), Some("7.00"));
    for order in [
        order("10.00", "EUR", &[("HAT", 3)]),
        order("30.00", "EUR", &[("HAT", 1), ("MUG", 1)]),
    ] {
        let told = link(&order, &[]).unwrap_err();
        assert_eq!(told, LinkError::NoPrice("HAT".parse().unwrap()));
    }
    let long = order("30.00", "EUR", &[(&"x".repeat(128), 1)]);
    assert!(matches!(link(&long, &[]), Err(LinkError::SkuTooLong(_))));
}

#[test]
fn with_a_secret_custom_carries_the_signed_order_and_its_items() {
    let order = order("19.80", "EUR", &[("MUG", 2)]);
    let link = link(&order, &[("QUITTANCE_ORDERS__SECRET", SECRET)]).unwrap();
    let custom = field(&link, "custom").unwrap();
    let read = |items: &[&Quantities]| signature::read(custom, &[SECRET.into()], items);
    let signed = Signed::Valid {
        id: order.id.clone(),
        total: order.total,
        lines: order.lines.clone(),
    };
    assert_eq!(read(&[&order.lines]), signed);
    assert_eq!(read(&[]), Signed::Invalid, "the items are bound");
}

#[test]
fn without_a_public_address_there_is_no_link() {
    let mut settings = settings(&[]);
    settings.public_url = None;
    let order = order("19.80", "EUR", &[]);
    let none = Link::of(&order, &settings.accounts[0], &offers(), &settings);
    assert!(
        none.unwrap_err()
            .to_string()
            .contains("public_url is not set")
    );
}

#[test]
fn url_and_form_say_the_same_and_nothing_in_them_is_markup() {
    let odd = Order {
        id: "Ä \"1\"><script>&'".parse().unwrap(),
        ..order("9.90", "EUR", &[("MUG", 1)])
    };
    let link = link(&odd, &[]).unwrap();
    let read: Vec<(String, String)> = link.url().query_pairs().into_owned().collect();
    assert_eq!(read, link.fields());
    let form = link.form();
    assert!(
        !form.contains("<script") && !form.contains("<blue>"),
        "{form}"
    );
    assert!(form.contains("value=\"Mug &quot;big&quot; &amp; &lt;blue&gt;\""));
    assert_eq!(form.matches("<input").count(), link.fields().len());
    assert!(form.contains("accept-charset=\"utf-8\""));
}
