//! What is written down about one message: whom it is about, and what was decided. Pure.

use quittance_common::claims::Fingerprint;
use quittance_common::disposition::Lot;
use quittance_common::event::{EventData, PaymentEvent, Source, Subject};
use quittance_common::ids::{Reason, TxnId};
use quittance_common::message::Message;
use quittance_common::notification::{Notification, RawNotification};
use quittance_common::quarantine_notice::Known;
use quittance_common::refusal::RefusalCode;
use quittance_common::rules::Rules;
use quittance_common::shop::{NewDecision, NewParked, Paid};
use quittance_common::stage::StageName;

use crate::checks::Refusal;
use crate::decide::Decision;

/// How a message was settled. A closed set: listings show it, and `refused` alone can be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Genuine, ours, right, new.
    Verified,
    /// Known before.
    Duplicate,
    /// Genuine, and refused by a check.
    Refused,
    /// The gateway did not send it.
    Invalid,
    /// It cannot be read.
    Unreadable,
    /// Known before, with another meaning.
    Conflict,
    /// No verdict, for too long; or not to be handled by this build.
    GaveUp,
}

impl Settled {
    /// The name in the books.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Unreadable => "unreadable",
            Self::Conflict => "conflict",
            Self::GaveUp => "gave_up",
        }
    }
}

/// Refusals of money that is nobody's here: paid to somebody else, or play money. Another alert tells
/// of receivers that no account names.
const NOT_OURS: [&str; 3] = [
    RefusalCode::ReceiverMismatch.as_str(),
    RefusalCode::PayerMismatch.as_str(),
    RefusalCode::EnvironmentMismatch.as_str(),
];

/// What becomes known about a message while it is verified.
#[derive(Debug, Default)]
pub(crate) struct Case {
    source: Option<Source>,
    about: Vec<(String, String)>,
    settled: Option<Settled>,
    flags: Vec<Reason>,
    meaning: Option<Fingerprint>,
    /// For people.
    known: Known,
    paid: Vec<Paid>,
}

impl Case {
    /// The envelope could be read.
    pub(crate) fn opened(&mut self, raw: &RawNotification) {
        self.source = Some(raw.source);
        // Until more is known: another post of the same bytes is the same.
        self.meaning = Some(Fingerprint::of(&raw.body));
    }

    /// The body could be read.
    pub(crate) fn read(&mut self, raw: &RawNotification, notification: &Notification) {
        self.meaning = Some(notification.meaning(raw.gateway, &raw.account));
        self.known.keys = notification
            .readings
            .iter()
            .map(|reading| reading.key.clone())
            .collect();
        // Of several things none is the one that it is about.
        if let [only] = notification.readings.as_slice() {
            let id = || only.data.subject.id().parse().ok();
            self.known.txn_id = match only.data.subject {
                Subject::Message(_) => only.data.txn_id.clone(),
                _ => only.data.txn_id.clone().or_else(id),
            };
            self.known.gross = only.data.gross;
            self.known.order = only.data.order.clone();
        }
        self.about = told(notification);
    }

    /// How it ended.
    pub(crate) const fn settle(&mut self, settled: Settled) {
        self.settled = Some(settled);
    }

