//! What these stages park, written down beside what the verifier parks, so that `payments show` and
//! `payments quarantined` find it. The message itself stays on its parking queue.

use bytes::Bytes;
use quittance_common::clock;
use quittance_common::disposition::Lot;
use quittance_common::ids::TxnId;
use quittance_common::message::{Headers, Message};
use quittance_common::shop::{NewDecision, NewParked, Shop, SubjectKey};
use quittance_common::stage::{StageName, Why};
use serde_json::Value;
use tracing::warn;

/// Writes down that `stage` parks `message`. Without the database it is parked all the same.
pub(crate) async fn parked(
    shop: &Shop,
    stage: StageName,
    message: &Message,
    lot: Lot,
    why: Why<'_>,
) {
    let decision = decision(stage, message, lot, why);
    if let Err(error) = shop.record_decision(&decision).await {
        warn!(%error, message.id = %message.id, "what is parked cannot be written down");
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
    use super::*;
    use crate::testing::refund;

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
