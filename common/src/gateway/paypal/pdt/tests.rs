//! Tests of the PDT look-up.

use proptest::prelude::*;

use super::*;
use crate::event::{EventType, Source};
use crate::gateway::paypal::read;
use crate::gateway::paypal::tests::{account, fixture, raw, reply};
use crate::notification::Reading;

fn answer(body: &[u8]) -> Answer {
    decode(&reply(200, body))
}

fn success(body: &[u8]) -> Success {
    match answer(body) {
        Answer::Success(success) => success,
        other => panic!("{other:?}"),
    }
}

/// What the evidence of an answer is read as.
fn read_evidence(body: &[u8]) -> Reading {
    let evidence = evidence(&success(body));
    let mut readings = read(&raw(evidence, Source::Pdt), &account())
        .unwrap()
        .readings;
    readings.remove(0)
}

#[test]
fn an_answer_in_the_documented_form_is_read_as_it_is_meant() {
    let sample = fixture!("pdt_documented_form");
    let fields = success(sample).fields().clone();
    assert_eq!(fields.get("custom"), Some("order-1003: Cup & saucer"));
    let reading = read_evidence(sample);
    assert_eq!(reading.event_type, EventType::Completed);
    assert_eq!(reading.data.gross.unwrap().to_string(), "4.75 USD");
    assert_eq!(reading.data.source, Source::Pdt);
    assert_eq!(reading.data.payer.name.as_deref(), Some("Ada Lea Muster"));
    assert_eq!(
        reading.data.order.custom.as_deref(),
        Some("order-1003: Cup & saucer")
    );
    // The sample is cut: without `txn_id` nothing may be shipped.
    assert_eq!(reading.doubts, [Reason::of("missing_txn_id")]);
}

#[test]
fn pdt_and_ipn_of_one_payment_are_one_event() {
    let pdt = read_evidence(fixture!("pdt_success"));
    let ipn = read(
        &raw(fixture!("web_accept_completed").as_slice(), Source::Ipn),
        &account(),
    )
    .unwrap()
    .readings
    .remove(0);
    assert_eq!(pdt.key, ipn.key);
    assert_eq!(pdt.fingerprint, ipn.fingerprint);
    assert_eq!(pdt.data.lines, ipn.data.lines);
    assert_eq!(pdt.data.gross, ipn.data.gross);
}

#[test]
fn an_encoded_line_break_or_separator_never_becomes_a_field() {
    let success = success(fixture!("pdt_success"));
    assert_eq!(
        success.fields().get("memo"),
        Some("a=b&mc_gross=0.01\ntxn_id=FORGED")
    );
    assert_eq!(success.txn_id().unwrap().as_str(), "7QT00000WA0000001");
    let reading = read_evidence(fixture!("pdt_success"));
    assert_eq!(reading.data.gross.unwrap().to_string(), "12.50 EUR");
}

#[test]
fn a_raw_ampersand_in_a_line_stays_in_its_value() {
    let reading = read_evidence(
        b"SUCCESS\npayment_status=Pending\nmemo=x&payment_status=Completed\ntxn_id=T1\n",
    );
    assert_eq!(reading.event_type, EventType::Pending);
}

#[test]
fn an_answer_with_a_repeated_name_is_refused() {
    for body in [
        &b"SUCCESS\ntxn_id=A\ntxn_id=B\n"[..],
        b"SUCCESS\ntxn_id=A\ntxn%5Fid=A\n",
        b"SUCCESS\nmemo=\nmemo=\n",
    ] {
        let reason = Reason::of("ambiguous_field");
        assert_eq!(answer(body), Answer::Indeterminate(reason));
    }
}

#[test]
fn line_ends_of_both_kinds_and_lines_that_say_nothing_are_understood() {
    let success = success(b"SUCCESS\r\ntxn_id=T1\r\n -\r\n - stray=1\r\nmemo=\r\n...\r\n\r\n");
    let pairs: Vec<_> = success.fields().iter().collect();
    assert_eq!(pairs, [("txn_id", "T1"), ("memo", "")]);
}

#[test]
fn text_is_read_by_the_charset_of_the_answer_and_handed_on_unchanged() {
    let body = b"SUCCESS\nfirst_name=J%C3%B6rg\ncharset=UTF-8\ntxn_id=T1\npayment_status=Pending";
    assert_eq!(success(body).fields().get("first_name"), Some("Jörg"));
    assert_eq!(read_evidence(body).data.payer.name.as_deref(), Some("Jörg"));
    let body = b"SUCCESS\nfirst_name=J%F6rg\ntxn_id=T1\npayment_status=Pending";
    assert_eq!(read_evidence(body).data.payer.name.as_deref(), Some("Jörg"));
}

#[test]
fn a_refusal_gives_its_number_and_says_nothing_about_the_payment() {
    let code = |body: &[u8]| match answer(body) {
        Answer::Fail(code) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(fixture!("pdt_fail_4003")), FailCode(Some(4003)));
    assert_eq!(code(b"FAIL\r\nError: 4020\r\n"), FailCode(Some(4020)));
    assert_eq!(code(b"FAIL\n"), FailCode(None));
    assert_eq!(FailCode(Some(4011)).meaning(), "unknown");
    assert!(FailCode(Some(4003)).meaning().contains("five times"));
}

#[test]
fn anything_else_is_no_answer() {
    for (status, body, expected) in [
        (200, &b""[..], "empty_answer"),
        (200, fixture!("postback_fatal_failure"), "html_answer"),
        (200, b"SUCCESSFUL\ntxn_id=T1", "unexpected_answer"),
        (200, b"success\ntxn_id=T1", "unexpected_answer"),
        (302, b"SUCCESS\ntxn_id=T1", "redirect"),
        (500, b"SUCCESS\ntxn_id=T1", "http_status"),
    ] {
        assert_eq!(
            decode(&reply(status, body)),
            Answer::Indeterminate(Reason::of(expected))
        );
    }
}

#[test]
fn only_a_token_can_be_looked_up_and_the_identity_token_is_encoded() {
    for bad in [
        "",
        "short",
        "7QT00000WA0000001&at=x",
        "7QT00000%41",
        &"A".repeat(25),
    ] {
        assert!(bad.parse::<Token>().is_err(), "{bad}");
    }
    let token: Token = "7QT00000WA0000001".parse().unwrap();
    let asked = request(&token, &account()).unwrap();
    assert_eq!(asked.url, account().pdt_url);
    assert_eq!(
        asked.body,
        "cmd=_notify-synch&tx=7QT00000WA0000001&at=IdentityToken%26%3D%2B"
    );
    let without = Account {
        pdt_token: None,
        ..account()
    };
    assert_eq!(request(&token, &without), None);
}

#[test]
fn debug_of_an_answer_shows_no_value() {
    let shown = format!("{:?}", answer(fixture!("pdt_success")));
    assert!(!shown.contains("customer.example") && !shown.contains("FORGED"));
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        answer(&body);
        answer(&[b"SUCCESS\n", body.as_slice()].concat());
    }

    #[test]
    fn evidence_has_exactly_the_fields_of_the_answer(
        lines in prop::collection::vec(("[a-z]{1,6}", "[ -~\r]{0,12}"), 0..8)
    ) {
        let body = lines.iter().fold("SUCCESS\n".to_owned(), |body, (name, value)| {
            body + name + "=" + value + "\n"
        });
        if let Answer::Success(success) = answer(body.as_bytes()) {
            let again = Fields::parse(&evidence(&success));
            prop_assert_eq!(&again, success.fields());
        }
    }
}
