//! What all that is known of one subscription, recurring profile or billing agreement means: its
//! own messages and the payments that name it. Pure, and blind to the order of arrival.
//!
//! A payment may come before the sign-up; a free trial has none. The end-of-term message comes at
//! odd times (at once for a subscription that does not recur), so it ends nothing by itself: it is
//! a flag. Each profile has its own id, so that the end of an old one never touches the new one.
//!
//! No message says that a profile goes on again: money does. A payment completed later than the last
//! suspension or failure ends it; which was later is told by when they happened, never by when they
//! came. Messages about the life of a profile mostly have no date of their own; for these it is when
//! they were received.

use std::collections::BTreeSet;

use jiff::Timestamp;
use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::shop::PaymentRecord;
use quittance_common::status::TxnType;

/// What the gateway's reading notes of a sign-up whose first period costs something.
const FIRST_PAYMENT_DUE: &str = "first_payment_due";

/// What the books say about a subscription.
pub fn fold(events: &[PaymentEvent]) -> PaymentRecord {
    let own: Vec<&TxnType> = events
        .iter()
        .filter(|event| event.event_type == EventType::SubscriptionChanged)
        .filter_map(|event| event.data.txn_type.as_ref())
        .collect();
    let has = |wanted: &[TxnType]| own.iter().any(|found| wanted.contains(found));
    let paid_at = last_paid(events);
    let still = |wanted: &[TxnType]| lasts(events, wanted, paid_at);
    let is_signed_up = has(&[
        TxnType::SubscrSignup,
        TxnType::RecurringPaymentProfileCreated,
        TxnType::MpSignup,
    ]);
    let is_paid_for = paid_at.is_some();
    let is_due = events.iter().any(|event| {
        event
            .data
            .flags
            .iter()
            .any(|flag| flag == FIRST_PAYMENT_DUE)
    });
    let status = if has(&[
        TxnType::SubscrCancel,
        TxnType::RecurringPaymentProfileCancel,
        TxnType::MpCancel,
    ]) {
        "canceled"
    } else if has(&[TxnType::RecurringPaymentExpired]) {
        "expired"
    } else if still(&[
        TxnType::RecurringPaymentSuspended,
        TxnType::RecurringPaymentSuspendedDueToMaxFailedPayment,
    ]) {
        "suspended"
    } else if is_due && !is_paid_for {
        // Signed up for, and the first period costs something that nobody has paid yet.
        "signed_up"
    } else if is_signed_up || is_paid_for {
        "active"
    } else {
        "noted"
    };
    let marks = [
        ("signup_not_seen", !is_signed_up && is_paid_for),
        ("end_of_term", has(&[TxnType::SubscrEot])),
        ("modified", has(&[TxnType::SubscrModify])),
        (
            "payment_failed",
            still(&[
                TxnType::SubscrFailed,
                TxnType::RecurringPaymentFailed,
                TxnType::RecurringPaymentOutstandingPaymentFailed,
                TxnType::RecurringPaymentSuspendedDueToMaxFailedPayment,
            ]),
        ),
        ("payment_skipped", has(&[TxnType::RecurringPaymentSkipped])),
    ];
    let mut flags: BTreeSet<String> = marks
        .into_iter()
        .filter(|(_, is_so)| *is_so)
        .map(|(name, _)| name.to_owned())
        .collect();
    let of_itself = |event: &&PaymentEvent| event.event_type == EventType::SubscriptionChanged;
    flags.extend(
        events
            .iter()
            .filter(of_itself)
            .flat_map(|event| event.data.flags.iter().cloned()),
    );
    if is_paid_for {
        flags.remove(FIRST_PAYMENT_DUE);
    }
    PaymentRecord {
        status,
        amount: None,
        refunded: None,
        flags,
    }
}

/// When the newest payment was completed.
fn last_paid(events: &[PaymentEvent]) -> Option<Timestamp> {
    events
        .iter()
        .filter(|event| event.event_type == EventType::Completed)
        .map(happened)
        .max()
}

/// Whether one of `wanted` came to pass, and nothing was paid since.
fn lasts(events: &[PaymentEvent], wanted: &[TxnType], last_paid: Option<Timestamp>) -> bool {
    let last = events
        .iter()
        .filter(|event| event.event_type == EventType::SubscriptionChanged)
        .filter(|event| {
            let txn_type = event.data.txn_type.as_ref();
            txn_type.is_some_and(|found| wanted.contains(found))
        })
        .map(happened)
        .max();
    last.is_some_and(|last| last_paid.is_none_or(|paid| paid <= last))
}

