//! What all events of one case mean. Pure, and blind to the order of arrival.
//!
//! While a case is open, its reasons are flags that wait for a person. Once it is adjusted nobody has
//! to look any more: they stay as notes.

use std::collections::BTreeSet;

use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::shop::PaymentRecord;
use quittance_common::shop::flags::OF_ADJUSTED;
use quittance_common::status::ReasonCode;

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
        .map(|reason| match closing {
            Some(_) => format!("{OF_ADJUSTED}{}", flag_of(reason)),
            None => flag_of(reason).to_owned(),
        });
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

/// The most characters of a reason that is a flag; the gateway's own have less than 30.
const LONGEST: usize = 64;

/// A reason as a flag. One that nobody could have meant is not repeated; the event has it.
fn flag_of(reason: &ReasonCode) -> &str {
    Some(reason.as_str())
        .filter(|text| text.len() <= LONGEST)
        .unwrap_or("unnamed_reason")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::dispute;
    use quittance_common::shop::flags::{told, waits_for_a_person};

    #[test]
    fn the_reasons_of_a_case_wait_for_a_person_until_it_is_adjusted() {
        let mut opened = dispute(EventType::DisputeOpened, "T", "PP-1");
        opened.data.reason_code = Some(ReasonCode::parse("non_receipt"));
        let open = fold(std::slice::from_ref(&opened));
        assert!(waits_for_a_person(&open.flags));
        let mut adjusted = dispute(EventType::DisputeAdjusted, "T", "PP-1");
        adjusted.data.reason_code = Some(ReasonCode::parse("chargeback_settlement"));
        for events in [[opened.clone(), adjusted.clone()], [adjusted, opened]] {
            let closed = fold(&events);
            let flags: Vec<&str> = closed.flags.iter().map(String::as_str).collect();
            assert_eq!(
                flags,
                ["adjusted:chargeback_settlement", "adjusted:non_receipt"]
            );
            assert!(!waits_for_a_person(&closed.flags) && told(&closed.flags).next().is_none());
        }
    }

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
