//! Every family of message, from fixtures with invented values.

use super::*;

/// What a fixture is read as.
struct Row {
    name: &'static str,
    body: &'static [u8],
    event_type: EventType,
    key: &'static str,
    subject: &'static str,
    gross: &'static str,
    doubts: &'static [&'static str],
}

/// A row of the table.
macro_rules! row {
    ($name:literal, $event_type:ident, $key:literal, $subject:literal, $gross:literal) => {
        row!($name, $event_type, $key, $subject, $gross, [])
    };
    ($name:literal, $event_type:ident, $key:literal, $subject:literal, $gross:literal, $doubts:expr) => {
        Row {
            name: $name,
            body: fixture!($name),
            event_type: EventType::$event_type,
            key: $key,
            subject: $subject,
            gross: $gross,
            doubts: &$doubts,
        }
    };
}

#[rustfmt::skip]
const PAYMENTS: &[Row] = &[
    row!("express_checkout_completed", Completed, "7QT00000EC0000001:completed:", "7QT00000EC0000001", "19.95 USD"),
    row!("web_accept_completed", Completed, "7QT00000WA0000001:completed:", "7QT00000WA0000001", "12.50 EUR"),
    row!("web_accept_completed_umlaut", Completed, "7QT00000WA0000002:completed:", "7QT00000WA0000002", "12.50 EUR"),
    row!("web_accept_completed_utf8", Completed, "7QT00000WA0000002:completed:", "7QT00000WA0000002", "12.50 EUR"),
    row!("web_accept_pending_echeck", Pending, "7QT00000WA0000001:pending:echeck", "7QT00000WA0000001", "12.50 EUR"),
    row!("web_accept_denied", Denied, "7QT00000WA0000003:denied:regulatory_block", "7QT00000WA0000003", "12.50 EUR"),
    row!("web_accept_failed", Failed, "7QT00000WA0000004:failed:", "7QT00000WA0000004", "12.50 EUR"),
    row!("web_accept_created_elv", Noted, "7QT00000WA0000005:created:", "7QT00000WA0000005", "12.50 EUR"),
    row!("authorization_pending", Pending, "7QT00000AU0000001:pending:authorization", "7QT00000AU0000001", "40.00 EUR"),
    row!("authorization_voided", Voided, "7QT00000AU0000001:voided:voided", "7QT00000AU0000001", "40.00 EUR"),
    row!("authorization_expired", Expired, "7QT00000AU0000002:expired:", "7QT00000AU0000002", "40.00 EUR"),
    row!("capture_completed", Completed, "7QT00000CP0000001:completed:completed", "7QT00000CP0000001", "40.00 EUR"),
    row!("refund_partial", Refunded, "7QT00000RF0000001:refunded:refund", "7QT00000WA0000001", "-2.50 EUR"),
    row!("reversed_chargeback", Reversed, "7QT00000RV0000001:reversed:chargeback", "7QT00000WA0000001", "-12.50 EUR"),
    row!("canceled_reversal_settled", ReversalCanceled, "7QT00000CR0000001:canceled_reversal:other", "7QT00000WA0000009", "98.10 SGD"),
    row!("cart_completed", Completed, "7QT00000CA0000001:completed:", "7QT00000CA0000001", "21.50 EUR"),
    row!("auction_completed", Completed, "7QT00000AC0000001:completed::auction:BOOK-1", "7QT00000AC0000001", "30.00 EUR"),
    row!("auction_second_item_completed", Completed, "7QT00000AC0000001:completed::auction:BOOK-2", "7QT00000AC0000001", "30.00 EUR"),
    row!("send_money_completed", Completed, "7QT00000SM0000001:completed:", "7QT00000SM0000001", "5.00 EUR"),
    row!("merch_pmt_completed", Completed, "7QT00000MP0000001:completed:", "7QT00000MP0000001", "9.99 EUR"),
    row!("completed_without_amount", Completed, "7QT00000NA0000001:completed:", "7QT00000NA0000001", "", ["missing_amount"]),
    row!("simulator_declined", Unknown, "592739148:declined:", "592739148", "12.34 USD", ["unknown_status"]),
    row!("simulator_percent_u", Completed, "592739149:completed:", "592739149", "12.34 USD"),
    row!("subscr_payment_pending", Pending, "7QT00000SP0000001:pending:multi_currency", "7QT00000SP0000001", "7.50 EUR"),
    row!("subscr_payment_refund", Refunded, "7QT00000SR0000001:refunded:refund", "7QT00000SP0000001", "-7.50 EUR"),
    row!("recurring_payment_completed", Completed, "7QT00000RP0000001:completed:", "7QT00000RP0000001", "7.50 EUR"),
];

