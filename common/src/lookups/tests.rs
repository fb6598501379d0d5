//! What a look-up store promises over hours, on the embedded one; all else is in the contract that
//! both engines are held to.

use super::embedded::EmbeddedLookups;
use super::*;

const TIMES: LookupTimes = LookupTimes {
    lease: Duration::from_secs(25),
    keep: Duration::from_hours(1),
};

fn key(token: &str) -> LookupKey {
    LookupKey {
        gateway: GatewayId::PayPal,
        account: "default".parse().unwrap(),
        token: token.parse().unwrap(),
    }
}

fn look() -> Look {
    Look {
        owner: Owner::new(),
        attempt: 1,
    }
}

fn success(submitted: bool) -> KeptAnswer {
    KeptAnswer::Success {
        evidence: "payer_email=a%40b.example".into(),
        submitted,
    }
}

const FAIL: KeptAnswer = KeptAnswer::Fail { code: Some(4003) };

#[tokio::test(start_paused = true)]
async fn of_ten_visits_at_once_one_asks_and_the_others_wait() {
    let store = EmbeddedLookups::new(TIMES);
    let key = key("TXLOOKUP001");
    assert_eq!(
        store.begin(&key, &look()).await.unwrap(),
        Begun::Ask { number: 1 }
    );
    for _ in 0..9 {
        assert!(matches!(
            store.begin(&key, &look()).await.unwrap(),
            Begun::Busy { .. }
        ));
    }
    store.finish(&key, &success(true)).await.unwrap();
    assert_eq!(
        store.begin(&key, &look()).await.unwrap(),
        Begun::Known(success(true))
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_asked_for_again_counts_nothing_and_a_retry_counts_one() {
    let store = EmbeddedLookups::new(TIMES);
    let (key, mut look) = (key("TXLOOKUP002"), look());
    for _ in 0..3 {
        assert_eq!(
            store.begin(&key, &look).await.unwrap(),
            Begun::Ask { number: 1 }
        );
    }
    look.attempt = 2;
    assert_eq!(
        store.begin(&key, &look).await.unwrap(),
        Begun::Ask { number: 2 }
    );
}

#[tokio::test(start_paused = true)]
async fn the_sixth_look_up_of_a_token_is_never_made() {
    let store = EmbeddedLookups::new(TIMES);
    let key = key("TXLOOKUP003");
    for number in 1..=LOOKUPS_PER_TOKEN {
        let begun = store.begin(&key, &look()).await.unwrap();
        assert_eq!(begun, Begun::Ask { number });
        store.finish(&key, &success(true)).await.unwrap();
        tokio::time::advance(TIMES.keep).await;
    }
    assert_eq!(store.begin(&key, &look()).await.unwrap(), Begun::Spent);
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_never_finishes_keeps_others_out_for_its_lease_only() {
    let store = EmbeddedLookups::new(TIMES);
    let key = key("TXLOOKUP004");
    store.begin(&key, &look()).await.unwrap();
    tokio::time::advance(TIMES.lease).await;
    assert_eq!(
        store.begin(&key, &look()).await.unwrap(),
        Begun::Ask { number: 2 }
    );
}

#[tokio::test(start_paused = true)]
async fn a_success_is_never_replaced_by_a_failure() {
    let store = EmbeddedLookups::new(TIMES);
    let key = key("TXLOOKUP005");
    store.begin(&key, &look()).await.unwrap();
    store.finish(&key, &success(false)).await.unwrap();
    store.finish(&key, &FAIL).await.unwrap();
    assert_eq!(
        store.begin(&key, &look()).await.unwrap(),
        Begun::Known(success(false))
    );
    store.finish(&key, &success(true)).await.unwrap();
    assert_eq!(
        store.begin(&key, &look()).await.unwrap(),
        Begun::Known(success(true))
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_like_an_answer_so_that_nobody_asks_again_and_again() {
    let store = EmbeddedLookups::new(TIMES);
    let key = key("TXLOOKUP006");
    store.begin(&key, &look()).await.unwrap();
    store.finish(&key, &FAIL).await.unwrap();
    assert_eq!(
        store.begin(&key, &look()).await.unwrap(),
        Begun::Known(FAIL)
    );
}

#[test]
fn what_was_answered_is_never_shown_in_a_log() {
    let shown = format!("{:?}", success(true));
    assert!(
        shown.contains("Success") && !shown.contains("example"),
        "{shown}"
    );
}
