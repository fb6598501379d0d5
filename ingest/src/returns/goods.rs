//! The page's words where they depend on what becomes of the goods, English and German. Pure.

use super::words::{self, Language};
use crate::receipt::{Handling, Receipt, State};

const fn pick(language: Language, english: &'static str, german: &'static str) -> &'static str {
    match language {
        Language::English => english,
        Language::German => german,
    }
}

/// One paragraph under the heading.
pub fn lead(language: Language, receipt: &Receipt) -> &'static str {
    match (receipt.state, receipt.handling) {
        (State::Paid, Some(Handling::ManualReview)) => pick(
            language,
            "Your payment has reached us. We are looking at your order by hand and write to you. Please do not pay again.",
            "Ihre Zahlung ist bei uns angekommen. Wir sehen uns Ihre Bestellung von Hand an und melden uns bei Ihnen. Bitte zahlen Sie nicht noch einmal.",
        ),
        _ => words::lead(language, receipt),
    }
}

/// What happens next, step by step. Nothing is promised that the books do not know: no receipt for
/// what a person has to look at first, and no goods that are not set aside.
pub fn next(language: Language, receipt: &Receipt) -> Vec<&'static str> {
    let by_hand = pick(
        language,
        "We are looking at your order by hand. You need not pay again.",
        "Wir sehen uns Ihre Bestellung von Hand an. Sie brauchen nicht noch einmal zu zahlen.",
    );
    let not_again = pick(
        language,
        "You need not pay again.",
        "Sie brauchen nicht noch einmal zu zahlen.",
    );
    let as_if = |state| words::next(language, state);
    match (receipt.state, receipt.handling) {
        // Where it can be seen, and whom to ask.
        (State::Paid, Some(Handling::ManualReview)) => as_if(State::Refunded),
        (State::Pending, Some(Handling::ManualReview)) => {
            [vec![by_hand], as_if(State::Waiting)].concat()
        }
        (State::Pending, None) => [vec![not_again], as_if(State::Waiting)].concat(),
        (state, _) => as_if(state),
    }
}
