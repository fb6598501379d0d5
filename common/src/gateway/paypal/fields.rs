//! The fields of a form body: ordered, decoded, nothing dropped or renamed.
//!
//! Split first, then undo `+` and percent, then the charset; in any other order a value can become
//! a field. For reading only: what is posted back to the gateway is the raw body.

use std::collections::HashMap;
use std::fmt;

use percent_encoding::percent_decode;

use super::charset::Charset;

/// A pair after `+` and percent, before the charset.
pub(super) type BytePair = (Vec<u8>, Vec<u8>);

/// Decoded pairs in the order in which they came. Blank values, brackets, dots and repeated names
/// are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Fields {
    pairs: Vec<(String, String)>,
    /// Where each name is for the first time.
    index: HashMap<String, usize>,
    charset: Charset,
}

/// Names and values are personal data: only the count is shown.
impl fmt::Debug for Fields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fields")
            .field("count", &self.pairs.len())
            .field("charset", &self.charset.name())
            .finish_non_exhaustive()
    }
}

impl Fields {
    /// Reads a form body. Never fails: a malformed percent escape (`%zz`, the simulator's `%u010D`)
    /// stays as it is.
    pub fn parse(body: &[u8]) -> Self {
        let pairs: Vec<BytePair> = body
            .split(|byte| *byte == b'&')
            .filter(|part| !part.is_empty())
            .map(byte_pair)
            .collect();
        Self::from_byte_pairs(&pairs)
    }

    /// Decodes pairs by the charset that they themselves name.
    pub(super) fn from_byte_pairs(pairs: &[BytePair]) -> Self {
        let charset = pairs
            .iter()
            .find(|(name, _)| name == b"charset")
            .map_or(Charset::DEFAULT, |(_, label)| Charset::from_label(label));
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| (charset.decode(name), charset.decode(value)))
            .collect();
        let mut index = HashMap::with_capacity(pairs.len());
        for (at, (name, _)) in pairs.iter().enumerate() {
            index.entry(name.clone()).or_insert(at);
        }
        Self {
            pairs,
            index,
            charset,
        }
    }

    /// The first value of `name` as it came, which may be blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = *self.index.get(name)?;
        self.pairs.get(at).map(|(_, value)| value.as_str())
    }

    /// The first value of `name` without spaces around it; `None` when it is missing or blank.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// Like [`Self::text`], owned.
    pub fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// Every pair, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first name that is there again and for which `deciding` holds.
    pub fn repeated(&self, deciding: impl Fn(&str) -> bool) -> Option<&str> {
        self.iter()
            .enumerate()
            .find(|(at, (name, _))| self.index.get(*name) != Some(at) && deciding(name))
            .map(|(_, (name, _))| name)
    }

    /// The charset that the text was decoded by.
    pub const fn charset(&self) -> Charset {
        self.charset
    }
}

/// Splits at the first `=` and undoes the form encoding. Without `=`, the value is blank.
pub(super) fn byte_pair(part: &[u8]) -> BytePair {
    let mut halves = part.splitn(2, |byte| *byte == b'=');
    let mut next = || undo_form_encoding(halves.next().unwrap_or_default());
    let name = next();
    (name, next())
}

/// `+` is a space, `%XX` a byte; anything else stays.
fn undo_form_encoding(bytes: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = bytes
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(body: &str) -> Vec<(String, String)> {
        Fields::parse(body.as_bytes())
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn order_brackets_dots_repeats_and_blanks_are_kept() {
        assert_eq!(
            pairs("b=2&transaction%5B0%5D.amount=EUR+1.00&b=&a&=x"),
            [
                pair("b", "2"),
                pair("transaction[0].amount", "EUR 1.00"),
                pair("b", ""),
                pair("a", ""),
                pair("", "x"),
            ]
        );
    }

    #[test]
    fn only_the_first_equals_sign_splits() {
        assert_eq!(pairs("custom=a=b%3Dc"), [pair("custom", "a=b=c")]);
    }

    #[test]
    fn an_encoded_separator_stays_inside_its_value() {
        assert_eq!(
            pairs("memo=x%26mc_gross%3D0.01"),
            [pair("memo", "x&mc_gross=0.01")]
        );
    }

    #[test]
    fn malformed_percent_escapes_stay_as_they_are() {
        assert_eq!(
            pairs("a=%zz&b=100%&c=%u010D&d=%4&e=%2B+%2b"),
            [
                pair("a", "%zz"),
                pair("b", "100%"),
                pair("c", "%u010D"),
                pair("d", "%4"),
                pair("e", "+ +"),
            ]
        );
    }

    #[test]
    fn percent_is_undone_before_the_charset() {
        assert_eq!(pairs("first_name=J%F6rg")[0], pair("first_name", "Jörg"));
        assert_eq!(
            pairs("first_name=J%C3%B6rg&charset=UTF-8")[0],
            pair("first_name", "Jörg")
        );
    }

    #[test]
    fn a_raw_byte_outside_ascii_is_read() {
        let fields = Fields::parse(b"first_name=J\xF6rg");
        assert_eq!(fields.get("first_name"), Some("Jörg"));
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", Fields::parse(b"payer_email=a%40b.example"));
        assert!(!shown.contains("b.example") && !shown.contains("payer_email"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_none_is_lost(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let fields = Fields::parse(&body);
            let parts = body.split(|b| *b == b'&').filter(|p| !p.is_empty()).count();
            prop_assert_eq!(fields.iter().count(), parts);
        }

        #[test]
        fn what_was_form_encoded_is_read_back(text in ".{0,40}", name in "[a-z_]{1,8}") {
            prop_assume!(name != "charset");
            let body: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("charset", "utf-8")
                .append_pair(&name, &text)
                .finish();
            let fields = Fields::parse(body.as_bytes());
            prop_assert_eq!(fields.get(&name), Some(text.as_str()));
        }
    }
}
