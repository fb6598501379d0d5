//! Money that was paid and has had no effect yet.

use quittance_common::clock;
use quittance_common::disposition::Lot;
use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::ids::{GatewayId, MessageId, Reason};
use quittance_common::message::{Headers, Message, MessageKind};
use quittance_common::money::Currency;
use quittance_common::rules::Rules;
use quittance_common::shop::risk::ON_ITS_WAY;
use quittance_common::shop::{
    NewDecision, NewDismissal, NewParked, Paid, ParkedState, Shop, Waits,
};
use quittance_common::stage::StageName;

use super::{apply_at_last, event};

/// A payment in a currency that no other promise uses.
fn paid(txn: &str, currency: &str, minor: i64) -> PaymentEvent {
    let mut event = event(EventType::Completed, txn, txn, minor);
    event.data.gross = Some(quittance_common::money::Money::from_minor(
        minor,
        code(currency),
    ));
    event
}

fn code(currency: &str) -> Currency {
    currency.parse().unwrap()
}

/// What the verifier writes down of a message that tells `event`.
fn decided(message: &str, event: &PaymentEvent, outcome: &'static str) -> NewDecision {
    let txn = event.data.subject.id().to_owned();
    let message = Message {
        id: MessageId::from_name(message),
        kind: MessageKind::NotificationV1,
        content_type: String::new(),
        timestamp: clock::now(),
        headers: Headers {
            gateway: Some(GatewayId::PayPal),
            account: "default".parse().ok(),
            ..Headers::default()
        },
        body: bytes::Bytes::from(format!("txn_id={txn}")),
    };
    NewDecision {
        message_id: message.id,
        at: clock::now(),
        stage: StageName::Verifier,
        about: vec![(txn.clone(), txn)],
        outcome,
        reason: (outcome == "refused").then(|| Reason::of("amount_mismatch")),
        detail: String::new(),
        source: None,
        attempt: 0,
        replay_id: None,
        gateway: message.headers.gateway,
        account: message.headers.account.clone(),
        meaning: None,
        parked: (outcome == "refused").then(|| NewParked {
            message,
            lot: Lot::Quarantine,
            expected: None,
            found: None,
        }),
        paid: Paid::of(event, &Rules::default()).into_iter().collect(),
    }
}

/// What is at risk in that currency a minute from now: `(verified, quarantined)`.
async fn at_risk(shop: &Shop, currency: &str) -> (i64, i64) {
    let found = shop.money_at_risk(clock::now() + ON_ITS_WAY).await.unwrap();
    let of = |state| {
        let own = found
            .iter()
            .filter(|(waits, money)| *waits == state && money.currency() == code(currency));
        own.map(|(_, money)| money.minor()).sum()
    };
    (of(Waits::Verified), of(Waits::Quarantined))
}

fn word() -> NewDismissal {
    NewDismissal {
        by: "kim".into(),
        because: "paid back by hand".into(),
        at: clock::now(),
    }
}

/// Verified money is at risk after a minute, whoever asks, until the books have it; copies of the
/// same event, before and after, count once and never again.
pub(super) async fn verified_money_is_at_risk_until_the_books_have_it(shop: &Shop) {
    let event = paid("RISK-1", "SEK", 1995);
    let decision = decided("risk 1", &event, "verified");
    shop.record_decision(&decision).await.unwrap();
    shop.record_decision(&decided("risk 1 by PDT", &event, "verified"))
        .await
        .unwrap();
    assert_eq!(at_risk(shop, "SEK").await, (1995, 0));
    let now = shop.money_at_risk(clock::now()).await.unwrap();
    let is_ours =
        |(_, money): &(Waits, quittance_common::money::Money)| money.currency() == code("SEK");
    assert!(
        !now.iter().any(is_ours),
        "it is on its way for less than a minute"
    );
    apply_at_last(shop, &event).await;
    assert_eq!(at_risk(shop, "SEK").await, (0, 0));
    // A replay is written down again, and changes nothing.
    shop.record_decision(&decision).await.unwrap();
    assert_eq!(at_risk(shop, "SEK").await, (0, 0));
}

/// Quarantined money is at risk until a person releases or dismisses it, or it goes back; whoever
/// sends the same again does not undo a dismissal.
pub(super) async fn quarantined_money_is_at_risk_until_somebody_decides(shop: &Shop) {
    let released = paid("RISK-2", "NOK", 500);
    for message in ["risk 2", "risk 2 by PDT"] {
        let refused = decided(message, &released, "refused");
        shop.record_decision(&refused).await.unwrap();
    }
    assert_eq!(at_risk(shop, "NOK").await, (0, 500));
    shop.record_decision(&decided("risk 2", &released, "verified"))
        .await
        .unwrap();
    assert_eq!(at_risk(shop, "NOK").await, (500, 0));
    apply_at_last(shop, &released).await;
    assert_eq!(at_risk(shop, "NOK").await, (0, 0));

    let dismissed = paid("RISK-3", "DKK", 700);
    let refused = decided("risk 3", &dismissed, "refused");
    shop.record_decision(&refused).await.unwrap();
    let dismissed_rows = async |id: &str| shop.dismiss(id, &word()).await.unwrap().rows.len();
    assert_eq!(dismissed_rows("RISK-4").await, 0);
    assert_eq!(dismissed_rows("RISK-3").await, 1);
    assert_eq!(dismissed_rows("RISK-3").await, 0);
    assert_eq!(at_risk(shop, "DKK").await, (0, 0));
    let row = shop.parked_about("RISK-3").await.unwrap().remove(0);
    assert_eq!(
        (
            row.state,
            row.decided_by.as_str(),
            row.decided_because.as_str()
        ),
        (ParkedState::Dismissed, "kim", "paid back by hand")
    );
    let told = shop.decisions("RISK-3").await.unwrap();
    let by_kim = told.iter().filter(|row| row.outcome == "dismissed");
    let by_kim: Vec<&str> = by_kim.map(|row| row.detail.as_str()).collect();
    assert_eq!(by_kim, ["kim: paid back by hand"]);
    let copy = decided("risk 3 sent again", &dismissed, "refused");
    shop.record_decision(&copy).await.unwrap();
    assert_eq!(at_risk(shop, "DKK").await, (0, 0));
    // The very message, replayed on purpose and refused once more, waits again.
    shop.record_decision(&refused).await.unwrap();
    assert_eq!(at_risk(shop, "DKK").await, (0, 700));
    let waits = shop.parked_about("RISK-3").await.unwrap();
    assert!(waits.iter().all(|row| row.state == ParkedState::Waiting));
    shop.dismiss_messages(&[refused.message_id], &word())
        .await
        .unwrap();
    assert_eq!(at_risk(shop, "DKK").await, (0, 0));
}

