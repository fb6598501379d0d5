//! Each check, and what a person can waive.

mod auctions;
mod captures;
mod messages;
mod orders;
mod signups;
mod variants;
mod waivers;
mod what_was_bought;

use super::*;
use quittance_common::claims::Fingerprint;
use quittance_common::event::{Details, Environment, EventData, OrderRef, Payer, Source, Subject};
use quittance_common::ids::{GatewayId, MessageId};
use quittance_common::notification::Payee;
use quittance_common::order::signature;
use quittance_common::status::TxnType;

fn account(receivers: &[&str]) -> Account {
    Account {
        id: "default".parse().unwrap(),
        gateway: GatewayId::PayPal,
        environment: Environment::Live,
        receivers: receivers.iter().map(ToString::to_string).collect(),
        pdt_token: None,
        postback_url: "http://127.0.0.1/".parse().unwrap(),
        pdt_url: "http://127.0.0.1/".parse().unwrap(),
        checkout_url: "http://127.0.0.1/".parse().unwrap(),
    }
}

fn line(sku: &str, quantity: u32) -> Line {
    Line {
        sku: Some(sku.parse().unwrap()),
        name: String::new(),
        quantity,
        gross: None,
        options: Vec::new(),
    }
}

fn money(text: &str) -> Money {
    let (value, currency) = text.split_once(' ').unwrap();
    Money::parse(value, currency.parse().unwrap()).unwrap()
}

fn reading(gross: Option<&str>, lines: Vec<Line>) -> Reading {
    Reading {
        key: "pp:live:T1:completed".parse().unwrap(),
        fingerprint: Fingerprint::of(b"x"),
        event_type: EventType::Completed,
        data: EventData {
            message_id: MessageId::from_name("m"),
            source: Source::Ipn,
            environment: Environment::Live,
            subject: Subject::Payment("T1".parse().unwrap()),
            txn_id: Some("T1".parse().unwrap()),
            parent_txn_id: None,
            txn_type: None,
            payment_status: None,
            pending_reason: None,
            reason_code: None,
            subscription: None,
            gross: gross.map(money),
            asked: None,
            auction: None,
            terms: Vec::new(),
            fee: None,
            occurred_at: None,
            order: OrderRef::default(),
            lines,
            payer: Payer::default(),
            flags: Vec::new(),
            details: Details::default(),
        },
        doubts: Vec::new(),
    }
}

fn notification(payee: Payee, reading: Reading) -> Notification {
    Notification {
        claimed_environment: Some(Environment::Live),
        added: None,
        payee,
        readings: vec![reading],
    }
}

fn paid_to(email: &str) -> Payee {
    Payee {
        receiver_email: Some(email.to_owned()),
        ..Payee::default()
    }
}

fn prices() -> Prices {
    HashMap::from([
        ("TEA".parse().unwrap(), money("4.50 EUR")),
        ("POT".parse().unwrap(), money("20.00 EUR")),
        ("RICE".parse().unwrap(), money("500 JPY")),
    ])
}

fn policy(secrets: &[SecretString]) -> Policy<'_> {
    Policy {
        unmatched: Unmatched::Quarantine,
        orders: OrderPolicy::Optional,
        tolerance: 0,
        secrets,
    }
}

fn known(orders: &[Order]) -> Known {
    Known {
        prices: prices(),
        variants: Variants::default(),
        orders: orders.iter().map(|o| (o.id.clone(), o.clone())).collect(),
        subscriptions: HashSet::new(),
        authorizations: HashMap::new(),
    }
}

fn order(id: &str, total: &str, lines: &[(&str, u64)]) -> Order {
    Order {
        id: id.parse().unwrap(),
        total: money(total),
        lines: lines
            .iter()
            .map(|(sku, quantity)| (sku.parse().unwrap(), *quantity))
            .collect(),
    }
}

/// The reason code of the refusal, or the flags and the order of the first reading.
fn checked(
    notification: &Notification,
    known: &Known,
    policy: Policy<'_>,
) -> Result<(Vec<String>, Option<String>), String> {
    let ours = account(&["pay@shop.example"]);
    check(notification, &ours, known, policy, &BTreeSet::new())
        .map(|mut passed| {
            let passed = passed.remove(0);
            let flags = passed.flags.iter().map(ToString::to_string).collect();
            (flags, passed.order.map(String::from))
        })
        .map_err(|refusal| refusal.reason.to_string())
}

