//! Payments held against orders, signed or registered.

use super::*;

#[test]
fn the_amount_of_an_order_is_compared_together_with_its_currency() {
    let known = known(&[order("1001", "500 JPY", &[])]);
    let yen = with_invoice(paid("500 JPY", vec![]), "1001");
    let dollars = with_invoice(paid("500 USD", vec![]), "1001");
    assert_eq!(checked(&yen, &known, policy(&[])), bound("1001"));
    assert_eq!(
        checked(&dollars, &known, policy(&[])),
        refused("currency_mismatch")
    );
}

#[test]
fn five_cents_for_an_order_are_held_with_what_was_expected_and_found() {
    let known = known(&[order("1001", "237.75 USD", &[])]);
    let tampered = with_invoice(paid("0.05 USD", vec![]), "1001");
    let ours = account(&["pay@shop.example"]);
    let refusal = check(&tampered, &ours, &known, policy(&[]), &BTreeSet::new()).unwrap_err();
    assert_eq!(refusal.reason.as_str(), "amount_mismatch");
    assert_eq!(refusal.expected.as_deref(), Some("237.75 USD"));
    assert_eq!(refusal.found.as_deref(), Some("0.05 USD"));
}

#[test]
fn the_right_amount_for_other_items_than_ordered_is_refused() {
    let known = known(&[order("1001", "29.00 EUR", &[("TEA", 2), ("POT", 1)])]);
    let cart = |lines| with_invoice(paid("29.00 EUR", lines), "1001");
    let right = cart(vec![line("POT", 1), line("TEA", 1), line("TEA", 1)]);
    assert_eq!(checked(&right, &known, policy(&[])), bound("1001"));
    let mut nameless = line("POT", 1);
    nameless.sku = None;
    for other in [
        vec![line("POT", 10)],
        vec![line("POT", 1)],
        vec![line("TEA", 2), line("POT", 2)],
        vec![line("TEA", 2), line("POT", 1), line("RICE", 1)],
        vec![line("TEA", 2), nameless],
    ] {
        assert_eq!(
            checked(&cart(other), &known, policy(&[])),
            refused("items_mismatch")
        );
    }
    let told_nothing = checked(&cart(vec![]), &known, policy(&[])).unwrap();
    assert_eq!(told_nothing.0, ["items_not_told"]);
}

#[test]
fn a_signed_order_binds_total_currency_and_items_without_a_database() {
    let secrets = secrets();
    let custom = signature::sign(&order("1001", "29.00 EUR", &[("TEA", 2)]), &secrets[0]).unwrap();
    let pay =
        |gross: &str, quantity| with_custom(paid(gross, vec![line("TEA", quantity)]), &custom);
    let check = |notification| checked(&notification, &known(&[]), policy(&secrets));
    assert_eq!(check(pay("29.00 EUR", 2)), bound("1001"));
    assert_eq!(check(pay("28.99 EUR", 2)), refused("amount_mismatch"));
    assert_eq!(check(pay("29.00 USD", 2)), refused("currency_mismatch"));
    assert_eq!(
        check(pay("29.00 EUR", 20)),
        refused("order_signature_invalid")
    );
}

#[test]
fn a_forged_signature_is_refused_even_where_the_catalogue_would_agree() {
    let secrets = secrets();
    let forged = with_custom(
        paid("9.00 EUR", vec![line("TEA", 2)]),
        "q1.MTAwMQ.900.EUR.AAAA",
    );
    assert_eq!(
        checked(&forged, &known(&[]), policy(&secrets)),
        refused("order_signature_invalid")
    );
    // A shop that signs nothing may write what it likes.
    assert_eq!(
        checked(&forged, &known(&[]), policy(&[])),
        Ok((vec![], None))
    );
}

#[test]
fn a_signed_order_comes_before_a_registered_one_and_that_before_the_catalogue() {
    let secrets = secrets();
    let registered = known(&[order("1002", "5.00 EUR", &[])]);
    let custom = signature::sign(&order("1001", "7.00 EUR", &[]), &secrets[0]).unwrap();
    let tea = || with_invoice(paid("7.00 EUR", vec![line("TEA", 1)]), "1002");
    let signed = with_custom(paid("7.00 EUR", vec![line("CUP", 1)]), &custom);
    let (flags, order) = checked(&signed, &registered, policy(&secrets)).unwrap();
    assert_eq!(
        (flags, order.as_deref()),
        (vec!["items_not_checked".to_owned()], Some("1001"))
    );
    let (flags, order) = checked(&tea(), &registered, policy(&secrets)).unwrap();
    assert_eq!(
        (flags, order.as_deref()),
        (vec!["overpaid".to_owned()], Some("1002"))
    );
    let short = with_invoice(paid("4.49 EUR", vec![line("TEA", 1)]), "1002");
    assert_eq!(
        checked(&short, &known(&[]), policy(&secrets)),
        refused("amount_mismatch"),
        "an unknown order falls to the catalogue"
    );
}

