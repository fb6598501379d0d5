//! The page's words, English and German. Pure.

use quittance_common::status::PendingReason;
use serde::Serialize;

use crate::receipt::{Amount, Handling, Receipt, State};

/// The languages that the page speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The default.
    English,
    /// Addressed formally.
    German,
}

impl Language {
    /// The `lang` attribute.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// The language of an `Accept-Language` header that is wanted most.
    pub fn of_header(header: &str) -> Self {
        let wanted = header.split(',').filter_map(|part| {
            let mut parts = part.split(';').map(str::trim);
            let range = parts.next()?.split('-').next()?.to_ascii_lowercase();
            let weight = parts.find_map(|parameter| parameter.strip_prefix("q="));
            let language = match range.as_str() {
                "de" => Self::German,
                "en" | "*" => Self::English,
                _ => return None,
            };
            Some((thousandths(weight.unwrap_or("1"))?, language))
        });
        // Of equals the first; `max_by_key` would take the last.
        wanted
            .fold(None, |best: Option<(u32, Self)>, next| match best {
                Some(best) if best.0 >= next.0 => Some(best),
                _ => Some(next).filter(|(weight, _)| *weight > 0),
            })
            .map_or(Self::English, |(_, language)| language)
    }

    const fn say(self, text: Text) -> &'static str {
        match self {
            Self::English => text.english,
            Self::German => text.german,
        }
    }

    /// An amount as people write it.
    pub fn amount(self, amount: &Amount) -> String {
        let value = match self {
            Self::English => amount.value.clone(),
            Self::German => amount.value.replace('.', ","),
        };
        format!("{value}\u{a0}{}", amount.currency)
    }
}

/// One thing to say.
#[derive(Debug, Clone, Copy)]
struct Text {
    english: &'static str,
    german: &'static str,
}

const fn text(english: &'static str, german: &'static str) -> Text {
    Text { english, german }
}

/// `0.8` as 800; no floats for a comparison.
fn thousandths(weight: &str) -> Option<u32> {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let part: u32 = digits.then(|| format!("{part:0<3}").parse().ok())??;
    whole
        .parse::<u32>()
        .ok()?
        .checked_mul(1_000)?
        .checked_add(part)
}

/// What stands before values.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "each is the label of what its name says")]
pub struct Labels {
    pub details: &'static str,
    pub amount: &'static str,
    pub transaction: &'static str,
    pub email: &'static str,
    pub address: &'static str,
    pub items: &'static str,
    pub next: &'static str,
    pub looking: &'static str,
}

/// The labels of a language.
pub fn labels(language: Language) -> Labels {
    let say = |english, german| language.say(text(english, german));
    Labels {
        details: say("Your payment", "Ihre Zahlung"),
        amount: say("Amount", "Betrag"),
        transaction: say("Transaction", "Transaktion"),
        email: say("Paid by", "Bezahlt von"),
        address: say("Delivery address", "Lieferadresse"),
        items: say("Items", "Artikel"),
        next: say("What happens next", "Wie es weitergeht"),
        looking: say(
            "This page looks again by itself.",
            "Diese Seite sieht von selbst wieder nach.",
        ),
    }
}

/// The heading.
pub const fn title(language: Language, state: State) -> &'static str {
    language.say(match state {
        State::Paid => text(
            "Thank you, your payment has been made",
            "Vielen Dank, Ihre Zahlung ist erfolgt",
        ),
        State::Pending => text(
            "Thank you, your payment is on its way",
            "Vielen Dank, Ihre Zahlung ist unterwegs",
        ),
        State::Waiting => text(
            "We have not heard from PayPal yet",
            "Wir haben noch nichts von PayPal gehört",
        ),
        State::Failed => text(
            "Your payment did not succeed",
            "Ihre Zahlung hat nicht geklappt",
        ),
        State::Refunded => text(
            "Your payment has been refunded",
            "Ihre Zahlung wurde erstattet",
        ),
        State::Unknown => text(
            "We cannot tell how this payment stands",
            "Wir können zu dieser Zahlung nichts sagen",
        ),
    })
}

