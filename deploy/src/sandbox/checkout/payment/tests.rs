//! What is sent.

use super::super::super::merchant::Merchant;
use super::super::request::{self, Rules};
use super::*;

const CART: &str = "cmd=_cart&upload=1&business=pay@shop.example&currency_code=USD&charset=utf-8&\
    item_name_1=Mug&item_number_1=MUG&amount_1=9.90&quantity_1=2&item_name_2=Pot&amount_2=20&\
    handling_cart=4.90&custom=c&rm=2&notify_url=http://127.0.0.1:1/ipn&return=http://[::1]:1/";

fn payment(environment: Environment) -> Payment {
    let merchants = [Merchant::default()];
    let rules = Rules {
        merchants: &merchants,
        allow_remote: false,
    };
    let purchase = request::read(CART.as_bytes(), rules).unwrap();
    let buyer = Buyer {
        first_name: "Jörg".to_owned(),
        ..Buyer::default()
    };
    let at = "2026-11-22T11:15:42Z".parse().unwrap();
    Payment::new(purchase, buyer, at, environment)
}

fn said(body: &Bytes, name: &str) -> Option<String> {
    let mut all = form_urlencoded::parse(body).filter(|(found, _)| found == name);
    let value = all.next().map(|(_, value)| value.into_owned());
    assert!(all.next().is_none(), "{name} is there twice");
    value
}

#[test]
fn a_cart_is_told_as_paypal_tells_it() {
    let body = payment(Environment::Live).message(Standing::Instant);
    for (name, value) in [
        ("mc_gross", "44.70"),
        ("payment_gross", "44.70"),
        ("payment_status", "Completed"),
        ("payment_type", "instant"),
        ("payment_date", "03:15:42 Nov 22, 2026 PST"),
        ("charset", "UTF-8"),
        ("first_name", "Jörg"),
        ("num_cart_items", "2"),
        ("mc_gross_1", "19.80"),
        ("mc_handling", "4.90"),
        ("receiver_id", "DEMOSHOP00001"),
        ("custom", "c"),
    ] {
        assert_eq!(said(&body, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(said(&body, "test_ipn"), None);
    let sandbox = payment(Environment::Sandbox).message(Standing::Instant);
    assert_eq!(said(&sandbox, "test_ipn").as_deref(), Some("1"));
}

#[test]
fn an_echeck_is_pending_and_then_completed_under_the_same_id() {
    let payment = payment(Environment::Live);
    let (first, second) = (
        payment.message(Standing::Echeck),
        payment.message(Standing::EcheckCleared),
    );
    assert_eq!(said(&first, "payment_status").as_deref(), Some("Pending"));
    assert_eq!(said(&first, "pending_reason").as_deref(), Some("echeck"));
    assert_eq!(
        said(&second, "payment_status").as_deref(),
        Some("Completed")
    );
    assert_eq!(said(&second, "pending_reason"), None);
    assert_eq!(said(&first, "txn_id"), said(&second, "txn_id"));
    assert_ne!(first, second);
}

#[test]
fn ids_have_the_gateways_form_and_never_repeat() {
    let ids: std::collections::BTreeSet<String> = (0..100).map(|_| random(17)).collect();
    assert_eq!(ids.len(), 100);
    assert!(
        ids.iter()
            .all(|id| id.len() == 17 && id.bytes().all(|b| b.is_ascii_alphanumeric()))
    );
}
