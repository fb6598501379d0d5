//! Which messages are the same event, which are a conflict, and that no bytes can make reading
//! panic or judging err on the side of "verified".

use proptest::prelude::*;

use super::*;

/// The fields of a payment that carry meaning, as name and value.
const PAID: [(&str, &str); 12] = [
    ("txn_id", "7QT00000ID0000001"),
    ("payment_status", "Completed"),
    ("txn_type", "web_accept"),
    ("mc_gross", "12.50"),
    ("mc_currency", "EUR"),
    ("receiver_id", "QTSHOP5TEST01"),
    ("receiver_email", "owner@shop.example"),
    ("invoice", "INV-1"),
    ("custom", "Größe"),
    ("item_number", "BOOK-1"),
    ("first_name", "Jörg"),
    ("payment_date", "20:12:59 Jan 13, 2026 PST"),
];

/// A body of these pairs, percent-encoded after the charset.
fn body(pairs: &[(&str, &str)], charset: &'static encoding_rs::Encoding) -> String {
    let encoded = |text: &str| -> String {
        url::form_urlencoded::byte_serialize(&charset.encode(text).0).collect()
    };
    let fields: Vec<String> = pairs
        .iter()
        .chain(&[("charset", charset.name())])
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    fields.join("&")
}

fn with(changed: &str, value: &'static str) -> Reading {
    let pairs = PAID.map(|(name, old)| (name, if name == changed { value } else { old }));
    reading(body(&pairs, encoding_rs::WINDOWS_1252).as_bytes())
}

#[test]
fn a_resend_in_another_charset_is_the_same_event() {
    let first = reading(fixture!("web_accept_completed_umlaut"));
    let resend = reading(fixture!("web_accept_completed_utf8"));
    assert_eq!(first.key, resend.key);
    assert_eq!(first.fingerprint, resend.fingerprint);
    assert_eq!(first.data.payer, resend.data.payer);
}

#[test]
fn pending_and_completed_of_one_payment_have_one_subject_and_two_keys() {
    let pending = reading(fixture!("web_accept_pending_echeck"));
    let completed = reading(fixture!("web_accept_completed"));
    assert_eq!(pending.data.subject, completed.data.subject);
    assert_ne!(pending.key, completed.key);
}

#[test]
fn the_items_of_one_auction_are_events_of_one_payment_and_a_resend_is_the_same_one() {
    let first = reading(fixture!("auction_completed"));
    let second = reading(fixture!("auction_second_item_completed"));
    assert_eq!(first.data.subject, second.data.subject);
    assert_ne!(first.key, second.key);
    let told = |reading: &Reading| reading.data.auction.clone().unwrap();
    assert_eq!((told(&first).items, told(&second).items), (2, 2));
    let text = String::from_utf8(fixture!("auction_completed").to_vec()).unwrap();
    let resend = reading(format!("{}&resend=true", text.trim()).as_bytes());
    assert_eq!(
        (&resend.key, &resend.fingerprint),
        (&first.key, &first.fingerprint)
    );
    let more = reading(text.replace("&quantity=1", "&quantity=2").as_bytes());
    assert_eq!(more.key, first.key);
    assert_ne!(
        more.fingerprint, first.fingerprint,
        "the amount does not tell how many"
    );
}

#[test]
fn only_an_auction_of_several_items_has_its_item_in_the_key() {
    let text = String::from_utf8(fixture!("auction_completed").to_vec()).unwrap();
    let of = |old: &str, new: &str| {
        assert!(text.contains(old), "{old}");
        reading(text.replace(old, new).as_bytes())
    };
    let payment = "pp:live:7QT00000AC0000001:completed:";
    for (old, new) in [
        ("&for_auction=true", "&for_auction=false"),
        ("&auction_multi_item=2", "&auction_multi_item=1"),
        ("&auction_multi_item=2", "&auction_multi_item=two"),
        ("&auction_multi_item=2", ""),
        ("&item_name=Green+book&item_number=BOOK-1", ""),
    ] {
        let single = of(old, new);
        assert_eq!(single.key.as_str(), payment, "{new}");
        assert_eq!(single.data.auction, None);
    }
    let nameless = of("&item_number=BOOK-1", "");
    let other = reading(
        text.replace("&item_number=BOOK-1", "")
            .replace("Green", "Blue")
            .as_bytes(),
    );
    assert_ne!(nameless.key, other.key, "told apart by their names");
    assert!(!nameless.key.as_str().contains("Green"), "{}", nameless.key);
}