/// One paragraph under the heading.
pub fn lead(language: Language, receipt: &Receipt) -> &'static str {
    language.say(match (receipt.state, receipt.handling) {
        (State::Paid, Some(Handling::ManualReview)) => text(
            "Your payment has reached us. We are looking at your order by hand and write to you. Please do not pay again.",
            "Ihre Zahlung ist bei uns angekommen. Wir sehen uns Ihre Bestellung von Hand an und melden uns bei Ihnen. Bitte zahlen Sie nicht noch einmal.",
        ),
        (State::Paid, _) if receipt.confirmed => text(
            "The transaction has been completed. You need not do anything more.",
            "Der Vorgang ist abgeschlossen. Sie brauchen nichts weiter zu tun.",
        ),
        (State::Paid, _) => text(
            "PayPal tells us that the transaction has been completed. We are matching it with your order.",
            "PayPal meldet, dass der Vorgang abgeschlossen ist. Wir ordnen ihn gerade Ihrer Bestellung zu.",
        ),
        (State::Pending, Some(Handling::Held)) => HELD,
        (State::Pending, _) => pending(receipt.reason.as_ref()),
        (State::Waiting, _) => text(
            "That is no bad sign: PayPal's message can take a few minutes. Please do not pay again.",
            "Das ist kein schlechtes Zeichen: PayPals Nachricht kann einige Minuten brauchen. Bitte zahlen Sie nicht noch einmal.",
        ),
        (State::Failed, _) => text(
            "No money was taken for this order, or it will be returned to you.",
            "Für diese Bestellung wurde kein Geld eingezogen, oder Sie bekommen es zurück.",
        ),
        (State::Refunded, _) => text(
            "The whole amount was given back to you by PayPal.",
            "Der ganze Betrag wurde Ihnen über PayPal zurückgezahlt.",
        ),
        (State::Unknown, _) => text(
            "This link names no payment that we may show here.",
            "Dieser Link nennt keine Zahlung, die wir hier zeigen können.",
        ),
    })
}

/// Why a payment is pending, in words that a buyer understands. What concerns only the merchant's
/// account is not the buyer's business.
const fn pending(reason: Option<&PendingReason>) -> Text {
    match reason {
        Some(PendingReason::Echeck) => text(
            "You paid from a bank account. The bank transfer usually takes five to eight days to clear.",
            "Sie haben von einem Bankkonto gezahlt. Bis das Geld da ist, vergehen meist fünf bis acht Tage.",
        ),
        Some(PendingReason::DelayedDisbursement) => text(
            "The payment is approved and awaits your bank.",
            "Die Zahlung ist genehmigt und wartet auf Ihre Bank.",
        ),
        Some(PendingReason::PaymentReview | PendingReason::RegulatoryReview) => text(
            "PayPal is reviewing the payment, which usually takes up to three days.",
            "PayPal prüft die Zahlung; das dauert meist bis zu drei Tage.",
        ),
        Some(PendingReason::Authorization | PendingReason::Order) => text(
            "The payment is authorised and will be collected by us.",
            "Die Zahlung ist autorisiert und wird von uns eingezogen.",
        ),
        Some(PendingReason::Address) => text(
            "There is no confirmed delivery address with it, so we check it by hand.",
            "Die Lieferadresse ist nicht bestätigt; wir prüfen sie von Hand.",
        ),
        Some(
            PendingReason::Intl
            | PendingReason::MultiCurrency
            | PendingReason::Unilateral
            | PendingReason::Upgrade
            | PendingReason::Verify,
        ) => text(
            "We have to accept the payment by hand first.",
            "Wir müssen die Zahlung erst von Hand annehmen.",
        ),
        Some(PendingReason::Other(_)) | None => text(
            "PayPal is still working on it.",
            "PayPal bearbeitet sie noch.",
        ),
    }
}

