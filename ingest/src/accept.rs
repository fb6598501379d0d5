//! What is accepted, and what is answered otherwise. Pure: values in, values out.

use std::net::IpAddr;

use axum::http::StatusCode;
use bytes::Bytes;
use jiff::Timestamp;
use quittance_common::ids::{AccountId, GatewayId, MessageId};
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::settings::Settings;
use quittance_common::trace::TraceContext;

/// The only media type that a notification comes in.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The longest `Content-Type` that is kept as it came: an AMQP short string has 255 bytes.
const CONTENT_TYPE_LIMIT: usize = 255;

/// The account of `/ipn/{gateway}`.
const DEFAULT_ACCOUNT: &str = "default";

/// Where a notification belongs, by its URL alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Who sends it.
    pub gateway: GatewayId,
    /// Whose it is.
    pub account: AccountId,
}

/// Why a request is not answered with `200`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such gateway or account.
    Unknown,
    /// Not a POST.
    Method,
    /// Not a form.
    NotAForm,
    /// More than `ingest.max_body`.
    TooLarge,
    /// No body at all.
    Empty,
    /// The body did not come in time.
    Slow,
    /// The body ended before its end.
    Broken,
    /// More than `ingest.max_in_flight` at once.
    Busy,
    /// The process is about to end.
    Draining,
    /// The broker did not confirm; whether it has the message is unknown.
    NotDurable,
}

impl Refusal {
    /// Every refusal, for label sets.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::Method,
        Self::NotAForm,
        Self::TooLarge,
        Self::Empty,
        Self::Slow,
        Self::Broken,
        Self::Busy,
        Self::Draining,
        Self::NotDurable,
    ];

    /// The status that is answered.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Empty | Self::Broken => StatusCode::BAD_REQUEST,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::Draining | Self::NotDurable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The metric label.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Method => "method",
            Self::NotAForm => "not_a_form",
            Self::TooLarge => "too_large",
            Self::Empty => "empty",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::NotDurable => "not_durable",
        }
    }

    /// Whether the connection is of no use any more: the rest of the body may still be on its
    /// way, or we are going.
    pub const fn closes(self) -> bool {
        matches!(
            self,
            Self::TooLarge | Self::Slow | Self::Broken | Self::Draining
        )
    }
}

/// The account that a path names, if it is set.
pub fn route(settings: &Settings, gateway: &str, account: Option<&str>) -> Option<Route> {
    let gateway: GatewayId = gateway.parse().ok()?;
    let account: AccountId = account.unwrap_or(DEFAULT_ACCOUNT).parse().ok()?;
    settings.account(gateway, &account)?;
    Some(Route { gateway, account })
}

/// What can be said before the body is read.
pub fn screen(
    is_post: bool,
    content_type: Option<&str>,
    content_length: Option<u64>,
    max_body: usize,
) -> Result<(), Refusal> {
    if !is_post {
        return Err(Refusal::Method);
    }
    if !content_type.is_some_and(is_form) {
        return Err(Refusal::NotAForm);
    }
    // A length beyond the address space is certainly too large.
    let length = content_length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    match length {
        Some(length) if length > max_body => Err(Refusal::TooLarge),
        Some(0) => Err(Refusal::Empty),
        _ => Ok(()),
    }
}

/// Whether a `Content-Type` is a form's, with or without parameters.
pub fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(FORM)
}

/// What is known about a request when its body is whole.
#[derive(Debug, Clone)]
pub struct Received {
    /// Where it belongs.
    pub route: Route,
    /// The `Content-Type` as it came.
    pub content_type: String,
    /// The peer's address.
    pub peer: Option<IpAddr>,
    /// The `traceparent` header as it came, if any.
    pub traceparent: Option<String>,
    /// When the body was whole.
    pub at: Timestamp,
}

/// The message that is published: the exact bytes, and what is known about them.
pub fn notification(id: MessageId, received: Received, body: Bytes) -> Message {
    let fits = received.content_type.len() <= CONTENT_TYPE_LIMIT;
    let incoming = received
        .traceparent
        .as_deref()
        .and_then(TraceContext::parse);
    let trace = trace_of(id, incoming);
    Message {
        id,
        kind: MessageKind::NotificationV1,
        content_type: if fits {
            received.content_type
        } else {
            FORM.to_owned()
        },
        timestamp: received.at,
        headers: Headers {
            gateway: Some(received.route.gateway),
            account: Some(received.route.account),
            received_at: Some(received.at),
            remote_addr: received.peer.map(|peer| peer.to_canonical()),
            traceparent: Some(trace.to_string()),
            ..Headers::default()
        },
        body,
    }
}

