//! What else is known about the subject of a story, from the newest event that tells it. Pure.

use std::collections::HashSet;

use jiff::Timestamp;

use super::FactRow;
use crate::clock::rfc3339_millis;
use crate::event::{BillingPeriod, Details, EventType, PaymentEvent, Schedule};
use crate::ids::OrderId;
use crate::money::Money;
use crate::shop::PaymentRow;
use crate::status::PendingReason;

/// What is added to the number of an order that nobody registered.
const NOT_REGISTERED: &str = "not registered";

/// The orders that the events name, as an invoice or by a signature.
pub(super) fn order_ids<'a>(
    events: impl Iterator<Item = &'a PaymentEvent>,
) -> impl Iterator<Item = OrderId> {
    events.flat_map(|event| {
        let order = &event.data.order;
        let invoice = order.invoice.as_ref().and_then(|text| text.parse().ok());
        invoice.into_iter().chain(order.bound.clone())
    })
}

/// What `events` tell about `payment`; of the orders that they name, these are `registered`.
pub(super) fn facts(
    payment: &PaymentRow,
    events: &[&PaymentEvent],
    registered: &HashSet<OrderId>,
) -> Vec<FactRow> {
    let newest = Newest::of(events);
    let mut facts = Facts::default();
    match payment.kind.as_str() {
        "subscription" => newest.subscription(&mut facts),
        "case" => facts.add(
            "case type",
            newest.find(|event| event.data.details.case_type.clone()),
        ),
        "payout" => newest.payout(&mut facts),
        _ => newest.payment(payment, registered, &mut facts),
    }
    facts.0
}

#[derive(Default)]
struct Facts(Vec<FactRow>);

impl Facts {
    /// Adds what is known.
    fn add(&mut self, name: &str, value: Option<String>) {
        self.0.extend(value.map(|value| FactRow {
            name: name.to_owned(),
            value,
        }));
    }

    fn add_time(&mut self, name: &str, at: Option<Timestamp>) {
        self.add(name, at.map(rfc3339_millis));
    }
}

/// The events of a story, the newest one first.
struct Newest<'a>(Vec<&'a PaymentEvent>);

