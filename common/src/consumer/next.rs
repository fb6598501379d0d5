//! What message follows from a decision, and where it goes. Pure: `now` is an argument.

use std::time::Duration;

use jiff::Timestamp;

use crate::disposition::{Lot, Wait};
use crate::ids::Reason;
use crate::message::{Message, capped_detail};
use crate::queue::{QueueId, WorkQueue};
use crate::retry::{Ladder, Rung};

/// Why a message is not done: for headers, metrics and people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Why {
    /// The reason code.
    pub(super) reason: Reason,
    /// The same for people.
    pub(super) detail: String,
}

/// Where a message stands when the stage has decided about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The work queue that it came from.
    pub(super) work: WorkQueue,
    /// That queue's full name.
    pub(super) queue: &'a str,
    /// Now.
    pub(super) now: Timestamp,
}

/// The message as it waits, and on which rung. The id, the kind and the body stay.
pub(super) fn delayed(
    message: &Message,
    place: Place<'_>,
    ladder: &Ladder,
    wait: Wait,
    why: Why,
) -> (QueueId, Message) {
    let spent = message.headers.attempt;
    let (rung, attempt): (Rung, u32) = match wait {
        Wait::Counted { at_least } => (ladder.rung(spent, at_least), spent.saturating_add(1)),
        Wait::Free { at_least } => (ladder.rung(0, at_least), spent),
    };
    let mut next = marked(message, place, why);
    next.headers.attempt = attempt;
    (QueueId::Retry(place.work, rung), next)
}

/// The message as it is parked, and where.
pub(super) fn parked(
    message: &Message,
    place: Place<'_>,
    lot: Lot,
    why: Why,
) -> (QueueId, Message) {
    let queue = match lot {
        Lot::Dead => QueueId::Dead(place.work),
        Lot::Quarantine => QueueId::Quarantine,
    };
    (queue, marked(message, place, why))
}

/// What becomes of a message whose handler panicked: an attempt is spent, and when every rung has
/// been tried it is parked, because a stage that panics cannot give up by itself.
pub(super) fn after_panic(
    message: &Message,
    place: Place<'_>,
    ladder: &Ladder,
) -> (QueueId, Message) {
    let why = Why {
        reason: Reason::of("panic"),
        detail: "the handler panicked; the log has the place".to_owned(),
    };
    let tried_all = usize::try_from(message.headers.attempt)
        .is_ok_and(|attempt| attempt >= ladder.rungs().len());
    if tried_all {
        parked(message, place, Lot::Dead, why)
    } else {
        let at_least = Duration::ZERO;
        delayed(message, place, ladder, Wait::Counted { at_least }, why)
    }
}

/// The message with its history: the first failure is remembered, the last one described.
fn marked(message: &Message, place: Place<'_>, why: Why) -> Message {
    let mut next = message.clone();
    let headers = &mut next.headers;
    headers.first_failed_at.get_or_insert(place.now);
    headers.reason = Some(why.reason);
    headers.reason_detail = Some(capped_detail(&why.detail));
    headers.origin_queue = Some(place.queue.to_owned());
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;
    use crate::message::{Headers, MessageKind, REASON_DETAIL_LIMIT};

    fn message(attempt: u32) -> Message {
        Message {
            id: MessageId::new(),
            kind: MessageKind::NotificationV1,
            content_type: "application/x-www-form-urlencoded".into(),
            timestamp: "2026-11-22T10:00:00Z".parse().unwrap(),
            headers: Headers {
                attempt,
                ..Headers::default()
            },
            body: bytes::Bytes::from_static(b"txn_id=1&first_name=J%FCrgen"),
        }
    }

    fn place() -> Place<'static> {
        Place {
            work: WorkQueue::Verify,
            queue: "ipn.verify",
            now: "2026-11-22T11:00:00Z".parse().unwrap(),
        }
    }

    fn why(reason: &'static str) -> Why {
        Why {
            reason: Reason::of(reason),
            detail: "no answer in 30 s".into(),
        }
    }

    fn rung_of(queue: QueueId) -> String {
        match queue {
            QueueId::Retry(WorkQueue::Verify, rung) => rung.to_string(),
            other => panic!("not a delay queue: {other:?}"),
        }
    }

    #[test]
    fn a_counted_wait_spends_an_attempt_and_climbs_the_ladder() {
        let ladder = Ladder::default();
        let wait = Wait::Counted {
            at_least: Duration::ZERO,
        };
        let before = message(2);
        let (queue, after) = delayed(&before, place(), &ladder, wait, why("gateway_timeout"));
        assert_eq!(rung_of(queue), "30s");
        assert_eq!(after.headers.attempt, 3);
        assert_eq!(after.headers.reason, Some(Reason::of("gateway_timeout")));
        assert_eq!(after.headers.origin_queue.as_deref(), Some("ipn.verify"));
        assert_eq!((after.id, after.body), (before.id, before.body));
    }

    #[test]
    fn a_free_wait_spends_nothing_and_stays_on_the_first_rung_that_is_long_enough() {
        let ladder = Ladder::default();
        let wait = Wait::Free {
            at_least: Duration::from_secs(2),
        };
        let (queue, after) = delayed(&message(6), place(), &ladder, wait, why("claim_busy"));
        assert_eq!(rung_of(queue), "5s");
        assert_eq!(after.headers.attempt, 6);
    }

    #[test]
    fn the_first_failure_is_remembered_through_later_ones() {
        let first = "2026-11-20T00:00:00Z".parse().unwrap();
        let mut before = message(1);
        before.headers.first_failed_at = Some(first);
        let (_, after) = parked(&before, place(), Lot::Dead, why("gave_up"));
        assert_eq!(after.headers.first_failed_at, Some(first));
        let (_, after) = parked(&message(1), place(), Lot::Dead, why("gave_up"));
        assert_eq!(after.headers.first_failed_at, Some(place().now));
    }

    #[test]
    fn a_parked_message_goes_where_the_lot_says_with_its_attempts() {
        let (queue, after) = parked(&message(4), place(), Lot::Dead, why("gave_up"));
        assert_eq!(queue, QueueId::Dead(WorkQueue::Verify));
        assert_eq!(after.headers.attempt, 4);
        let (queue, _) = parked(&message(4), place(), Lot::Quarantine, why("invalid"));
        assert_eq!(queue, QueueId::Quarantine);
    }

    #[test]
    fn a_long_detail_never_overflows_a_frame() {
        let mut why = why("invalid");
        why.detail = "x".repeat(100_000);
        let (_, after) = parked(&message(0), place(), Lot::Dead, why);
        assert_eq!(
            after.headers.reason_detail.unwrap().len(),
            REASON_DETAIL_LIMIT
        );
    }

    #[test]
    fn a_message_that_panics_every_time_is_parked_when_the_ladder_is_climbed() {
        let ladder = Ladder::default();
        let (queue, after) = after_panic(&message(0), place(), &ladder);
        assert_eq!(rung_of(queue), "1s");
        assert_eq!(after.headers.attempt, 1);
        let (queue, _) = after_panic(&message(6), place(), &ladder);
        assert_eq!(rung_of(queue), "6h");
        let (queue, after) = after_panic(&message(7), place(), &ladder);
        assert_eq!(queue, QueueId::Dead(WorkQueue::Verify));
        assert_eq!(after.headers.reason, Some(Reason::of("panic")));
    }
}