/// The trace of a message that is taken in: the sender's, or one of its own.
fn trace_of(id: MessageId, incoming: Option<TraceContext>) -> TraceContext {
    incoming.map_or_else(
        || TraceContext::of_message(id),
        |incoming| incoming.taken_in_as(id),
    )
}

/// The message that carries a gateway's answer to our own look-up, made for a visit that may be a part
/// of a trace. `name` is the same for every copy of the same answer, and so is the message's id.
pub fn evidence(
    name: &str,
    route: Route,
    body: Bytes,
    at: Timestamp,
    visit: Option<TraceContext>,
) -> Message {
    let id = MessageId::from_name(name);
    Message {
        id,
        kind: MessageKind::EvidenceV1,
        content_type: FORM.to_owned(),
        timestamp: at,
        headers: Headers {
            gateway: Some(route.gateway),
            account: Some(route.account),
            received_at: Some(at),
            traceparent: Some(trace_of(id, visit).to_string()),
            ..Headers::default()
        },
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn received(content_type: &str, traceparent: Option<&str>) -> Received {
        Received {
            route: Route {
                gateway: GatewayId::PayPal,
                account: "default".parse().unwrap(),
            },
            content_type: content_type.to_owned(),
            peer: Some("::ffff:192.0.2.1".parse().unwrap()),
            traceparent: traceparent.map(str::to_owned),
            at: "2026-11-22T10:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_form_is_accepted_with_and_without_parameters() {
        for accepted in [
            FORM,
            "application/x-www-form-urlencoded; charset=windows-1252",
            "Application/X-WWW-Form-Urlencoded ;charset=utf-8",
        ] {
            assert_eq!(
                screen(true, Some(accepted), Some(10), 100),
                Ok(()),
                "{accepted}"
            );
        }
        for refused in [
            None,
            Some(""),
            Some("application/json"),
            Some("text/plain; a=application/x-www-form-urlencoded"),
        ] {
            assert_eq!(
                screen(true, refused, Some(10), 100),
                Err(Refusal::NotAForm),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_body_is_measured_before_it_is_read() {
        assert_eq!(screen(true, Some(FORM), Some(100), 100), Ok(()));
        assert_eq!(screen(true, Some(FORM), None, 100), Ok(()));
        assert_eq!(
            screen(true, Some(FORM), Some(101), 100),
            Err(Refusal::TooLarge)
        );
        assert_eq!(
            screen(true, Some(FORM), Some(u64::MAX), 100),
            Err(Refusal::TooLarge)
        );
        assert_eq!(screen(true, Some(FORM), Some(0), 100), Err(Refusal::Empty));
        assert_eq!(
            screen(false, Some(FORM), Some(1), 100),
            Err(Refusal::Method)
        );
    }

    #[test]
    fn a_valid_trace_is_carried_on_and_any_other_replaced() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let id = MessageId::new();
        let trace = |incoming| {
            let message = notification(id, received(FORM, incoming), Bytes::from_static(b"a=b"));
            message.headers.traceparent.unwrap()
        };
        let carried_on = trace(Some(valid));
        assert!(carried_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(
            !carried_on.contains("00f067aa0ba902b7"),
            "a span of its own"
        );
        for incoming in [
            None,
            Some(""),
            Some("00-0-0-00"),
            Some("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        ] {
            let made = trace(incoming);
            assert!(TraceContext::parse(&made).is_some(), "{made}");
            assert_ne!(Some(made.as_str()), incoming);
        }
    }

    #[test]
    fn a_mapped_address_is_told_in_its_own_family() {
        let message = notification(MessageId::new(), received(FORM, None), Bytes::new());
        assert_eq!(
            message.headers.remote_addr.unwrap().to_string(),
            "192.0.2.1"
        );
    }

    #[test]
    fn a_content_type_too_long_for_the_broker_is_told_in_short() {
        let long = format!("{FORM}; x={}", "y".repeat(300));
        let message = notification(MessageId::new(), received(&long, None), Bytes::new());
        assert_eq!(message.content_type, FORM);
    }

    #[test]
    fn every_temporary_refusal_is_503_and_labels_differ() {
        let mut labels: Vec<&str> = Refusal::ALL.iter().map(|r| r.as_label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Refusal::ALL.len());
        for temporary in [Refusal::Busy, Refusal::Draining, Refusal::NotDurable] {
            assert_eq!(temporary.status().as_u16(), 503);
        }
    }

    proptest! {
        #[test]
        fn the_body_is_published_exactly_as_it_came(body: Vec<u8>) {
            let message = notification(
                MessageId::new(),
                received(FORM, None),
                Bytes::from(body.clone()),
            );
            prop_assert_eq!(message.body.as_ref(), body.as_slice());
            prop_assert_eq!(message.kind, MessageKind::NotificationV1);
        }
    }
}