impl<'a> Newest<'a> {
    fn of(events: &[&'a PaymentEvent]) -> Self {
        let mut events = events.to_vec();
        events.sort_by_key(|event| (happened(event), event.received_at, &event.key));
        events.reverse();
        Self(events)
    }

    /// The newest word about something.
    fn find<T>(&self, told: impl Fn(&'a PaymentEvent) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|event| told(event))
    }

    fn detail<T>(&self, told: impl Fn(&'a Details) -> Option<T>) -> Option<T> {
        self.find(|event| told(&event.data.details))
    }

    fn schedule<T>(&self, told: impl Fn(&'a Schedule) -> Option<T>) -> Option<T> {
        self.detail(|details| told(details.schedule.as_ref()?))
    }

    fn subscription(&self, facts: &mut Facts) {
        let terms = self.find(|event| {
            let terms = &event.data.terms;
            (!terms.is_empty()).then_some(terms)
        });
        for period in terms.into_iter().flatten() {
            if period.number == BillingPeriod::REGULAR {
                facts.add("price", Some(price(period)));
            } else {
                let name = format!("trial {}", period.number);
                facts.add(&name, Some(price(period)));
            }
        }
        if terms.is_none() {
            facts.add(
                "price",
                self.schedule(|schedule| {
                    let amount = schedule.amount?;
                    let cycle = schedule.cycle.as_deref();
                    Some(
                        cycle.map_or_else(
                            || amount.to_string(),
                            |cycle| format!("{amount}, {cycle}"),
                        ),
                    )
                }),
            );
        }
        facts.add_time("since", self.schedule(|schedule| schedule.started_at));
        facts.add_time("changes", self.schedule(|schedule| schedule.effective_at));
        facts.add_time("tried again", self.retry_at());
        facts.add_time(
            "next payment",
            self.schedule(|schedule| schedule.next_payment_at),
        );
    }

    /// When a payment that failed is tried again; nothing once one has succeeded since.
    fn retry_at(&self) -> Option<Timestamp> {
        let failed = self.0.iter().position(|event| {
            let schedule = event.data.details.schedule.as_ref();
            schedule.is_some_and(|schedule| schedule.retry_at.is_some())
        })?;
        let paid = self
            .0
            .iter()
            .position(|event| event.event_type == EventType::Completed);
        if paid.is_some_and(|paid| paid < failed) {
            return None;
        }
        self.schedule(|schedule| schedule.retry_at)
    }

    fn payout(&self, facts: &mut Facts) {
        let payee = |details: &'a Details| details.payee.as_ref();
        facts.add(
            "paid to",
            self.detail(|details| payee(details)?.email.clone()),
        );
        facts.add(
            "reference",
            self.detail(|details| payee(details)?.reference.clone()),
        );
    }

    fn payment(&self, payment: &PaymentRow, registered: &HashSet<OrderId>, facts: &mut Facts) {
        facts.add(
            "invoice",
            self.find(|event| event.data.order.invoice.clone())
                .map(|invoice| {
                    let id: Option<OrderId> = invoice.parse().ok();
                    if id.is_some_and(|id| registered.contains(&id)) {
                        invoice
                    } else {
                        format!("{invoice} ({NOT_REGISTERED})")
                    }
                }),
        );
        facts.add(
            "signed order",
            self.find(|event| event.data.order.bound.clone())
                .filter(|order| !registered.contains(order))
                .map(|order| format!("{order} ({NOT_REGISTERED})")),
        );
        let until = self.detail(|details| details.authorized_until);
        let is_due = payment.status == "pending"
            && self
                .find(|event| event.data.pending_reason.clone())
                .is_some_and(|reason| {
                    matches!(reason, PendingReason::Authorization | PendingReason::Order)
                });
        if is_due {
            let until = until.map_or_else(
                || "before the authorisation expires; the message does not say when".to_owned(),
                |until| format!("until {}", rfc3339_millis(until)),
            );
            facts.add("capture due", Some(until));
        } else {
            facts.add_time("authorised", until);
        }
    }
}

/// When something happened, as far as it is known.
fn happened(event: &PaymentEvent) -> Timestamp {
    event.data.occurred_at.unwrap_or(event.received_at)
}

/// `7.50 EUR for 1 M`.
fn price(period: &BillingPeriod) -> String {
    let amount = period
        .amount
        .map_or_else(|| "free".to_owned(), |amount: Money| amount.to_string());
    match &period.length {
        Some(length) => format!("{amount} for {length}"),
        None => amount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Source;
    use crate::gateway::paypal::tests::{account, fixture, raw};
    use crate::notification::{Proof, Verified};

    fn read(body: &[u8]) -> PaymentEvent {
        let body: &'static [u8] = Vec::leak(body.to_vec());
        let raw = raw(body, Source::Ipn);
        let read = crate::gateway::read(&raw, &account()).unwrap();
        Verified::new(&raw, read, Proof(())).into_events().remove(0)
    }

    fn of(kind: &str, status: &str, bodies: &[&[u8]], registered: &[&str]) -> Vec<String> {
        let events: Vec<PaymentEvent> = bodies.iter().map(|body| read(body)).collect();
        let events: Vec<&PaymentEvent> = events.iter().collect();
        let registered = registered.iter().map(|id| id.parse().unwrap()).collect();
        let payment = PaymentRow {
            kind: kind.into(),
            status: status.into(),
            ..PaymentRow::default()
        };
        facts(&payment, &events, &registered)
            .into_iter()
            .map(|fact| format!("{}: {}", fact.name, fact.value))
            .collect()
    }

    #[test]
    fn an_authorisation_that_waits_says_that_a_capture_is_due_and_until_when() {
        let pending = &fixture!("authorization_pending")[..];
        let told = of("payment", "pending", &[pending], &["INV-1001"]);
        assert_eq!(
            told,
            [
                "invoice: INV-1001",
                "capture due: until 2026-02-12T04:12:59.000Z"
            ]
        );
        let captured = &fixture!("capture_completed")[..];
        let told = of("payment", "completed", &[captured, pending], &[]);
        assert_eq!(
            told,
            [
                "invoice: INV-1001 (not registered)",
                "authorised: 2026-02-12T04:12:59.000Z"
            ]
        );
        let echeck = &fixture!("web_accept_pending_echeck")[..];
        let told = of("payment", "pending", &[echeck], &["INV-1001"]);
        assert_eq!(told, ["invoice: INV-1001"], "no capture is due");
    }

    #[test]
    fn a_subscription_says_what_it_costs_and_when_money_is_due() {
        let (signup, failed) = (fixture!("subscr_signup"), fixture!("subscr_failed"));
        let mut expected = vec![
            "trial 1: 0.00 EUR for 1 M",
            "price: 7.50 EUR for 1 M",
            "since: 2026-10-14T03:11:19.000Z",
            "tried again: 2026-11-18T11:00:00.000Z",
        ];
        let told = of("subscription", "active", &[failed, signup], &[]);
        assert_eq!(told, expected);
        // Paid after all.
        let paid = b"txn_id=T1&txn_type=subscr_payment&payment_status=Completed&mc_gross=7.50\
            &mc_currency=EUR&subscr_id=I-QTSUB0000001&payment_date=20%3A12%3A59+Dec+01%2C+2026+PST";
        let told = of("subscription", "active", &[failed, paid, signup], &[]);
        expected.pop();
        assert_eq!(told, expected);
        let profile = fixture!("recurring_profile_created");
        let renewed = fixture!("recurring_payment_completed");
        let told = of("subscription", "active", &[profile, renewed], &[]);
        assert_eq!(
            told,
            [
                "price: 7.50 EUR, Monthly",
                "since: 2026-10-14T03:11:19.000Z",
                "next payment: 2026-11-13T11:00:00.000Z"
            ]
        );
    }

    #[test]
    fn a_case_says_of_which_type_it_is_and_a_payout_whom_it_pays() {
        let case = &fixture!("new_case_chargeback")[..];
        assert_eq!(of("case", "open", &[case], &[]), ["case type: chargeback"]);
        let payout = &fixture!("masspay_completed")[..];
        assert_eq!(
            of("payout", "completed", &[payout], &[]),
            ["paid to: a@payee.example", "reference: u1"]
        );
        let mut removed = read(payout).without_personal_data();
        removed.data.order.invoice = None;
        let row = PaymentRow {
            kind: "payout".into(),
            ..PaymentRow::default()
        };
        let told = facts(&row, &[&removed], &HashSet::new());
        assert_eq!(told.len(), 1, "whom is personal: {told:?}");
        assert_eq!(told[0].value, "u1");
    }
}