/// The reason code of the refusal, or the flags.
fn outcome(notification: &Notification, account: &Account) -> Result<Vec<String>, String> {
    let none = BTreeSet::new();
    check(notification, account, &known(&[]), policy(&[]), &none)
        .map(|passed| {
            let flags = passed.iter().flat_map(|passed| &passed.flags);
            flags.map(ToString::to_string).collect()
        })
        .map_err(|refusal| refusal.reason.to_string())
}

fn outcome_of(gross: &str, lines: Vec<Line>) -> Result<Vec<String>, String> {
    let account = account(&["pay@shop.example"]);
    outcome(
        &notification(paid_to("pay@shop.example"), reading(Some(gross), lines)),
        &account,
    )
}

fn paid(gross: &str, lines: Vec<Line>) -> Notification {
    notification(paid_to("pay@shop.example"), reading(Some(gross), lines))
}

fn with_custom(mut notification: Notification, custom: &str) -> Notification {
    notification.readings[0].data.order.custom = Some(custom.to_owned());
    notification
}

fn with_invoice(mut notification: Notification, invoice: &str) -> Notification {
    notification.readings[0].data.order.invoice = Some(invoice.to_owned());
    notification
}

fn of_type(mut notification: Notification, txn_type: TxnType) -> Notification {
    notification.readings[0].data.txn_type = Some(txn_type);
    notification
}

fn secrets() -> [SecretString; 1] {
    [SecretString::from("a secret of a shop")]
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "compared with what `checked` answers"
)]
fn bound(order: &str) -> Result<(Vec<String>, Option<String>), String> {
    Ok((vec![], Some(order.to_owned())))
}

fn refused(reason: &str) -> Result<(Vec<String>, Option<String>), String> {
    Err(reason.to_owned())
}

#[test]
fn the_right_amount_for_the_right_items_passes_without_a_flag() {
    assert_eq!(
        outcome_of("29.00 EUR", vec![line("TEA", 2), line("POT", 1)]),
        Ok(vec![])
    );
}

#[test]
fn a_price_changed_in_the_buyers_browser_is_refused() {
    assert_eq!(
        outcome_of("0.05 EUR", vec![line("POT", 1)]),
        Err("amount_mismatch".into())
    );
}

#[test]
fn the_right_amount_for_a_greater_quantity_is_refused() {
    assert_eq!(
        outcome_of("20.00 EUR", vec![line("POT", 10)]),
        Err("amount_mismatch".into())
    );
}

#[test]
fn five_hundred_yen_are_not_five_hundred_euro() {
    assert_eq!(
        outcome_of("500 EUR", vec![line("RICE", 1)]),
        Err("currency_mismatch".into())
    );
}

#[test]
fn a_cart_of_two_currencies_is_refused_and_not_added_up() {
    let lines = vec![line("RICE", 1), line("POT", 1)];
    assert_eq!(
        outcome_of("520.00 EUR", lines),
        Err("currency_mismatch".into())
    );
}

#[test]
fn more_than_the_catalogue_asks_is_accepted_with_a_flag() {
    assert_eq!(
        outcome_of("24.90 EUR", vec![line("POT", 1)]),
        Ok(vec!["overpaid".into()])
    );
}

#[test]
fn an_item_that_the_catalogue_does_not_know_goes_to_a_person() {
    assert_eq!(
        outcome_of("9.00 EUR", vec![line("CUP", 1)]),
        Err("unmatched_item".into())
    );
    assert_eq!(outcome_of("9.00 EUR", vec![]), Err("unmatched_item".into()));
}

#[test]
fn an_unknown_item_in_the_cart_does_not_hide_the_price_of_a_known_one() {
    let lenient = |gross: &str, lines| {
        let notification = notification(paid_to("pay@shop.example"), reading(Some(gross), lines));
        let policy = Policy {
            unmatched: Unmatched::Accept,
            ..policy(&[])
        };
        checked(&notification, &known(&[]), policy).map(|(flags, _)| flags)
    };
    let cart = || vec![line("POT", 1), line("CUP", 1)];
    assert_eq!(lenient("0.05 EUR", cart()), Err("amount_mismatch".into()));
    assert_eq!(lenient("500 JPY", cart()), Err("currency_mismatch".into()));
    let flagged: Result<Vec<String>, String> = Ok(vec!["unmatched_item".into()]);
    assert_eq!(lenient("20.00 EUR", cart()), flagged);
    assert_eq!(lenient("25.00 EUR", cart()), flagged);
    assert_eq!(
        outcome_of("25.00 EUR", cart()),
        Err("unmatched_item".into())
    );
}

