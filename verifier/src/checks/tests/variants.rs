//! Options select the product that is checked, and everything else sees that one only.

use super::*;
use quittance_common::variant::Variant;

/// A tee in two sizes and a dearer one in gold.
fn shop(orders: &[Order]) -> Known {
    let mut known = known(orders);
    for (sku, options, price) in [
        ("TEE-M", "Size=M;Colour=red", "19.90 EUR"),
        ("TEE-L", "Size=L;Colour=red", "19.90 EUR"),
        ("TEE-GOLD", "Size=L;Colour=gold", "99.00 EUR"),
    ] {
        let sku: Sku = sku.parse().unwrap();
        let variant = Variant {
            item: "TEE".parse().unwrap(),
            options: options.parse().unwrap(),
        };
        known.prices.insert(sku.clone(), money(price));
        known.variants.add(sku, variant);
    }
    known
}

fn tee(options: &[(&str, &str)]) -> Line {
    let options = options.iter();
    Line {
        options: options
            .map(|(name, selection)| ((*name).to_owned(), (*selection).to_owned()))
            .collect(),
        ..line("TEE", 1)
    }
}

const LARGE: [(&str, &str); 2] = [("Size", "L"), ("Colour", "red")];
const GOLD: [(&str, &str); 2] = [("colour", " Gold"), ("SIZE", "l ")];

fn judged(
    notification: &Notification,
    known: &Known,
    policy: Policy<'_>,
    waived: &[&'static str],
) -> Result<Passed, Refusal> {
    let ours = account(&["pay@shop.example"]);
    let waived = waived.iter().map(|reason| Reason::of(reason)).collect();
    let mut passed = check(notification, &ours, known, policy, &waived)?;
    Ok(passed.remove(0))
}

fn skus_of(passed: &Passed) -> Vec<String> {
    let lines = passed.bought.iter().flatten();
    lines.map(|line| line.sku.clone().unwrap().into()).collect()
}

#[test]
fn the_price_is_that_of_the_variant_and_the_event_names_it() {
    let known = shop(&[]);
    let passed = judged(
        &paid("19.90 EUR", vec![tee(&LARGE)]),
        &known,
        policy(&[]),
        &[],
    )
    .unwrap();
    assert_eq!(
        (skus_of(&passed), passed.flags),
        (vec!["TEE-L".to_owned()], vec![])
    );
    let bought = &passed.bought.unwrap()[0];
    assert_eq!(
        bought.options,
        tee(&LARGE).options,
        "what was chosen stays readable"
    );
    let gold = |gross| checked(&paid(gross, vec![tee(&GOLD)]), &known, policy(&[]));
    assert_eq!(
        gold("19.90 EUR"),
        refused("amount_mismatch"),
        "a dearer variant at the cheap price"
    );
    assert_eq!(gold("99.00 EUR"), Ok((vec![], None)));
    let both = paid("118.90 EUR", vec![tee(&LARGE), tee(&GOLD)]);
    let passed = judged(&both, &known, policy(&[]), &[]).unwrap();
    assert_eq!(skus_of(&passed), ["TEE-L", "TEE-GOLD"]);
}

#[test]
fn the_catalogue_is_asked_for_the_items_and_for_the_variants() {
    let known = shop(&[]);
    let paid = paid("24.40 EUR", vec![tee(&LARGE), line("TEA", 1)]);
    let asked = skus(&paid, &known.variants);
    let asked: Vec<&str> = asked.iter().map(Sku::as_str).collect();
    assert_eq!(asked, ["TEA", "TEE", "TEE-L"]);
}

#[test]
fn a_missing_or_unknown_combination_is_refused_without_a_word_of_the_buyers() {
    let known = shop(&[]);
    for (options, found) in [
        (&[][..], "no colour;no size"),
        (&[("Size", "L")][..], "no colour;size=l"),
        (
            &[("Size", "L"), ("Colour", "Ada Muster")][..],
            "colour unknown;size=l",
        ),
        (
            &[("Size", "M"), ("Colour", "gold")][..],
            "colour=gold;size=m",
        ),
        (
            &[("Size", "M"), ("Size", "L"), ("Colour", "red")][..],
            "colour=red;size twice",
        ),
    ] {
        let refusal = judged(
            &paid("19.90 EUR", vec![tee(options)]),
            &known,
            policy(&[]),
            &[],
        );
        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.reason.as_str(), "options_mismatch");
        assert_eq!(refusal.found.as_deref(), Some(found));
        assert!(
            refusal
                .expected
                .unwrap()
                .starts_with("colour=red;size=m or ")
        );
        assert!(
            !refusal.detail.to_lowercase().contains("muster"),
            "{}",
            refusal.detail
        );
    }
}

