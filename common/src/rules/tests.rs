//! Which rule decides, and which ones are never asked.

use proptest::prelude::*;

use super::*;
use crate::event::Source;
use crate::gateway::paypal::tests::{account, fixture, raw};
use crate::notification::{Proof, Verified};

fn event(body: &'static [u8]) -> PaymentEvent {
    let raw = raw(body, Source::Ipn);
    let read = crate::gateway::read(&raw, &account()).unwrap();
    Verified::new(&raw, read, Proof(())).into_events().remove(0)
}

fn cart() -> PaymentEvent {
    event(fixture!("cart_completed"))
}

fn rule(index: usize, when: Criteria, then: Ruling) -> Rule {
    Rule { index, when, then }
}

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

fn by_event(text: &str) -> Criteria {
    Criteria {
        event: Some(pattern(text)),
        ..Criteria::default()
    }
}

fn by_item(text: &str) -> Criteria {
    Criteria {
        item: Some(pattern(text)),
        ..Criteria::default()
    }
}

#[test]
fn without_rules_the_built_in_table_decides_and_withholds_nothing() {
    let decision = Rules::default().decide(&Facts::of(&cart()));
    assert_eq!(decision.by, RuleId::BuiltIn);
    assert_eq!(decision.ruling, Ruling::PROCESS);
    assert_eq!(decision.by.to_string(), "built-in");
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = Rules::new(vec![
        rule(0, by_event("subscription.*"), Ruling::Ignore),
        rule(3, by_event("payment.*"), Ruling::Record),
        rule(4, Criteria::default(), Ruling::Ignore),
    ]);
    let decision = rules.decide(&Facts::of(&cart()));
    assert_eq!(
        (decision.by, decision.ruling),
        (RuleId::Set(3), Ruling::Record)
    );
    assert_eq!(decision.by.to_string(), "rule.3");
    let signup = rules.decide(&Facts::of(&event(fixture!("subscr_signup"))));
    assert_eq!(signup.by, RuleId::Set(0));
}

#[test]
fn an_item_rule_asks_for_every_line_so_that_a_mixed_cart_is_not_withheld() {
    let mut event = cart();
    let skus: Vec<String> = event
        .data
        .lines
        .iter()
        .filter_map(|line| Some(line.sku.as_ref()?.as_str().to_owned()))
        .collect();
    assert!(skus.len() > 1 && skus[0] != skus[1], "{skus:?}");
    assert!(by_item("*").matches(&Facts::of(&event)));
    assert!(!by_item(&skus[0]).matches(&Facts::of(&event)));
    event.data.lines.truncate(1);
    assert!(by_item(&skus[0]).matches(&Facts::of(&event)));
    event.data.lines[0].sku = None;
    assert!(!by_item("*").matches(&Facts::of(&event)));
    event.data.lines.clear();
    assert!(!by_item("*").matches(&Facts::of(&event)));
}

#[test]
fn an_event_that_names_no_item_is_about_what_its_payment_bought() {
    let payment = cart();
    let mut refund = payment.clone();
    refund.data.lines.clear();
    refund.event_type = EventType::Refunded;
    let events = [refund.clone(), payment];
    assert!(by_item("*").matches(&Facts::within(&refund, &events)));
    assert!(!by_item("*").matches(&Facts::within(&refund, &events[..1])));
}

#[test]
fn an_event_without_transaction_type_matches_no_transaction_type() {
    let when = Criteria {
        txn_type: Some(pattern("*")),
        ..Criteria::default()
    };
    assert!(when.matches(&Facts::of(&cart())));
    assert!(!when.matches(&Facts::of(&event(fixture!("refund_partial")))));
}

#[test]
fn account_and_gateway_narrow() {
    let of = |account: &str| Criteria {
        gateway: Some(GatewayId::PayPal),
        account: Some(account.parse().unwrap()),
        ..Criteria::default()
    };
    assert!(of("default").matches(&Facts::of(&cart())));
    assert!(!of("other").matches(&Facts::of(&cart())));
}

#[test]
fn a_rule_behind_a_wider_one_is_found_and_a_narrower_one_hides_nothing() {
    let rules = Rules::new(vec![
        rule(0, by_event("payment.refunded"), Ruling::Record),
        rule(1, by_event("payment.*"), Ruling::PROCESS),
        rule(2, by_event("payment.re*"), Ruling::Ignore),
        rule(3, by_item("TEA-*"), Ruling::Ignore),
        rule(4, Criteria::default(), Ruling::PROCESS),
        rule(5, by_event("dispute.*"), Ruling::Ignore),
    ]);
    assert_eq!(rules.unreachable(), [(2, 1), (5, 4)]);
}