/// What the gateway has given back or taken back is at risk no longer, part of it still is.
pub(super) async fn money_that_went_back_is_at_risk_no_longer(shop: &Shop) {
    let refused = paid("RISK-5", "PLN", 900);
    shop.record_decision(&decided("risk 5", &refused, "refused"))
        .await
        .unwrap();
    let mut part = paid("RISK-5", "PLN", -400);
    part.event_type = EventType::Refunded;
    part.key = "pp:sandbox:RISK-5R1:refunded".parse().unwrap();
    part.data.txn_id = "RISK-5R1".parse().ok();
    apply_at_last(shop, &part).await;
    assert_eq!(at_risk(shop, "PLN").await, (0, 900));
    let mut rest = part.clone();
    rest.key = "pp:sandbox:RISK-5R2:refunded".parse().unwrap();
    rest.data.txn_id = "RISK-5R2".parse().ok();
    rest.data.gross = paid("RISK-5", "PLN", -500).data.gross;
    apply_at_last(shop, &rest).await;
    assert_eq!(at_risk(shop, "PLN").await, (0, 0));

    let refused = paid("RISK-6", "CZK", 900);
    shop.record_decision(&decided("risk 6", &refused, "refused"))
        .await
        .unwrap();
    let mut reversed = part.clone();
    reversed.event_type = EventType::Reversed;
    reversed.key = "pp:sandbox:RISK-6R:reversed".parse().unwrap();
    reversed.data.subject = refused.data.subject.clone();
    reversed.data.parent_txn_id = "RISK-6".parse().ok();
    reversed.data.txn_id = "RISK-6R".parse().ok();
    reversed.data.gross = paid("RISK-6", "CZK", -900).data.gross;
    apply_at_last(shop, &reversed).await;
    assert_eq!(at_risk(shop, "CZK").await, (0, 0));
}

/// What is deleted from a queue of events is at risk no longer, by the id that the event travels
/// under or by the transaction; a leftover copy of what was released takes nothing with it.
pub(super) async fn deleted_events_are_at_risk_no_longer_and_released_ones_still_are(shop: &Shop) {
    let event = paid("RISK-7", "HUF", 700);
    shop.record_decision(&decided("risk 7", &event, "verified"))
        .await
        .unwrap();
    shop.dismiss_messages(&[event.message_id()], &word())
        .await
        .unwrap();
    assert_eq!(at_risk(shop, "HUF").await, (0, 0));

    let other = paid("RISK-8", "HUF", 800);
    shop.record_decision(&decided("risk 8", &other, "verified"))
        .await
        .unwrap();
    let dismissed = shop.dismiss("RISK-8", &word()).await.unwrap();
    assert_eq!((dismissed.rows.len(), dismissed.payments), (0, 1));
    assert_eq!(at_risk(shop, "HUF").await, (0, 0));

    let released = paid("RISK-9", "ISK", 900);
    let refused = decided("risk 9", &released, "refused");
    shop.record_decision(&refused).await.unwrap();
    shop.record_decision(&decided("risk 9", &released, "verified"))
        .await
        .unwrap();
    shop.dismiss_messages(&[refused.message_id], &word())
        .await
        .unwrap();
    assert_eq!(at_risk(shop, "ISK").await, (900, 0));
}

/// The items of one auction tell the whole amount each, and it counts once; what was given back
/// before its payment was refused does not count at all.
pub(super) async fn money_counts_once_a_payment_and_not_after_it_went_back(shop: &Shop) {
    for item in ["A", "B"] {
        let mut event = paid("RISK-10", "RON", 5000);
        event.key = format!("pp:sandbox:RISK-10:completed:auction:{item}")
            .parse()
            .unwrap();
        shop.record_decision(&decided(&format!("risk 10 {item}"), &event, "refused"))
            .await
            .unwrap();
    }
    assert_eq!(at_risk(shop, "RON").await, (0, 5000));

    let mut refund = paid("RISK-11", "BGN", -300);
    refund.event_type = EventType::Refunded;
    refund.key = "pp:sandbox:RISK-11R:refunded".parse().unwrap();
    refund.data.txn_id = "RISK-11R".parse().ok();
    apply_at_last(shop, &refund).await;
    let late = paid("RISK-11", "BGN", 300);
    shop.record_decision(&decided("risk 11", &late, "refused"))
        .await
        .unwrap();
    assert_eq!(at_risk(shop, "BGN").await, (0, 0));
}
