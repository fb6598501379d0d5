//! The page's words, English and German. Pure.

use quittance_common::status::PendingReason;
use serde::Serialize;

use crate::receipt::{Amount, Receipt, State};

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

    const fn pick(self, english: &'static str, german: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::German => german,
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
pub const fn labels(language: Language) -> Labels {
    Labels {
        details: language.pick("Your payment", "Ihre Zahlung"),
        amount: language.pick("Amount", "Betrag"),
        transaction: language.pick("Transaction", "Transaktion"),
        email: language.pick("Paid by", "Bezahlt von"),
        address: language.pick("Delivery address", "Lieferadresse"),
        items: language.pick("Items", "Artikel"),
        next: language.pick("What happens next", "Wie es weitergeht"),
        looking: language.pick(
            "This page looks again by itself.",
            "Diese Seite sieht von selbst wieder nach.",
        ),
    }
}

/// The heading.
pub const fn title(language: Language, state: State) -> &'static str {
    match state {
        State::Paid => language.pick(
            "Thank you, your payment has been made",
            "Vielen Dank, Ihre Zahlung ist erfolgt",
        ),
        State::Pending => language.pick(
            "Thank you, your payment is on its way",
            "Vielen Dank, Ihre Zahlung ist unterwegs",
        ),
        State::Waiting => language.pick(
            "We have not heard from PayPal yet",
            "Wir haben noch nichts von PayPal gehört",
        ),
        State::Failed => language.pick(
            "Your payment did not succeed",
            "Ihre Zahlung hat nicht geklappt",
        ),
        State::Refunded => language.pick(
            "Your payment has been refunded",
            "Ihre Zahlung wurde erstattet",
        ),
        State::Unknown => language.pick(
            "We cannot tell how this payment stands",
            "Wir können zu dieser Zahlung nichts sagen",
        ),
    }
}

/// One paragraph under the heading.
pub fn lead(language: Language, receipt: &Receipt) -> &'static str {
    match receipt.state {
        State::Paid if receipt.confirmed => language.pick(
            "The transaction has been completed. You need not do anything more.",
            "Der Vorgang ist abgeschlossen. Sie brauchen nichts weiter zu tun.",
        ),
        State::Paid => language.pick(
            "PayPal tells us that the transaction has been completed. We are matching it with your order.",
            "PayPal meldet, dass der Vorgang abgeschlossen ist. Wir ordnen ihn gerade Ihrer Bestellung zu.",
        ),
        State::Pending => pending(language, receipt.reason.as_ref()),
        State::Waiting => language.pick(
            "That is no bad sign: PayPal's message can take a few minutes. Please do not pay again.",
            "Das ist kein schlechtes Zeichen: PayPals Nachricht kann einige Minuten brauchen. Bitte zahlen Sie nicht noch einmal.",
        ),
        State::Failed => language.pick(
            "No money was taken for this order, or it will be returned to you.",
            "Für diese Bestellung wurde kein Geld eingezogen, oder Sie bekommen es zurück.",
        ),
        State::Refunded => language.pick(
            "The whole amount was given back to you by PayPal.",
            "Der ganze Betrag wurde Ihnen über PayPal zurückgezahlt.",
        ),
        State::Unknown => language.pick(
            "This link names no payment that we may show here.",
            "Dieser Link nennt keine Zahlung, die wir hier zeigen können.",
        ),
    }
}

/// Why a payment is pending, in words that a buyer understands. What concerns only the merchant's
/// account is not the buyer's business.
const fn pending(language: Language, reason: Option<&PendingReason>) -> &'static str {
    match reason {
        Some(PendingReason::Echeck) => language.pick(
            "You paid from a bank account. The bank transfer usually takes five to eight days to clear.",
            "Sie haben von einem Bankkonto gezahlt. Bis das Geld da ist, vergehen meist fünf bis acht Tage.",
        ),
        Some(PendingReason::DelayedDisbursement) => language.pick(
            "The payment is approved and awaits your bank.",
            "Die Zahlung ist genehmigt und wartet auf Ihre Bank.",
        ),
        Some(PendingReason::PaymentReview | PendingReason::RegulatoryReview) => language.pick(
            "PayPal is reviewing the payment, which usually takes up to three days.",
            "PayPal prüft die Zahlung; das dauert meist bis zu drei Tage.",
        ),
        Some(PendingReason::Authorization | PendingReason::Order) => language.pick(
            "The payment is authorised and will be collected by us.",
            "Die Zahlung ist autorisiert und wird von uns eingezogen.",
        ),
        Some(PendingReason::Address) => language.pick(
            "There is no confirmed delivery address with it, so we check it by hand.",
            "Die Lieferadresse ist nicht bestätigt; wir prüfen sie von Hand.",
        ),
        Some(
            PendingReason::Intl
            | PendingReason::MultiCurrency
            | PendingReason::Unilateral
            | PendingReason::Upgrade
            | PendingReason::Verify,
        ) => language.pick(
            "We have to accept the payment by hand first.",
            "Wir müssen die Zahlung erst von Hand annehmen.",
        ),
        Some(PendingReason::Other(_)) | None => language.pick(
            "PayPal is still working on it.",
            "PayPal bearbeitet sie noch.",
        ),
    }
}

/// What happens next, step by step.
pub fn next(language: Language, state: State) -> Vec<&'static str> {
    let mail = language.pick(
        "A receipt for your purchase is sent to you by e-mail.",
        "Sie bekommen eine Quittung über Ihren Kauf per E-Mail.",
    );
    let details = language.pick(
        "You can see the details of the transaction in your account at www.paypal.com.",
        "Einzelheiten des Vorgangs sehen Sie in Ihrem Konto auf www.paypal.com.",
    );
    let write = language.pick(
        "We write to you as soon as the payment has arrived.",
        "Wir schreiben Ihnen, sobald die Zahlung da ist.",
    );
    let kept = language.pick(
        "Your order is set aside for you. You need not pay again.",
        "Ihre Bestellung ist für Sie zurückgelegt. Sie brauchen nicht noch einmal zu zahlen.",
    );
    let ask = language.pick(
        "Please write to us if anything is unclear, and name the transaction that PayPal sent you.",
        "Bitte schreiben Sie uns, wenn etwas unklar ist, und nennen Sie die Transaktion, die PayPal Ihnen geschickt hat.",
    );
    let again = language.pick(
        "You can go back to the shop and pay in another way.",
        "Sie können in den Shop zurückgehen und auf anderem Weg zahlen.",
    );
    match state {
        State::Paid => vec![mail, details],
        State::Pending => vec![kept, write, details],
        State::Waiting => vec![write, details],
        State::Failed => vec![again, ask],
        State::Refunded => vec![details, ask],
        State::Unknown => vec![ask],
    }
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