#[test]
fn a_record_or_an_ignore_lets_nothing_out() {
    for ruling in [Ruling::Record, Ruling::Ignore] {
        assert!(!ruling.moves_stock() && !ruling.tells_customer() && !ruling.tells_shop());
    }
    let quiet = Ruling::Process {
        stock: StockRule::Apply,
        notify: NotifyRule::None,
    };
    assert!(quiet.moves_stock() && !quiet.tells_customer() && quiet.tells_shop());
}

fn any_ruling() -> impl Strategy<Value = Ruling> {
    prop_oneof![
        Just(Ruling::PROCESS),
        Just(Ruling::Record),
        Just(Ruling::Ignore)
    ]
}

fn any_criteria() -> impl Strategy<Value = Criteria> {
    let patterns = |texts: &'static [&'static str]| {
        proptest::option::of(proptest::sample::select(texts).prop_map(|text| text.parse().unwrap()))
    };
    (
        proptest::option::of(Just(GatewayId::PayPal)),
        proptest::option::of(
            proptest::sample::select(&["default", "other"][..])
                .prop_map(|account| account.parse().unwrap()),
        ),
        patterns(&["payment.*", "payment.completed", "*ed", "subscription.*"]),
        patterns(&["*", "subscr_*", "cart"]),
        patterns(&["*", "TEA-*", "TEA-1", "MUG"]),
    )
        .prop_map(|(gateway, account, event, txn_type, item)| Criteria {
            gateway,
            account,
            event,
            txn_type,
            item,
        })
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let one = (any_criteria(), any_ruling());
    proptest::collection::vec(one, 0..6).prop_map(|rules| {
        let numbered = rules.into_iter().enumerate();
        numbered
            .map(|(index, (when, then))| rule(index, when, then))
            .collect()
    })
}

fn some_events() -> Vec<PaymentEvent> {
    let mut events: Vec<PaymentEvent> = [
        &fixture!("cart_completed")[..],
        fixture!("refund_partial"),
        fixture!("subscr_signup"),
        fixture!("masspay_processed"),
        fixture!("new_case_chargeback"),
        fixture!("adaptive_payment"),
    ]
    .into_iter()
    .map(event)
    .collect();
    let template = events[0].clone();
    events.extend(EventType::ALL.into_iter().map(|event_type| PaymentEvent {
        event_type,
        ..template.clone()
    }));
    events
}

proptest! {
    #[test]
    fn every_event_is_decided_by_the_first_rule_that_matches_it(rules in any_rules()) {
        let table = Rules::new(rules.clone());
        for event in some_events() {
            let facts = Facts::of(&event);
            let decision = table.decide(&facts);
            let matching: Vec<&Rule> = rules.iter().filter(|rule| rule.when.matches(&facts)).collect();
            match decision.by {
                RuleId::Set(index) => {
                    prop_assert_eq!(matching[0].index, index);
                    prop_assert_eq!(matching[0].then, decision.ruling);
                }
                RuleId::BuiltIn => prop_assert!(matching.is_empty()),
            }
        }
    }

    #[test]
    fn a_rule_after_a_catch_all_changes_nothing(
        before in any_rules(), caught in any_ruling(), when in any_criteria(), then in any_ruling(),
    ) {
        let mut rules = before;
        rules.push(rule(10, Criteria::default(), caught));
        let without = Rules::new(rules.clone());
        rules.push(rule(11, when, then));
        let with = Rules::new(rules);
        for event in some_events() {
            prop_assert_eq!(without.decide(&Facts::of(&event)), with.decide(&Facts::of(&event)));
        }
        let found = with.unreachable();
        prop_assert!(found.iter().any(|(rule, _)| *rule == 11), "{:?}", found);
    }

    #[test]
    fn a_rule_that_is_called_unreachable_decides_nothing(rules in any_rules()) {
        let table = Rules::new(rules);
        let unreachable = table.unreachable();
        for event in some_events() {
            if let RuleId::Set(index) = table.decide(&Facts::of(&event)).by {
                prop_assert!(!unreachable.iter().any(|(rule, _)| *rule == index));
            }
        }
    }
}
