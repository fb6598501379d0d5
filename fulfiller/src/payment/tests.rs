//! The rules, and that none of them depends on the order of arrival.

mod captures;

use proptest::prelude::*;

use quittance_common::shop::{Hold, Verdict};
use quittance_common::status::PendingReason;

use super::*;
use crate::announcement::News;
use crate::testing::{at, capture, dispute, eur, event, line, refund};

fn flags(payment: &Payment) -> Vec<&str> {
    payment.flags.iter().map(String::as_str).collect()
}

#[test]
fn a_completed_payment_takes_its_goods_and_tells_the_customer() {
    let events = [event(EventType::Completed, "T", "T")];
    let payment = fold(&events);
    assert_eq!(payment.status, Status::Completed);
    assert_eq!(payment.lines[&"mug".parse().unwrap()], 2);
    assert_eq!(
        effects(&payment, &events),
        [Effect::Stock(Hold::Taken), Effect::Tell(News::Received)]
    );
}

#[test]
fn a_late_pending_after_completed_changes_nothing() {
    let completed = event(EventType::Completed, "T", "T");
    let mut pending = event(EventType::Pending, "T", "T");
    pending.received_at = at(60);
    let alone = fold(std::slice::from_ref(&completed));
    assert_eq!(fold(&[completed, pending]), alone);
}

#[test]
fn a_refund_without_its_payment_waits_for_it() {
    let alone = [refund("T", "R", 2000)];
    let payment = fold(&alone);
    assert_eq!(payment.status, Status::Noted);
    assert_eq!(flags(&payment), ["refund_awaits_payment"]);
    assert_eq!(effects(&payment, &alone), [Effect::Stock(Hold::Nothing)]);

    let both = [
        refund("T", "R", 2000),
        event(EventType::Completed, "T", "T"),
    ];
    let payment = fold(&both);
    assert_eq!(payment.status, Status::Refunded);
    assert!(payment.flags.is_empty(), "{:?}", payment.flags);
}

#[test]
fn partial_refunds_add_up_to_a_full_one_and_each_counts_once() {
    let mut events = vec![
        event(EventType::Completed, "T", "T"),
        refund("T", "R1", 500),
        refund("T", "R1", 500),
    ];
    let payment = fold(&events);
    assert_eq!(payment.status, Status::PartiallyRefunded);
    assert_eq!(payment.refunded, Some(eur(500)));
    assert!(!effects(&payment, &events).contains(&Effect::Stock(Hold::Nothing)));
    events.push(refund("T", "R2", 1500));
    let payment = fold(&events);
    assert_eq!(payment.status, Status::Refunded);
    assert_eq!(
        effects(&payment, &events).last(),
        Some(&Effect::Stock(Hold::Nothing))
    );
}

#[test]
fn a_refund_in_another_currency_is_flagged_and_not_counted() {
    let mut wrong = refund("T", "R", 2000);
    wrong.data.gross = Some(Money::from_minor(-2000, "JPY".parse().unwrap()));
    let payment = fold(&[event(EventType::Completed, "T", "T"), wrong]);
    assert_eq!(payment.status, Status::Completed);
    assert_eq!(flags(&payment), ["refund_currency_mismatch"]);
}

#[test]
fn paid_and_refused_is_for_a_person_and_keeps_its_goods_from_others() {
    for refusal in [
        EventType::Denied,
        EventType::Failed,
        EventType::Expired,
        EventType::Voided,
    ] {
        let events = [
            event(refusal, "T", "T"),
            event(EventType::Completed, "T", "T"),
        ];
        let payment = fold(&events);
        assert_eq!(flags(&payment), ["paid_after_denied"]);
        assert_eq!(effects(&payment, &events), [Effect::Stock(Hold::Taken)]);
    }
}

#[test]
fn a_reversal_is_flagged_until_it_is_canceled_and_ships_nothing_twice() {
    let completed = event(EventType::Completed, "T", "T");
    let reversed = event(EventType::Reversed, "T", "V1");
    let canceled = event(EventType::ReversalCanceled, "T", "C1");
    let again = event(EventType::Reversed, "T", "V2");
    let mut events = vec![completed];
    let taken = effects(&fold(&events), &events);
    for (next, status) in [
        (reversed, Status::Reversed),
        (canceled, Status::Completed),
        (again, Status::Reversed),
    ] {
        events.push(next);
        let payment = fold(&events);
        assert_eq!(payment.status, status);
        assert_eq!(effects(&payment, &events), taken);
    }
}