#[test]
fn a_completed_payment_of_a_negative_amount_is_refused() {
    assert_eq!(
        outcome_of("-20.00 EUR", vec![line("POT", 1)]),
        Err("amount_not_positive".into())
    );
}

#[test]
fn a_payment_to_somebody_else_is_refused_although_it_is_genuine() {
    let ours = account(&["pay@shop.example", "S8XGHLYDW9T3S"]);
    let paid = || reading(Some("20.00 EUR"), vec![line("POT", 1)]);
    let theirs = notification(paid_to("eve@else.example"), paid());
    assert_eq!(outcome(&theirs, &ours), Err("receiver_mismatch".into()));
    // Her account, our address pasted into `business` by the button: the id decides.
    let spoofed = Payee {
        receiver_id: Some("eveeveeveevee".into()),
        business: Some("pay@shop.example".into()),
        ..Payee::default()
    };
    assert_eq!(
        outcome(&notification(spoofed, paid()), &ours),
        Err("receiver_mismatch".into())
    );
}

#[test]
fn an_alias_is_accepted_and_case_does_not_matter() {
    let ours = account(&["alias@shop.example", "s8xghlydw9t3s"]);
    let paid = || reading(Some("20.00 EUR"), vec![line("POT", 1)]);
    let by_id = Payee {
        receiver_id: Some("S8XGHLYDW9T3S".into()),
        ..Payee::default()
    };
    let by_alias = Payee {
        business: Some("Alias@Shop.example".into()),
        receiver_email: Some("primary@shop.example".into()),
        ..Payee::default()
    };
    assert_eq!(outcome(&notification(by_id, paid()), &ours), Ok(vec![]));
    assert_eq!(outcome(&notification(by_alias, paid()), &ours), Ok(vec![]));
}

#[test]
fn a_payment_that_names_no_payee_goes_to_a_person_and_a_dispute_is_flagged() {
    let ours = account(&["pay@shop.example"]);
    let payment = notification(
        Payee::default(),
        reading(Some("20.00 EUR"), vec![line("POT", 1)]),
    );
    assert_eq!(outcome(&payment, &ours), Err("receiver_missing".into()));
    let mut dispute = notification(Payee::default(), reading(None, vec![]));
    dispute.readings[0].event_type = EventType::DisputeOpened;
    assert_eq!(
        outcome(&dispute, &ours),
        Ok(vec!["receiver_missing".into()])
    );
}

#[test]
fn a_sandbox_message_on_a_live_account_is_refused_before_all_else() {
    let mut sandbox = notification(
        paid_to("eve@else.example"),
        reading(Some("20.00 EUR"), vec![line("POT", 1)]),
    );
    sandbox.claimed_environment = Some(Environment::Sandbox);
    assert_eq!(
        outcome(&sandbox, &account(&["pay@shop.example"])),
        Err("environment_mismatch".into())
    );
}

#[test]
fn a_mass_payment_of_ours_is_recognised_by_the_payer() {
    let ours = account(&["pay@shop.example"]);
    let mut item = reading(None, vec![]);
    item.event_type = EventType::PayoutItem;
    let payee = |payer: &str| Payee {
        merchant_pays: true,
        payer: vec![payer.to_owned()],
        ..Payee::default()
    };
    let own = notification(payee("pay@shop.example"), item.clone());
    let foreign = notification(payee("eve@else.example"), item);
    assert_eq!(outcome(&own, &ours), Ok(vec![]));
    assert_eq!(outcome(&foreign, &ours), Err("payer_mismatch".into()));
}

#[test]
fn a_status_that_this_build_does_not_know_goes_to_a_person() {
    let mut unknown = notification(
        paid_to("pay@shop.example"),
        reading(Some("20.00 EUR"), vec![line("POT", 1)]),
    );
    unknown.readings[0].doubts = vec![Reason::of("unknown_status")];
    assert_eq!(
        outcome(&unknown, &account(&["pay@shop.example"])),
        Err("unknown_status".into())
    );
}
