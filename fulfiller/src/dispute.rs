//! What all events of one case mean. Pure, and blind to the order of arrival.

use std::collections::BTreeSet;

use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::shop::PaymentRecord;

/// What the books say about a case: `open` until an adjustment closes it. Its amount is the
/// adjustment's, where one is told.
pub fn fold(events: &[PaymentEvent]) -> PaymentRecord {
    let closing = events
        .iter()
        .filter(|event| event.event_type == EventType::DisputeAdjusted)
        .min_by(|a, b| a.key.cmp(&b.key));
    let reasons = events
        .iter()
        .filter_map(|event| event.data.reason_code.as_ref())
        .map(ToString::to_string);
    let flags: BTreeSet<String> = reasons
        .chain(events.iter().flat_map(|event| event.data.flags.clone()))
        .collect();
    PaymentRecord {
        status: if closing.is_some() {
            "adjusted"
        } else {
            "open"
        },
        amount: closing.and_then(|event| event.data.gross),
        refunded: None,
        flags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::dispute;

    #[test]
    fn an_adjustment_before_its_case_closes_it_all_the_same() {
        let opened = dispute(EventType::DisputeOpened, "T", "PP-1");
        let adjusted = dispute(EventType::DisputeAdjusted, "T", "PP-1");
        assert_eq!(fold(std::slice::from_ref(&opened)).status, "open");
        let one = fold(&[opened.clone(), adjusted.clone()]);
        assert_eq!(one.status, "adjusted");
        assert_eq!(one, fold(&[adjusted, opened]));
    }
}