#[test]
fn a_payment_reversed_in_review_gives_its_reservation_back() {
    let events = [
        event(EventType::Pending, "T", "T"),
        event(EventType::Reversed, "T", "V"),
    ];
    assert_eq!(
        effects(&fold(&events), &events),
        [Effect::Stock(Hold::Nothing)]
    );
}

#[test]
fn a_dispute_is_a_flag_and_not_a_status() {
    let mut events = vec![
        event(EventType::Completed, "T", "T"),
        dispute(EventType::DisputeOpened, "T", "PP-1"),
    ];
    let payment = fold(&events);
    assert_eq!(payment.status, Status::Completed);
    assert_eq!(flags(&payment), ["disputed"]);
    events.push(dispute(EventType::DisputeAdjusted, "T", "PP-1"));
    assert_eq!(flags(&fold(&events)), ["dispute_adjusted"]);
}

#[test]
fn created_and_processed_are_not_paid() {
    let events = [event(EventType::Noted, "T", "T")];
    let payment = fold(&events);
    assert_eq!(payment.status, Status::Noted);
    assert_eq!(effects(&payment, &events), [Effect::Stock(Hold::Nothing)]);
}

#[test]
fn a_capture_takes_what_its_authorisation_reserved_and_no_more() {
    let mut authorized = event(EventType::Pending, "A", "A");
    authorized.data.pending_reason = Some(PendingReason::Authorization);
    let alone = [authorized.clone()];
    assert_eq!(
        effects(&fold(&alone), &alone).first(),
        Some(&Effect::Stock(Hold::Reserved))
    );
    let events = [
        authorized,
        capture("A", "C1", 1200),
        capture("A", "C2", 800),
    ];
    let payment = fold(&events);
    assert_eq!(payment.status, Status::Completed);
    assert_eq!(payment.gross, Some(eur(2000)));
    assert_eq!(
        payment.lines[&"mug".parse().unwrap()],
        2,
        "once, not per capture"
    );
    assert!(payment.flags.is_empty(), "{:?}", payment.flags);
    let partly = fold(&events[..2]);
    assert_eq!(flags(&partly), ["partly_captured"]);
}

#[test]
fn more_captured_than_was_authorised_is_for_a_person() {
    let mut authorized = event(EventType::Pending, "A", "A");
    authorized.data.pending_reason = Some(PendingReason::Authorization);
    let twice = [
        authorized,
        capture("A", "C1", 2000),
        capture("A", "C2", 2000),
    ];
    let payment = fold(&twice);
    assert_eq!(payment.gross, Some(eur(4000)));
    assert_eq!(flags(&payment), ["over_captured"]);
    assert!(fold(&twice[..2]).flags.is_empty());
}

#[test]
fn a_denied_capture_counts_for_itself_while_its_authorisation_is_open() {
    let mut authorized = event(EventType::Pending, "A", "A");
    authorized.data.pending_reason = Some(PendingReason::Authorization);
    let mut denied = capture("A", "C1", 2000);
    denied.event_type = EventType::Denied;
    denied.key = "pp:sandbox:C1:denied".parse().unwrap();
    let mut events = vec![denied, authorized];
    let open = fold(&events);
    assert_eq!(open.status, Status::Pending);
    assert!(effects(&open, &events).contains(&Effect::Stock(Hold::Reserved)));
    events.push(capture("A", "C2", 2000));
    let paid = fold(&events);
    assert_eq!(paid.status, Status::Completed);
    assert!(paid.flags.is_empty(), "{:?}", paid.flags);
    events.pop();
    events.push(event(EventType::Voided, "A", "A"));
    assert_eq!(fold(&events).status, Status::Voided);
}