#[test]
fn an_order_is_found_by_invoice_or_by_custom_and_never_by_two_that_differ() {
    let known = known(&[
        order("1001", "5.00 EUR", &[]),
        order("1002", "5.00 EUR", &[]),
    ]);
    let pay = || paid("5.00 EUR", vec![]);
    assert_eq!(
        checked(&with_custom(pay(), "1002"), &known, policy(&[])),
        bound("1002")
    );
    let both = with_custom(with_invoice(pay(), "1001"), "1002");
    assert_eq!(
        checked(&both, &known, policy(&[])),
        refused("order_ambiguous")
    );
}

#[test]
fn only_the_verified_message_names_the_order() {
    let named = with_custom(with_invoice(paid("5.00 EUR", vec![]), "1001"), "1002");
    let refs: Vec<String> = order_refs(&named).into_iter().map(String::from).collect();
    assert_eq!(refs, ["1001", "1002"]);
    assert!(order_refs(&paid("5.00 EUR", vec![])).is_empty());
}

#[test]
fn where_orders_are_required_the_catalogue_does_not_help() {
    let required = Policy {
        orders: OrderPolicy::Required,
        ..policy(&[])
    };
    let tea = || paid("9.00 EUR", vec![line("TEA", 2)]);
    assert_eq!(
        checked(&tea(), &known(&[]), required),
        refused("order_missing")
    );
    let unknown = with_invoice(tea(), "1001");
    assert_eq!(
        checked(&unknown, &known(&[]), required),
        refused("order_unknown")
    );
    let registered = known(&[order("1001", "9.00 EUR", &[])]);
    assert_eq!(checked(&unknown, &registered, required), bound("1001"));
}

#[test]
fn a_cent_too_little_is_refused_unless_tolerated_and_a_cent_too_much_is_flagged() {
    let known = known(&[order("1001", "5.00 EUR", &[])]);
    let pay = |gross: &str| with_invoice(paid(gross, vec![]), "1001");
    let tolerant = Policy {
        tolerance: 1,
        ..policy(&[])
    };
    assert_eq!(
        checked(&pay("4.99 EUR"), &known, policy(&[])),
        refused("amount_mismatch")
    );
    let flags = |gross: &str, policy| checked(&pay(gross), &known, policy).unwrap().0;
    assert_eq!(flags("4.99 EUR", tolerant), ["underpaid_within_tolerance"]);
    assert_eq!(
        checked(&pay("4.98 EUR"), &known, tolerant),
        refused("amount_mismatch")
    );
    assert_eq!(flags("5.01 EUR", policy(&[])), ["overpaid"]);
}

#[test]
fn shipping_and_tax_raise_what_the_catalogue_asks_and_are_asked_exactly() {
    let pay = |gross: &str| Notification {
        added: Some(money("4.90 EUR")),
        ..paid(gross, vec![line("POT", 1)])
    };
    assert_eq!(
        checked(&pay("24.90 EUR"), &known(&[]), policy(&[])),
        Ok((vec![], None))
    );
    assert_eq!(
        checked(&pay("20.00 EUR"), &known(&[]), policy(&[])),
        refused("amount_mismatch")
    );
    // The total of an order is all in all.
    let known = known(&[order("1001", "20.00 EUR", &[])]);
    let ordered = with_invoice(pay("20.00 EUR"), "1001");
    assert_eq!(checked(&ordered, &known, policy(&[])), bound("1001"));
}

#[test]
fn a_renewal_is_held_against_its_price_and_settles_no_order() {
    let known = known(&[order("PLAN-1", "9.00 EUR", &[])]);
    for txn_type in [TxnType::SubscrPayment, TxnType::RecurringPayment] {
        let renewal = |gross: &str| {
            of_type(
                with_invoice(paid(gross, vec![]), "PLAN-1"),
                txn_type.clone(),
            )
        };
        assert_eq!(
            checked(&renewal("9.00 EUR"), &known, policy(&[])),
            Ok((vec![], None))
        );
        assert_eq!(
            checked(&renewal("0.90 EUR"), &known, policy(&[])),
            refused("amount_mismatch")
        );
        let ours = account(&["pay@shop.example"]);
        let none = BTreeSet::new();
        let passed = check(&renewal("9.00 EUR"), &ours, &known, policy(&[]), &none);
        let held_against = passed.unwrap().remove(0).held_against;
        assert_eq!(held_against.map(String::from).as_deref(), Some("PLAN-1"));
    }
}

