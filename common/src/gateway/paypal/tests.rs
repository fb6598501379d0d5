//! Tests of reading whole messages: one row a fixture, then the rules that span families.

mod families;
mod identity;

use bytes::Bytes;

use super::*;
use crate::event::{Environment, EventType};
use crate::gateway::Request;
use crate::ids::{GatewayId, MessageId, Reason};
use crate::notification::Reading;

/// The bytes of a fixture.
macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/fixtures/paypal/",
            $name,
            ".txt"
        ))
    };
}
pub(crate) use fixture;

pub(crate) fn account() -> Account {
    Account {
        id: "default".parse().unwrap(),
        gateway: GatewayId::PayPal,
        environment: Environment::Live,
        receivers: vec!["pay@shop.example".to_owned()],
        pdt_token: Some("IdentityToken&=+".into()),
        postback_url: "http://127.0.0.1:9/postback".parse().unwrap(),
        pdt_url: "http://127.0.0.1:9/pdt".parse().unwrap(),
        checkout_url: "http://127.0.0.1:9/pay".parse().unwrap(),
    }
}

pub(crate) fn raw(body: impl Into<Bytes>, source: Source) -> RawNotification {
    RawNotification {
        id: MessageId::from_name("test"),
        gateway: GatewayId::PayPal,
        account: "default".parse().unwrap(),
        source,
        received_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        body: body.into(),
    }
}

pub(crate) fn reply(status: u16, body: &[u8]) -> Reply {
    Reply {
        status,
        retry_after: None,
        body: Bytes::copy_from_slice(body),
    }
}

fn notification(body: &[u8]) -> Notification {
    read(&raw(Bytes::copy_from_slice(body), Source::Ipn), &account()).unwrap()
}

/// The only reading of a body.
fn reading(body: &[u8]) -> Reading {
    let mut readings = notification(body).readings;
    assert_eq!(readings.len(), 1);
    readings.remove(0)
}

fn doubts(reading: &Reading) -> Vec<&str> {
    reading.doubts.iter().map(Reason::as_str).collect()
}

fn error(body: &str) -> ReadError {
    let body = Bytes::copy_from_slice(body.as_bytes());
    read(&raw(body, Source::Ipn), &account()).unwrap_err()
}

#[test]
fn a_notification_is_asked_about_with_its_exact_bytes() {
    let body: &[u8] = b"b=%2b+%20&a=\xF6&a=&test_ipn=1";
    for source in [Source::Ipn, Source::Replay] {
        let plan = authenticate(&raw(body, source), &account());
        assert_eq!(
            plan,
            AuthPlan::Postback(Request {
                url: account().postback_url,
                content_type: "application/x-www-form-urlencoded",
                body: Bytes::from([b"cmd=_notify-validate&", body].concat()),
            })
        );
    }
}

#[test]
fn pdt_evidence_needs_no_asking() {
    let plan = authenticate(&raw("txn_id=1", Source::Pdt), &account());
    assert!(matches!(plan, AuthPlan::Known(_)));
}

#[test]
fn a_message_without_meaning_is_no_notification() {
    for body in ["", "&&&", "hello", "payment_date=x&txn_type=&txn_id=", "{}"] {
        assert_eq!(error(body), ReadError::Nothing, "{body}");
    }
    assert_eq!(error("").reason().as_str(), "not_a_notification");
}

#[test]
fn a_deciding_field_that_is_there_twice_is_refused() {
    let field = |body: &str| match error(body) {
        ReadError::Ambiguous { field } => field,
        other => panic!("{other}"),
    };
    let paid = "txn_id=T1&payment_status=Completed&mc_gross=1.00&mc_currency=USD";
    assert_eq!(field(&format!("{paid}&mc_gross=1.00")), "mc_gross");
    assert_eq!(
        field(&format!("payment_status=Pending&{paid}")),
        "payment_status"
    );
    assert_eq!(field(&format!("{paid}&txn_id=T1")), "txn_id");
}

#[test]
fn an_amount_or_id_that_cannot_be_read_is_refused_without_showing_it() {
    for (body, name) in [
        (
            "payment_status=Completed&txn_id=T1&mc_gross=1,234.50&mc_currency=USD",
            "mc_gross",
        ),
        (
            "payment_status=Completed&txn_id=T1&mc_gross=1.50&mc_currency=dollar",
            "mc_currency",
        ),
        ("payment_status=Completed&txn_id=T%201", "txn_id"),
        (
            "payment_status=Completed&txn_id=T1&item_number=A&quantity=x",
            "quantity",
        ),
    ] {
        let ReadError::Field { field, problem } = error(body) else {
            panic!("{body}")
        };
        assert_eq!(field, name);
        assert!(!problem.contains("1,234.50") && !problem.contains("dollar"));
    }
}

