//! Tests of what is shown.

use super::*;

fn key() -> LookupKey {
    LookupKey {
        gateway: quittance_common::ids::GatewayId::PayPal,
        account: "default".parse().unwrap(),
        token: "TXRECEIPT01".parse().unwrap(),
    }
}

fn told_of(state: State) -> Told {
    Told {
        state,
        reason: Some(PendingReason::Echeck),
        amount: Some(Amount {
            value: "12.50".into(),
            currency: "EUR".into(),
        }),
        details: Details {
            email: Some("j***@b.example".into()),
            ..Details::default()
        },
    }
}

fn booked_of(status: &str) -> Booked {
    Booked {
        state: State::of_books(status),
        amount: None,
        handling: None,
    }
}

#[test]
fn what_our_checks_hold_is_never_shown_as_paid_and_only_to_who_paid_us() {
    let of = |state| Receipt::of(&key(), Some(Booked::HELD), Some(told_of(state)), true);
    for state in [State::Paid, State::Pending] {
        let receipt = of(state);
        assert_eq!(
            (receipt.state, receipt.handling),
            (State::Pending, Some(Handling::Held))
        );
        assert!(receipt.confirmed && receipt.is_open());
        assert_eq!(receipt.reason, None, "the gateway's reason is not ours");
    }
    assert_eq!(of(State::Unknown).state, State::Unknown);
    let unheard = Receipt::of(&key(), Some(Booked::HELD), None, true);
    assert_eq!((unheard.state, unheard.handling), (State::Waiting, None));
}

#[test]
fn the_books_win_over_what_the_gateway_said_once() {
    let told = || Some(told_of(State::Pending));
    for (status, state) in [
        ("completed", State::Paid),
        ("partially_refunded", State::Paid),
        ("denied", State::Failed),
        ("expired", State::Failed),
        ("refunded", State::Refunded),
        ("reversed", State::Unknown),
    ] {
        let receipt = Receipt::of(&key(), Some(booked_of(status)), told(), false);
        assert_eq!(
            (receipt.state, receipt.confirmed),
            (state, true),
            "{status}"
        );
        assert_eq!(receipt.reason, None);
        assert!(receipt.amount.is_some());
    }
    // A status that says nothing about money leaves the gateway's word.
    let receipt = Receipt::of(&key(), Some(booked_of("noted")), told(), false);
    assert_eq!((receipt.state, receipt.confirmed), (State::Pending, false));
    assert_eq!(receipt.reason, Some(PendingReason::Echeck));
}

#[test]
fn nothing_known_is_waiting_and_never_failed() {
    let receipt = Receipt::of(&key(), None, None, true);
    assert_eq!(receipt.state, State::Waiting);
    assert!(receipt.is_open() && receipt.details.is_none());
}

#[test]
fn a_page_looks_again_until_the_books_have_the_last_word() {
    let of = |booked, state| Receipt::of(&key(), booked, Some(told_of(state)), false);
    assert!(of(None, State::Paid).is_open());
    assert!(of(None, State::Pending).is_open());
    assert!(of(Some(booked_of("pending")), State::Pending).is_open());
    assert!(!of(Some(booked_of("completed")), State::Pending).is_open());
    assert!(!Receipt::unknown().is_open());
}

#[test]
fn details_are_for_the_browser_that_came_first() {
    let of = |first| Receipt::of(&key(), None, Some(told_of(State::Paid)), first);
    assert!(of(true).details.is_some());
    assert!(of(false).details.is_none());
}

#[test]
fn made_accepted_or_unheard_of_is_no_payment() {
    for status in [PaymentStatus::Created, PaymentStatus::Processed] {
        assert_eq!(State::of_status(Some(&status)), State::Pending);
    }
    let strange = PaymentStatus::Other("Completed-Funds-Held".into());
    assert_eq!(State::of_status(Some(&strange)), State::Unknown);
    assert_eq!(State::of_status(None), State::Unknown);
}