#[test]
fn the_same_key_with_another_amount_payee_or_order_is_a_conflict() {
    let first = with("", "");
    for (name, value) in [
        ("mc_gross", "12.51"),
        ("mc_currency", "USD"),
        ("receiver_id", "OTHER"),
        ("invoice", "INV-2"),
        ("custom", "Grösse"),
    ] {
        let other = with(name, value);
        assert_eq!(other.key, first.key, "{name}");
        assert_ne!(other.fingerprint, first.fingerprint, "{name}");
    }
}

#[test]
fn how_a_message_was_sent_is_no_conflict() {
    let first = with("", "");
    for (name, value) in [
        ("payment_date", "20:12:59 Jan. 13, 2026 PST"),
        ("mc_gross", "12.5"),
        ("mc_currency", "eur"),
        ("receiver_id", " qtshop5test01"),
        ("receiver_email", "new-primary@shop.example"),
        ("payment_status", "COMPLETED"),
    ] {
        let other = with(name, value);
        assert_eq!(other.key, first.key, "{name}");
        assert_eq!(other.fingerprint, first.fingerprint, "{name}");
    }
}

#[test]
fn a_pending_reason_left_over_in_a_completed_payment_is_not_in_its_key() {
    let paid = "txn_id=T1&payment_status=Completed";
    let left_over = reading(format!("{paid}&pending_reason=echeck").as_bytes());
    assert_eq!(left_over.key, reading(paid.as_bytes()).key);
}

#[test]
fn an_item_of_a_mass_payment_to_somebody_else_is_a_conflict() {
    let item = |receiver: &str, unique: &str, gross: &str| {
        let body = format!(
            "txn_type=masspay&masspay_txn_id_1=M1&status_1=Completed&mc_gross_1={gross}\
             &mc_currency_1=EUR&receiver_email_1={receiver}&unique_id_1={unique}"
        );
        reading(body.as_bytes())
    };
    let first = item("a", "u", "1.00");
    for other in [
        item("b", "u", "1.00"),
        item("a", "v", "1.00"),
        item("a", "u", "1.01"),
    ] {
        assert_eq!(other.key, first.key);
        assert_ne!(other.fingerprint, first.fingerprint);
    }
    assert_eq!(item("A", "u", "1.0").fingerprint, first.fingerprint);
}

#[test]
fn two_failures_of_one_profile_are_two_events() {
    let failed = |next: &str| {
        let body = format!(
            "txn_type=recurring_payment_failed&recurring_payment_id=I-1&time_created=\
             20:11:19+Oct+13,+2026+PDT&next_payment_date={next}"
        );
        reading(body.as_bytes()).key
    };
    assert_ne!(
        failed("03:00:00+Nov+13,+2026+PST"),
        failed("03:00:00+Dec+13,+2026+PST")
    );
}

#[test]
fn changed_terms_of_a_subscription_change_the_fingerprint() {
    let signup = |amount: &str| {
        let body = format!("txn_type=subscr_signup&subscr_id=I-1&mc_amount3={amount}");
        reading(body.as_bytes())
    };
    assert_eq!(signup("7.50").key, signup("9.50").key);
    assert_ne!(signup("7.50").fingerprint, signup("9.50").fingerprint);
}

#[test]
fn the_gateways_answer_has_three_outcomes() {
    let reason = |status, body: &[u8]| match judge(&reply(status, body)) {
        Verdict::Verified(_) => "verified".to_owned(),
        Verdict::Invalid => "invalid".to_owned(),
        Verdict::Indeterminate { reason, .. } => reason.to_string(),
    };
    for (status, body, expected) in [
        (200, &b"VERIFIED"[..], "verified"),
        (200, b" VERIFIED\r\n", "verified"),
        (200, b"INVALID\n", "invalid"),
        (200, b"UNVERIFIED", "unexpected_answer"),
        (200, b"VERIFIED INVALID", "unexpected_answer"),
        (200, b"verified", "unexpected_answer"),
        (200, b"\xC2\xA0VERIFIED", "unexpected_answer"),
        (200, b" \r\n", "empty_answer"),
        (200, fixture!("postback_fatal_failure"), "html_answer"),
        (201, b"VERIFIED", "http_status"),
        (302, b"VERIFIED", "redirect"),
        (403, b"INVALID", "http_status"),
        (500, b"INVALID", "http_status"),
    ] {
        assert_eq!(reason(status, body), expected, "{status} {body:?}");
    }
}

