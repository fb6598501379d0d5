//! Decisions, what they park, and its release, on a real file.

use super::*;
use crate::clock::now;
use crate::disposition::Lot;
use crate::event::Source;
use crate::ids::GatewayId;
use crate::settings::ShopDatabase;
use crate::shop::{NewDecision, NewParked, ParkedState};
use crate::stage::StageName;

async fn shop(folder: &tempfile::TempDir) -> Shop {
    let database = ShopDatabase::Sqlite(folder.path().join("shop.sqlite"));
    Shop::open(&database).await.unwrap()
}

fn message(body: &'static [u8]) -> Message {
    Message {
        id: MessageId::from_name("parked"),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".into(),
        timestamp: Timestamp::from_millisecond(1_700_000_000_123).unwrap(),
        headers: Headers {
            gateway: Some(GatewayId::PayPal),
            account: "default".parse().ok(),
            attempt: 3,
            reason: Some(Reason::of("gateway_timeout")),
            first_failed_at: Some(now()),
            ..Headers::default()
        },
        body: Bytes::from_static(body),
    }
}

fn parked(message: &Message, outcome: &'static str, reason: &'static str) -> NewDecision {
    NewDecision {
        message_id: message.id,
        at: now(),
        stage: StageName::Verifier,
        about: vec![("TX1".into(), "TX1".into())],
        outcome,
        reason: Some(Reason::of(reason)),
        detail: "asked 20.00 EUR, paid 0.05 EUR".into(),
        source: Some(Source::Ipn),
        attempt: message.headers.attempt,
        replay_id: None,
        gateway: message.headers.gateway,
        account: message.headers.account.clone(),
        meaning: None,
        parked: Some(NewParked {
            message: message.clone(),
            lot: Lot::Quarantine,
            expected: Some("20.00 EUR".into()),
            found: Some("0.05 EUR".into()),
        }),
        paid: Vec::new(),
    }
}

fn word() -> NewRelease {
    NewRelease {
        by: "kim".into(),
        because: "agreed by telephone".into(),
        at: now(),
    }
}

#[tokio::test]
async fn a_decision_written_twice_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let decision = parked(&message(b"txn_id=TX1"), "refused", "amount_mismatch");
    for _ in 0..2 {
        shop.record_decision(&decision).await.unwrap();
    }
    let told = shop.decisions("TX1").await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].reason.as_str(), told[0].attempt),
        ("amount_mismatch", 3)
    );
    assert!(shop.decisions("TX2").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_released_message_comes_back_byte_for_byte_once_and_without_its_history() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let original = message(b"txn_id=TX1&first_name=J%F6rg\xf6\x00");
    let decision = parked(&original, "refused", "amount_mismatch");
    shop.record_decision(&decision).await.unwrap();
    assert_eq!(shop.next_release(now()).await.unwrap(), None);
    let outcome = shop.release("TX1", &word()).await.unwrap();
    assert!(matches!(&outcome[..], [ReleaseOutcome::Released(row)] if row.found == "0.05 EUR"));
    assert!(shop.quarantined().await.unwrap().is_empty());
    let told = shop.parked_about("TX1").await.unwrap().remove(0);
    assert_eq!(told.state, ParkedState::Released);
    assert_eq!(
        (told.decided_by.as_str(), told.decided_because.as_str()),
        ("kim", "agreed by telephone")
    );
    assert!(!told.decided_at.is_empty());

    let (id, again) = shop.next_release(now()).await.unwrap().unwrap();
    assert_eq!((again.id, &again.body), (original.id, &original.body));
    assert_eq!(again.headers.account, original.headers.account);
    assert_eq!(
        (again.headers.attempt, again.headers.first_failed_at),
        (0, None)
    );
    assert_eq!(again.headers.other.get(RELEASE_HEADER), Some(&id));
    assert_eq!(shop.next_release(now()).await.unwrap(), None, "leased");
    shop.release_published(&id, now()).await.unwrap();
    let later = now().saturating_add(SignedDuration::from_hours(1)).unwrap();
    assert_eq!(shop.next_release(later).await.unwrap(), None, "published");
    assert_eq!(shop.release("TX1", &word()).await.unwrap(), []);
}

