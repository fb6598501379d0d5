//! Values as people of a language write them. Pure.

use quittance_common::event::Line;
use quittance_common::money::Money;

/// What stands between groups of three digits, and before the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    group: &'static str,
    decimal: &'static str,
}

const POINT: Marks = Marks {
    group: ",",
    decimal: ".",
};
const COMMA: Marks = Marks {
    group: ".",
    decimal: ",",
};
const SPACE: Marks = Marks {
    group: "\u{a0}",
    decimal: ",",
};
const SWISS: Marks = Marks {
    group: "\u{2019}",
    decimal: ".",
};

fn marks(language: &str, currency: &str) -> Marks {
    match (language, currency) {
        // Francs are written one way in Switzerland, whatever the neighbours do.
        ("de", "CHF") => SWISS,
        ("de" | "es" | "it" | "nl" | "pt" | "da", _) => COMMA,
        ("fr" | "pl" | "cs" | "sv" | "fi" | "nb", _) => SPACE,
        _ => POINT,
    }
}

/// `1.234,50 EUR` in German, `1,234.50 EUR` in English, `500 JPY` in both. The blank does not
/// break, so that a line never ends between amount and currency.
pub(crate) fn amount(money: Money, language: &str) -> String {
    let currency = money.currency();
    let marks = marks(language, currency.as_str());
    let value = money.value();
    let (sign, digits) = value
        .strip_prefix('-')
        .map_or(("", value.as_str()), |digits| ("-", digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len().saturating_sub(index);
        if index > 0 && left.is_multiple_of(3) {
            text.push_str(marks.group);
        }
        text.push(digit);
    }
    if !decimals.is_empty() {
        text.push_str(marks.decimal);
        text.push_str(decimals);
    }
    format!("{text}\u{a0}{currency}")
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

/// A line's name, or its sku where it has none.
pub(crate) fn line_name(line: &Line) -> String {
    match (line.name.is_empty(), &line.sku) {
        (true, Some(sku)) => one_line(sku.as_str()),
        _ => one_line(&line.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_language_and_the_currency_ask() {
        let written = |minor, currency: &str, language: &str| {
            amount(
                Money::from_minor(minor, currency.parse().unwrap()),
                language,
            )
            .replace('\u{a0}', " ")
        };
        assert_eq!(written(123_450, "EUR", "de"), "1.234,50 EUR");
        assert_eq!(written(123_450, "EUR", "en"), "1,234.50 EUR");
        assert_eq!(written(123_456_789, "USD", "de"), "1.234.567,89 USD");
        assert_eq!(written(5, "EUR", "de"), "0,05 EUR");
        assert_eq!(written(99_999, "EUR", "en"), "999.99 EUR");
        assert_eq!(written(1_234_567, "JPY", "en"), "1,234,567 JPY");
        assert_eq!(written(500, "JPY", "de"), "500 JPY");
        assert_eq!(written(123_450, "CHF", "de"), "1\u{2019}234.50 CHF");
        assert_eq!(written(-123_450, "EUR", "de"), "-1.234,50 EUR");
        assert_eq!(written(123_450, "EUR", "fr"), "1 234,50 EUR");
    }

    #[test]
    fn nothing_from_outside_can_break_or_turn_round_a_line() {
        assert_eq!(one_line(" a\r\nb\u{2028}c\u{202e}d\u{0}\t"), "a  b cd");
    }
}