#[test]
fn a_payment_by_a_billing_agreement_is_for_its_order_alone() {
    let known = known(&[order("1001", "20.00 EUR", &[])]);
    let agreed = of_type(
        with_invoice(paid("20.00 EUR", vec![]), "1001"),
        TxnType::MerchPmt,
    );
    assert_eq!(checked(&agreed, &known, policy(&[])), bound("1001"));
}

#[test]
fn money_without_an_order_or_item_waits_for_a_person_and_is_no_error() {
    for txn_type in [
        TxnType::MerchPmt,
        TxnType::SendMoney,
        TxnType::VirtualTerminal,
    ] {
        let bare = of_type(paid("9.00 EUR", vec![]), txn_type);
        assert_eq!(
            checked(&bare, &known(&[]), policy(&[])),
            refused("unmatched_item")
        );
        let accepting = Policy {
            unmatched: Unmatched::Accept,
            ..policy(&[])
        };
        let (flags, order) = checked(&bare, &known(&[]), accepting).unwrap();
        assert_eq!((flags, order), (vec!["unmatched_item".to_owned()], None));
    }
}

#[test]
fn where_orders_are_required_only_a_known_subscription_renews_without_one() {
    let required = Policy {
        orders: OrderPolicy::Required,
        ..policy(&[])
    };
    for txn_type in [TxnType::SubscrPayment, TxnType::RecurringPayment] {
        let mut renewal = of_type(paid("4.50 EUR", vec![line("TEA", 1)]), txn_type);
        renewal.readings[0].data.subscription = Some("I-1".to_owned());
        assert_eq!(renewed(&renewal), BTreeSet::from(["I-1"]));
        assert_eq!(
            checked(&renewal, &known(&[]), required),
            refused("order_missing")
        );
        let in_force = Known {
            subscriptions: HashSet::from(["I-1".to_owned()]),
            ..known(&[])
        };
        assert_eq!(checked(&renewal, &in_force, required), Ok((vec![], None)));
        let once = of_type(renewal, TxnType::WebAccept);
        assert_eq!(
            checked(&once, &in_force, required),
            refused("order_missing")
        );
    }
}

#[test]
fn a_signed_order_is_of_no_use_beside_the_invoice_of_another() {
    let secrets = secrets();
    let known = known(&[
        order("1001", "5.00 EUR", &[]),
        order("1002", "5.00 EUR", &[]),
    ]);
    let custom = signature::sign(&order("1001", "5.00 EUR", &[]), &secrets[0]).unwrap();
    let signed = || with_custom(paid("5.00 EUR", vec![]), &custom);
    let check = |notification| checked(&notification, &known, policy(&secrets));
    assert_eq!(
        check(with_invoice(signed(), "1002")),
        refused("order_ambiguous")
    );
    assert_eq!(check(with_invoice(signed(), "1001")), bound("1001"));
    // A number that the shop has not registered is no other order.
    assert_eq!(check(with_invoice(signed(), "R-77")), bound("1001"));
}

#[test]
fn an_order_that_is_signed_and_registered_must_be_the_same_in_both() {
    let secrets = secrets();
    let sign = |total, lines: &[(&str, u64)]| {
        signature::sign(&order("1001", total, lines), &secrets[0]).unwrap()
    };
    let pay = |custom: &str, gross, cart| with_custom(paid(gross, cart), custom);
    let registered = known(&[order("1001", "9.00 EUR", &[("TEA", 2)])]);
    let check = |notification| checked(&notification, &registered, policy(&secrets));
    let claims = order_refs(&pay(&sign("9.00 EUR", &[]), "9.00 EUR", vec![]));
    assert!(claims.contains(&"1001".parse().unwrap()), "it is looked up");

    let cart = || vec![line("TEA", 2)];
    assert_eq!(
        check(pay(&sign("9.00 EUR", &[]), "9.00 EUR", cart())),
        bound("1001")
    );
    let same = sign("9.00 EUR", &[("TEA", 2)]);
    assert_eq!(check(pay(&same, "9.00 EUR", cart())), bound("1001"));
    for (total, lines) in [
        ("4.50 EUR", &[][..]),
        ("9.00 USD", &[][..]),
        ("9.00 EUR", &[("POT", 1)][..]),
    ] {
        let cart = lines.iter().map(|(sku, _)| line(sku, 1)).collect();
        let outdated = pay(&sign(total, lines), total, cart);
        assert_eq!(check(outdated), refused("order_differs"), "{total}");
    }
    // The register names the items, which the signature left open.
    let other = pay(&sign("9.00 EUR", &[]), "9.00 EUR", vec![line("POT", 1)]);
    assert_eq!(check(other), refused("items_mismatch"));
}
