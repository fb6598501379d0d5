//! Bodies as the gateway writes them, read and checked.

use bytes::Bytes;
use quittance_common::gateway;
use quittance_common::notification::RawNotification;

use super::*;

/// What the checks say about a body for the account that is paid as `receivers`.
fn verdict(body: &str, receivers: &[&str]) -> Result<Vec<String>, String> {
    let ours = account(receivers);
    let raw = RawNotification {
        id: MessageId::from_name("raw"),
        gateway: GatewayId::PayPal,
        account: "default".parse().unwrap(),
        source: Source::Ipn,
        received_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        body: Bytes::from(body.to_owned()),
    };
    outcome(&gateway::read(&raw, &ours).unwrap(), &ours)
}

const POT: &str = "txn_id=T1&txn_type=web_accept&payment_status=Completed&item_number=POT\
    &mc_gross=20.00&mc_currency=EUR";

#[test]
fn an_unverified_buyer_or_an_unconfirmed_address_is_no_reason_to_refuse() {
    let body = format!("{POT}&receiver_id=S8XG&payer_status=unverified&address_status=unconfirmed");
    assert_eq!(verdict(&body, &["s8xg"]), Ok(vec![]));
}

#[test]
fn receiver_id_decides_whatever_the_addresses_say_and_spaces_and_case_do_not_matter() {
    let receivers = ["s8xg", "pay@shop.example", "old@shop.example"];
    for (fields, expected) in [
        (
            "receiver_id=+S8XG+&receiver_email=new@shop.example",
            Ok(vec![]),
        ),
        (
            "receiver_id=EVE1&business=pay@shop.example",
            Err("receiver_mismatch".to_owned()),
        ),
        (
            "business=Old%40Shop.example&receiver_email=new@shop.example",
            Ok(vec![]),
        ),
        (
            "receiver_email=eve@else.example",
            Err("receiver_mismatch".to_owned()),
        ),
        ("", Err("receiver_missing".to_owned())),
    ] {
        assert_eq!(
            verdict(&format!("{POT}&{fields}"), &receivers),
            expected,
            "{fields}"
        );
    }
}

#[test]
fn without_a_receiver_id_or_with_an_address_in_its_place_the_addresses_decide() {
    let receivers = ["s8xg", "pay@shop.example"];
    let simulator = format!("{POT}&receiver_id=pay%40shop.example");
    assert_eq!(verdict(&simulator, &receivers), Ok(vec![]));
    let signup = "txn_type=subscr_signup&subscr_id=S-1&business=pay%40shop.example\
        &item_number=POT&mc_amount3=20.00&mc_currency=EUR&period3=1+M";
    assert_eq!(verdict(signup, &receivers), Ok(vec![]));
}

#[test]
fn of_a_mass_payment_the_payer_is_us() {
    let body = "txn_type=masspay&payment_status=Completed&masspay_txn_id_1=M1&status_1=Completed\
        &mc_gross_1=5.00&mc_currency_1=EUR&receiver_email_1=artist%40else.example";
    let by = |payer: &str| {
        verdict(
            &format!("{body}&payer_email={payer}"),
            &["pay@shop.example"],
        )
    };
    assert_eq!(by("pay%40shop.example"), Ok(vec![]));
    assert_eq!(by("eve%40else.example"), Err("payer_mismatch".to_owned()));
}

#[test]
fn what_the_message_adds_for_shipping_is_expected_and_its_discount_is_not() {
    let receivers = ["s8xg"];
    let body = |gross: &str, more: &str| {
        let pot = POT.replace("mc_gross=20.00", &format!("mc_gross={gross}"));
        verdict(&format!("{pot}&receiver_id=S8XG&{more}"), &receivers)
    };
    assert_eq!(body("24.90", "mc_shipping=4.90"), Ok(vec![]));
    assert_eq!(
        body("20.00", "mc_shipping=4.90"),
        Err("amount_mismatch".to_owned())
    );
    assert_eq!(
        body("15.00", "discount=5.00"),
        Err("amount_mismatch".to_owned())
    );
    assert_eq!(body("20.00", "mc_shipping=-4.90"), Ok(vec![]));
}