#[test]
fn the_environment_claimed_is_the_sandbox_only_by_test_ipn_1() {
    let claimed = |body: &'static str, source| {
        read(&raw(body, source), &account())
            .unwrap()
            .claimed_environment
    };
    let (sandbox, live) = (Some(Environment::Sandbox), Some(Environment::Live));
    assert_eq!(
        claimed("txn_type=web_accept&test_ipn=1", Source::Ipn),
        sandbox
    );
    assert_eq!(claimed("txn_type=web_accept&test_ipn=", Source::Ipn), live);
    assert_eq!(claimed("txn_type=web_accept&test_ipn=0", Source::Ipn), live);
    assert_eq!(claimed("txn_type=web_accept", Source::Replay), live);
    assert_eq!(claimed("txn_type=web_accept", Source::Pdt), None);
    assert_eq!(
        claimed("txn_type=web_accept&test_ipn=1", Source::Pdt),
        sandbox
    );
}

#[test]
fn the_environment_of_the_event_is_the_accounts() {
    let reading = reading(fixture!("express_checkout_completed"));
    assert_eq!(reading.data.environment, Environment::Live);
    assert!(reading.key.as_str().starts_with("pp:live:"));
}

#[test]
fn only_completed_without_doubts_is_paid() {
    let paid = "txn_id=T1&mc_gross=1.00&mc_currency=USD&payment_status=";
    for status in [
        "Created",
        "Processed",
        "Active",
        "Paid",
        "None",
        "Completed-Funds-Held",
    ] {
        let reading = reading(format!("{paid}{status}").as_bytes());
        assert_ne!(reading.event_type, EventType::Completed, "{status}");
    }
    let unknown = reading(format!("{paid}Completed&txn_type=instant_gift").as_bytes());
    assert_eq!(unknown.event_type, EventType::Unknown);
    assert_eq!(doubts(&unknown), ["unknown_txn_type"]);
}

#[test]
fn oddities_of_a_completed_payment_are_doubts() {
    let paid = "txn_id=T1&payment_status=Completed&mc_currency=USD";
    for (more, doubt) in [
        ("", "missing_amount"),
        ("&mc_gross=", "missing_amount"),
        ("&mc_gross=-1.00", "negative_amount"),
        ("&mc_gross=1&item_number=A&quantity=0", "zero_quantity"),
        ("&mc_gross=1&charset=martian", "unknown_charset"),
        ("&mc_gross=1&transaction_entity=auth", "authorization_only"),
    ] {
        let reading = reading(format!("{paid}{more}").as_bytes());
        assert_eq!(doubts(&reading), [doubt], "{more}");
    }
    let reading = reading(b"payment_status=Completed&mc_gross=1&mc_currency=USD");
    assert_eq!(doubts(&reading), ["missing_txn_id"]);
}

#[test]
fn none_of_an_item_is_a_doubt_of_a_sale_and_not_of_money_that_goes_back() {
    for (status, doubted) in [
        ("Completed", true),
        ("Pending", true),
        ("Refunded", false),
        ("Reversed", false),
        ("Canceled_Reversal", false),
        ("Denied", false),
    ] {
        let body = format!(
            "txn_id=T1&parent_txn_id=T0&payment_status={status}&mc_gross=1&mc_currency=USD\
             &item_number=A&quantity=0"
        );
        let reading = reading(body.as_bytes());
        let is_doubted = doubts(&reading).contains(&"zero_quantity");
        assert_eq!(is_doubted, doubted, "{status}");
    }
}

#[test]
fn a_refund_without_its_parent_is_about_itself_and_doubted() {
    let reading = reading(b"txn_id=R1&payment_status=Refunded&mc_gross=-1.00&mc_currency=USD");
    assert_eq!(reading.data.subject.id(), "R1");
    assert_eq!(doubts(&reading), ["missing_parent"]);
}

#[test]
fn personal_data_is_not_in_any_debug_output() {
    let body = fixture!("web_accept_completed_umlaut");
    let shown = format!("{:?}", notification(body));
    for secret in ["joerg", "Größe", "pay@shop"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}
