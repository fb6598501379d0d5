//! Orders at the gateway, their authorisations, and the captures of each.

use super::*;
use crate::testing::line;

/// Authorises `minor`, of the order `of` at the gateway if there is one.
pub(super) fn authorized(txn: &str, minor: i64, of: Option<&str>) -> PaymentEvent {
    let mut authorized = event(EventType::Pending, txn, txn);
    authorized.key = format!("pp:sandbox:{txn}:pending:authorization")
        .parse()
        .unwrap();
    authorized.data.pending_reason = Some(PendingReason::Authorization);
    authorized.data.gross = Some(eur(minor));
    authorized.data.parent_txn_id = of.map(|of| of.parse().unwrap());
    authorized
}

/// A capture of `authorization` that has not come through yet.
pub(super) fn pending_capture(authorization: &str, txn: &str, minor: i64) -> PaymentEvent {
    let mut pending = capture(authorization, txn, minor);
    pending.event_type = EventType::Pending;
    pending.key = format!("pp:sandbox:{txn}:pending:echeck").parse().unwrap();
    pending.data.pending_reason = Some(PendingReason::Echeck);
    pending
}

fn refused(event_type: EventType, txn: &str, of: Option<&str>) -> PaymentEvent {
    let mut refused = event(event_type, txn, txn);
    refused.data.parent_txn_id = of.map(|of| of.parse().unwrap());
    refused
}

fn with_lines(mut event: PaymentEvent, lines: &[(&str, u32)]) -> PaymentEvent {
    let lines = lines.iter().map(|(sku, quantity)| line(sku, *quantity));
    event.data.lines = lines.collect();
    event
}

fn bought(events: &[PaymentEvent]) -> Vec<(String, i64)> {
    let lines = fold(events).lines.into_iter();
    lines
        .map(|(sku, quantity)| (sku.to_string(), quantity))
        .collect()
}

fn mugs_and_pots(mugs: i64, pots: i64) -> Vec<(String, i64)> {
    vec![("mug".into(), mugs), ("pot".into(), pots)]
}

#[test]
fn two_authorisations_of_one_order_are_captured_each_and_that_is_not_too_much() {
    let parts = [
        authorized("A1", 1000, Some("O")),
        authorized("A2", 1000, Some("O")),
        capture("A1", "C1", 1000),
        capture("A2", "C2", 1000),
    ];
    let payment = fold(&parts);
    assert_eq!(payment.gross, Some(eur(2000)));
    assert!(payment.flags.is_empty(), "{:?}", payment.flags);
    assert_eq!(flags(&fold(&parts[..3])), ["partly_captured"]);
    // The order itself, once it is heard of, says what was agreed to.
    let whole = [&parts[..], &[authorized("O", 2000, None)]].concat();
    assert!(fold(&whole).flags.is_empty());
    let more = [&whole[..], &[capture("A2", "C3", 500)]].concat();
    assert_eq!(flags(&fold(&more)), ["over_captured"]);
}

#[test]
fn a_capture_that_is_pending_is_no_authorisation() {
    let events = [
        authorized("Z", 2000, None),
        pending_capture("Z", "C1", 1200),
        capture("Z", "C1", 1200),
        capture("Z", "C2", 800),
    ];
    assert!(fold(&events).flags.is_empty());
}

#[test]
fn an_authorisation_that_ends_gives_no_goods_back_while_its_capture_is_on_its_way() {
    for ended in [EventType::Voided, EventType::Expired] {
        let mut events = vec![
            authorized("A", 2000, None),
            pending_capture("A", "C", 2000),
            refused(ended, "A", None),
        ];
        let payment = fold(&events);
        assert_eq!(payment.status, Status::Pending);
        assert!(effects(&payment, &events).contains(&Effect::Stock(Hold::Reserved)));
        events.push(refused(EventType::Denied, "C", Some("A")));
        let payment = fold(&events);
        assert_eq!(effects(&payment, &events)[0], Effect::Stock(Hold::Nothing));
        events.push(capture("A", "C2", 2000));
        assert_eq!(fold(&events).status, Status::Completed);
    }
}

#[test]
fn of_two_authorisations_the_end_of_one_leaves_the_other_and_the_end_of_both_does_not() {
    let mut events = vec![
        authorized("O", 2000, None),
        authorized("A1", 1000, Some("O")),
        authorized("A2", 1000, Some("O")),
        refused(EventType::Voided, "A1", Some("O")),
        refused(EventType::Expired, "O", None),
    ];
    assert_eq!(fold(&events).status, Status::Pending);
    events.push(refused(EventType::Voided, "A2", Some("O")));
    assert_eq!(fold(&events).status, Status::Voided);
}

#[test]
fn goods_that_only_a_later_capture_names_are_bought_as_well_and_repeated_ones_once() {
    let mut captures = [
        with_lines(capture("A", "C1", 1000), &[("mug", 2)]),
        with_lines(capture("A", "C2", 1000), &[("mug", 1), ("pot", 1)]),
    ];
    assert_eq!(bought(&captures), mugs_and_pots(2, 1));
    captures.reverse();
    assert_eq!(bought(&captures), mugs_and_pots(2, 1));
}

#[test]
fn what_was_authorised_was_bought_whatever_the_captures_name() {
    let events = [
        with_lines(authorized("A", 2000, None), &[("mug", 3), ("pot", 4)]),
        with_lines(capture("A", "C1", 1000), &[("mug", 9)]),
        with_lines(capture("A", "C2", 1000), &[("cup", 1)]),
    ];
    assert_eq!(bought(&events), mugs_and_pots(3, 4));
    // Captures that were held against an order have its items, which the shop itself has named.
    let for_order = |event: &PaymentEvent| {
        let mut event = with_lines(event.clone(), &[("mug", 1), ("pot", 1)]);
        event.data.order.bound = Some("1001".parse().unwrap());
        event
    };
    let ordered = [
        events[0].clone(),
        for_order(&events[1]),
        for_order(&events[2]),
    ];
    assert_eq!(bought(&ordered), mugs_and_pots(1, 1));
}
