//! Captures of an authorisation, which may be for less than it.

use super::*;

fn captured(gross: &str, lines: Vec<Line>) -> Notification {
    let mut capture = paid(gross, lines);
    capture.readings[0].data.parent_txn_id = Some("A1".parse().unwrap());
    capture
}

/// What the shop knows where the authorisation of [`captured`] is in the books.
fn authorized(known: Known, authorization: Authorization) -> Known {
    Known {
        authorizations: HashMap::from([("A1".parse().unwrap(), authorization)]),
        ..known
    }
}

fn for_order(gross: &str, total: &str, lines: Vec<Line>) -> Authorization {
    Authorization {
        order: Some("1001".parse().unwrap()),
        ..by_catalogue(gross, total, lines)
    }
}

fn by_catalogue(gross: &str, asked: &str, lines: Vec<Line>) -> Authorization {
    Authorization {
        gross: Some(money(gross)),
        asked: Some(money(asked)),
        order: None,
        lines,
    }
}

fn refusal(notification: &Notification, known: &Known, policy: Policy<'_>) -> Refusal {
    let ours = account(&["pay@shop.example"]);
    check(notification, &ours, known, policy, &BTreeSet::new()).unwrap_err()
}

fn passed(notification: &Notification, known: &Known) -> Passed {
    let ours = account(&["pay@shop.example"]);
    let none = BTreeSet::new();
    let mut passed = check(notification, &ours, known, policy(&[]), &none).unwrap();
    passed.remove(0)
}

#[test]
fn a_capture_may_be_for_less_than_the_order_and_says_so() {
    let pot = || vec![line("POT", 1)];
    let known = authorized(
        known(&[order("1001", "20.00 EUR", &[("POT", 1)])]),
        for_order("20.00 EUR", "20.00 EUR", pot()),
    );
    let part = |gross| with_invoice(captured(gross, pot()), "1001");
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
    let whole = with_invoice(captured("20.00 EUR", vec![]), "1001");
    assert_eq!(passed(&whole, &registered).asked, Some(money("20.00 EUR")));
    let tea = || vec![line("TEA", 1)];
    let known = authorized(registered, by_catalogue("4.50 EUR", "4.50 EUR", tea()));
    let by_catalogue = captured("4.00 EUR", tea());
    assert_eq!(passed(&by_catalogue, &known).asked, Some(money("4.50 EUR")));
}

#[test]
fn a_price_that_was_changed_before_it_was_authorised_passes_by_no_capture() {
    let registered = || known(&[order("1001", "237.75 EUR", &[("POT", 1)])]);
    let tampered = with_invoice(captured("0.05 EUR", vec![line("POT", 1)]), "1001");
    // The authorisation is in quarantine, and so not in the books.
    let held = refusal(&tampered, &registered(), policy(&[]));
    assert_eq!(held.reason.as_str(), "authorization_unknown");
    assert_eq!(held.expected.as_deref(), Some("237.75 EUR"));
    assert_eq!(held.found.as_deref(), Some("0.05 EUR"));
    assert!(held.awaits_authorization);
    // A person has let it go on, which says nothing about this message.
    let short = for_order("0.05 EUR", "237.75 EUR", vec![line("POT", 1)]);
    let held = refusal(&tampered, &authorized(registered(), short), policy(&[]));
    assert_eq!(held.reason.as_str(), "amount_mismatch");
    assert!(!held.awaits_authorization);
    let other_currency = for_order("237.75 USD", "237.75 EUR", vec![line("POT", 1)]);
    let known = authorized(registered(), other_currency);
    assert_eq!(
        checked(&tampered, &known, policy(&[])),
        refused("amount_mismatch")
    );
}

#[test]
fn a_capture_of_all_that_is_asked_needs_no_authorisation_in_the_books() {
    let known = known(&[order("1001", "20.00 EUR", &[("POT", 1)])]);
    let whole = |gross| with_invoice(captured(gross, vec![line("POT", 1)]), "1001");
    let tolerant = Policy {
        tolerance: 5,
        ..policy(&[])
    };
    assert_eq!(
        checked(&whole("20.00 EUR"), &known, tolerant),
        bound("1001")
    );
    let (flags, _) = checked(&whole("19.95 EUR"), &known, tolerant).unwrap();
    assert_eq!(flags, ["underpaid_within_tolerance"]);
    assert_eq!(
        checked(&whole("19.94 EUR"), &known, tolerant),
        refused("authorization_unknown")
    );
}