    /// A check refused it.
    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        self.settle(Settled::Refused);
        self.known.expected.clone_from(&refusal.expected);
        self.known.found.clone_from(&refusal.found);
        self.known.can_release = true;
        if NOT_OURS.contains(&refusal.reason.as_str()) {
            self.paid.clear();
        }
    }

    /// What people are told of it.
    pub(crate) const fn known(&self) -> &Known {
        &self.known
    }

    /// The checks let it pass, with these notes.
    pub(crate) fn note(&mut self, flags: impl IntoIterator<Item = Reason>) {
        self.flags.extend(flags);
    }

    /// The payments that it tells, whatever becomes of them. Told again, the newest word counts.
    pub(crate) fn tells(&mut self, events: &[PaymentEvent], rules: &Rules) {
        let paid = events.iter().filter_map(|event| Paid::of(event, rules));
        self.paid = paid.collect();
    }

    /// Whether nothing may go on before this is written down. What a person can release must be
    /// kept, and what has an effect must have its decision; the rest needs no database, and must
    /// not wait for one.
    pub(crate) fn must_be_kept(&self) -> bool {
        matches!(self.settled, Some(Settled::Verified | Settled::Refused))
    }

    /// What to write down; `None` while nothing is settled.
    pub(crate) fn decision(
        &self,
        message: &Message,
        parked: Option<&Decision>,
        at: jiff::Timestamp,
    ) -> Option<NewDecision> {
        let (settled, reason, detail, lot) = match parked {
            None => (self.settled?, None, self.notes(), None),
            Some(Decision::Park(lot, reason, detail)) => (
                self.settled.unwrap_or(Settled::GaveUp),
                Some(reason.clone()),
                detail.clone(),
                Some(*lot),
            ),
            Some(Decision::Retry(..)) => return None,
        };
        Some(NewDecision {
            message_id: message.id,
            at,
            stage: StageName::Verifier,
            about: self.about(settled),
            outcome: settled.as_str(),
            reason,
            detail,
            source: self.source,
            attempt: message.headers.attempt,
            replay_id: message.headers.replay_id.clone(),
            gateway: message.headers.gateway,
            account: message.headers.account.clone(),
            meaning: self.meaning.clone(),
            parked: lot
                .filter(|lot| *lot == Lot::Quarantine)
                .map(|lot| NewParked {
                    message: message.clone(),
                    lot,
                    expected: self.known.expected.clone(),
                    found: self.known.found.clone(),
                }),
            paid: match settled {
                Settled::Verified | Settled::Refused => self.paid.clone(),
                Settled::Duplicate
                | Settled::Invalid
                | Settled::Unreadable
                | Settled::Conflict
                | Settled::GaveUp => Vec::new(),
            },
        })
    }

    /// What to write about: everything that a message tells, if the gateway sent it. What anybody may
    /// have sent, or cannot be read, is one row, however much it claims to be about.
    fn about(&self, settled: Settled) -> Vec<(String, String)> {
        let most = match settled {
            Settled::Verified | Settled::Duplicate | Settled::Refused | Settled::Conflict => {
                self.about.len()
            }
            Settled::Invalid | Settled::Unreadable | Settled::GaveUp => 1,
        };
        self.about.iter().take(most).cloned().collect()
    }

    fn notes(&self) -> String {
        let flags: Vec<&str> = self.flags.iter().map(Reason::as_str).collect();
        flags.join(", ")
    }
}

/// What to write about: what a message tells, and after it what that belongs to; a message that is
/// parked stands under the first.
fn told(notification: &Notification) -> Vec<(String, String)> {
    let readings = || notification.readings.iter().map(|reading| &reading.data);
    let sorted = |mut about: Vec<(String, String)>| {
        about.sort();
        about.dedup();
        about
    };
    let mut all = sorted(
        readings()
            .map(|data| about(data, data.subject.id()))
            .collect(),
    );
    let further = readings().flat_map(|data| belongs_to(data).map(|id| about(data, id)));
    let further: Vec<_> = further.filter(|pair| !all.contains(pair)).collect();
    all.extend(sorted(further));
    all
}

/// The transaction of a reading, and one thing that it is about.
fn about(data: &EventData, subject: &str) -> (String, String) {
    let txn = data.txn_id.as_ref().map_or("", TxnId::as_str);
    (txn.to_owned(), subject.to_owned())
}

