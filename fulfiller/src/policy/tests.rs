//! What rules let through, on values and on a real database.

use jiff::Timestamp;
use quittance_common::rules::{Criteria, NotifyRule, Rule, StockRule, built_in};
use quittance_common::shop::{PaymentFilter, PaymentRow, Shop};

use super::*;
use crate::fulfil::{Applied, ApplyError, apply, apply_under};
use crate::payment::{effects, fold};
use crate::terms::Terms;
use crate::testing::{at, event, line, mugs, refund, shop};

fn ruled(event: Option<&str>, item: Option<&str>, then: Ruling) -> Rules {
    let pattern = |text: &str| text.parse().unwrap();
    Rules::new(vec![Rule {
        index: 0,
        when: Criteria {
            event: event.map(pattern),
            item: item.map(pattern),
            ..Criteria::default()
        },
        then,
    }])
}

const NO_STOCK: Ruling = Ruling::Process {
    stock: StockRule::Ignore,
    notify: NotifyRule::Send,
};
const NO_MAIL: Ruling = Ruling::Process {
    stock: StockRule::Apply,
    notify: NotifyRule::None,
};

async fn apply_by(
    rules: &Rules,
    shop: &Shop,
    event: &PaymentEvent,
    now: Timestamp,
) -> Result<Applied, ApplyError> {
    apply_under(&Terms::ruled(rules.clone()), shop, event, now).await
}

async fn only_payment(shop: &Shop) -> PaymentRow {
    let mut rows = shop.payments(&PaymentFilter::default()).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

async fn applied(rules: &Rules, events: &[PaymentEvent]) -> (PaymentRow, (i64, i64, i64), i64) {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    for event in events {
        let outcome = apply_by(rules, &shop, event, at(1)).await.unwrap();
        assert!(matches!(outcome, Applied::New(_)), "{outcome:?}");
    }
    let mut row = only_payment(&shop).await;
    row.effects.sort();
    let waiting = shop.outbox_depth().await.unwrap();
    (row, mugs(&shop).await, i64::try_from(waiting).unwrap())
}

#[tokio::test]
async fn a_rule_without_stock_leaves_the_stock_and_tells_the_customer() {
    let rules = ruled(None, Some("mu*"), NO_STOCK);
    let (row, stock, waiting) = applied(&rules, &[event(EventType::Completed, "T", "T")]).await;
    assert_eq!(row.effects, ["mail_received", "stock_decremented_withheld"]);
    assert_eq!(
        (row.status.as_str(), stock, waiting),
        ("completed", (10, 0, 0), 2)
    );
}

#[tokio::test]
async fn a_rule_without_mail_moves_the_stock_and_tells_the_shop_only() {
    let rules = ruled(Some("payment.completed"), None, NO_MAIL);
    let (row, stock, waiting) = applied(&rules, &[event(EventType::Completed, "T", "T")]).await;
    assert_eq!(row.effects, ["mail_received_withheld", "stock_decremented"]);
    assert_eq!((stock, waiting), ((8, 0, 0), 1));
}

#[tokio::test]
async fn what_is_only_recorded_is_in_the_books_and_nowhere_else() {
    let rules = ruled(None, Some("mug"), Ruling::Record);
    // The refund names no item: it is about what the payment bought.
    let events = [
        event(EventType::Completed, "T", "T"),
        refund("T", "R", 2000),
    ];
    let (row, stock, waiting) = applied(&rules, &events).await;
    assert_eq!((row.status.as_str(), row.events), ("refunded", 2));
    assert!(
        row.effects
            .iter()
            .all(|effect| effect.ends_with("_withheld")),
        "{row:?}"
    );
    assert_eq!((stock, waiting), ((10, 0, 0), 0));
}

#[tokio::test]
async fn a_cart_with_one_other_item_is_not_withheld() {
    let mut mixed = event(EventType::Completed, "T", "T");
    mixed.data.lines.push(line("ebook", 1));
    let (row, stock, _) = applied(&ruled(None, Some("ebook"), Ruling::Record), &[mixed]).await;
    assert!(
        !row.effects
            .iter()
            .any(|effect| effect.ends_with("_withheld"))
    );
    assert_eq!(stock, (8, 0, 0));
}

#[tokio::test]
async fn a_refund_that_must_not_restock_leaves_the_sale_as_it_was() {
    let rules = ruled(Some("payment.refunded"), None, NO_STOCK);
    let mut events = vec![
        event(EventType::Completed, "T", "T"),
        refund("T", "R", 2000),
    ];
    for _ in 0..2 {
        let (row, stock, _) = applied(&rules, &events).await;
        assert_eq!((row.status.as_str(), stock), ("refunded", (8, 0, 0)));
        events.reverse();
    }
}

#[tokio::test]
async fn a_reservation_is_given_back_when_the_sale_is_somebody_elses() {
    let rules = ruled(Some("payment.completed"), None, NO_STOCK);
    let mut events = vec![
        event(EventType::Pending, "T", "T"),
        event(EventType::Completed, "T", "T"),
    ];
    for _ in 0..2 {
        let (_, stock, _) = applied(&rules, &events).await;
        assert_eq!(stock, (10, 0, 0), "{events:?}");
        events.reverse();
    }
}

#[tokio::test]
async fn a_change_of_the_rules_neither_makes_up_for_nor_takes_back_what_was_decided() {
    let completed = event(EventType::Completed, "T", "T");
    let later = refund("T", "R", 500);
    for (rules_before, rules_after, expected) in [
        (ruled(None, None, Ruling::Record), Rules::default(), 10),
        (Rules::default(), ruled(None, None, Ruling::Record), 8),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 10).await;
        apply_by(&rules_before, &shop, &completed, at(1))
            .await
            .unwrap();
        apply_by(&rules_after, &shop, &later, at(2)).await.unwrap();
        assert_eq!(mugs(&shop).await.0, expected);
        let told = only_payment(&shop).await.effects;
        assert_eq!(
            told.contains(&"mail_received".to_owned()),
            expected == 8,
            "{told:?}"
        );
    }
}

