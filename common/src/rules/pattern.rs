//! A name with `*` for any text: how rules name event types, transaction types and items.

use std::fmt;
use std::str::FromStr;

/// The longest pattern, in bytes: as long as a sku may be.
const LONGEST: usize = 255;

/// A name in which every `*` stands for any text, the empty one included. Case matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern has 1 to 255 bytes and no control characters")]
pub struct PatternError;

impl Pattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for every text.
    pub fn is_any(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether `text` is one of those it stands for.
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|head| text.strip_prefix(head)) else {
            return false;
        };
        let Some(tail) = parts.next_back() else {
            // No `*` in it at all.
            return rest.is_empty();
        };
        // The leftmost place for each part leaves the most for those after it.
        let rest = parts.try_fold(rest, |rest, part| {
            rest.split_once(part).map(|(_, after)| after)
        });
        rest.is_some_and(|rest| rest.ends_with(tail))
    }

    /// Whether it surely stands for everything that `other` stands for. Only a `*` can take a `*`,
    /// so the other pattern is matched as if it were a text.
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let fits = (1..=LONGEST).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| Self(text.to_owned())).ok_or(PatternError)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(text)
    }

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_does() {
        for (pattern, text) in [
            ("subscription.*", "subscription.changed"),
            ("TEA-*", "TEA-"),
            ("*-XL", "SHIRT-XL"),
            ("A*B*C", "A1B2B3C"),
            ("**", ""),
            ("MUG", "MUG"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("subscription.*", "payment.completed"),
            ("TEA-*", "tea-1"),
            ("*-XL", "SHIRT-XL2"),
            ("A*A", "A"),
            ("A*B*C", "ACB"),
            ("MUG", "MUGS"),
            ("M.G", "MUG"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn an_empty_or_unprintable_pattern_is_refused() {
        for text in ["", "a\nb", &"x".repeat(256)] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError), "{text:?}");
        }
    }

    /// The same by trying every split: slow and plain.
    fn plainly(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|taken| plainly(rest, &text[taken..])),
            Some((byte, rest)) => text.first() == Some(byte) && plainly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_trying_every_split_finds(pattern in "[ab*]{1,6}", text in "[ab]{0,7}") {
            prop_assert_eq!(matches(&pattern, &text), plainly(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_pattern_that_covers_another_matches_all_that_it_matches(
            wide in "[ab*]{1,5}", narrow in "[ab*]{1,5}", text in "[ab]{0,6}",
        ) {
            let (wide, narrow): (Pattern, Pattern) = (wide.parse().unwrap(), narrow.parse().unwrap());
            if wide.covers(&narrow) && narrow.matches(&text) {
                prop_assert!(wide.matches(&text));
            }
        }
    }
}
