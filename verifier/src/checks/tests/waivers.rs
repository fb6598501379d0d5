//! What a person can waive: exactly the refusal that was released.

use quittance_common::shop::flags;

use super::*;

fn passing(
    notification: &Notification,
    known: &Known,
    policy: Policy<'_>,
    reasons: &[&'static str],
) -> Result<Passed, String> {
    let ours = account(&["pay@shop.example"]);
    let waived = reasons.iter().map(|reason| Reason::of(reason)).collect();
    check(notification, &ours, known, policy, &waived)
        .map(|mut passed| passed.remove(0))
        .map_err(|refusal| refusal.reason.to_string())
}

#[test]
fn a_waiver_lets_its_own_refusal_pass_and_no_other() {
    let ours = account(&["pay@shop.example"]);
    let known = known(&[order("1001", "20.00 EUR", &[])]);
    let mut wrong = with_invoice(paid("0.05 EUR", vec![]), "1001");
    wrong.payee = paid_to("eve@else.example");
    let check = |reasons: &[&'static str]| {
        let waived = reasons.iter().map(|reason| Reason::of(reason)).collect();
        check(&wrong, &ours, &known, policy(&[]), &waived)
            .map(|mut passed| passed.remove(0))
            .map_err(|refusal| refusal.reason.to_string())
    };
    assert_eq!(check(&["amount_mismatch"]), Err("receiver_mismatch".into()));
    assert_eq!(check(&["receiver_mismatch"]), Err("amount_mismatch".into()));
    let passed = check(&["receiver_mismatch", "amount_mismatch"]).unwrap();
    let flags: Vec<&str> = passed.flags.iter().map(Reason::as_str).collect();
    assert_eq!(flags, ["released", "receiver_mismatch", "amount_mismatch"]);
    assert_eq!(passed.order.map(String::from).as_deref(), Some("1001"));
}

#[test]
fn the_environment_can_be_waived_for_one_message() {
    let mut sandbox = paid("20.00 EUR", vec![line("POT", 1)]);
    sandbox.claimed_environment = Some(Environment::Sandbox);
    let ours = account(&["pay@shop.example"]);
    let waived = [Reason::of("environment_mismatch")].into();
    let passed = check(&sandbox, &ours, &known(&[]), policy(&[]), &waived).unwrap();
    assert_eq!(passed[0].flags[0].as_str(), "released");
}

/// Makes a payment one that a check of its order refuses.
type Spoil = fn(Notification) -> Notification;

#[test]
fn a_waived_order_leaves_the_amount_to_the_catalogue() {
    let secrets = secrets();
    let known = known(&[
        order("1001", "20.00 EUR", &[]),
        order("1002", "20.00 EUR", &[]),
    ]);
    let required = Policy {
        orders: OrderPolicy::Required,
        ..policy(&[])
    };
    let pot = |gross| paid(gross, vec![line("POT", 1)]);
    let cases: [(&'static str, Policy<'_>, Spoil); 4] = [
        ("order_signature_invalid", policy(&secrets), |paid| {
            with_custom(paid, "q1.MTAwMQ.2000.EUR.AAAA")
        }),
        ("order_ambiguous", policy(&[]), |paid| {
            with_custom(with_invoice(paid, "1001"), "1002")
        }),
        ("order_unknown", required, |paid| with_invoice(paid, "77")),
        ("order_missing", required, |paid| paid),
    ];
    for (reason, policy, refused) in cases {
        let right = refused(pot("20.00 EUR"));
        assert_eq!(passing(&right, &known, policy, &[]), Err(reason.to_owned()));
        let passed = passing(&right, &known, policy, &[reason]).unwrap();
        assert_eq!(passed.order, None, "{reason}");
        let flags: Vec<&str> = passed.flags.iter().map(Reason::as_str).collect();
        assert_eq!(flags, ["released", reason]);
        let flags: Vec<String> = passed.flags.iter().map(ToString::to_string).collect();
        assert!(!flags::waits_for_a_person(&flags), "{reason}");
        let short = refused(pot("0.05 EUR"));
        let again = passing(&short, &known, policy, &[reason]);
        assert_eq!(again, Err("amount_mismatch".to_owned()), "{reason}");
        let unknown = refused(paid("0.05 EUR", vec![line("CUP", 1)]));
        let again = passing(&unknown, &known, policy, &[reason]);
        assert_eq!(again, Err("unmatched_item".to_owned()), "{reason}");
    }
}

#[test]
fn waived_items_let_go_what_was_ordered_and_not_what_the_browser_said() {
    let known = known(&[order("1001", "20.00 EUR", &[("POT", 1)])]);
    let many = with_invoice(paid("20.00 EUR", vec![line("POT", 10)]), "1001");
    let passed = passing(&many, &known, policy(&[]), &["items_mismatch"]).unwrap();
    let bought = passed.bought.unwrap();
    assert_eq!(bought.len(), 1);
    assert_eq!(bought[0].quantity, 1);
    assert_eq!(passed.order.map(String::from).as_deref(), Some("1001"));
}