#[test]
fn without_rules_everything_is_let_through() {
    let events = [
        event(EventType::Pending, "T", "T"),
        event(EventType::Completed, "T", "T"),
        refund("T", "R", 2000),
        event(EventType::Reversed, "T", "V"),
    ];
    for known in 1..=events.len() {
        let events = &events[..known];
        let all = effects(&fold(events), events);
        let permitted = permit(all.clone(), events, &Rules::default(), &BTreeSet::new());
        assert_eq!(permitted.effects, all);
        assert!(permitted.withheld.is_empty());
    }
}

/// `(what became of the stock, what the customer was told)` by `event` after `before`.
async fn done_by(before: Option<EventType>, event_type: EventType) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 10).await;
    if let Some(before) = before {
        apply(&shop, &event(before, "T", "T"), at(1)).await.unwrap();
    }
    let mut next = event(event_type, "T", if before.is_some() { "U" } else { "T" });
    if before.is_none() {
        next.data.lines = vec![line("mug", 2)];
    }
    let Applied::New(done) = apply(&shop, &next, at(2)).await.unwrap() else {
        panic!("{event_type} is not new");
    };
    let of = |prefix: &str| {
        let found = done
            .iter()
            .find_map(|done| done.effect.strip_prefix(prefix));
        found.unwrap_or("none").to_owned()
    };
    (of("stock_"), of("mail_"))
}

#[tokio::test]
async fn the_built_in_table_says_what_is_done() {
    for event_type in EventType::ALL {
        let before = match event_type {
            EventType::Completed | EventType::Pending | EventType::Noted => None,
            EventType::Denied | EventType::Failed | EventType::Expired | EventType::Voided => {
                Some(EventType::Pending)
            }
            _ => Some(EventType::Completed),
        };
        let (stock, mail) = done_by(before, event_type).await;
        let said = built_in(event_type);
        // `decrement` → `decremented`, `restock if in full` → `restocked`.
        let verb = said.stock.split(' ').next().unwrap_or_default();
        assert!(
            stock.starts_with(verb),
            "{event_type}: {stock}, not {}",
            said.stock
        );
        assert_eq!(mail, said.notify, "{event_type}");
    }
}

/// Whatever a rule makes of refusals: what this payment has set aside is nobody's to keep.
#[tokio::test]
async fn a_rule_that_records_refusals_only_still_releases_what_was_set_aside() {
    let rules = ruled(Some("payment.denied"), None, Ruling::Record);
    let events = [
        event(EventType::Pending, "T", "T"),
        event(EventType::Denied, "T", "T"),
    ];
    let (row, stock, _) = applied(&rules, &events).await;
    assert_eq!(stock, (10, 0, 0));
    assert!(!row.effects.contains(&"mail_failed".to_owned()), "{row:?}");
}