fn row(account: &str, kind: &str) -> PaymentRow {
    PaymentRow {
        gateway: "paypal".into(),
        environment: "live".into(),
        account: account.into(),
        kind: kind.into(),
        txn_id: "TXRECEIPT01".into(),
        status: "completed".into(),
        amount: "9.90".into(),
        refunded: "0.00".into(),
        currency: "EUR".into(),
        events: 1,
        effects: Vec::new(),
        flags: Vec::new(),
        updated_at: String::new(),
        subject: String::new(),
    }
}

fn shown(status: &str, effects: &[&str], flags: &[&str]) -> Receipt {
    let row = PaymentRow {
        status: status.into(),
        effects: effects.iter().map(|name| (*name).to_owned()).collect(),
        flags: flags.iter().map(|name| (*name).to_owned()).collect(),
        ..row("default", "payment")
    };
    Receipt::of(&key(), booked(&[row], &key()), None, false)
}

#[test]
fn a_payment_that_waits_for_a_person_is_paid_and_in_review() {
    for flag in [
        "order_already_paid",
        "paid_after_denied",
        "order_cancelled",
        "settles_another_order",
        "a_flag_of_tomorrow",
    ] {
        let receipt = shown("completed", &[], &[flag]);
        assert_eq!((receipt.state, receipt.confirmed), (State::Paid, true));
        assert_eq!(receipt.handling, Some(Handling::ManualReview), "{flag}");
        assert!(!receipt.is_open(), "a person takes hours");
        let pending = shown("pending", &["stock_reserved"], &[flag]);
        assert_eq!(pending.handling, Some(Handling::ManualReview));
        assert!(pending.is_open(), "the money is still on its way");
    }
    let released = shown("completed", &[], &["items_mismatch", "released"]);
    assert_eq!(released.handling, None, "a person has looked");
    for (status, flag) in [
        ("completed", "unknown_item"),
        ("refunded", "over_refunded"),
        ("reversed", "reversed"),
        ("denied", "order_cancelled"),
    ] {
        assert_eq!(shown(status, &[], &[flag]).handling, None, "{status}");
    }
}

#[test]
fn goods_are_set_aside_only_if_the_books_have_reserved_all_of_them_and_still_do() {
    let of = |effects: &[&str], flags: &[&str]| shown("pending", effects, flags).handling;
    assert_eq!(of(&["stock_reserved"], &[]), Some(Handling::SetAside));
    for (effects, flags) in [
        (&[][..], &[][..]),
        (&["stock_reserved_withheld"], &[]),
        (&["stock_reserved"], &["reservation_short"]),
        (&["stock_reserved"], &["reservation_expired"]),
        (&["stock_reserved", "reservation_expired"], &[]),
        (&["stock_reserved", "stock_released"], &[]),
        (&["stock_reserved"], &["unknown_item"]),
        (&["stock_reserved"], &["item_without_sku"]),
    ] {
        assert_eq!(of(effects, flags), None, "{effects:?} {flags:?}");
    }
    let paid = shown("completed", &["stock_reserved", "stock_decremented"], &[]);
    assert_eq!(paid.handling, None, "what is sold is not set aside");
}

#[test]
fn the_books_row_of_another_account_or_kind_is_not_the_payment() {
    assert!(booked(&[row("other", "payment")], &key()).is_none());
    assert!(booked(&[row("default", "case")], &key()).is_none());
    let ours = booked(&[row("default", "payment")], &key()).unwrap();
    assert_eq!(ours.state, Some(State::Paid));
}

#[test]
fn an_address_that_is_none_is_not_shown_and_hidden_marks_are_gone() {
    assert_eq!(masked("jane@b.example").as_deref(), Some("j***@b.example"));
    assert_eq!(masked("jane"), None);
    assert_eq!(masked("@b.example"), None);
    assert_eq!(visible("a\u{202e}b\r\nc\u{200b}"), "ab  c");
}