#[rustfmt::skip]
const OTHERS: &[Row] = &[
    row!("new_case_chargeback", DisputeOpened, "case:PP-D-100001:new_case:chargeback:unauthorized:7QT00000WA0000001", "PP-D-100001", ""),
    row!("adjustment", DisputeAdjusted, "case:PP-D-100001:adjustment:chargeback:chargeback_settlement:7QT00000WA0000001", "PP-D-100001", ""),
    row!("chargeback_without_txn_type", DisputeOpened, "case:PP-D-100001::chargeback:non_receipt:7QT00000WA0000001", "PP-D-100001", ""),
    row!("subscr_signup", SubscriptionChanged, "sub:I-QTSUB0000001:subscr_signup:1791947479", "I-QTSUB0000001", ""),
    row!("subscr_failed", SubscriptionChanged, "sub:I-QTSUB0000001:subscr_failed:1794999600", "I-QTSUB0000001", "7.50 EUR"),
    row!("subscr_eot", SubscriptionChanged, "sub:I-QTSUB0000001:subscr_eot:", "I-QTSUB0000001", ""),
    row!("recurring_profile_created", SubscriptionChanged, "sub:I-QTREC0000001:recurring_payment_profile_created:1791947479,1794567600", "I-QTREC0000001", ""),
    row!("recurring_payment_skipped", SubscriptionChanged, "sub:I-QTREC0000001:recurring_payment_skipped:1791947479,N/A", "I-QTREC0000001", ""),
    row!("mp_cancel", SubscriptionChanged, "sub:B-1QT00000000001:mp_cancel:", "B-1QT00000000001", ""),
];

fn check(row: &Row) {
    let reading = reading(row.body);
    assert_eq!(reading.event_type, row.event_type, "{}", row.name);
    assert_eq!(reading.key.as_str(), format!("pp:live:{}", row.key));
    assert_eq!(reading.data.subject.id(), row.subject, "{}", row.name);
    let gross = reading.data.gross.map(|money| money.to_string());
    assert_eq!(gross.unwrap_or_default(), row.gross, "{}", row.name);
    assert_eq!(doubts(&reading), row.doubts, "{}", row.name);
}

#[test]
fn payments_refunds_and_reversals_are_read_as_documented() {
    PAYMENTS.iter().for_each(check);
}

#[test]
fn disputes_and_subscriptions_never_take_the_payment_path() {
    OTHERS.iter().for_each(check);
}

#[test]
fn no_two_families_share_a_key() {
    let mut keys: Vec<_> = PAYMENTS.iter().chain(OTHERS).map(|row| row.key).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    // The same payment in two charsets is one event.
    assert_eq!(keys.len(), all - 1);
}

#[test]
fn the_lines_of_a_cart_are_read() {
    let lines = reading(fixture!("cart_completed")).data.lines;
    let brief: Vec<_> = lines
        .iter()
        .map(|line| {
            let sku = line.sku.as_ref().unwrap().as_str();
            (sku, line.quantity, line.gross.unwrap().minor())
        })
        .collect();
    assert_eq!(brief, [("TEA-1", 3, 900), ("CUP-1", 1, 1250)]);
    assert_eq!(lines[0].options, [("Sort".into(), "Earl Grey".into())]);
}

#[test]
fn a_name_in_windows_1252_is_read_and_the_date_is_utc() {
    let data = reading(fixture!("web_accept_completed_umlaut")).data;
    assert_eq!(data.payer.name.as_deref(), Some("Jörg Größe"));
    assert_eq!(data.payer.country.as_deref(), Some("DE"));
    assert_eq!(data.order.invoice.as_deref(), Some("INV-1001"));
    assert_eq!(data.order.custom.as_deref(), Some("order-1001"));
    assert_eq!(
        data.occurred_at.unwrap().to_string(),
        "2026-01-14T04:12:59Z"
    );
}

#[test]
fn the_simulators_percent_u_and_its_date_block_nothing() {
    let data = reading(fixture!("simulator_percent_u")).data;
    assert_eq!(
        data.payer.name.as_deref(),
        Some("Me%u010Dislava P%u0159%u00EDkladov%u00E1")
    );
    assert_eq!(data.occurred_at, None);
    assert_eq!(data.lines[0].gross.unwrap().minor(), 934);
}

#[test]
fn a_settled_amount_is_not_taken_for_the_paid_one() {
    let data = reading(fixture!("canceled_reversal_settled")).data;
    assert_eq!(data.gross.unwrap().to_string(), "98.10 SGD");
    assert_eq!(data.lines[0].name, "Bücher für Zoë");
}

