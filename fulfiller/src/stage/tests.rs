//! Dispositions of the fulfiller's stage.

use std::sync::Arc;

use bytes::Bytes;
use quittance_common::event::EventType;
use quittance_common::message::Headers;
use quittance_common::settings::ShopDatabase;

use super::*;
use crate::testing::{at, event, mugs, shop};

fn metrics() -> Metrics {
    Metrics::register(
        &prometheus::Registry::new(),
        Metrics::duplicates_total().unwrap(),
    )
    .unwrap()
}

fn message(kind: MessageKind, attempt: u32, body: Vec<u8>) -> Message {
    Message {
        id: quittance_common::ids::MessageId::from_name("m"),
        kind,
        content_type: String::new(),
        timestamp: at(0),
        headers: Headers {
            attempt,
            ..Headers::default()
        },
        body: Bytes::from(body),
    }
}

fn stage(shop: &Shop) -> FulfilStage {
    FulfilStage::new(shop.clone(), Arc::new(Notify::new()), metrics())
}

#[tokio::test]
async fn an_event_is_applied_once_and_its_repeat_is_done_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let stage = stage(&shop);
    let body = event(EventType::Completed, "T", "T").to_json().unwrap();
    for _ in 0..3 {
        let disposition = stage
            .handle(&message(MessageKind::PaymentV1, 0, body.clone()))
            .await;
        assert!(matches!(&disposition, Disposition::Forward { publish, .. } if publish.is_empty()));
    }
    assert_eq!(mugs(&shop).await, (8, 0, 0));
    // The relay is told without having waited before.
    stage.outbox_written.notified().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_tried_again_and_then_parked_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(&shop(&folder, 1).await);
    let newer = event(EventType::Completed, "T", "T").to_json().unwrap();
    let newer = String::from_utf8(newer)
        .unwrap()
        .replace("\"specversion\":\"1.0\"", "\"specversion\":\"2.0\"");
    let v2 = MessageKind::Unknown("ipn.payment.v2".into());
    for (kind, body, expected) in [
        (v2, b"{}".to_vec(), "unsupported_version"),
        (
            MessageKind::PaymentV1,
            newer.into_bytes(),
            "unsupported_version",
        ),
        (
            MessageKind::PaymentV1,
            b"{\"secret\":1}".to_vec(),
            "malformed_event",
        ),
    ] {
        let early = stage.handle(&message(kind.clone(), 0, body.clone())).await;
        assert!(
            matches!(&early, Disposition::Retry { wait: Wait::Counted { .. }, reason, .. } if reason.as_str() == expected),
            "{early:?}"
        );
        let late = stage.handle(&message(kind, ATTEMPTS, body)).await;
        assert!(
            matches!(&late, Disposition::Park { lot: Lot::Dead, reason, .. } if reason.as_str() == expected),
            "{late:?}"
        );
    }
}

#[tokio::test]
async fn a_conflict_goes_to_the_quarantine() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(&shop(&folder, 1).await);
    let mut paid = event(EventType::Completed, "T", "T");
    let first = message(MessageKind::PaymentV1, 0, paid.to_json().unwrap());
    stage.handle(&first).await;
    paid.fingerprint = quittance_common::claims::Fingerprint::of(b"other");
    let second = message(MessageKind::PaymentV1, 0, paid.to_json().unwrap());
    let disposition = stage.handle(&second).await;
    assert!(
        matches!(&disposition, Disposition::Park { lot: Lot::Quarantine, reason, .. } if reason.as_str() == "conflict")
    );
}

/// Parks as the loop does: the stage is told first.
async fn park(stage: &FulfilStage, message: &Message) {
    let Disposition::Park {
        lot,
        reason,
        detail,
    } = stage.handle(message).await
    else {
        panic!("not parked")
    };
    let why = Why {
        reason: &reason,
        detail: &detail,
    };
    stage.parked(message, lot, why).await;
}