const MAIL: Text = text(
    "A receipt for your purchase is sent to you by e-mail.",
    "Sie bekommen eine Quittung über Ihren Kauf per E-Mail.",
);
const DETAILS: Text = text(
    "You can see the details of the transaction in your account at www.paypal.com.",
    "Einzelheiten des Vorgangs sehen Sie in Ihrem Konto auf www.paypal.com.",
);
const WRITE: Text = text(
    "We write to you as soon as the payment has arrived.",
    "Wir schreiben Ihnen, sobald die Zahlung da ist.",
);
const KEPT: Text = text(
    "Your order is set aside for you. You need not pay again.",
    "Ihre Bestellung ist für Sie zurückgelegt. Sie brauchen nicht noch einmal zu zahlen.",
);
const NOT_AGAIN: Text = text(
    "You need not pay again.",
    "Sie brauchen nicht noch einmal zu zahlen.",
);
const BY_HAND: Text = text(
    "We are looking at your order by hand. You need not pay again.",
    "Wir sehen uns Ihre Bestellung von Hand an. Sie brauchen nicht noch einmal zu zahlen.",
);
const ASK: Text = text(
    "Please write to us if anything is unclear, and name the transaction that PayPal sent you.",
    "Bitte schreiben Sie uns, wenn etwas unklar ist, und nennen Sie die Transaktion, die PayPal Ihnen geschickt hat.",
);
const AGAIN: Text = text(
    "You can go back to the shop and pay in another way.",
    "Sie können in den Shop zurückgehen und auf anderem Weg zahlen.",
);
const HELD: Text = text(
    "The payment has reached us and does not match your order in every point. We are looking at it by hand.",
    "Die Zahlung ist bei uns, passt aber nicht in allem zu Ihrer Bestellung. Wir sehen sie uns von Hand an.",
);

/// What happens next, step by step. Nothing is promised that the books do not know: no receipt for
/// what a person has to look at first, and no goods that are not set aside.
pub fn next(language: Language, receipt: &Receipt) -> Vec<&'static str> {
    let steps: &[Text] = match (receipt.state, receipt.handling) {
        // Where it can be seen, and whom to ask.
        (State::Paid, Some(Handling::ManualReview)) | (State::Refunded, _) => &[DETAILS, ASK],
        (State::Paid, _) => &[MAIL, DETAILS],
        (State::Pending, Some(Handling::Held)) => &[ASK, DETAILS],
        (State::Pending, Some(Handling::ManualReview)) => &[BY_HAND, WRITE, DETAILS],
        (State::Pending, Some(Handling::SetAside)) => &[KEPT, WRITE, DETAILS],
        (State::Pending, None) => &[NOT_AGAIN, WRITE, DETAILS],
        (State::Waiting, _) => &[WRITE, DETAILS],
        (State::Failed, _) => &[AGAIN, ASK],
        (State::Unknown, _) => &[ASK],
    };
    steps.iter().map(|step| language.say(*step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_wanted_most_is_spoken() {
        use Language::{English, German};
        for (header, language) in [
            ("", English),
            ("de", German),
            ("de-AT,en;q=0.8", German),
            ("en;q=0.8, de;q=0.9", German),
            ("fr, en;q=0.5, de;q=0.5", English),
            ("fr", English),
            ("de;q=0, en;q=0.1", English),
            ("de;q=nonsense", English),
        ] {
            assert_eq!(Language::of_header(header), language, "{header}");
        }
    }

    #[test]
    fn amounts_are_written_as_people_write_them() {
        let amount = Amount {
            value: "19.95".into(),
            currency: "EUR".into(),
        };
        assert_eq!(Language::German.amount(&amount), "19,95\u{a0}EUR");
        assert_eq!(Language::English.amount(&amount), "19.95\u{a0}EUR");
    }

    #[test]
    fn only_the_word_failed_says_that_a_payment_failed() {
        for language in [Language::English, Language::German] {
            for state in [State::Waiting, State::Pending, State::Unknown] {
                let title = title(language, state).to_lowercase();
                assert!(!title.contains("fail") && !title.contains("nicht geklappt"));
            }
        }
    }
}
