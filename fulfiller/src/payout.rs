//! What all events of one item of a mass payment mean. Pure, and blind to the order of arrival:
//! the same item is told about several times, each time further on.

use std::collections::BTreeSet;

use quittance_common::event::PaymentEvent;
use quittance_common::shop::PaymentRecord;
use quittance_common::status::{MassPayStatus, PaymentStatus};

/// What the books say about an item: the status that is furthest on.
pub fn fold(events: &[PaymentEvent]) -> PaymentRecord {
    let furthest = events
        .iter()
        .filter_map(|event| event.data.payment_status.as_ref())
        .map(|status| MassPayStatus::parse(PaymentStatus::as_str(status)))
        .map(|status| rank(&status))
        .max();
    let amount = events
        .iter()
        .filter(|event| event.data.gross.is_some())
        .min_by(|a, b| a.key.cmp(&b.key))
        .and_then(|event| event.data.gross);
    let flags: BTreeSet<String> = events
        .iter()
        .flat_map(|event| event.data.flags.iter().cloned())
        .collect();
    PaymentRecord {
        status: furthest.map_or("noted", |(_, status)| status),
        amount,
        refunded: None,
        flags,
    }
}

/// How far on a status is, and its name.
const fn rank(status: &MassPayStatus) -> (u8, &'static str) {
    match status {
        MassPayStatus::Pending => (1, "pending"),
        MassPayStatus::Unclaimed => (2, "unclaimed"),
        MassPayStatus::Blocked => (3, "blocked"),
        MassPayStatus::Completed => (4, "completed"),
        MassPayStatus::Failed => (5, "failed"),
        MassPayStatus::Denied => (6, "denied"),
        MassPayStatus::Returned => (7, "returned"),
        MassPayStatus::Reversed => (8, "reversed"),
        MassPayStatus::Other(_) => (0, "noted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::payout;

    #[test]
    fn an_item_is_as_far_as_its_furthest_message_in_any_order() {
        let statuses = ["Unclaimed", "Completed", "Pending"];
        for turn in 0..statuses.len() {
            let mut order = statuses;
            order.rotate_left(turn);
            let events: Vec<PaymentEvent> = order.iter().map(|s| payout("MP1", s)).collect();
            assert_eq!(fold(&events).status, "completed", "{order:?}");
        }
        let returned = [payout("MP1", "Unclaimed"), payout("MP1", "Returned")];
        assert_eq!(fold(&returned).status, "returned");
    }
}