#[tokio::test]
async fn a_conflict_in_the_books_is_found_with_its_payment_and_cannot_be_released() {
    use quittance_common::shop::{NewRelease, ReleaseOutcome};

    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    let stage = stage(&shop);
    let mut paid = event(EventType::Completed, "T", "T");
    let first = message(MessageKind::PaymentV1, 0, paid.to_json().unwrap());
    stage.handle(&first).await;
    paid.fingerprint = quittance_common::claims::Fingerprint::of(b"other");
    let mut second = message(MessageKind::PaymentV1, 0, paid.to_json().unwrap());
    second.id = quittance_common::ids::MessageId::from_name("second");
    for _ in 0..2 {
        park(&stage, &second).await;
    }
    let waiting = shop.quarantined().await.unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let row = &waiting[0];
    assert_eq!(
        (row.txn_id.as_str(), row.reason.as_str(), row.stage.as_str()),
        ("T", "conflict", "fulfiller")
    );
    assert_eq!(row.queue, "quarantine");
    let story = shop.payment_story("T").await.unwrap().remove(0);
    assert_eq!(story.parked, waiting);
    assert_eq!(story.decisions[0].stage, "fulfiller");
    let word = NewRelease {
        by: "kim".into(),
        because: "why not".into(),
        at: at(1),
    };
    let outcome = shop.release("T", &word).await.unwrap();
    assert!(matches!(&outcome[..], [ReleaseOutcome::Impossible(_)]));
}

/// What the merchant is told of parked messages, with the ids of the notes.
async fn notes(shop: &Shop) -> Vec<(String, serde_json::Value)> {
    let rows = shop
        .lease_outbox(at(1_000_000_000), Duration::from_secs(1), 100)
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            (
                row.id.to_string(),
                serde_json::from_str(&row.payload).unwrap(),
            )
        })
        .filter(|(_, body): &(String, serde_json::Value)| body["news"] == "merchant")
        .collect()
}

#[tokio::test]
async fn a_conflict_in_the_books_is_told_to_the_merchant_once_and_only_where_there_is_one() {
    let telling = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    for (terms, told) in [(Terms::default(), 0), (telling, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 5).await;
        let stage = stage(&shop).under(terms);
        let mut paid = event(EventType::Completed, "T", "T");
        let first = message(MessageKind::PaymentV1, 0, paid.to_json().unwrap());
        stage.handle(&first).await;
        paid.fingerprint = quittance_common::claims::Fingerprint::of(b"other");
        let mut second = message(MessageKind::PaymentV1, 0, paid.to_json().unwrap());
        second.headers.gateway = Some(quittance_common::ids::GatewayId::PayPal);
        second.headers.account = "default".parse().ok();
        for _ in 0..2 {
            park(&stage, &second).await;
        }
        let notes = notes(&shop).await;
        assert_eq!(notes.len(), told, "{notes:?}");
        for (_, body) in notes {
            assert_eq!(body["reasons"][0], "conflict");
        }
    }
}

#[tokio::test]
async fn poison_is_found_by_what_is_left_of_it_and_no_more_once_it_was_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 5).await;
    let stage = stage(&shop);
    let good = event(EventType::Completed, "T", "T").to_json().unwrap();
    let newer = String::from_utf8(good.clone())
        .unwrap()
        .replace("\"specversion\":\"1.0\"", "\"specversion\":\"2.0\"");
    let poison = message(MessageKind::PaymentV1, ATTEMPTS, newer.into_bytes());
    park(&stage, &poison).await;
    let row = shop.quarantined().await.unwrap().remove(0);
    assert_eq!(
        (row.txn_id.as_str(), row.reason.as_str(), row.queue.as_str()),
        ("T", "unsupported_version", "fulfil.dead")
    );
    // Unknown to the books otherwise, it has a story all the same.
    let story = shop.payment_story("T").await.unwrap().remove(0);
    assert_eq!(story.payment.status, "not_in_the_books");
    assert_eq!(story.parked.len(), 1);
    // A later build understands it.
    let mut replayed = message(MessageKind::PaymentV1, 0, good);
    replayed.headers.replay_id = Some("r1".into());
    stage.handle(&replayed).await;
    assert!(shop.quarantined().await.unwrap().is_empty());
    let ever = shop.ever_parked().await.unwrap();
    assert_eq!(ever[0].state, quittance_common::shop::ParkedState::Settled);
}