#[test]
fn a_capture_that_names_no_items_is_held_against_those_of_its_authorisation() {
    let cart = || vec![line("TEA", 2), line("POT", 1)];
    let known = authorized(known(&[]), by_catalogue("29.00 EUR", "29.00 EUR", cart()));
    for (gross, flags) in [("29.00 EUR", vec![]), ("9.00 EUR", vec!["partial_capture"])] {
        let passed = passed(&captured(gross, vec![]), &known);
        let found: Vec<&str> = passed.flags.iter().map(Reason::as_str).collect();
        assert_eq!(found, flags, "{gross}");
        assert_eq!(passed.asked, Some(money("29.00 EUR")));
        let bought = quittance_common::order::quantities(&passed.bought.unwrap());
        assert_eq!(bought, quittance_common::order::quantities(&cart()));
    }
    let dearer = passed(&captured("29.00 EUR", vec![line("POT", 9)]), &known);
    assert_eq!(
        quittance_common::order::quantities(&dearer.bought.unwrap()),
        quittance_common::order::quantities(&cart()),
        "what was authorised was bought"
    );
}

#[test]
fn a_price_or_order_that_came_after_the_authorisation_changes_nothing_for_its_capture() {
    let cup = || vec![line("CUP", 1)];
    let orders = [order("1002", "237.75 EUR", &[("POT", 9)])];
    let known = authorized(known(&orders), by_catalogue("5.00 EUR", "5.00 EUR", cup()));
    let foresight = with_invoice(captured("5.00 EUR", cup()), "1002");
    assert_eq!(checked(&foresight, &known, policy(&[])), Ok((vec![], None)));
    let cheaper = with_invoice(captured("4.00 EUR", cup()), "1002");
    let part = Ok((vec!["partial_capture".to_owned()], None));
    assert_eq!(checked(&cheaper, &known, policy(&[])), part);
}

#[test]
fn a_capture_without_an_order_is_for_that_of_its_authorisation() {
    let required = Policy {
        orders: OrderPolicy::Required,
        ..policy(&[])
    };
    let bare = captured("20.00 EUR", vec![line("POT", 1)]);
    let held = refusal(&bare, &known(&[]), required);
    assert_eq!(held.reason.as_str(), "order_missing");
    assert!(held.awaits_authorization, "it may come");
    let known = authorized(
        known(&[]),
        for_order("20.00 EUR", "20.00 EUR", vec![line("POT", 1)]),
    );
    assert_eq!(checked(&bare, &known, required), bound("1001"));
}

#[test]
fn only_a_capture_waits_for_an_authorisation() {
    let unmatched = |notification| refusal(&notification, &known(&[]), policy(&[]));
    let capture = unmatched(captured("9.00 EUR", vec![]));
    assert_eq!(capture.reason.as_str(), "unmatched_item");
    assert!(capture.awaits_authorization);
    assert!(!unmatched(paid("9.00 EUR", vec![])).awaits_authorization);
    let mut of_itself = captured("9.00 EUR", vec![]);
    of_itself.readings[0].data.parent_txn_id = Some("T1".parse().unwrap());
    assert!(!unmatched(of_itself).awaits_authorization);
    let named = |notification: &Notification| -> Vec<String> {
        let parents = super::super::captured(notification);
        parents.into_iter().map(ToString::to_string).collect()
    };
    assert_eq!(named(&captured("9.00 EUR", vec![])), ["A1"]);
    assert!(named(&paid("9.00 EUR", vec![])).is_empty());
}

#[test]
fn a_person_may_let_a_capture_of_an_unknown_authorisation_go_on() {
    let known = known(&[order("1001", "20.00 EUR", &[])]);
    let part = with_invoice(captured("12.00 EUR", vec![]), "1001");
    let ours = account(&["pay@shop.example"]);
    let waived = [Reason::of("authorization_unknown")].into();
    let passed = check(&part, &ours, &known, policy(&[]), &waived)
        .unwrap()
        .remove(0);
    let flags: Vec<&str> = passed.flags.iter().map(Reason::as_str).collect();
    assert_eq!(flags, ["released", "authorization_unknown"]);
    assert_eq!(passed.order.map(String::from).as_deref(), Some("1001"));
}
