//! Each message of a multi-item auction tells one item, and the amount of them all.

use super::*;
use quittance_common::event::AuctionItem;

fn part(gross: &str, sku: &str, quantity: u32) -> Notification {
    let mut part = paid(gross, vec![line(sku, quantity)]);
    part.readings[0].data.auction = Some(AuctionItem {
        items: 2,
        item: sku.to_owned(),
    });
    part
}

fn passed(notification: &Notification, known: &Known) -> Passed {
    let ours = account(&["pay@shop.example"]);
    let none = BTreeSet::new();
    let mut passed = check(notification, &ours, known, policy(&[]), &none).unwrap();
    passed.remove(0)
}

#[test]
fn by_the_catalogue_an_item_costs_no_more_than_the_whole_and_more_is_not_overpaid() {
    let known = known(&[]);
    let mut pot = part("29.00 EUR", "POT", 1);
    pot.readings[0].data.flags = vec!["auction".to_owned()];
    // Shipping of the whole auction is not what one of its items costs.
    pot.added = Some(money("15.00 EUR"));
    let passed = passed(&pot, &known);
    assert_eq!(passed.flags, []);
    assert_eq!(passed.asked, Some(money("20.00 EUR")), "of this item");
    assert_eq!(passed.bought, None);
    let short = part("19.99 EUR", "POT", 1);
    assert_eq!(
        checked(&short, &known, policy(&[])),
        refused("amount_mismatch")
    );
    let yen = part("29 JPY", "POT", 1);
    assert_eq!(
        checked(&yen, &known, policy(&[])),
        refused("currency_mismatch")
    );
    let unknown = part("29.00 EUR", "CUP", 1);
    assert_eq!(
        checked(&unknown, &known, policy(&[])),
        refused("unmatched_item")
    );
}

#[test]
fn an_item_of_an_order_is_one_of_its_lines_and_bought_alone() {
    let known = known(&[order("1001", "29.00 EUR", &[("TEA", 2), ("POT", 1)])]);
    let of = |gross, sku, quantity| with_invoice(part(gross, sku, quantity), "1001");
    for (sku, quantity) in [("TEA", 2), ("TEA", 1), ("POT", 1)] {
        let passed = passed(&of("29.00 EUR", sku, quantity), &known);
        assert_eq!((passed.bought, passed.flags), (None, vec![]), "{sku}");
        assert_eq!(passed.asked, Some(money("29.00 EUR")));
        assert_eq!(passed.order.unwrap().as_str(), "1001");
    }
    for (sku, quantity) in [("TEA", 3), ("POT", 2), ("CUP", 1)] {
        let held = checked(&of("29.00 EUR", sku, quantity), &known, policy(&[]));
        assert_eq!(held, refused("items_mismatch"), "{sku}");
    }
    let short = checked(&of("28.99 EUR", "TEA", 2), &known, policy(&[]));
    assert_eq!(short, refused("amount_mismatch"));
    let more = checked(&of("29.01 EUR", "TEA", 2), &known, policy(&[]));
    assert_eq!(
        more,
        Ok((vec!["overpaid".to_owned()], Some("1001".to_owned())))
    );
}

#[test]
fn an_order_without_items_cannot_say_what_the_other_items_are_worth() {
    let known = known(&[order("1001", "29.00 EUR", &[])]);
    let pot = with_invoice(part("29.00 EUR", "POT", 1), "1001");
    let flagged = Ok((
        vec!["items_not_checked".to_owned()],
        Some("1001".to_owned()),
    ));
    assert_eq!(checked(&pot, &known, policy(&[])), flagged);
    let pots = with_invoice(part("29.00 EUR", "POT", 2), "1001");
    assert_eq!(
        checked(&pots, &known, policy(&[])),
        refused("items_mismatch")
    );
}
