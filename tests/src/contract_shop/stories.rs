//! What a clerk is told about a payment, on whichever database.

use bytes::Bytes;
use quittance_common::clock;
use quittance_common::disposition::Lot;
use quittance_common::event::{EventType, PaymentEvent, Subject};
use quittance_common::ids::{GatewayId, MessageId, Reason};
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::quarantine_notice::Notice;
use quittance_common::rules::{Criteria, Rule, Rules, Ruling};
use quittance_common::shop::announcement::Announced;
use quittance_common::shop::story::{EffectRow, PaymentStory};
use quittance_common::shop::{NewDecision, NewParked, Outgoing, OutgoingTo, Shop};
use quittance_common::stage::StageName;
use quittance_common::status::ReasonCode;
use quittance_fulfiller::fulfil::apply_under;
use quittance_fulfiller::terms::Terms;

use super::{apply_at_last, completed, import};

async fn story(shop: &Shop, id: &str) -> PaymentStory {
    shop.payment_story(id).await.unwrap().remove(0)
}

/// A message of `body`, parked by `stage`, and about these.
fn parked(stage: StageName, id: MessageId, about: &[(&str, &str)], body: Vec<u8>) -> NewDecision {
    let verifier = stage == StageName::Verifier;
    let lot = if verifier { Lot::Quarantine } else { Lot::Dead };
    NewDecision {
        message_id: id,
        at: clock::now(),
        stage,
        about: about
            .iter()
            .map(|(txn, subject)| ((*txn).to_owned(), (*subject).to_owned()))
            .collect(),
        outcome: if verifier { "refused" } else { "gave_up" },
        reason: Some(Reason::of(if verifier {
            "amount_mismatch"
        } else {
            "recipient_refused"
        })),
        detail: String::new(),
        source: None,
        attempt: 0,
        replay_id: None,
        gateway: Some(GatewayId::PayPal),
        account: Some("default".parse().unwrap()),
        meaning: None,
        parked: Some(NewParked {
            message: Message {
                id,
                kind: MessageKind::NotificationV1,
                content_type: String::new(),
                timestamp: clock::now(),
                headers: Headers::default(),
                body: Bytes::from(body),
            },
            lot,
            expected: None,
            found: None,
        }),
        paid: Vec::new(),
    }
}

/// What was refused is found at everything that it belongs to, once, with what the merchant heard.
pub(super) async fn a_refused_renewal_is_told_with_its_subscription(shop: &Shop) {
    let id = MessageId::from_name("contract: refused renewal");
    let about = [("RENEWAL", "RENEWAL"), ("RENEWAL", "I-RENEWED")];
    let refused = parked(StageName::Verifier, id, &about, b"txn_id=RENEWAL".to_vec());
    shop.record_decision(&refused).await.unwrap();
    for named in ["RENEWAL", "I-RENEWED"] {
        let story = story(shop, named).await;
        assert_eq!(story.parked.len(), 1, "{named}");
        assert_eq!(story.parked[0].reason, "amount_mismatch");
        assert_eq!(story.parked[0].merchant_told, "no");
        assert_eq!(story.decisions.len(), 1, "{named}: {:?}", story.decisions);
        assert_eq!(story.decisions[0].subject, named);
    }
    let notice = MessageId::from_name("contract: notice");
    let subject = "message:by what it is about".to_owned();
    let outgoing = Outgoing {
        id: notice,
        to: OutgoingTo::Notify,
        gateway: GatewayId::PayPal,
        account: "default".parse().unwrap(),
        received_at: clock::now(),
        payload: "{}".to_owned(),
    };
    let note = Notice {
        subject: subject.clone(),
        outgoing,
    };
    shop.tell_of_parked(id, &note, clock::now()).await.unwrap();
    let told = async || {
        let story = story(shop, "I-RENEWED").await;
        story.parked[0].merchant_told.clone()
    };
    assert_eq!(told().await, "queued");
    let sent = Announced::Sent;
    shop.record_announcement(notice, &subject, "mail_merchant", sent, clock::now())
        .await
        .unwrap();
    assert_eq!(told().await, "sent");
}

