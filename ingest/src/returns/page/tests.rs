//! Tests of the page's two forms.

use super::*;

fn receipt(state: State) -> Receipt {
    let amount = Amount {
        value: "12.50".into(),
        currency: "EUR".into(),
    };
    Receipt {
        state,
        confirmed: true,
        amount: Some(amount.clone()),
        transaction: Some("TXPAGE00001".into()),
        details: Some(Details {
            email: Some("j***@b.example".into()),
            address: vec!["<b>Jane</b>".into(), "1 Main St".into()],
            items: vec![Item {
                quantity: 2,
                name: "Mug & saucer".into(),
                amount: Some(amount),
            }],
        }),
        ..Receipt::unknown()
    }
}

#[test]
fn every_state_has_a_page_in_both_languages() {
    let pages = Pages::new("Mugs & More", None).unwrap();
    for state in [
        State::Paid,
        State::Pending,
        State::Waiting,
        State::Failed,
        State::Refunded,
        State::Unknown,
    ] {
        for language in [Language::English, Language::German] {
            let html = pages.html(&receipt(state), language).unwrap();
            assert!(html.contains(&format!("<html lang=\"{}\">", language.code())));
            assert!(
                html.contains("Mugs &amp; More") && html.contains("&lt;b&gt;Jane&lt;&#x2f;b&gt;"),
                "{html}"
            );
            assert!(html.contains(words::title(language, state)));
            let looks_again = matches!(state, State::Pending | State::Waiting);
            assert_eq!(html.contains("http-equiv=\"refresh\""), looks_again);
            assert_eq!(html.contains("receipt.js"), looks_again);
        }
    }
}

#[test]
fn what_the_script_compares_changes_when_the_books_take_over() {
    let mut receipt = receipt(State::Paid);
    let confirmed = seen(&receipt);
    receipt.confirmed = false;
    assert_ne!(seen(&receipt), confirmed);
}

#[test]
fn json_has_codes_and_plain_numbers() {
    let json: serde_json::Value = serde_json::from_str(&json(&receipt(State::Paid))).unwrap();
    assert_eq!(json["amount"], "12.50");
    assert_eq!(json["items"][0]["name"], "Mug & saucer");
    assert_eq!(json["payer_email"], "j***@b.example");
}
