//! A part of a stage's work that waits for somebody else, as a span below the stage's own.
//!
//! Like a hop it is told field by field: no address, nothing of what was asked or answered.

use super::hop::{Record, Work};
use crate::message::Message;
use crate::trace::TraceContext;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepName {
    /// The verifier asks the gateway whether it sent a message.
    Postback,
    /// The verifier claims an event.
    Claim,
    /// The fulfiller's transaction on the books.
    Books,
    /// The notifier hands mail or a webhook over.
    Send,
}

impl StepName {
    /// The name of the span.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postback => "postback",
            Self::Claim => "claim",
            Self::Books => "books",
            Self::Send => "send",
        }
    }
}

/// A step that has begun. Its span ends when it is dropped.
#[derive(Debug)]
pub struct Step {
    record: Option<Record>,
}

impl Step {
    /// A step of the stage that has `message` in hand and has put its own context there. Without one
    /// there is no span.
    pub fn within(message: &Message, name: StepName) -> Self {
        let parent = message
            .headers
            .traceparent
            .as_deref()
            .and_then(TraceContext::parse);
        let record = parent.map(|parent| {
            let context = parent.child(rand::random());
            Record::begin(Work::Step(name), Some(parent), context, message.id)
        });
        Self { record }
    }

    /// The context that whoever is asked may go on with.
    pub fn context(&self) -> Option<TraceContext> {
        self.record.as_ref().map(|record| record.context)
    }

    /// Notes how it ended, and whether that is as it should be.
    pub fn ended(&mut self, outcome: &'static str, is_well: bool) {
        if let Some(record) = &mut self.record {
            record.ended(outcome, is_well);
        }
    }

    /// It was not done after all: there is no span.
    pub fn not_done(&mut self) {
        self.record = None;
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(record) = &mut self.record {
            record.export();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::ids::MessageId;
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
    fn a_step_is_a_child_of_the_stage_that_has_the_message() {
        let stage = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut step = Step::within(&message(Some(stage)), StepName::Postback);
        let context = step.context().unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let record = step.record.clone().unwrap();
        assert_eq!(record.parent, TraceContext::parse(stage));
        assert_ne!(record.parent, Some(context));
        step.not_done();
        assert_eq!(step.context(), None);
    }

    #[test]
    fn without_a_stage_there_is_no_step() {
        let step = Step::within(&message(None), StepName::Books);
        assert_eq!(step.context(), None);
    }
}
