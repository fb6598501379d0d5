//! One stage's part in the trace of one message: the span that its log lines stand in, the context
//! that it hands on, and (with the feature `otlp`) the span that is exported.
//!
//! What is exported is named here, field by field: nothing of a body can get there.

use std::time::Duration;

use jiff::Timestamp;

use super::step::StepName;
use crate::clock;
use crate::ids::MessageId;
use crate::message::Message;
use crate::stage::StageName;
use crate::trace::TraceContext;

/// A stage that has a message in hand. Its span ends when it is dropped.
#[derive(Debug)]
pub struct Hop {
    record: Record,
    log: tracing::Span,
}

/// What a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A stage with a message in hand.
    Stage {
        /// Which one.
        stage: StageName,
        /// The message's AMQP `type`, of those that this build knows.
        kind: &'static str,
        /// Attempts spent before.
        attempt: u32,
    },
    /// A part of that.
    Step(StepName),
}

/// What a trace store is told of a hop or a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// What it is of.
    pub(super) work: Work,
    /// Whose span it continues, if anybody's.
    pub(super) parent: Option<TraceContext>,
    /// Its own.
    pub(super) context: TraceContext,
    /// The message in hand.
    pub(super) message: MessageId,
    /// How it ended.
    pub(super) outcome: &'static str,
    /// Whether that is as it should be.
    pub(super) is_well: bool,
    /// When it began.
    pub(super) began: Timestamp,
    /// How long it took.
    pub(super) took: Duration,
}

impl Record {
    /// Begins now.
    pub(super) fn begin(
        work: Work,
        parent: Option<TraceContext>,
        context: TraceContext,
        message: MessageId,
    ) -> Self {
        Self {
            work,
            parent,
            context,
            message,
            outcome: "unfinished",
            is_well: false,
            began: clock::now(),
            took: Duration::ZERO,
        }
    }

    pub(super) const fn ended(&mut self, outcome: &'static str, is_well: bool) {
        self.outcome = outcome;
        self.is_well = is_well;
    }

    /// Ends now.
    pub(super) fn export(&mut self) {
        let took = clock::now().duration_since(self.began);
        self.took = Duration::try_from(took).unwrap_or_default();
        #[cfg(feature = "otlp")]
        super::otlp::export(self);
    }
}

impl Hop {
    /// Ingest takes `message` in, on behalf of `incoming` if the sender traces.
    pub fn taken_in(message: &Message, incoming: Option<TraceContext>) -> Self {
        let context = context_of(message).unwrap_or_else(|| TraceContext::of_message(message.id));
        let stage = StageName::Ingest;
        // As an error, here and below: a filter of `warn` leaves out spans below that, and with them
        // what tells the message's way.
        let log = tracing::error_span!(
            "accept",
            stage = stage.as_str(),
            message.id = %message.id,
            trace_id = context.trace_id(),
        );
        Self::new(stage, message, incoming, context, log)
    }

    /// `stage` has taken a delivery in hand. `span` is a new random id.
    pub fn delivered(stage: StageName, message: &Message, redelivered: bool, span: u64) -> Self {
        let parent = context_of(message);
        let context = parent
            .unwrap_or_else(|| TraceContext::of_message(message.id))
            .child(span);
        let log = tracing::error_span!(
            "deliver",
            stage = stage.as_str(),
            message.id = %message.id,
            message.kind = message.kind.as_str(),
            attempt = message.headers.attempt,
            redelivered,
            trace_id = context.trace_id(),
        );
        Self::new(stage, message, parent, context, log)
    }

    fn new(
        stage: StageName,
        message: &Message,
        parent: Option<TraceContext>,
        context: TraceContext,
        log: tracing::Span,
    ) -> Self {
        let work = Work::Stage {
            stage,
            kind: message.kind.known(),
            attempt: message.headers.attempt,
        };
        let record = Record::begin(work, parent, context, message.id);
        Self { record, log }
    }

    /// The context that everything which follows from the message is handed on with.
    pub const fn context(&self) -> TraceContext {
        self.record.context
    }

    /// The span that the log lines about the message belong in.
    pub fn log_span(&self) -> tracing::Span {
        self.log.clone()
    }

    /// Notes how it ended.
    pub fn ended(&mut self, outcome: &'static str) {
        let is_well = matches!(outcome, "accepted" | "done" | "retried" | "parked");
        self.record.ended(outcome, is_well);
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.record.export();
    }
}

/// The trace context that a message came with, if it is a valid one.
fn context_of(message: &Message) -> Option<TraceContext> {
    let text = message.headers.traceparent.as_deref()?;
    TraceContext::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Headers, MessageKind};

    fn message(traceparent: Option<&str>) -> Message {
        Message {
            id: MessageId::from_name("raw"),
            kind: MessageKind::NotificationV1,
            content_type: String::new(),
            timestamp: clock::now(),
            headers: Headers {
                traceparent: traceparent.map(str::to_owned),
                ..Headers::default()
            },
            body: bytes::Bytes::new(),
        }
    }

    #[test]
    fn a_delivery_continues_the_trace_of_its_message() {
        let incoming = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let hop = Hop::delivered(StageName::Verifier, &message(Some(incoming)), false, 7);
        assert_eq!(
            hop.context().to_string(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01"
        );
        assert_eq!(hop.record.parent, TraceContext::parse(incoming));
    }

    #[test]
    fn a_message_without_a_valid_trace_begins_one_of_its_own() {
        for none in [None, Some("nonsense")] {
            let hop = Hop::delivered(StageName::Verifier, &message(none), false, 7);
            let own = TraceContext::of_message(MessageId::from_name("raw"));
            assert_eq!(hop.context(), own.child(7));
            assert_eq!(hop.record.parent, None);
        }
    }

    #[test]
    fn a_log_of_warnings_alone_has_the_trace_too() {
        let filter = tracing_subscriber::EnvFilter::new("warn");
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).finish();
        tracing::subscriber::with_default(subscriber, || {
            let message = message(None);
            let accepted = Hop::taken_in(&message, None).log_span();
            let delivered = Hop::delivered(StageName::Verifier, &message, false, 7).log_span();
            assert!(!accepted.is_disabled() && !delivered.is_disabled());
        });
    }
}