#[tokio::test]
async fn a_process_that_dies_with_a_release_in_hand_leaves_it_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let decision = parked(&message(b"txn_id=TX1"), "refused", "amount_mismatch");
    shop.record_decision(&decision).await.unwrap();
    shop.release("TX1", &word()).await.unwrap();
    let first = shop.next_release(now()).await.unwrap();
    let later = now().saturating_add(SignedDuration::from_mins(1)).unwrap();
    assert_eq!(shop.next_release(later).await.unwrap(), first);
}

#[tokio::test]
async fn a_waiver_is_for_these_bytes_of_this_account_and_for_what_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let original = message(b"txn_id=TX1");
    assert!(shop.waived(&original).await.unwrap().is_empty());
    let decision = parked(&original, "refused", "amount_mismatch");
    shop.record_decision(&decision).await.unwrap();
    assert!(
        shop.waived(&original).await.unwrap().is_empty(),
        "nobody has said so"
    );
    shop.release("TX1", &word()).await.unwrap();
    let waived = shop.waived(&original).await.unwrap();
    assert_eq!(waived, [Reason::of("amount_mismatch")].into());
    assert!(
        shop.waived(&message(b"txn_id=TX2"))
            .await
            .unwrap()
            .is_empty()
    );
    let mut elsewhere = original.clone();
    elsewhere.headers.account = "other".parse().ok();
    assert!(shop.waived(&elsewhere).await.unwrap().is_empty());

    // Refused again for another reason, it waits again; both are waived when both are released.
    let decision = parked(&original, "refused", "receiver_mismatch");
    shop.record_decision(&decision).await.unwrap();
    assert_eq!(shop.quarantined().await.unwrap().len(), 1);
    shop.release("TX1", &word()).await.unwrap();
    assert_eq!(shop.waived(&original).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_the_gateway_calls_invalid_cannot_be_released() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let forged = message(b"txn_id=TX1");
    shop.record_decision(&parked(&forged, "invalid", "invalid"))
        .await
        .unwrap();
    let outcome = shop.release("TX1", &word()).await.unwrap();
    assert!(matches!(&outcome[..], [ReleaseOutcome::Impossible(_)]));
    assert_eq!(shop.next_release(now()).await.unwrap(), None);
    assert!(shop.waived(&forged).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_parked_message_that_was_replayed_and_accepted_waits_for_nobody_until_it_is_parked_again()
{
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let original = message(b"txn_id=TX1");
    let refused = parked(&original, "refused", "unmatched_item");
    shop.record_decision(&refused).await.unwrap();
    let verified = NewDecision {
        outcome: "verified",
        reason: None,
        parked: None,
        ..parked(&original, "", "unused")
    };
    shop.record_decision(&verified).await.unwrap();
    assert!(shop.quarantined().await.unwrap().is_empty());
    let ever = shop.ever_parked().await.unwrap();
    assert_eq!(ever[0].state, ParkedState::Settled);
    let again = parked(&original, "refused", "amount_mismatch");
    shop.record_decision(&again).await.unwrap();
    assert_eq!(shop.quarantined().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_too_old_has_no_bytes_and_cannot_be_released_or_waived() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let original = message(b"txn_id=TX1&first_name=Jo");
    let mut decision = parked(&original, "refused", "amount_mismatch");
    decision.message_id = original.id;
    shop.record_decision(&decision).await.unwrap();
    let later = now().saturating_add(SignedDuration::from_hours(1)).unwrap();
    let removed = shop.remove_personal_data(later, later).await.unwrap();
    assert_eq!(removed.messages, 1);
    let row = shop.quarantined().await.unwrap().remove(0);
    assert!(!row.details_removed_at.is_empty());
    assert_eq!(
        (row.txn_id.as_str(), row.found.as_str()),
        ("TX1", "0.05 EUR")
    );
    let outcome = shop.release("TX1", &word()).await.unwrap();
    assert!(matches!(&outcome[..], [ReleaseOutcome::Impossible(_)]));
    assert_eq!(shop.next_release(later).await.unwrap(), None);
    assert!(shop.waived(&original).await.unwrap().is_empty());
}

/// Whether a copy means the same, as whoever read it says.
fn meaning(what: &str) -> crate::claims::Fingerprint {
    crate::claims::Fingerprint::of(what.as_bytes())
}

fn copy(id: &str, reason: &'static str) -> NewDecision {
    let message = Message {
        id: MessageId::from_name(id),
        ..message(b"txn_id=TX1")
    };
    NewDecision {
        meaning: Some(meaning("TX1 completed")),
        ..parked(&message, "refused", reason)
    }
}

#[tokio::test]
async fn copies_of_a_refused_message_are_one_row_with_a_count_and_one_release() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    for id in ["first", "second", "third", "first"] {
        let decision = copy(id, "amount_mismatch");
        shop.record_decision(&decision).await.unwrap();
    }
    let rows = shop.quarantined().await.unwrap();
    assert_eq!(rows.len(), 1);
    let first = MessageId::from_name("first");
    assert_eq!(
        (rows[0].copies, &rows[0].message_id),
        (3, &first.to_string())
    );
    assert!(!rows[0].last_at.is_empty());
    assert_eq!(shop.decisions("TX1").await.unwrap().len(), 1);
    let released = shop.release("TX1", &word()).await.unwrap();
    assert_eq!(released.len(), 1);
    let (_, again) = shop.next_release(now()).await.unwrap().unwrap();
    assert_eq!(again.id, first);
    assert_eq!(
        shop.waived(&again).await.unwrap(),
        [Reason::of("amount_mismatch")].into()
    );
    // One more while the first one is on its way.
    shop.record_decision(&copy("fourth", "amount_mismatch"))
        .await
        .unwrap();
    assert!(shop.quarantined().await.unwrap().is_empty());
    assert_eq!(shop.ever_parked().await.unwrap().len(), 1);
}

#[tokio::test]
async fn another_reason_and_another_meaning_are_rows_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let other = NewDecision {
        meaning: Some(meaning("TX1 completed, of another amount")),
        ..copy("third", "amount_mismatch")
    };
    let decisions = [
        copy("first", "amount_mismatch"),
        copy("second", "order_missing"),
        other,
    ];
    for decision in &decisions {
        shop.record_decision(decision).await.unwrap();
    }
    let rows = shop.quarantined().await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.copies == 1));
    // A copy passes, because the catalogue was mended: whatever means the same waits no longer.
    let passed = NewDecision {
        outcome: "verified",
        reason: None,
        parked: None,
        ..copy("fourth", "amount_mismatch")
    };
    shop.record_decision(&passed).await.unwrap();
    let waiting = shop.quarantined().await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        waiting[0].message_id,
        MessageId::from_name("third").to_string()
    );
}

#[tokio::test]
async fn a_copy_that_comes_after_the_bytes_are_gone_can_be_released() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder).await;
    let year = std::time::Duration::from_hours(24 * 365);
    let old = NewDecision {
        at: now() - 2 * year,
        ..copy("first", "amount_mismatch")
    };
    shop.record_decision(&old).await.unwrap();
    shop.remove_personal_data(now() - year, now())
        .await
        .unwrap();
    shop.record_decision(&copy("second", "amount_mismatch"))
        .await
        .unwrap();
    let rows = shop.quarantined().await.unwrap();
    let releasable: Vec<&str> = rows
        .iter()
        .filter(|row| row.can_be_released())
        .map(|row| row.message_id.as_str())
        .collect();
    assert_eq!(releasable, [MessageId::from_name("second").to_string()]);
}
