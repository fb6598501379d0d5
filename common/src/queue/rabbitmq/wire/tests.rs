use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::{GatewayId, Reason};

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn message() -> impl Strategy<Value = Message> {
    let kinds = prop_oneof![
        Just(MessageKind::NotificationV1),
        Just(MessageKind::EvidenceV1),
        "[a-z.]{1,40}v2".prop_map(MessageKind::Unknown),
    ];
    let other = prop::collection::btree_map("y-[a-z]{1,20}", ".{0,60}", 0..5);
    (
        kinds,
        "[ -~]{0,80}",
        0_i64..=4_102_444_800,
        other,
        prop::collection::vec(any::<u8>(), 0..300),
        any::<u32>(),
        prop::option::of(".{0,200}"),
    )
        .prop_map(
            |(kind, content_type, second, other, body, attempt, reason_detail)| Message {
                id: MessageId::new(),
                kind,
                content_type,
                timestamp: Timestamp::from_second(second).unwrap(),
                headers: Headers {
                    gateway: Some(GatewayId::PayPal),
                    account: Some("shop-1".parse().unwrap()),
                    received_at: Some("2026-11-22T10:00:00.125Z".parse().unwrap()),
                    attempt,
                    reason: Some(Reason::of("gateway_timeout")),
                    reason_detail,
                    other,
                    ..Headers::default()
                },
                body: Bytes::from(body),
            },
        )
}

fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        prop::collection::vec(any::<u8>(), 0..50)
            .prop_map(|bytes| AMQPValue::LongString(LongString::from(bytes))),
        prop::collection::vec(any::<u8>(), 0..50)
            .prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| AMQPValue::FieldArray(values.into())),
            prop::collection::btree_map("[a-z-]{1,10}", inner, 0..4).prop_map(|values| {
                let mut table = FieldTable::default();
                for (name, value) in values {
                    table.insert(ShortString::try_new(name).unwrap(), value);
                }
                AMQPValue::FieldTable(table)
            }),
        ]
    })
}

fn short_text() -> impl Strategy<Value = Option<ShortString>> {
    prop::option::of(".{0,60}")
        .prop_map(|text| text.map(|text| ShortString::try_new(text).unwrap()))
}

proptest! {
    #[test]
    fn a_message_written_and_read_again_is_the_same(message in message()) {
        let properties = encode(&message).unwrap();
        prop_assert_eq!(decode(&properties, message.body.to_vec(), now()), message);
    }

    #[test]
    fn whatever_comes_in_keeps_its_body_and_can_be_published_again(
        names in prop::collection::btree_map("[ -~]{0,40}", value(), 0..6),
        (id, kind, content_type) in (short_text(), short_text(), short_text()),
        timestamp in prop::option::of(any::<u64>()),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut table = FieldTable::default();
        for (name, value) in names {
            table.insert(ShortString::try_new(name).unwrap(), value);
        }
        let mut properties = BasicProperties::default().with_headers(table);
        if let Some(id) = id { properties = properties.with_message_id(id); }
        if let Some(kind) = kind { properties = properties.with_type(kind); }
        if let Some(text) = content_type { properties = properties.with_content_type(text); }
        if let Some(seconds) = timestamp { properties = properties.with_timestamp(seconds); }
        let read = decode(&properties, body.clone(), now());
        prop_assert_eq!(read.body.as_ref(), body.as_slice());
        prop_assert!(encode(&read).is_ok());
    }
}

#[test]
fn the_written_properties_are_persistent_and_named_as_the_contract_says() {
    let message = Message {
        id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".into(),
        timestamp: now(),
        headers: Headers {
            gateway: Some(GatewayId::PayPal),
            account: Some("default".parse().unwrap()),
            received_at: Some("2026-11-22T10:00:00.125Z".parse().unwrap()),
            remote_addr: Some("127.0.0.1".parse().unwrap()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            ..Headers::default()
        },
        body: Bytes::from_static(b"txn_id=1"),
    };
    let properties = encode(&message).unwrap();
    let written = serde_json::json!({
        "app_id": properties.app_id().as_ref().map(ShortString::as_str),
        "content_type": properties.content_type().as_ref().map(ShortString::as_str),
        "delivery_mode": properties.delivery_mode(),
        "headers": properties.headers().as_ref().map(|table| {
            table.into_iter().map(|(name, value)| (name.to_string(), text_of(value)))
                .collect::<BTreeMap<_, _>>()
        }),
        "message_id": properties.message_id().as_ref().map(ShortString::as_str),
        "timestamp": properties.timestamp(),
        "type": properties.kind().as_ref().map(ShortString::as_str),
    });
    let golden = include_str!("../../../../../tests/golden/amqp-notification-v1.json");
    assert_eq!(
        golden.trim_end(),
        serde_json::to_string_pretty(&written).unwrap()
    );
}

#[test]
fn a_message_without_an_id_has_the_same_id_whenever_it_comes() {
    let read = |id: Option<&str>, body: &[u8]| {
        let mut properties = BasicProperties::default();
        if let Some(id) = id {
            properties = properties.with_message_id(ShortString::try_new(id).unwrap());
        }
        decode(&properties, body.to_vec(), now())
    };
    assert_eq!(read(None, b"a").id, read(None, b"a").id);
    assert_ne!(read(None, b"a").id, read(None, b"b").id);
    let foreign = read(Some("order 7"), b"a");
    assert_eq!(foreign.id, read(None, b"a").id);
    assert_eq!(
        foreign.headers.other.get(FOREIGN_ID).map(String::as_str),
        Some("order 7")
    );
}

#[test]
fn what_the_broker_wrote_is_not_carried_on_and_an_attempt_is_read_from_a_number() {
    let mut table = FieldTable::default();
    table.insert("attempt".into(), AMQPValue::LongInt(4));
    table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(2));
    table.insert("x-death".into(), AMQPValue::FieldArray(Vec::new().into()));
    let properties = BasicProperties::default().with_headers(table);
    let read = decode(&properties, Vec::new(), now());
    assert_eq!(read.headers.attempt, 4);
    assert!(read.headers.other.is_empty());
}

#[test]
fn headers_beyond_a_frame_are_refused_before_they_are_sent() {
    let mut message = decode(&BasicProperties::default(), b"body".to_vec(), now());
    message
        .headers
        .other
        .insert("stack".into(), "x".repeat(HEADERS_LIMIT));
    assert!(matches!(
        encode(&message),
        Err(PublishError::TooLarge { .. })
    ));
}

#[test]
fn a_text_over_255_bytes_in_a_short_property_is_refused_and_never_panics() {
    let mut message = decode(&BasicProperties::default(), Vec::new(), now());
    message.content_type = "x".repeat(256);
    assert!(matches!(
        encode(&message),
        Err(PublishError::TooLarge { .. })
    ));
}