#[test]
fn an_authorisation_that_ends_after_its_capture_takes_nothing_back() {
    for ended in [EventType::Voided, EventType::Expired] {
        let events = [capture("A", "C", 2000), event(ended, "A", "A")];
        let payment = fold(&events);
        assert_eq!(payment.status, Status::Completed);
        assert!(payment.flags.is_empty(), "{:?}", payment.flags);
        assert!(effects(&payment, &events).contains(&Effect::Stock(Hold::Taken)));
    }
    let events = [capture("A", "C", 2000), event(EventType::Denied, "A", "A")];
    assert_eq!(flags(&fold(&events)), ["paid_after_denied"]);
}

#[test]
fn a_payment_for_a_cancelled_order_is_for_a_person_and_moves_no_stock() {
    let events = [event(EventType::Completed, "T", "T")];
    let payment = fold_for(OrderState::Cancelled, &events);
    assert_eq!(flags(&payment), [ORDER_CANCELLED]);
    assert_eq!(effects(&payment, &events), [Effect::Stock(Hold::Nothing)]);
    assert_eq!(payment.settles, None);
}

#[test]
fn a_canceled_reversal_need_not_equal_its_reversal_which_is_net_of_the_fee() {
    let mut reversed = event(EventType::Reversed, "T", "V");
    reversed.data.gross = Some(eur(-2000));
    let mut canceled = event(EventType::ReversalCanceled, "T", "W");
    canceled.data.gross = Some(eur(1931));
    let payment = fold(&[event(EventType::Completed, "T", "T"), reversed, canceled]);
    assert_eq!(payment.status, Status::Completed);
    assert_eq!(payment.gross, Some(eur(2000)));
    assert_eq!(flags(&payment), ["reversal_canceled"]);
}

#[test]
fn a_shop_may_keep_refunded_goods_off_the_shelf() {
    let events = [
        event(EventType::Completed, "T", "T"),
        refund("T", "R", 2000),
    ];
    let payment = fold(&events).by(Restock::Never);
    assert!(!payment.puts_back());
    assert!(!effects(&payment, &events).contains(&Effect::Stock(Hold::Nothing)));
    assert_eq!(payment.status, Status::Refunded);
}

#[test]
fn created_by_elv_and_processed_reserve_nothing_and_tell_nobody() {
    let events = [event(EventType::Noted, "T", "T")];
    assert_eq!(due(&fold(&events)), []);
}

/// The same event of a transaction under `parent`.
fn below(parent: &str, mut event: PaymentEvent) -> PaymentEvent {
    event.data.parent_txn_id = Some(parent.parse().unwrap());
    event
}

/// Any event that a payment may have, with its own time.
fn any_event() -> impl Strategy<Value = PaymentEvent> {
    (0u8..32, 0i64..5).prop_map(|(kind, second)| {
        let mut made = match kind {
            0 => event(EventType::Completed, "T", "T"),
            1 => event(EventType::Pending, "T", "T"),
            2 => event(EventType::Denied, "T", "T"),
            3 => event(EventType::Failed, "T", "T"),
            4 => refund("T", "R1", 500),
            5 => refund("T", "R2", 1500),
            6 => refund("T", "R3", 2000),
            7 => event(EventType::Reversed, "T", "V1"),
            8 => event(EventType::ReversalCanceled, "T", "C1"),
            9 => dispute(EventType::DisputeOpened, "T", "PP-1"),
            10 => event(EventType::Voided, "T", "T"),
            11 => event(EventType::Expired, "T", "T"),
            12 => event(EventType::Reversed, "T", "V2"),
            13 => dispute(EventType::DisputeAdjusted, "T", "PP-1"),
            14 => capture("T", "CAP1", 1200),
            15 => capture("T", "CAP2", 800),
            17 => {
                let mut authorized = event(EventType::Pending, "T", "T");
                authorized.key = "pp:sandbox:T:pending:authorization".parse().unwrap();
                authorized.data.pending_reason = Some(PendingReason::Authorization);
                authorized
            }
            18 => event(EventType::ReversalCanceled, "T", "C2"),
            19 => dispute(EventType::DisputeOpened, "T", "PP-2"),
            20 => refund("T", "R4", -700),
            // Two authorisations of an order at the gateway, and captures with other goods.
            22 => captures::authorized("AU1", 1000, Some("T")),
            23 => captures::authorized("AU2", 1000, Some("T")),
            24 => capture("AU1", "CAP3", 1000),
            25 => capture("AU2", "CAP4", 1000),
            26 => captures::pending_capture("AU1", "CAP3", 1000),
            27 => below("T", event(EventType::Voided, "AU1", "AU1")),
            28 => below("T", event(EventType::Expired, "AU2", "AU2")),
            29 => below("AU1", event(EventType::Denied, "CAP3", "CAP3")),
            30 => {
                let mut other = capture("AU2", "CAP5", 300);
                other.data.lines = vec![line("pot", 1), line("mug", 3)];
                other
            }
            31 => {
                let mut ordered = capture("AU1", "CAP6", 300);
                ordered.data.order.bound = Some("1001".parse().unwrap());
                ordered
            }
            16 => {
                let mut review = event(EventType::Pending, "T", "T");
                review.key = "pp:sandbox:T:pending:payment_review".parse().unwrap();
                review.data.pending_reason = Some(PendingReason::PaymentReview);
                review
            }
            _ => event(EventType::Noted, "T", "T"),
        };
        made.received_at = at(second);
        made
    })
}