#[tokio::test]
async fn a_database_that_is_down_costs_no_attempt_and_stops_the_taking() {
    let down = "postgres://nobody:secret@127.0.0.1:9/shop".to_owned();
    let stage = stage(&Shop::lazy(&ShopDatabase::Postgres(down.into())).unwrap());
    let body = event(EventType::Completed, "T", "T").to_json().unwrap();
    stage.ready().await;
    let disposition = stage
        .handle(&message(MessageKind::PaymentV1, 99, body))
        .await;
    assert!(
        matches!(&disposition, Disposition::Retry { wait: Wait::Free { .. }, reason, .. } if reason.as_str() == "shop_unavailable"),
        "{disposition:?}"
    );
    let taking = tokio::time::timeout(Duration::from_millis(50), stage.ready()).await;
    assert!(taking.is_err(), "takes deliveries with the database down");
}

#[tokio::test]
async fn an_ignored_event_is_settled_counted_and_is_not_in_the_books() {
    use quittance_common::rules::{Criteria, Rule, Rules, Ruling};
    use quittance_common::shop::PaymentFilter;

    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let registry = prometheus::Registry::new();
    let metrics = Metrics::register(&registry, Metrics::duplicates_total().unwrap()).unwrap();
    let rules = Rules::new(vec![Rule {
        index: 0,
        when: Criteria {
            event: Some("payment.completed".parse().unwrap()),
            ..Criteria::default()
        },
        then: Ruling::Ignore,
    }]);
    let stage =
        FulfilStage::new(shop.clone(), Arc::new(Notify::new()), metrics).under(Terms::ruled(rules));
    for event_type in [EventType::Completed, EventType::Pending] {
        let body = event(event_type, "T", "T").to_json().unwrap();
        let disposition = stage
            .handle(&message(MessageKind::PaymentV1, 0, body))
            .await;
        assert!(matches!(&disposition, Disposition::Forward { publish, .. } if publish.is_empty()));
    }
    let payments = shop.payments(&PaymentFilter::default()).await.unwrap();
    assert_eq!((payments.len(), payments[0].events), (1, 1));
    assert_eq!(payments[0].status, "pending");
    // Whoever asks for it is told which rule it was.
    let story = shop.payment_story("T").await.unwrap().remove(0);
    let ignored = story.decisions.iter().find(|row| row.outcome == "ignored");
    let told = ignored.map(|row| row.detail.as_str());
    assert_eq!(told, Some("rule.0 (event = payment.completed)"));
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    for series in [
        "quittance_rules_total{action=\"ignore\"} 1",
        "quittance_rules_total{action=\"process\"} 1",
        "quittance_rules_total{action=\"record\"} 0",
    ] {
        assert!(text.contains(series), "{text}");
    }
}

#[tokio::test]
async fn what_is_done_is_counted_and_not_what_the_event_alone_would_get() {
    use crate::testing::refund;
    use quittance_common::rules::{Criteria, Rule, Rules, Ruling};

    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    let registry = prometheus::Registry::new();
    let metrics = Metrics::register(&registry, Metrics::duplicates_total().unwrap()).unwrap();
    let rules = Rules::new(vec![Rule {
        index: 0,
        when: Criteria {
            item: Some("mug".parse().unwrap()),
            ..Criteria::default()
        },
        then: Ruling::Record,
    }]);
    let stage =
        FulfilStage::new(shop.clone(), Arc::new(Notify::new()), metrics).under(Terms::ruled(rules));
    // The refund names no item: it is about what its payment bought.
    for event in [event(EventType::Completed, "T", "T"), refund("T", "R", 500)] {
        let body = event.to_json().unwrap();
        stage
            .handle(&message(MessageKind::PaymentV1, 0, body))
            .await;
    }
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    for series in [
        "quittance_rules_total{action=\"record\"} 2",
        "quittance_rules_total{action=\"process\"} 0",
    ] {
        assert!(text.contains(series), "{text}");
    }
    let story = shop.payment_story("T").await.unwrap().remove(0);
    let recorded = story
        .decisions
        .iter()
        .filter(|row| row.outcome == "recorded");
    assert_eq!(recorded.count(), 2, "{:?}", story.decisions);
}
