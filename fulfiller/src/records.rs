//! What these stages park, written down beside what the verifier parks, so that `payments show` and
//! `payments quarantined` find it, and told to the merchant once. The message itself stays on its
//! parking queue.

use bytes::Bytes;
use jiff::Timestamp;
use quittance_common::clock;
use quittance_common::disposition::Lot;
use quittance_common::event::PaymentEvent;
use quittance_common::ids::{Reason, TxnId};
use quittance_common::message::{Headers, Message};
use quittance_common::quarantine_notice::{Known, quarantine_notice};
use quittance_common::shop::{NewDecision, NewParked, Shop, ShopError, SubjectKey};
use quittance_common::stage::{StageName, Why};
use serde_json::Value;
use tracing::warn;

/// Writes down that `stage` parks `message`, and has the merchant told if he is told of anything.
/// Without the database it is parked all the same.
pub(crate) async fn parked(
    shop: &Shop,
    tell_merchant: bool,
    stage: StageName,
    message: &Message,
    lot: Lot,
    why: Why<'_>,
) {
    let decision = decision(stage, message, lot, why);
    let mut noted = shop.record_decision(&decision).await;
    if noted.is_ok() && tell_merchant {
        noted = tell(shop, stage, message, lot, why.reason).await;
    }
    if let Err(error) = noted {
        warn!(%error, message.id = %message.id, "what is parked cannot be written down or told");
    }
}

/// Queues the note to the merchant. Its id makes it one, however often the message is parked.
async fn tell(
    shop: &Shop,
    stage: StageName,
    message: &Message,
    lot: Lot,
    reason: &Reason,
) -> Result<(), ShopError> {
    let known = Known::told_by(message);
    match quarantine_notice(message, stage, lot, reason, &known) {
        Some(notice) => shop.tell_of_parked(message.id, &notice, clock::now()).await,
        None => Ok(()),
    }
}

/// Notes that a message which had failed before went its way.
pub(crate) async fn went_its_way(shop: &Shop, message: &Message) {
    let headers = &message.headers;
    if headers.first_failed_at.is_none() && headers.replay_id.is_none() {
        return;
    }
    if let Err(error) = shop.settle_parked(message.id, clock::now()).await {
        warn!(%error, message.id = %message.id, "it still looks parked");
    }
}

/// Writes down that a rule ignores `event`, so that whoever asks for it is told why it is not in the
/// books.
pub(crate) async fn ignored(
    shop: &Shop,
    message: &Message,
    event: &PaymentEvent,
    rule: String,
) -> Result<(), ShopError> {
    let now = clock::now();
    shop.record_decision(&ruled(event, "ignored", rule, now))
        .await?;
    // It never comes into the books, and nothing waits for it.
    shop.money_arrived(&event.key).await?;
    // Parked once, perhaps, and settled by this.
    went_its_way(shop, message).await;
    Ok(())
}

/// What the rule told as `rule` made of an event: `recorded` or `ignored`. Pure.
pub(crate) fn ruled(
    event: &PaymentEvent,
    outcome: &'static str,
    rule: String,
    now: Timestamp,
) -> NewDecision {
    let txn = event.data.txn_id.as_ref().map_or("", TxnId::as_str);
    let about = [Some(SubjectKey::of(event)), SubjectKey::about(event)]
        .into_iter()
        .flatten()
        .map(|subject| (txn.to_owned(), subject.id().to_owned()));
    NewDecision {
        message_id: event.message_id(),
        at: now,
        stage: StageName::Fulfiller,
        about: about.collect(),
        outcome,
        reason: None,
        detail: rule,
        source: Some(event.data.source),
        attempt: 0,
        replay_id: None,
        gateway: Some(event.gateway),
        account: Some(event.account.clone()),
        meaning: None,
        parked: None,
        paid: Vec::new(),
    }
}

