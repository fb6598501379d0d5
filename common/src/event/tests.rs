//! The wire form, pinned, and what never shows.

use super::*;
use crate::gateway::paypal::tests::{account, fixture, raw};
use crate::notification::{Proof, Verified};

fn event(body: &'static [u8]) -> PaymentEvent {
    let raw = raw(body, Source::Ipn);
    let read = crate::gateway::read(&raw, &account()).unwrap();
    Verified::new(&raw, read, Proof(())).into_events().remove(0)
}

#[test]
fn an_event_written_and_read_again_is_the_same() {
    for body in [
        &fixture!("cart_completed")[..],
        fixture!("auction_completed"),
        fixture!("refund_partial"),
        fixture!("new_case_chargeback"),
        fixture!("subscr_signup"),
        fixture!("masspay_processed"),
        fixture!("adaptive_payment"),
        fixture!("simulator_declined"),
    ] {
        let event = event(body);
        let again = PaymentEvent::from_json(&event.to_json().unwrap()).unwrap();
        assert_eq!(again, event);
    }
}

#[test]
fn the_wire_form_is_cloudevents_with_exact_amounts_as_text() {
    let event = event(fixture!("refund_partial"));
    let json: serde_json::Value = serde_json::from_slice(&event.to_json().unwrap()).unwrap();
    assert_eq!(json["specversion"], "1.0");
    assert_eq!(json["type"], "payment.refunded");
    assert_eq!(json["source"], "/paypal/default");
    assert_eq!(json["subject"], "7QT00000WA0000001");
    assert_eq!(json["id"], "pp:live:7QT00000RF0000001:refunded:refund");
    assert_eq!(json["data"]["gross"]["value"], "-2.50");
    assert_eq!(json["data"]["subject"]["kind"], "payment");
    assert_eq!(event.routing_key(), "paypal.payment.refunded");
}

/// Others read this form: a change that this test sees needs a new version.
#[test]
fn the_wire_form_is_the_golden_one() {
    let golden = include_str!("../../../tests/golden/payment-event-v1.json");
    let event = event(fixture!("cart_completed"));
    let written: serde_json::Value = serde_json::from_slice(&event.to_json().unwrap()).unwrap();
    let pinned: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(written, pinned, "{written:#}");
    assert_eq!(PaymentEvent::from_json(golden.as_bytes()).unwrap(), event);
}

/// What the shop's own queues get: the same form, with the verdict of the books.
#[test]
fn the_published_form_is_the_golden_one() {
    let golden = include_str!("../../../tests/golden/published-event-v1.json");
    let mut event = event(fixture!("cart_completed"));
    event.data.flags = vec!["overpaid".into()];
    event.data.order.bound = "1002".parse().ok();
    let payment = InTheBooks {
        id: "paypal:live:payment:7QT00000CA0000001".into(),
        sold: true,
    };
    let written = event.to_published_json(Some(&payment)).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
    let pinned: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(written, pinned, "{written:#}");
    assert_eq!(PaymentEvent::from_json(golden.as_bytes()).unwrap(), event);
    assert_eq!(
        event.to_published_json(None).unwrap(),
        event.to_json().unwrap()
    );
}

#[test]
fn the_trace_travels_as_an_extension_and_one_that_is_invalid_is_no_trace() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = PaymentEvent {
        trace: TraceContext::parse(traceparent),
        ..event(fixture!("cart_completed"))
    };
    let json = traced.to_json().unwrap();
    assert_eq!(PaymentEvent::from_json(&json).unwrap(), traced);
    let mut value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(value["traceparent"], traceparent);
    value["traceparent"] = "nonsense".into();
    let read = PaymentEvent::from_json(value.to_string().as_bytes()).unwrap();
    assert_eq!(read.trace, None);
}

#[test]
fn copies_of_one_event_have_one_message_id() {
    let first = event(fixture!("web_accept_completed_umlaut"));
    let resend = event(fixture!("web_accept_completed_utf8"));
    assert_eq!(first.message_id(), resend.message_id());
    let other = event(fixture!("web_accept_completed"));
    assert_ne!(first.message_id(), other.message_id());
}

#[test]
fn members_that_are_not_known_are_ignored_and_another_version_is_refused() {
    let json = event(fixture!("cart_completed")).to_json().unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    value["data"]["later"] = true.into();
    value["extension"] = 1.into();
    let newer = serde_json::to_vec(&value).unwrap();
    assert!(PaymentEvent::from_json(&newer).is_ok());
    value["specversion"] = "2.0".into();
    let other = serde_json::to_vec(&value).unwrap();
    assert!(matches!(
        PaymentEvent::from_json(&other),
        Err(EventError::Version(_))
    ));
    value["specversion"] = "1.0".into();
    value["source"] = "/paypal".into();
    let nowhere = serde_json::to_vec(&value).unwrap();
    assert!(matches!(
        PaymentEvent::from_json(&nowhere),
        Err(EventError::Source)
    ));
}

#[test]
fn every_event_type_has_the_name_that_it_is_written_with() {
    for event_type in EventType::ALL {
        let written = serde_json::to_value(event_type).unwrap();
        assert_eq!(written, event_type.as_str());
    }
}

#[test]
fn debug_shows_no_personal_data() {
    let shown = format!("{:?}", event(fixture!("cart_completed")));
    for secret in ["customer.example", "Muster", "order-1002", "Earl Grey"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert!(shown.contains("TEA-1"));
}

#[test]
fn without_personal_data_an_event_keeps_its_key_its_money_and_its_order_and_nothing_of_the_buyer() {
    let mut with = event(fixture!("cart_completed"));
    with.data.order.invoice = Some("A-1002".into());
    let mut written = with.clone();
    written.data.payer.name = Some("Erika Muster".into());
    written.data.order.custom = Some("for Erika, door code 4711".into());
    written.data.lines[0].options = vec![("Engraving".into(), "Erika".into())];
    let without = written.without_personal_data();
    let json = String::from_utf8(without.to_json().unwrap()).unwrap();
    for personal in ["Erika", "4711", "customer.example", "Muster", "Engraving"] {
        assert!(!json.contains(personal), "{personal} in {json}");
    }
    assert_eq!(
        (&without.key, &without.fingerprint, without.data.gross),
        (&with.key, &with.fingerprint, with.data.gross)
    );
    assert_eq!(without.order_ref(), with.order_ref());
    assert!(without.order_ref().is_some());
}
