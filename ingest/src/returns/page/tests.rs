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

fn in_both(receipt: &Receipt) -> [String; 2] {
    let pages = Pages::new("Shop", None).unwrap();
    [Language::English, Language::German].map(|language| pages.html(receipt, language).unwrap())
}

fn says(pages: &[String; 2], words: [&str; 2]) -> [bool; 2] {
    [pages[0].contains(words[0]), pages[1].contains(words[1])]
}

const NOTHING_TO_DO: [&str; 2] = ["You need not do anything more", "nichts weiter zu tun"];
const BY_MAIL: [&str; 2] = ["by e-mail", "per E-Mail"];
const BY_HAND: [&str; 2] = ["by hand", "von Hand"];
const SET_ASIDE: [&str; 2] = ["set aside for you", "für Sie zurückgelegt"];

#[test]
fn what_a_person_has_to_look_at_is_neither_done_nor_promised_a_receipt() {
    let mut receipt = receipt(State::Paid);
    for words in [NOTHING_TO_DO, BY_MAIL] {
        assert_eq!(says(&in_both(&receipt), words), [true; 2], "{words:?}");
    }
    let before = seen(&receipt);
    receipt.handling = Some(Handling::ManualReview);
    let pages = in_both(&receipt);
    for words in [NOTHING_TO_DO, BY_MAIL, SET_ASIDE] {
        assert_eq!(says(&pages, words), [false; 2], "{words:?}");
    }
    assert_eq!(says(&pages, BY_HAND), [true; 2]);
    assert_ne!(seen(&receipt), before);
    let json: serde_json::Value = serde_json::from_str(&json(&receipt)).unwrap();
    assert_eq!(
        (&json["state"], &json["handling"]),
        (&"paid".into(), &"manual_review".into())
    );
}

#[test]
fn an_order_is_said_to_be_set_aside_only_if_it_is() {
    let mut receipt = receipt(State::Pending);
    let not_again = ["need not pay again", "nicht noch einmal zu zahlen"];
    for (handling, set_aside, by_hand) in [
        (Some(Handling::SetAside), true, false),
        (Some(Handling::ManualReview), false, true),
        (None, false, false),
    ] {
        receipt.handling = handling;
        let pages = in_both(&receipt);
        assert_eq!(says(&pages, SET_ASIDE), [set_aside; 2], "{handling:?}");
        assert_eq!(says(&pages, BY_HAND), [by_hand; 2], "{handling:?}");
        assert_eq!(says(&pages, not_again), [true; 2], "{handling:?}");
    }
}
