//! The words of customer notifications: templates with a `Subject:` line, an empty line, and the
//! text. Plain text only, so nothing in it can be markup; values are made one line each, so
//! nothing in them can be a header.

use minijinja::{Environment, context};
use quittance_common::status::PendingReason;

use crate::announcement::{Announcement, News};

/// A notification in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// Why a notification cannot be put into words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is broken.
    #[error("a mail template cannot be used: {0}")]
    Template(#[from] minijinja::Error),
    /// It does not begin with `Subject: `, followed by an empty line.
    #[error("the mail template `{0}` does not begin with a line `Subject: ...` and an empty line")]
    Form(&'static str),
}

/// The templates, compiled.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    shop_name: String,
}

/// File name and text of each template that is built in.
const BUILT_IN: [(&str, &str); 4] = [
    ("received.txt", include_str!("../templates/received.txt")),
    ("pending.txt", include_str!("../templates/pending.txt")),
    ("failed.txt", include_str!("../templates/failed.txt")),
    ("refunded.txt", include_str!("../templates/refunded.txt")),
];

impl Templates {
    /// The templates that are built in, speaking for `shop_name`.
    pub fn built_in(shop_name: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        for (name, text) in BUILT_IN {
            environment.add_template(name, text)?;
        }
        Ok(Self {
            environment,
            shop_name: one_line(shop_name),
        })
    }

    /// Puts a notification into words.
    pub fn render(&self, announcement: &Announcement) -> Result<Words, TemplateError> {
        let name = template_of(&announcement.news);
        let (reason, refund) = match &announcement.news {
            News::Pending { reason } => (pending_words(reason.as_ref()), None),
            News::Refunded { amount, .. } => ("", Some(amount.to_string())),
            News::Received | News::Failed => ("", None),
        };
        let lines: Vec<_> = announcement
            .lines
            .iter()
            .map(|line| context! { quantity => line.quantity, name => line_name(line) })
            .collect();
        let rendered = self.environment.get_template(name)?.render(context! {
            shop => &self.shop_name,
            name => announcement.payer.name.as_deref().map(one_line),
            amount => announcement.gross.map(|gross| gross.to_string()),
            order => announcement.order.invoice.as_deref().map(one_line),
            transaction => one_line(&announcement.txn_id),
            lines,
            reason,
            refund,
        })?;
        let (subject, text) = rendered
            .split_once("\n\n")
            .and_then(|(head, text)| Some((head.strip_prefix("Subject: ")?, text)))
            .ok_or(TemplateError::Form(name))?;
        Ok(Words {
            subject: one_line(subject),
            text: text.to_owned(),
        })
    }
}

const fn template_of(news: &News) -> &'static str {
    match news {
        News::Received => "received.txt",
        News::Pending { .. } => "pending.txt",
        News::Failed => "failed.txt",
        News::Refunded { .. } => "refunded.txt",
    }
}

/// A text from outside as part of one line: line breaks and other control characters are spaces,
/// and the Unicode marks that reorder or hide text are gone.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'))
        .map(|c| {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                c
            }
        })
        .collect::<String>()
        .trim()
        .to_owned()
}

fn line_name(line: &quittance_common::event::Line) -> String {
    match (line.name.is_empty(), &line.sku) {
        (true, Some(sku)) => one_line(sku.as_str()),
        _ => one_line(&line.name),
    }
}

/// Why a payment is pending, in words that a buyer understands. What concerns only the merchant's
/// account is not the buyer's business.
const fn pending_words(reason: Option<&PendingReason>) -> &'static str {
    match reason {
        Some(PendingReason::Echeck) => {
            "you paid from a bank account, and the bank transfer takes some days to clear."
        }
        Some(PendingReason::DelayedDisbursement) => "it is approved and awaits your bank.",
        Some(PendingReason::Authorization | PendingReason::Order) => {
            "it is authorised and will be collected by us."
        }
        Some(PendingReason::PaymentReview | PendingReason::RegulatoryReview) => {
            "the payment service is reviewing it, which usually takes up to three days."
        }
        Some(PendingReason::Address) => {
            "there is no confirmed delivery address with it, so we check it by hand."
        }
        Some(
            PendingReason::Intl
            | PendingReason::MultiCurrency
            | PendingReason::Unilateral
            | PendingReason::Upgrade
            | PendingReason::Verify,
        ) => "we have to accept it by hand first.",
        Some(PendingReason::Other(_)) | None => "the payment service is still working on it.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::event::{OrderRef, Payer};
    use quittance_common::money::Money;

    fn announcement(news: News) -> Announcement {
        Announcement {
            news,
            subject: "paypal:sandbox:payment:T1".into(),
            txn_id: "T1".into(),
            gross: Some(Money::from_minor(1995, "EUR".parse().unwrap())),
            order: OrderRef {
                invoice: Some("A-1".into()),
                ..OrderRef::default()
            },
            lines: Vec::new(),
            payer: Payer {
                name: Some("Jörg\r\nBcc: all@example.org".into()),
                ..Payer::default()
            },
        }
    }

    #[test]
    fn every_kind_of_news_has_its_words() {
        let templates = Templates::built_in("Mugs & More").unwrap();
        let echeck = News::Pending {
            reason: Some(PendingReason::Echeck),
        };
        let refund = News::Refunded {
            refund: "R1".into(),
            amount: Money::from_minor(500, "EUR".parse().unwrap()),
        };
        for (news, subject, text) in [
            (News::Received, "payment received", "19.95 EUR"),
            (echeck, "payment pending", "bank transfer"),
            (News::Failed, "payment failed", "did not succeed"),
            (refund, "refund of 5.00 EUR", "refunded 5.00 EUR"),
        ] {
            let words = templates.render(&announcement(news)).unwrap();
            assert_eq!(words.subject, format!("Mugs & More: {subject}"));
            assert!(words.text.contains(text), "{}", words.text);
            assert!(words.text.contains("Transaction: T1"), "{}", words.text);
        }
    }

    #[test]
    fn a_name_with_a_line_break_stays_on_its_line() {
        let templates = Templates::built_in("Shop\nBcc: all@example.org").unwrap();
        let words = templates.render(&announcement(News::Received)).unwrap();
        assert!(!words.subject.contains('\n'));
        assert!(words.text.contains("Hello Jörg  Bcc: all@example.org,"));
    }
}
