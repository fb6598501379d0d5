//! Who is told of what.

use quittance_common::rules::{Criteria, NotifyRule, Rule, Rules, Ruling, StockRule};

use crate::announcement::News;
use crate::terms::{StockBy, Terms};

use super::*;

#[tokio::test]
async fn a_dispute_marks_its_payment_and_the_story_tells_everything() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in [
        dispute(EventType::DisputeOpened, "T", "PP-1"),
        event(EventType::Completed, "T", "T"),
        refund("T", "R1", 500),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    let stories = shop.payment_story("R1").await.unwrap();
    assert_eq!(stories.len(), 1);
    let story = &stories[0];
    assert_eq!(story.payment.status, "partially_refunded");
    assert_eq!(story.payment.refunded, "5.00");
    assert_eq!(story.payment.flags, ["disputed"]);
    assert_eq!(story.history.len(), 3);
    assert_eq!(story.stock_moves.len(), 1);
    assert_eq!(story.outbox_waiting, 5);
}

#[tokio::test]
async fn a_paid_item_that_is_not_there_is_told_to_buyer_and_merchant_once() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    for late in [event(EventType::Completed, "T", "T"), refund("T", "R", 100)] {
        apply_under(&terms, &shop, &late, at(1)).await.unwrap();
    }
    let news: Vec<String> = announced(&shop, at(100))
        .await
        .iter()
        .map(|a| a.news.effect())
        .collect();
    let count = |effect: &str| news.iter().filter(|name| *name == effect).count();
    assert_eq!(count("mail_backordered"), 1, "{news:?}");
    assert_eq!(count("mail_merchant:backorder"), 1, "{news:?}");
}

/// He was told when it was parked, and has decided.
#[tokio::test]
async fn what_a_person_has_released_is_not_told_to_the_merchant_again() {
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    for (more, told) in [
        (None, vec!["mail_received"]),
        (
            Some("overpaid"),
            vec!["mail_merchant:overpaid", "mail_received"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 9).await;
        let mut released = event(EventType::Completed, "T", "T");
        let flags = ["items_mismatch", "zero_quantity", "released"];
        released.data.flags = flags.into_iter().chain(more).map(str::to_owned).collect();
        apply_under(&terms, &shop, &released, at(1)).await.unwrap();
        let mut heard: Vec<String> = announced(&shop, at(100))
            .await
            .iter()
            .map(|told| told.news.effect())
            .collect();
        heard.sort();
        assert_eq!(heard, told);
    }
}

#[tokio::test]
async fn each_new_flag_is_told_to_the_merchant_once_and_only_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 9).await;
    let reversed = || {
        let mut reversed = event(EventType::Reversed, "T", "V");
        reversed.data.lines = Vec::new();
        reversed
    };
    apply(&shop, &event(EventType::Completed, "T", "T"), at(1))
        .await
        .unwrap();
    apply(&shop, &reversed(), at(2)).await.unwrap();
    let of_merchant = |all: &[Announcement]| -> Vec<String> {
        let effects = all.iter().map(|a| a.news.effect());
        effects.filter(|e| e.starts_with("mail_merchant")).collect()
    };
    assert!(of_merchant(&announced(&shop, at(100)).await).is_empty());
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    let dispute = dispute(EventType::DisputeOpened, "T", "C");
    apply_under(&terms, &shop, &dispute, at(3)).await.unwrap();
    apply_under(&terms, &shop, &refund("T", "R", 100), at(4))
        .await
        .unwrap();
    let told = of_merchant(&announced(&shop, at(1000)).await);
    assert_eq!(told, ["mail_merchant:disputed:C+reversed:V"]);
}

/// Whom the merchant's mails are about: each reversal and each dispute, in every order.
#[tokio::test]
async fn every_reversal_and_every_dispute_is_told_once_whatever_the_order() {
    let events = [
        event(EventType::Reversed, "T", "V1"),
        event(EventType::ReversalCanceled, "T", "W"),
        event(EventType::Reversed, "T", "V2"),
        dispute(EventType::DisputeOpened, "T", "PP-1"),
        dispute(EventType::DisputeOpened, "T", "PP-2"),
    ];
    let terms = Terms {
        tell_merchant: true,
        ..Terms::default()
    };
    for order in arrival::permutations(&events) {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 9).await;
        for event in &order {
            apply_under(&terms, &shop, event, at(1)).await.unwrap();
        }
        let mut causes: Vec<String> = announced(&shop, at(100))
            .await
            .iter()
            .map(|told| told.news.effect())
            .filter_map(|effect| effect.strip_prefix("mail_merchant:").map(str::to_owned))
            .collect();
        causes.sort();
        assert_eq!(
            causes,
            [
                "disputed:PP-1",
                "disputed:PP-2",
                "reversal_canceled:W",
                "reversed:V1",
                "reversed:V2"
            ]
        );
    }
}

#[tokio::test]
async fn the_buyer_of_what_was_given_back_before_it_was_sold_is_not_told_that_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 0).await;
    for event in [
        refund("T", "R", 2000),
        event(EventType::Completed, "T", "T"),
    ] {
        apply(&shop, &event, at(1)).await.unwrap();
    }
    let told: Vec<String> = announced(&shop, at(100))
        .await
        .iter()
        .map(|told| told.news.effect())
        .collect();
    assert!(!told.contains(&"mail_backordered".to_owned()), "{told:?}");
    let row = only_payment(&shop).await;
    assert!(!row.effects.iter().any(|effect| effect.starts_with("stock")));
}

/// Whether the buyer of a pending payment for two mugs and `more` hears that they are set aside.
async fn told_of_goods_set_aside(terms: &Terms, on_hand: u32, more: Option<&str>) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, on_hand).await;
    let mut pending = event(EventType::Pending, "T", "T");
    pending.data.lines.extend(more.map(|sku| line(sku, 1)));
    apply_under(terms, &shop, &pending, at(1)).await.unwrap();
    let told = announced(&shop, at(100)).await;
    let mut told = told.iter().filter_map(|told| match told.news {
        News::Pending { set_aside, .. } => Some(set_aside),
        _ => None,
    });
    told.next().unwrap()
}

#[tokio::test]
async fn goods_are_called_set_aside_only_where_all_of_them_are() {
    let by_sql = Terms::default();
    assert!(told_of_goods_set_aside(&by_sql, 2, None).await);
    assert!(
        !told_of_goods_set_aside(&by_sql, 1, None).await,
        "one is missing"
    );
    assert!(!told_of_goods_set_aside(&by_sql, 0, None).await);
    let unknown = Some("unheard-of");
    assert!(
        !told_of_goods_set_aside(&by_sql, 9, unknown).await,
        "nobody counts it"
    );
    let without_stock = Rules::new(vec![Rule {
        index: 0,
        when: Criteria::default(),
        then: Ruling::Process {
            stock: StockRule::Ignore,
            notify: NotifyRule::Send,
        },
    }]);
    assert!(!told_of_goods_set_aside(&Terms::ruled(without_stock), 9, None).await);
    let by_http = Terms {
        stock: StockBy::Http,
        ..Terms::default()
    };
    assert!(
        !told_of_goods_set_aside(&by_http, 9, None).await,
        "the shop counts"
    );
}
