//! The label `reason` of what is parked or refused: a closed set of at most 20 values.
//!
//! Reason codes are finer than that. The exact one stands in the message's header, in the log and
//! in the books; a label only has to tell alerts and dashboards which kind of trouble it is.

use crate::queue::{QueueId, WorkQueue};

/// Whatever has no label of its own.
pub const OTHER: &str = "other";

/// Why a message is kept from having an effect.
pub const REFUSALS: [&str; 14] = [
    "ambiguous_field",
    "amount_mismatch",
    "currency_mismatch",
    "environment_mismatch",
    "items_mismatch",
    "order_not_usable",
    "order_signature_invalid",
    OTHER,
    "receiver_mismatch",
    "receiver_missing",
    "unknown_status",
    "unknown_txn_type",
    "unmatched_item",
    "unreadable_field",
];

/// Why a stage gives a message up, and what else is parked.
const OTHERS: [&str; 6] = [
    "conflict",
    "gave_up",
    "invalid",
    "panic",
    "smtp_rejected",
    "webhook_rejected",
];

/// Why there is no verdict, as labels of `verifications_total`.
pub const UNCLEAR: [&str; 3] = ["gateway_timeout", "gateway_unreachable", "no_verdict"];

/// The label of a reason code, for parking and refusing.
pub fn label(reason: &str) -> &'static str {
    let grouped = match reason {
        "order_missing" | "order_unknown" | "order_ambiguous" | "order_differs" => {
            "order_not_usable"
        }
        "authorization_unknown" => "amount_mismatch",
        "options_mismatch" => "items_mismatch",
        "not_a_notification" | "too_many_items" => "unreadable_field",
        "mail_not_taken" => "smtp_rejected",
        "webhook_not_taken" | "webhook_gone" | "webhook_blocked" => "webhook_rejected",
        as_it_is => as_it_is,
    };
    REFUSALS
        .into_iter()
        .chain(OTHERS)
        .find(|label| *label == grouped)
        .unwrap_or(OTHER)
}

/// The label of a reason for having no verdict.
pub fn unclear_label(reason: &str) -> &'static str {
    match reason {
        "gateway_timeout" => UNCLEAR[0],
        "gateway_unreachable" | "gateway_broke_off" | "breaker_open" => UNCLEAR[1],
        _ => UNCLEAR[2],
    }
}

/// Which labels each parking queue may get; its series start at zero, because a counter that
/// appears at 1 shows no increase.
pub fn expected() -> [(QueueId, Vec<&'static str>); 4] {
    let dead = |own: &[&'static str]| [own, &["panic", OTHER][..]].concat();
    [
        (QueueId::Dead(WorkQueue::Verify), dead(&["gave_up"])),
        (QueueId::Dead(WorkQueue::Fulfil), dead(&[])),
        (
            QueueId::Dead(WorkQueue::Notify),
            dead(&["smtp_rejected", "webhook_rejected"]),
        ),
        (
            QueueId::Quarantine,
            [&REFUSALS[..], &["conflict", "invalid"]].concat(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_metric_has_more_than_twenty_reasons() {
        let parked: BTreeSet<&str> = REFUSALS.into_iter().chain(OTHERS).collect();
        assert_eq!(parked.len(), 20);
        // Beside these, a verification has none, `known` and `claimed`.
        let verified: BTreeSet<&str> = REFUSALS.into_iter().chain(UNCLEAR).collect();
        assert!(verified.len() + 3 <= 20);
    }

    #[test]
    fn a_reason_without_a_label_is_counted_among_the_others() {
        assert_eq!(label("amount_mismatch"), "amount_mismatch");
        assert_eq!(label("order_unknown"), "order_not_usable");
        assert_eq!(label("options_mismatch"), "items_mismatch");
        assert_eq!(label("webhook_gone"), "webhook_rejected");
        assert_eq!(label("malformed_event"), OTHER);
        assert_eq!(label("J%FCrgen"), OTHER);
        assert_eq!(unclear_label("http_status"), "no_verdict");
        assert_eq!(unclear_label("breaker_open"), "gateway_unreachable");
    }

    #[test]
    fn what_a_queue_may_get_is_of_the_closed_set() {
        for (queue, labels) in expected() {
            for expected in labels {
                assert_eq!(label(expected), expected, "{queue:?}");
            }
        }
    }
}