/// What a reading belongs to: the subscription of a renewal, the authorisation of a capture. Whoever
/// looks at these must find what was refused.
fn belongs_to(data: &EventData) -> impl Iterator<Item = &str> {
    let parent = data.parent_txn_id.as_ref().map(TxnId::as_str);
    data.subscription.as_deref().into_iter().chain(parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quittance_common::disposition::Wait;
    use quittance_common::event::Environment;
    use quittance_common::gateway;
    use quittance_common::ids::{GatewayId, MessageId};
    use quittance_common::message::{Headers, MessageKind};
    use quittance_common::settings::{Account, Settings};

    fn message() -> Message {
        Message {
            id: MessageId::from_name("m"),
            kind: MessageKind::NotificationV1,
            content_type: String::new(),
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            headers: Headers::default(),
            body: Bytes::from_static(b"txn_id=T1"),
        }
    }

    fn parked(lot: Lot) -> Decision {
        Decision::Park(lot, Reason::of("amount_mismatch"), "too little".into())
    }

    fn written(case: &Case, decision: Option<&Decision>) -> Option<NewDecision> {
        case.decision(&message(), decision, jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_message_that_waits_is_not_settled_and_not_written_down() {
        let mut case = Case::default();
        assert!(written(&case, None).is_none());
        // Asked once and called invalid, it waits for its second look.
        case.settle(Settled::Invalid);
        let wait = Wait::Counted {
            at_least: std::time::Duration::ZERO,
        };
        let later = Decision::Retry(wait, Reason::of("invalid"), String::new());
        assert!(written(&case, Some(&later)).is_none());
    }

    #[test]
    fn what_anybody_may_have_sent_is_one_row_however_much_it_claims() {
        let subjects = |settled| {
            let mut case = Case {
                about: (0..200).map(|n| (format!("M{n}"), String::new())).collect(),
                ..Case::default()
            };
            case.settle(settled);
            let decision = written(&case, Some(&parked(Lot::Quarantine))).unwrap();
            decision.about.len()
        };
        for settled in [Settled::Invalid, Settled::GaveUp, Settled::Unreadable] {
            assert_eq!(subjects(settled), 1, "{settled:?}");
        }
        for settled in [Settled::Refused, Settled::Verified] {
            assert_eq!(subjects(settled), 200, "{settled:?}");
        }
    }

    #[test]
    fn a_renewal_is_about_its_subscription_too_and_a_capture_about_its_authorisation() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/paypal/");
        let about = |fixture: &str| {
            let body = std::fs::read(format!("{root}{fixture}.txt")).unwrap();
            let url = || "http://127.0.0.1/".parse().unwrap();
            let account = Account {
                id: "default".parse().unwrap(),
                gateway: GatewayId::PayPal,
                environment: Environment::Live,
                receivers: Vec::new(),
                pdt_token: None,
                postback_url: url(),
                pdt_url: url(),
                checkout_url: url(),
            };
            let raw = RawNotification {
                id: message().id,
                gateway: account.gateway,
                account: account.id.clone(),
                source: Source::Ipn,
                received_at: jiff::Timestamp::UNIX_EPOCH,
                body: body.into(),
            };
            let mut case = Case::default();
            case.read(&raw, &gateway::read(&raw, &account).unwrap());
            case.about
        };
        let pair = |txn: &str, subject: &str| (txn.to_owned(), subject.to_owned());
        assert_eq!(
            about("recurring_payment_completed"),
            [
                pair("7QT00000RP0000001", "7QT00000RP0000001"),
                pair("7QT00000RP0000001", "I-QTREC0000001"),
            ]
        );
        assert_eq!(
            about("capture_completed"),
            [
                pair("7QT00000CP0000001", "7QT00000CP0000001"),
                pair("7QT00000CP0000001", "7QT00000AU0000001"),
            ],
            "what it is stands first, although its authorisation's id is the lesser"
        );
        assert_eq!(
            about("refund_partial"),
            [pair("7QT00000RF0000001", "7QT00000WA0000001")]
        );
        assert_eq!(about("subscr_signup"), [pair("", "I-QTSUB0000001")]);
    }

    #[test]
    fn what_goes_to_quarantine_is_kept_with_its_bytes_and_what_is_dead_is_not() {
        let mut case = Case::default();
        case.settle(Settled::Refused);
        let kept = written(&case, Some(&parked(Lot::Quarantine))).unwrap();
        assert_eq!(
            (kept.outcome, kept.detail.as_str()),
            ("refused", "too little")
        );
        assert_eq!(kept.parked.unwrap().message, message());
        let gave_up = written(&Case::default(), Some(&parked(Lot::Dead))).unwrap();
        assert_eq!(gave_up.outcome, "gave_up");
        assert!(gave_up.parked.is_none());
    }

    #[test]
    fn money_is_told_where_it_is_on_its_way_or_held_back_and_not_where_nobody_proved_it() {
        const EVENT: &[u8] = include_bytes!("../../tests/golden/payment-event-v1.json");
        let event = PaymentEvent::from_json(EVENT).unwrap();
        let told = |settled, rules: &Rules| {
            let mut case = Case::default();
            case.tells(std::slice::from_ref(&event), rules);
            case.settle(settled);
            written(&case, Some(&parked(Lot::Quarantine))).unwrap().paid
        };
        let none = Rules::default();
        for settled in [Settled::Verified, Settled::Refused] {
            let paid = told(settled, &none);
            assert_eq!(paid.len(), 1, "{settled:?}");
            assert_eq!(
                (&paid[0].key, Some(paid[0].gross)),
                (&event.key, event.data.gross)
            );
        }
        for settled in [Settled::Invalid, Settled::Conflict, Settled::Duplicate] {
            assert!(told(settled, &none).is_empty(), "{settled:?}");
        }
        let environment = [
            ("QUITTANCE_ACCOUNT__0__RECEIVERS", "pay@shop.example"),
            ("QUITTANCE_RULE__0__EVENT", "payment.completed"),
            ("QUITTANCE_RULE__0__ACTION", "ignore"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::load(None, &environment.into()).unwrap();
        assert!(told(Settled::Refused, &settings.rules).is_empty());
    }

    #[test]
    fn only_what_has_an_effect_or_can_be_released_waits_for_the_database() {
        let waits = |settled| {
            let mut case = Case::default();
            case.settle(settled);
            case.must_be_kept()
        };
        assert!(waits(Settled::Verified) && waits(Settled::Refused));
        for settled in [
            Settled::Duplicate,
            Settled::Invalid,
            Settled::Unreadable,
            Settled::Conflict,
            Settled::GaveUp,
        ] {
            assert!(!waits(settled), "{settled:?}");
        }
    }

    fn raw(source: Source, account: &str, body: &'static [u8]) -> RawNotification {
        RawNotification {
            id: MessageId::new(),
            gateway: GatewayId::PayPal,
            account: account.parse().unwrap(),
            source,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            body: Bytes::from_static(body),
        }
    }

    /// What is known of a completed payment of `amount` cents, by whichever way it came.
    fn case_of(raw: &RawNotification, amount: &str) -> Case {
        let account = Account {
            id: raw.account.clone(),
            gateway: GatewayId::PayPal,
            environment: Environment::Live,
            receivers: Vec::new(),
            pdt_token: None,
            postback_url: "http://127.0.0.1/".parse().unwrap(),
            pdt_url: "http://127.0.0.1/".parse().unwrap(),
            checkout_url: "http://127.0.0.1/".parse().unwrap(),
        };
        let body = format!(
            "txn_id=T1&payment_status=Completed&mc_gross={amount}&mc_currency=EUR&invoice=A-1"
        );
        let told = RawNotification {
            body: Bytes::from(body),
            source: Source::Ipn,
            ..raw.clone()
        };
        let mut case = Case::default();
        case.opened(raw);
        case.read(raw, &gateway::read(&told, &account).unwrap());
        case.settle(Settled::Refused);
        case
    }

    #[test]
    fn copies_mean_the_same_by_whichever_way_and_another_account_or_amount_does_not() {
        let meaning = |case: Case| {
            let decision = written(&case, Some(&parked(Lot::Quarantine))).unwrap();
            decision.meaning.unwrap()
        };
        let ipn = raw(Source::Ipn, "default", b"one");
        let first = meaning(case_of(&ipn, "5.00"));
        let pdt = raw(Source::Pdt, "default", b"SUCCESS two");
        assert_eq!(meaning(case_of(&pdt, "5.00")), first);
        assert_ne!(meaning(case_of(&ipn, "6.00")), first);
        let elsewhere = raw(Source::Ipn, "other", b"one");
        assert_ne!(meaning(case_of(&elsewhere, "5.00")), first);
        let unread = |raw: &RawNotification| {
            let mut case = Case::default();
            case.opened(raw);
            case.settle(Settled::Unreadable);
            meaning(case)
        };
        let again = raw(Source::Ipn, "default", b"one");
        assert_eq!(unread(&ipn), unread(&again));
    }

    #[test]
    fn people_are_told_transaction_amount_and_order_of_a_message_about_one_thing() {
        let case = case_of(&raw(Source::Ipn, "default", b"one"), "5.00");
        let known = case.known();
        assert_eq!(known.txn_id.as_ref().unwrap().as_str(), "T1");
        assert_eq!(known.gross.unwrap().to_string(), "5.00 EUR");
        assert_eq!(known.order.invoice.as_deref(), Some("A-1"));
        assert_eq!(known.keys.len(), 1);
    }
}