#[test]
fn what_was_settled_is_kept_for_the_accounts_beside_what_was_paid() {
    let data = reading(fixture!("canceled_reversal_settled")).data;
    let settled = data.details.settled.unwrap();
    assert_eq!(settled.amount.to_string(), "65.02 EUR");
    assert_eq!(settled.exchange_rate.as_deref(), Some("0.662793"));
    assert_eq!(data.fee.unwrap().to_string(), "-3.90 SGD");
}

#[test]
fn created_and_processed_are_only_noted() {
    for status in ["Created", "Processed"] {
        let body = format!(
            "txn_id=T1&txn_type=express_checkout&payment_status={status}&mc_gross=1.00\
             &mc_currency=EUR"
        );
        let reading = reading(body.as_bytes());
        assert_eq!(reading.event_type, EventType::Noted, "{status}");
        assert_eq!(doubts(&reading), [""; 0]);
    }
}

#[test]
fn the_credentials_of_a_subscription_are_in_no_event() {
    let body = [
        &fixture!("subscr_signup")[..],
        b"&username=ada-secret-name&password=ada-secret-word",
    ]
    .concat();
    let body: &'static [u8] = Vec::leak(body);
    let raw = raw(body, Source::Ipn);
    let read = crate::gateway::read(&raw, &account()).unwrap();
    let debug = format!("{read:?}");
    let verified = crate::notification::Verified::new(&raw, read, Proof(()));
    let event = verified.into_events().remove(0);
    let json = String::from_utf8(event.to_json().unwrap()).unwrap();
    for place in [debug, format!("{event:?}"), json] {
        assert!(!place.contains("ada-secret"), "{place}");
    }
}

#[test]
fn an_auction_is_flagged_and_money_without_an_item_has_no_lines() {
    let auction = reading(fixture!("auction_completed")).data;
    assert_eq!(auction.flags, ["auction"]);
    assert_eq!(reading(fixture!("send_money_completed")).data.lines, []);
}

#[test]
fn a_signup_has_a_payee_without_receiver_id() {
    let payee = notification(fixture!("subscr_signup")).payee;
    assert_eq!(payee.receiver_id, None);
    assert_eq!(payee.business.as_deref(), Some("pay@shop.example"));
}

#[test]
fn a_signup_with_a_free_trial_asks_for_nothing_and_one_with_a_price_waits_for_its_payment() {
    let free = reading(fixture!("subscr_signup")).data;
    assert!(free.flags.is_empty(), "{:?}", free.flags);
    let signup = |terms: &str| {
        let body = format!("txn_type=subscr_signup&subscr_id=I-1&mc_currency=EUR&{terms}");
        reading(body.as_bytes()).data.flags
    };
    for due in [
        "mc_amount3=7.50&period3=1+M",
        "period1=1+M&mc_amount1=1.00&mc_amount3=7.50&period3=1+M",
        "period1=1+M&mc_amount1=nothing&mc_amount3=7.50&period3=1+M",
    ] {
        assert_eq!(signup(due), ["first_payment_due"], "{due}");
    }
    for nothing in [
        "period1=1+M&mc_amount3=7.50&period3=1+M",
        "period1=1+M&mc_amount1=0",
    ] {
        assert!(signup(nothing).is_empty(), "{nothing}");
    }
}

#[test]
fn an_initial_payment_inside_a_new_profile_is_flagged() {
    let data = reading(fixture!("recurring_profile_created")).data;
    assert_eq!(data.flags, ["initial_payment"]);
}

#[test]
fn each_item_of_a_mass_payment_is_an_event_of_its_own() {
    let notification = notification(fixture!("masspay_completed"));
    assert!(notification.payee.merchant_pays);
    assert_eq!(
        notification.payee.payer,
        ["qtshop5test01", "owner@shop.example"]
    );
    assert_eq!(notification.payee.receiver_id, None);
    let brief: Vec<_> = notification
        .readings
        .iter()
        .map(|item| (item.key.as_str(), item.data.gross.unwrap().to_string()))
        .collect();
    let expected = [
        (
            "pp:live:mp:7QT00000MI0000011:completed",
            "1.00 GBP".to_owned(),
        ),
        ("pp:live:mp:7QT00000MI0000012:failed", "2.00 GBP".to_owned()),
        (
            "pp:live:mp:7QT00000MI0000013:completed",
            "3.00 GBP".to_owned(),
        ),
    ];
    assert_eq!(brief, expected);
    for item in &notification.readings {
        assert_eq!(item.event_type, EventType::PayoutItem);
        assert_eq!(item.data.payer, crate::event::Payer::default());
        assert_eq!(doubts(item), [""; 0]);
    }
}

