//! The W3C trace context of a notification: one trace from HTTP through every queue to the effect.
//!
//! Every hop is a child of the one before: it keeps the trace id and the flags and puts its own
//! span id in the place of the parent's. Ids are random or derived from message ids, never from
//! anything that a payment says.

use std::fmt;

use crate::ids::MessageId;

/// The HTTP header, the AMQP header, and the `CloudEvents` extension attribute.
pub const TRACEPARENT: &str = "traceparent";

/// The bit of the flags that says that the caller records its part of the trace.
const SAMPLED: u8 = 1;

/// The `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent`; `None` unless it is a valid one of version 00.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut hex = |length: usize| {
            parts.next().filter(|part| {
                part.len() == length && part.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
            })
        };
        let version = hex(2)?;
        let trace = u128::from_str_radix(hex(32)?, 16).ok()?;
        let span = u64::from_str_radix(hex(16)?, 16).ok()?;
        let flags = u8::from_str_radix(hex(2)?, 16).ok()?;
        let valid = version == "00" && trace != 0 && span != 0 && parts.next().is_none();
        valid.then_some(Self { trace, span, flags })
    }

    /// The trace that begins with a message: the trace is the message, the span is derived from it.
    pub fn of_message(id: MessageId) -> Self {
        Self {
            trace: id.as_uuid().as_u128(),
            span: span_of(id),
            flags: SAMPLED,
        }
    }

    /// The same trace, continued by ingest's taking in of message `id`.
    #[must_use]
    pub fn taken_in_as(self, id: MessageId) -> Self {
        self.child(span_of(id))
    }

    /// The same trace, continued by the span of that id. Zero is no id and changes nothing.
    #[must_use]
    pub const fn child(self, span: u64) -> Self {
        if span == 0 {
            self
        } else {
            Self { span, ..self }
        }
    }

    /// The trace id: 32 hexadecimal digits, as logs and trace stores write it.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The trace id as a number.
    pub const fn trace(self) -> u128 {
        self.trace
    }

    /// The id of the span that this context was handed on by.
    pub const fn span(self) -> u64 {
        self.span
    }

    /// Whether whoever handed it on records it.
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        write!(out, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

/// The id of the span in which ingest took a message in: the same whoever asks.
fn span_of(id: MessageId) -> u64 {
    let (high, _) = id.derive("trace/ingest").as_uuid().as_u64_pair();
    high.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_context_is_read_and_written_unchanged() {
        let context = TraceContext::parse(VALID).unwrap();
        assert_eq!(context.to_string(), VALID);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_sampled());
    }

    #[test]
    fn what_is_no_valid_context_is_not_read() {
        for text in [
            "",
            "00-0-0-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_child_keeps_the_trace_and_the_flags_and_has_its_own_span() {
        let parent = TraceContext::parse(VALID).unwrap();
        let child = parent.child(0xabc);
        assert_eq!(
            child.to_string(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01"
        );
        assert_eq!(parent.child(0), parent);
    }

    #[test]
    fn a_trace_that_begins_with_a_message_is_valid_and_always_the_same() {
        let id = MessageId::from_name("raw");
        let context = TraceContext::of_message(id);
        assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        assert_eq!(TraceContext::of_message(id), context);
        assert_eq!(context.taken_in_as(id), context);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text: String) {
            TraceContext::parse(&text);
        }
    }
}