/// A mail that nobody takes is not on its way any more.
pub(super) async fn a_mail_that_was_given_up_is_told_as_such(shop: &Shop) {
    import(shop, &["unmailed"], 5).await;
    apply_at_last(shop, &completed("UNMAILED", &["unmailed"], 1)).await;
    let mail = async || {
        let story = story(shop, "UNMAILED").await;
        let state = effect(&story, "mail_received").state.clone();
        let row = story.notifications.first().unwrap();
        (state, row.outcome.clone(), row.reason.clone())
    };
    let queued = ("queued".to_owned(), "queued".to_owned(), String::new());
    assert_eq!(mail().await, queued);
    let id = MessageId::from_name("paypal:sandbox:payment:UNMAILED/mail_received");
    let about = [("UNMAILED", "UNMAILED")];
    let given_up = parked(StageName::Notifier, id, &about, Vec::new());
    shop.record_decision(&given_up).await.unwrap();
    let (state, outcome, reason) = mail().await;
    assert_eq!((state.as_str(), outcome.as_str()), ("given_up", "given_up"));
    assert_eq!(reason, "recipient_refused");
    // It was replayed, and goes its way.
    let subject = "paypal:sandbox:payment:UNMAILED";
    shop.record_announcement(id, subject, "mail_received", Announced::Sent, clock::now())
        .await
        .unwrap();
    assert_eq!(mail().await.0, "sent");
}

/// The rule that withheld something is named as it was then, whatever the settings say now.
pub(super) async fn a_withheld_effect_names_its_rule(shop: &Shop) {
    import(shop, &["ebook-1"], 5).await;
    let rules = Rules::new(vec![Rule {
        index: 3,
        when: Criteria {
            item: Some("ebook-*".parse().unwrap()),
            ..Criteria::default()
        },
        then: Ruling::Record,
    }]);
    let paid = completed("RULED", &["ebook-1"], 1);
    apply_under(&Terms::ruled(rules), shop, &paid, clock::now())
        .await
        .unwrap();
    let story = story(shop, "RULED").await;
    for withheld in ["stock_decremented_withheld", "mail_received_withheld"] {
        let row = effect(&story, withheld);
        assert_eq!(row.state, "withheld");
        assert_eq!(row.rule, "rule.3 (item = ebook-*)");
    }
    let ruled = story.decisions.iter().find(|row| row.outcome == "recorded");
    assert_eq!(ruled.unwrap().detail, "rule.3 (item = ebook-*)");
}

fn effect<'a>(story: &'a PaymentStory, name: &str) -> &'a EffectRow {
    let mut rows = story.effect_states.iter();
    rows.find(|row| row.effect == name).unwrap()
}

/// Text that nothing can make shorter, so that an index has to take it as it is.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed;
    let letter = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 40) % 94).unwrap())
    };
    std::iter::repeat_with(letter).take(length).collect()
}

/// Values far longer than the gateway documents are stored whole, and come back so.
pub(super) async fn values_longer_than_documented_are_stored_whole(shop: &Shop) {
    let long = |seed| noise(seed, 10_000);
    let txn = "9".repeat(64);
    let mut paid = completed(&txn, &[&"s".repeat(127)], 1);
    paid.data.order.custom = Some(long(1));
    paid.data.order.invoice = Some(long(2));
    paid.data.subscription = Some(long(3));
    paid.data.payer.name = Some(long(4));
    paid.data.lines[0].name = long(5);
    paid.data.lines[0].options = vec![(long(6), long(7))];
    let mut opened = completed("LONGCASE", &[], 1);
    opened.event_type = EventType::DisputeOpened;
    opened.key = "pp:sandbox:case:long".parse().unwrap();
    opened.data.subject = Subject::Case(long(8));
    opened.data.txn_id = None;
    opened.data.reason_code = Some(ReasonCode::parse(&long(9)));
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    for event in [&paid, &opened] {
        apply_under(&terms, shop, event, clock::now())
            .await
            .unwrap();
        let mut books = shop.begin(event, clock::now()).await.unwrap();
        let stored: Vec<PaymentEvent> = books.events().await.unwrap();
        books.roll_back().await.unwrap();
        assert_eq!(stored, std::slice::from_ref(event));
    }
    let told = story(shop, &txn).await;
    assert_eq!(told.payment.status, "completed");

    let id = MessageId::from_name("contract: a long body");
    let body = noise(10, 200_000).into_bytes();
    let (subject, about) = (long(11), long(12));
    let about = [("LONGBODY", subject.as_str()), ("LONGBODY", about.as_str())];
    let kept = parked(StageName::Verifier, id, &about, body);
    shop.record_decision(&kept).await.unwrap();
    assert_eq!(story(shop, "LONGBODY").await.parked.len(), 1);
}