fn decision(stage: StageName, message: &Message, lot: Lot, why: Why<'_>) -> NewDecision {
    NewDecision {
        message_id: message.id,
        at: clock::now(),
        stage,
        about: about(&message.body).into_iter().collect(),
        outcome: match lot {
            Lot::Quarantine => "conflict",
            Lot::Dead => "gave_up",
        },
        reason: Some(why.reason.clone()),
        detail: why.detail.to_owned(),
        source: None,
        attempt: message.headers.attempt,
        replay_id: message.headers.replay_id.clone(),
        gateway: message.headers.gateway,
        account: message.headers.account.clone(),
        meaning: None,
        parked: Some(NewParked {
            // Nothing here can be released, so nothing more of it needs to be kept.
            message: Message {
                headers: Headers::default(),
                body: Bytes::new(),
                ..message.clone()
            },
            lot,
            expected: None,
            found: None,
        }),
        // The verifier has told of it.
        paid: Vec::new(),
    }
}

/// The transaction and the subject that a body names, as far as it can be read at all: an event or
/// an announcement of any version, or what is left of one. Pure.
fn about(body: &[u8]) -> Option<(String, String)> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let text = |place: &str| json.pointer(place).and_then(Value::as_str);
    // An id and nothing else: what is written down here is no place for surprises.
    let id = |text: &str| text.parse::<TxnId>().ok().map(String::from);
    let txn = text("/data/txn_id")
        .or_else(|| text("/txn_id"))
        .and_then(id);
    let subject = text("/subject").and_then(|name| {
        let stored = SubjectKey::parse(name);
        stored.map(|key| key.id().to_owned()).or_else(|| id(name))
    });
    match (txn, subject) {
        (None, None) => None,
        (txn, subject) => Some((txn.unwrap_or_default(), subject.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quittance_common::ids::{GatewayId, MessageId};
    use quittance_common::message::MessageKind;

    use super::*;
    use crate::testing::{at, refund, shop};

    /// A mail to the buyer that the server refuses is told to the merchant, and one to the merchant
    /// is not: he would be told of each such note by the next one, for ever.
    #[tokio::test]
    async fn a_mail_that_was_given_up_is_told_once_and_a_note_to_the_merchant_never() {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 1).await;
        for news in ["received", "merchant"] {
            let message = Message {
                id: MessageId::from_name(news),
                kind: MessageKind::AnnouncementV1,
                content_type: String::new(),
                timestamp: at(0),
                headers: Headers {
                    gateway: Some(GatewayId::PayPal),
                    account: "default".parse().ok(),
                    ..Headers::default()
                },
                body: Bytes::from(format!(r#"{{"news":"{news}","txn_id":"T1"}}"#)),
            };
            let why = Why {
                reason: &Reason::of("smtp_rejected"),
                detail: "550",
            };
            for _ in 0..2 {
                parked(&shop, true, StageName::Notifier, &message, Lot::Dead, why).await;
            }
        }
        let now = clock::now() + Duration::from_secs(1);
        let notes = shop
            .lease_outbox(now, Duration::from_secs(1), 9)
            .await
            .unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].payload.contains("smtp_rejected"));
        assert_eq!(shop.quarantined().await.unwrap().len(), 2);
    }

    #[test]
    fn an_event_and_an_announcement_name_whom_they_are_about_and_rubbish_does_not() {
        let event = refund("T1", "R1", 500).to_json().unwrap();
        assert_eq!(about(&event), Some(("R1".into(), "T1".into())));
        let news = br#"{"news":"received","subject":"paypal:live:payment:T1","txn_id":"T1"}"#;
        assert_eq!(about(news), Some(("T1".into(), "T1".into())));
        // A version of tomorrow, of which only the frame is known.
        let tomorrow = br#"{"specversion":"2.0","subject":"T1","data":{"payer":"Jo Doe"}}"#;
        assert_eq!(about(tomorrow), Some((String::new(), "T1".into())));
        for rubbish in [
            &b"txn_id=T1"[..],
            b"{}",
            br#"{"subject":"Jo Doe <jo@example.org>"}"#,
        ] {
            assert_eq!(about(rubbish), None);
        }
    }
}
