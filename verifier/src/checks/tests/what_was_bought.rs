//! The order says what was bought; the cart stands in the buyer's browser.

use super::*;

/// `(sku, quantity)` of what was bought by the order's word; `None` where the message says it.
fn bought(notification: &Notification, known: &Known) -> Option<Vec<(String, u32)>> {
    let ours = account(&["pay@shop.example"]);
    let none = BTreeSet::new();
    let mut passed = check(notification, &ours, known, policy(&[]), &none).unwrap();
    let lines = passed.remove(0).bought?;
    let told = |line: Line| {
        (
            line.sku.map(String::from).unwrap_or_default(),
            line.quantity,
        )
    };
    Some(lines.into_iter().map(told).collect())
}

fn nameless(name: &str) -> Line {
    Line {
        sku: None,
        name: name.to_owned(),
        ..line("X", 1)
    }
}

#[test]
fn a_message_that_names_only_the_order_bought_what_was_ordered() {
    let known = known(&[order("1001", "29.00 EUR", &[("TEA", 2), ("POT", 1)])]);
    let pay = |lines| with_invoice(paid("29.00 EUR", lines), "1001");
    for lines in [
        vec![],
        vec![nameless("Order 1001")],
        vec![line("1001", 1)],
        vec![nameless("Tea"), nameless("Pot")],
    ] {
        let flagged = Ok((vec!["items_not_told".to_owned()], Some("1001".to_owned())));
        assert_eq!(checked(&pay(lines.clone()), &known, policy(&[])), flagged);
        let ordered = Some(vec![("POT".to_owned(), 1), ("TEA".to_owned(), 2)]);
        assert_eq!(bought(&pay(lines), &known), ordered);
    }
    let told = pay(vec![line("POT", 1), line("TEA", 2)]);
    assert_eq!(
        bought(&told, &known),
        None,
        "the message says the same, with names"
    );
    for other in [line("RICE", 1), line("TEA", 1), line("1001", 5)] {
        assert_eq!(
            checked(&pay(vec![other]), &known, policy(&[])),
            refused("items_mismatch")
        );
    }
}

#[test]
fn options_that_nothing_compares_are_told() {
    let mut large = line("POT", 1);
    large.options = vec![("Size".to_owned(), "XXL".to_owned())];
    let flagged = |order: Option<&str>| {
        let flags = vec!["options_not_checked".to_owned()];
        Ok((flags, order.map(str::to_owned)))
    };
    let pot = || paid("20.00 EUR", vec![large.clone()]);
    assert_eq!(checked(&pot(), &known(&[]), policy(&[])), flagged(None));
    let known = known(&[order("1001", "20.00 EUR", &[("POT", 1)])]);
    let ordered = with_invoice(pot(), "1001");
    assert_eq!(
        checked(&ordered, &known, policy(&[])),
        flagged(Some("1001"))
    );
}

#[test]
fn an_order_without_items_buys_nothing_that_is_worth_more() {
    let known = known(&[order("1001", "20.00 EUR", &[])]);
    let pay = |lines| {
        let paid = with_invoice(paid("20.00 EUR", lines), "1001");
        checked(&paid, &known, policy(&[]))
    };
    assert_eq!(pay(vec![line("POT", 1)]), bound("1001"));
    assert_eq!(pay(vec![line("TEA", 2)]), bound("1001"));
    assert_eq!(pay(vec![line("POT", 500)]), refused("items_mismatch"));
    assert_eq!(
        pay(vec![line("POT", 2), line("CUP", 1)]),
        refused("items_mismatch")
    );
    let flagged = Ok((
        vec!["items_not_checked".to_owned()],
        Some("1001".to_owned()),
    ));
    assert_eq!(pay(vec![line("CUP", 9)]), flagged);
    assert_eq!(pay(vec![line("TEA", 1), line("CUP", 9)]), flagged);
    assert_eq!(pay(vec![line("RICE", 9)]), flagged, "another currency");
    assert_eq!(pay(vec![nameless("Order 1001")]), bound("1001"));
}
