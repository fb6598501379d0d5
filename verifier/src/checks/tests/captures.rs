//! Captures of an authorisation, which may be for less than it.

use super::*;

fn captured(gross: &str, lines: Vec<Line>) -> Notification {
    let mut capture = paid(gross, lines);
    capture.readings[0].data.parent_txn_id = Some("A1".parse().unwrap());
    capture
}

#[test]
fn a_capture_may_be_for_less_than_the_order_and_says_so() {
    let known = known(&[order("1001", "20.00 EUR", &[("POT", 1)])]);
    let part = |gross| with_invoice(captured(gross, vec![line("POT", 1)]), "1001");
    let flagged = |flag: &str| Ok((vec![flag.to_owned()], Some("1001".to_owned())));
    for (gross, expected) in [
        ("12.00 EUR", flagged("partial_capture")),
        ("20.00 EUR", bound("1001")),
        ("23.00 EUR", flagged("overpaid")),
        ("12.00 USD", refused("currency_mismatch")),
        ("-12.00 EUR", refused("amount_not_positive")),
    ] {
        assert_eq!(
            checked(&part(gross), &known, policy(&[])),
            expected,
            "{gross}"
        );
    }
    let whole = with_invoice(paid("12.00 EUR", vec![line("POT", 1)]), "1001");
    assert_eq!(
        checked(&whole, &known, policy(&[])),
        refused("amount_mismatch"),
        "only the gateway names a parent"
    );
}

#[test]
fn the_total_that_a_payment_was_held_against_goes_with_it() {
    let registered = known(&[order("1001", "20.00 EUR", &[])]);
    let ours = account(&["pay@shop.example"]);
    let asked = |notification: &Notification| {
        let none = BTreeSet::new();
        check(notification, &ours, &registered, policy(&[]), &none).unwrap()[0].asked
    };
    let part = with_invoice(captured("12.00 EUR", vec![]), "1001");
    assert_eq!(asked(&part), Some(money("20.00 EUR")));
    let by_catalogue = captured("4.00 EUR", vec![line("TEA", 1)]);
    assert_eq!(asked(&by_catalogue), Some(money("4.50 EUR")));
}