#[test]
fn an_item_of_a_mass_payment_keeps_its_own_status() {
    let readings = notification(fixture!("masspay_processed")).readings;
    let keys: Vec<_> = readings.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "pp:live:mp:7QT00000MI0000001:completed",
            "pp:live:mp:7QT00000MI0000002:unclaimed"
        ]
    );
}

#[test]
fn a_mass_payment_refused_as_a_whole_is_one_doubted_event() {
    let reading = reading(fixture!("masspay_denied"));
    assert_eq!(reading.event_type, EventType::PayoutItem);
    assert_eq!(doubts(&reading), ["missing_items"]);
}

#[test]
fn a_mass_payment_of_more_items_than_there_can_be_is_not_read() {
    let of = |items: u32| {
        let items: Vec<String> = (1..=items).map(|n| format!("&status_{n}=x")).collect();
        format!("txn_type=masspay{}", items.concat())
    };
    assert_eq!(notification(of(250).as_bytes()).readings.len(), 250);
    assert_eq!(error(&of(251)).reason().as_str(), "too_many_items");
}

#[test]
fn adaptive_payments_are_told_to_a_person() {
    let reading = reading(fixture!("adaptive_payment"));
    assert_eq!(reading.event_type, EventType::Unknown);
    assert_eq!(doubts(&reading), ["adaptive_payments"]);
    assert!(reading.key.as_str().starts_with("pp:live:msg:"));
}

#[test]
fn a_type_that_needs_a_status_and_has_none_is_told_to_a_person() {
    for body in [
        "txn_type=web_accept&txn_id=T1",
        "txn_type=subscr_payment",
        "txn_id=T1",
    ] {
        let reading = reading(body.as_bytes());
        assert_eq!(reading.event_type, EventType::Unknown);
        assert_eq!(doubts(&reading), ["missing_status"], "{body}");
    }
}

#[test]
fn a_dispute_without_a_case_and_a_change_without_a_subscription_are_doubted() {
    assert_eq!(
        doubts(&reading(b"txn_type=new_case&txn_id=T1")),
        ["missing_case"]
    );
    assert_eq!(doubts(&reading(b"txn_type=adjustment")), ["missing_case"]);
    assert_eq!(
        doubts(&reading(b"txn_type=subscr_eot")),
        ["missing_subscription"]
    );
}

#[test]
fn a_dash_stands_for_no_type() {
    let reading = reading(b"txn_type=-&case_type=chargeback&case_id=PP-1&txn_id=T1");
    assert_eq!(reading.event_type, EventType::DisputeOpened);
    assert_eq!(reading.key.as_str(), "pp:live:case:PP-1::chargeback::T1");
}

#[test]
fn a_signup_tells_what_was_agreed_and_for_what() {
    let data = reading(fixture!("subscr_signup")).data;
    let terms: Vec<_> = data
        .terms
        .iter()
        .map(|period| {
            let amount = period.amount.map(|amount| amount.to_string());
            (period.number, amount, period.length.as_deref())
        })
        .collect();
    let eur = |text: &str| Some(format!("{text} EUR"));
    assert_eq!(
        terms,
        [(1, eur("0.00"), Some("1 M")), (3, eur("7.50"), Some("1 M"))]
    );
    assert_eq!(data.lines[0].sku.as_ref().unwrap().as_str(), "TEA-SUB");
    assert_eq!(data.gross, None, "no money came");
}

#[test]
fn standard_subscriptions_are_known_by_either_id() {
    for name in ["subscr_id", "recurring_payment_id"] {
        let body = format!("txn_type=recurring_payment_suspended&{name}=I-1");
        assert_eq!(reading(body.as_bytes()).data.subject.id(), "I-1");
    }
}

#[test]
fn a_value_longer_than_documented_is_kept_whole() {
    let (txn, custom) = ("9".repeat(40), "c".repeat(1_000));
    let body = format!(
        "txn_id={txn}&txn_type=web_accept&payment_status=Completed&mc_gross=1.00&mc_currency=EUR\
         &custom={custom}"
    );
    let read = notification(body.as_bytes());
    let data = &read.readings[0].data;
    assert_eq!(data.txn_id.as_ref().unwrap().as_str(), txn);
    assert_eq!(data.order.custom.as_ref(), Some(&custom));
}

#[test]
fn a_payment_names_the_subscription_that_it_renews_by_whichever_id_it_has() {
    for (body, id) in [
        (
            &fixture!("subscr_payment_pending")[..],
            Some("I-QTSUB0000001"),
        ),
        (
            fixture!("recurring_payment_completed"),
            Some("I-QTREC0000001"),
        ),
        (fixture!("merch_pmt_completed"), Some("B-1QT00000000001")),
        (fixture!("web_accept_completed"), None),
    ] {
        assert_eq!(reading(body).data.subscription.as_deref(), id);
    }
}