/// When something happened, as far as it is known.
fn happened(event: &PaymentEvent) -> Timestamp {
    event.data.occurred_at.unwrap_or(event.received_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, event, lifecycle};
    use proptest::prelude::*;

    /// A payment of day `day`, heard of at day `heard`.
    fn paid(day: i64, heard: i64) -> PaymentEvent {
        let mut paid = event(EventType::Completed, &format!("T{day}"), &format!("T{day}"));
        paid.data.occurred_at = Some(at(day * 86_400));
        paid.received_at = at(heard * 86_400);
        paid
    }

    fn on(day: i64, txn_type: &TxnType) -> PaymentEvent {
        let mut event = lifecycle("I-1", txn_type);
        event.key = format!("{}:{day}", event.key).parse().unwrap();
        event.received_at = at(day * 86_400);
        event
    }

    #[test]
    fn a_profile_that_is_paid_again_is_suspended_no_more_and_its_failure_is_over() {
        let suspended = TxnType::RecurringPaymentSuspendedDueToMaxFailedPayment;
        let created = TxnType::RecurringPaymentProfileCreated;
        let life = [on(1, &created), paid(1, 1), on(31, &suspended)];
        let record = fold(&life);
        assert_eq!(record.status, "suspended");
        assert!(record.flags.contains("payment_failed"));
        // The payment before the suspension, heard of late, changes nothing.
        let late = [on(1, &created), on(31, &suspended), paid(1, 60)];
        assert_eq!(fold(&late), record);
        let mut resumed = life.to_vec();
        resumed.push(paid(61, 61));
        let record = fold(&resumed);
        assert_eq!((record.status, record.flags.len()), ("active", 0));
        resumed.push(on(91, &TxnType::RecurringPaymentSuspended));
        assert_eq!(fold(&resumed).status, "suspended", "again");
    }

    #[test]
    fn a_failed_payment_that_succeeds_at_the_second_try_is_failed_no_more() {
        let failed = on(31, &TxnType::SubscrFailed);
        let signup = on(0, &TxnType::SubscrSignup);
        let open = fold(&[signup.clone(), failed.clone()]);
        assert!(open.flags.contains("payment_failed"));
        let again = fold(&[signup, failed, paid(34, 34)]);
        assert_eq!((again.status, again.flags.len()), ("active", 0));
    }

    proptest! {
        #[test]
        fn no_order_of_arrival_changes_what_a_subscription_is(
            order in Just((0..7_usize).collect::<Vec<_>>()).prop_shuffle(),
            days in prop::collection::vec(0..100_i64, 7),
        ) {
            let day = |nth: usize| days[nth];
            let events = [
                on(day(0), &TxnType::RecurringPaymentProfileCreated),
                on(day(1), &TxnType::RecurringPaymentSuspended),
                on(day(2), &TxnType::SubscrFailed),
                on(day(3), &TxnType::RecurringPaymentSuspendedDueToMaxFailedPayment),
                paid(day(4), 100),
                paid(day(5), 0),
                on(day(6), &TxnType::RecurringPaymentSkipped),
            ];
            let shuffled: Vec<PaymentEvent> =
                order.iter().map(|nth| events[*nth].clone()).collect();
            prop_assert_eq!(fold(&events), fold(&shuffled));
            let last_paid = day(4).max(day(5));
            let is_suspended = day(1).max(day(3)) >= last_paid;
            prop_assert_eq!(
                fold(&events).status,
                if is_suspended { "suspended" } else { "active" }
            );
        }
    }

    fn of(types: &[TxnType]) -> Vec<PaymentEvent> {
        types.iter().map(|t| lifecycle("I-1", t)).collect()
    }

    #[test]
    fn a_free_trial_is_active_without_any_payment() {
        let record = fold(&of(&[TxnType::SubscrSignup]));
        assert_eq!((record.status, record.flags.len()), ("active", 0));
    }

    #[test]
    fn a_signup_whose_first_period_costs_something_is_active_only_once_it_was_paid() {
        let mut signup = lifecycle("I-1", &TxnType::SubscrSignup);
        signup.data.flags = vec![FIRST_PAYMENT_DUE.into()];
        let alone = fold(std::slice::from_ref(&signup));
        assert_eq!(alone.status, "signed_up");
        assert!(alone.flags.contains(FIRST_PAYMENT_DUE));
        let payment = event(EventType::Completed, "T", "T");
        let paid = fold(&[signup.clone(), payment.clone()]);
        assert_eq!((paid.status, paid.flags.len()), ("active", 0));
        assert_eq!(paid, fold(&[payment, signup]));
        let pending = [
            lifecycle("I-1", &TxnType::SubscrSignup),
            event(EventType::Pending, "T", "T"),
        ];
        assert_eq!(fold(&pending).status, "active", "a trial without a price");
    }

    #[test]
    fn a_payment_before_its_signup_comes_out_the_same() {
        let payment = event(EventType::Completed, "T", "T");
        let signup = lifecycle("I-1", &TxnType::SubscrSignup);
        let alone = fold(std::slice::from_ref(&payment));
        assert_eq!(alone.status, "active");
        assert!(alone.flags.contains("signup_not_seen"));
        let one = fold(&[payment.clone(), signup.clone()]);
        assert_eq!(one, fold(&[signup, payment]));
        assert!(one.flags.is_empty(), "{:?}", one.flags);
    }

    #[test]
    fn the_end_of_term_is_a_flag_and_revokes_nothing() {
        let record = fold(&of(&[TxnType::SubscrEot, TxnType::SubscrSignup]));
        assert_eq!(record.status, "active");
        assert!(record.flags.contains("end_of_term"));
    }

    #[test]
    fn a_cancel_wins_whatever_comes_before_or_after_it() {
        use TxnType as T;
        let all = [
            T::SubscrSignup,
            T::SubscrCancel,
            T::RecurringPaymentSuspended,
            T::SubscrEot,
        ];
        for turn in 0..all.len() {
            let mut types = all.clone();
            types.rotate_left(turn);
            assert_eq!(fold(&of(&types)).status, "canceled", "{types:?}");
        }
    }

    #[test]
    fn failures_skips_and_suspensions_are_told() {
        let record = fold(&of(&[
            TxnType::RecurringPaymentProfileCreated,
            TxnType::RecurringPaymentSkipped,
            TxnType::RecurringPaymentSuspendedDueToMaxFailedPayment,
        ]));
        let flags: Vec<&str> = record.flags.iter().map(String::as_str).collect();
        assert_eq!(record.status, "suspended");
        assert_eq!(flags, ["payment_failed", "payment_skipped"]);
    }
}