#[test]
fn a_gateway_that_wants_to_be_left_alone_says_for_how_long() {
    let wait = Some(std::time::Duration::from_secs(7));
    for (status, expected) in [(429, wait), (503, wait), (500, None)] {
        let reply = Reply {
            retry_after: wait,
            ..reply(status, b"")
        };
        let Verdict::Indeterminate { retry_after, .. } = judge(&reply) else {
            panic!("{status}")
        };
        assert_eq!(retry_after, expected, "{status}");
    }
}

/// Bytes that look enough like a message to get far into the reader.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "txn_id",
        "txn_type",
        "payment_status",
        "mc_gross",
        "mc_currency",
        "case_id",
        "charset",
        "item_number1",
        "quantity1",
        "mc_gross_1",
        "masspay_txn_id_1",
        "status_1",
        "subscr_id",
        "payment_date",
        "parent_txn_id",
        "custom",
        "retry_at",
        "pending_reason",
    ]);
    let word = prop::sample::select(vec![
        "Completed",
        "Refunded",
        "masspay",
        "new_case",
        "subscr_failed",
        "utf-8",
        "USD",
        "1.00",
        "web_accept",
        "-",
        "%",
        "%F6",
        "01:13:05+Nov+01,+2015+PST",
    ]);
    let value = prop_oneof![
        4 => word.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..30),
    ];
    prop::collection::vec((name, value), 0..12).prop_map(|pairs| {
        let parts: Vec<Vec<u8>> = pairs
            .into_iter()
            .map(|(name, value)| [name.as_bytes(), b"=", &value].concat())
            .collect();
        parts.join(&b'&')
    })
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        read(&raw(body, Source::Ipn), &account()).ok();
    }

    #[test]
    fn nothing_like_a_message_makes_reading_panic(body in nearly_a_message()) {
        if let Ok(notification) = read(&raw(body, Source::Pdt), &account()) {
            prop_assert!(!notification.readings.is_empty());
            for reading in notification.readings {
                prop_assert!(reading.key.as_str().starts_with("pp:live:"));
            }
        }
    }

    #[test]
    fn order_of_fields_markers_of_sending_and_charset_do_not_matter(
        pairs in Just(PAID.to_vec()).prop_shuffle(),
        track in "[a-f0-9]{12}",
        resend in any::<bool>(),
        utf8 in any::<bool>(),
    ) {
        let mut pairs = pairs;
        pairs.push(("ipn_track_id", &track));
        pairs.push(("verify_sign", &track));
        if resend {
            pairs.insert(0, ("resend", "true"));
        }
        let charset = if utf8 { encoding_rs::UTF_8 } else { encoding_rs::WINDOWS_1252 };
        let shuffled = reading(body(&pairs, charset).as_bytes());
        let first = with("", "");
        prop_assert_eq!(shuffled.key, first.key);
        prop_assert_eq!(shuffled.fingerprint, first.fingerprint);
    }

    #[test]
    fn a_message_without_an_id_keeps_its_key_too(
        pairs in Just(PAID[1..].to_vec()).prop_shuffle(),
        track in "[a-f0-9]{12}",
    ) {
        let plain = reading(body(&PAID[1..], encoding_rs::UTF_8).as_bytes());
        let mut pairs = pairs;
        pairs.push(("ipn_track_id", &track));
        let shuffled = reading(body(&pairs, encoding_rs::WINDOWS_1252).as_bytes());
        prop_assert_eq!(shuffled.key, plain.key);
    }

    #[test]
    fn nothing_but_the_exact_word_is_verified(
        status in prop_oneof![Just(200_u16), 100_u16..600],
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            "[ \r\n<]{0,2}(UN)?VERIFIED[ \r\n.D]{0,2}".prop_map(String::into_bytes),
        ],
    ) {
        let exact = status == 200 && body.trim_ascii() == b"VERIFIED";
        let verdict = judge(&reply(status, &body));
        prop_assert_eq!(matches!(verdict, Verdict::Verified(_)), exact);
    }
}