#[test]
fn options_that_select_nothing_are_a_note_and_no_more() {
    let known = shop(&[]);
    let noted = Ok((vec!["options_not_checked".to_owned()], None));
    let mut engraved = tee(&LARGE);
    engraved
        .options
        .push(("Engraving".to_owned(), "for Ada".to_owned()));
    let of = |gross, lines| checked(&paid(gross, lines), &known, policy(&[]));
    assert_eq!(of("19.90 EUR", vec![engraved]), noted);
    let mut by_sku = tee(&[("Size", "XXL")]);
    by_sku.sku = Some("TEE-L".parse().unwrap());
    assert_eq!(
        of("19.90 EUR", vec![by_sku]),
        noted,
        "a variant's own sku says enough"
    );
    let plain = line("TEE-L", 1);
    assert_eq!(of("19.90 EUR", vec![plain]), Ok((vec![], None)));
}

#[test]
fn another_variant_than_ordered_is_another_item() {
    let ordered = order("1001", "99.00 EUR", &[("TEE-L", 1), ("TEA", 2)]);
    let known = shop(&[ordered]);
    let pay = |options: &[(&str, &str)]| {
        with_invoice(
            paid("99.00 EUR", vec![line("TEA", 2), tee(options)]),
            "1001",
        )
    };
    assert_eq!(checked(&pay(&LARGE), &known, policy(&[])), bound("1001"));
    assert_eq!(
        checked(&pay(&GOLD), &known, policy(&[])),
        refused("items_mismatch")
    );
    assert_eq!(
        checked(&pay(&[]), &known, policy(&[])),
        refused("options_mismatch")
    );
    let unsaid = shop(&[order("1002", "19.90 EUR", &[])]);
    let gold = with_invoice(paid("19.90 EUR", vec![tee(&GOLD)]), "1002");
    assert_eq!(
        checked(&gold, &unsaid, policy(&[])),
        refused("items_mismatch")
    );
}

#[test]
fn a_signature_over_variants_is_read_with_the_variants_of_the_cart() {
    let secrets = secrets();
    let custom =
        signature::sign(&order("1001", "19.90 EUR", &[("TEE-L", 1)]), &secrets[0]).unwrap();
    let known = shop(&[]);
    let pay = |options: &[(&str, &str)]| {
        let paid = with_custom(paid("19.90 EUR", vec![tee(options)]), &custom);
        checked(&paid, &known, policy(&secrets))
    };
    assert_eq!(pay(&LARGE), bound("1001"));
    assert_eq!(pay(&GOLD), refused("order_signature_invalid"));
}

#[test]
fn after_a_waiver_the_line_keeps_its_item_and_becomes_no_variant() {
    let mut known = shop(&[]);
    let paid = paid("19.90 EUR", vec![tee(&[("Size", "S")])]);
    let accept = Policy {
        unmatched: Unmatched::Accept,
        ..policy(&[])
    };
    let waived = ["options_mismatch"];
    let passed = judged(&paid, &known, accept, &waived).unwrap();
    assert_eq!(
        passed.bought, None,
        "an item that the catalogue does not have"
    );
    let flags: Vec<&str> = passed.flags.iter().map(Reason::as_str).collect();
    let expected = [
        "released",
        "options_mismatch",
        "unmatched_item",
        "options_not_checked",
    ];
    assert_eq!(flags, expected);
    let refusal = judged(&paid, &known, policy(&[]), &waived).unwrap_err();
    assert_eq!(
        refusal.reason.as_str(),
        "unmatched_item",
        "nothing else is waived"
    );
    known
        .prices
        .insert("TEE".parse().unwrap(), money("19.90 EUR"));
    let passed = judged(&paid, &known, policy(&[]), &waived).unwrap();
    assert_eq!(
        (passed.bought, passed.asked),
        (None, Some(money("19.90 EUR")))
    );
}

#[test]
fn what_is_no_money_coming_in_is_resolved_and_never_refused_for_options() {
    let known = shop(&[]);
    for (event_type, refused) in [
        (EventType::Pending, true),
        (EventType::Denied, false),
        (EventType::Refunded, false),
    ] {
        let of = |options: &[(&str, &str)]| {
            let mut paid = paid("19.90 EUR", vec![tee(options)]);
            paid.readings[0].event_type = event_type;
            judged(&paid, &known, policy(&[]), &[])
        };
        assert_eq!(skus_of(&of(&LARGE).unwrap()), ["TEE-L"], "{event_type}");
        assert_eq!(of(&[("Size", "S")]).is_err(), refused, "{event_type}");
    }
}