proptest! {
    #[test]
    fn no_order_of_arrival_and_no_repetition_changes_what_a_payment_is(
        (events, shuffled) in prop::collection::vec(any_event(), 0..10)
            .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
        repeated in any::<prop::sample::Index>(),
    ) {
        // Each is received at the time of its arrival, which differs between the orders.
        let arrived = |events: &[PaymentEvent]| -> Vec<PaymentEvent> {
            events.iter().zip(0..).map(|(event, second)| PaymentEvent {
                received_at: at(second),
                ..event.clone()
            }).collect()
        };
        let (events, mut shuffled) = (arrived(&events), arrived(&shuffled));
        if !shuffled.is_empty() {
            let again = shuffled[repeated.index(shuffled.len())].clone();
            shuffled.push(again);
        }
        let standings = [OrderState::Open, OrderState::Cancelled].map(Standing::from);
        let decided = [Verdict::Closed, Verdict::Accepted].map(Standing::from);
        for standing in standings.into_iter().chain(decided) {
            let (one, other) = (fold_for(standing, &events), fold_for(standing, &shuffled));
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(effects(&one, &events), effects(&other, &shuffled));
            prop_assert_eq!(due(&one), due(&other));
        }
    }

    #[test]
    fn without_personal_data_everything_is_concluded_as_before(
        events in prop::collection::vec(any_event(), 0..8),
    ) {
        let bare: Vec<PaymentEvent> = events
            .iter()
            .map(|event| event.clone().without_personal_data())
            .collect();
        let (one, other) = (fold(&events), fold(&bare));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(effects(&one, &events), effects(&other, &bare));
    }

    #[test]
    fn goods_are_taken_only_for_a_payment_that_was_completed(
        events in prop::collection::vec(any_event(), 0..8),
    ) {
        let cancelled = fold_for(OrderState::Cancelled, &events);
        prop_assert!(!effects(&cancelled, &events).iter().any(|effect| matches!(
            effect,
            Effect::Stock(Hold::Taken | Hold::Reserved) | Effect::Tell(News::Received)
        )));
        let completed = events.iter().any(|e| e.event_type == EventType::Completed);
        let taken = effects(&fold(&events), &events).contains(&Effect::Stock(Hold::Taken));
        prop_assert!(completed || !taken);
    }

    #[test]
    fn partial_refunds_never_add_up_to_more_than_they_are(
        parts in prop::collection::vec(1i64..900, 1..6),
    ) {
        let mut events = vec![event(EventType::Completed, "T", "T")];
        for (number, minor) in parts.iter().enumerate() {
            events.push(refund("T", &format!("R{number}"), *minor));
        }
        let payment = fold(&events);
        let total: i64 = parts.iter().sum();
        prop_assert_eq!(payment.refunded, Some(eur(total)));
        prop_assert_eq!(payment.puts_back(), total >= 2000);
    }
}
