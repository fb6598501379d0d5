//! What a subscription is agreed to cost: the buyer's browser wrote it into the button.

use quittance_common::event::BillingPeriod;

use super::*;

/// A sign-up for one POT (20.00 EUR) a period; `terms`: number and amount, none for a free one.
fn signup(terms: &[(u8, Option<&str>)]) -> Notification {
    let mut signup = of_type(
        notification(
            paid_to("pay@shop.example"),
            reading(None, vec![line("POT", 1)]),
        ),
        TxnType::SubscrSignup,
    );
    signup.readings[0].event_type = EventType::SubscriptionChanged;
    let period = |(number, amount): &(u8, Option<&str>)| BillingPeriod {
        number: *number,
        amount: amount.map(money),
        length: Some("1 M".to_owned()),
    };
    signup.readings[0].data.terms = terms.iter().map(period).collect();
    signup
}

fn judged(notification: &Notification) -> Result<(Vec<String>, Option<String>), String> {
    checked(notification, &known(&[]), policy(&[]))
}

#[test]
fn what_recurs_is_held_against_the_price() {
    let of = |amount| judged(&signup(&[(3, Some(amount))]));
    assert_eq!(of("20.00 EUR"), Ok((vec![], None)));
    assert_eq!(of("0.01 EUR"), refused("amount_mismatch"));
    assert_eq!(of("20.00 USD"), refused("currency_mismatch"));
    assert_eq!(of("0.00 EUR"), refused("amount_not_positive"));
    assert_eq!(judged(&signup(&[])), refused("missing_amount"));
}

#[test]
fn a_free_trial_gives_nothing_unless_somebody_expects_it() {
    for trial in [None, Some("0.00 EUR"), Some("0.01 EUR"), Some("20.00 USD")] {
        for number in [1, 2] {
            let free = signup(&[(number, trial), (3, Some("20.00 EUR"))]);
            assert_eq!(judged(&free), refused("trial_not_expected"), "{trial:?}");
            let ours = account(&["pay@shop.example"]);
            let waived = [Reason::of("trial_not_expected")].into();
            let known = known(&[]);
            let passed = check(&free, &ours, &known, policy(&[]), &waived).unwrap();
            assert_eq!(passed[0].flags[0].as_str(), "released");
        }
    }
    let tampered = signup(&[(1, Some("0.00 EUR")), (3, Some("0.01 EUR"))]);
    assert_eq!(judged(&tampered), refused("amount_mismatch"));
    let whole = signup(&[(1, Some("20.00 EUR")), (3, Some("20.00 EUR"))]);
    assert_eq!(judged(&whole), Ok((vec![], None)));
}

#[test]
fn a_signup_is_held_against_its_order_and_settles_none() {
    let known = known(&[order("PLAN-1", "9.00 EUR", &[])]);
    let of = |amount| {
        let signup = with_invoice(signup(&[(3, Some(amount))]), "PLAN-1");
        checked(&signup, &known, policy(&[]))
    };
    assert_eq!(of("9.00 EUR"), Ok((vec![], None)));
    assert_eq!(of("8.00 EUR"), refused("amount_mismatch"));
}

#[test]
fn a_signup_for_what_nobody_knows_follows_the_setting() {
    let mut unknown = signup(&[(1, None), (3, Some("0.01 EUR"))]);
    unknown.readings[0].data.lines = vec![line("CUP", 1)];
    assert_eq!(judged(&unknown), refused("unmatched_item"));
    let accepting = Policy {
        unmatched: Unmatched::Accept,
        ..policy(&[])
    };
    let flagged = Ok((vec!["unmatched_item".to_owned()], None));
    assert_eq!(checked(&unknown, &known(&[]), accepting), flagged);
}

#[test]
fn the_end_of_a_subscription_is_asked_for_no_amount() {
    let end = of_type(signup(&[]), TxnType::SubscrCancel);
    assert_eq!(judged(&end), Ok((vec![], None)));
}
