//! Which encoding the percent-decoded bytes of a message are in.
//!
//! `PayPal` names it in the message's own `charset` field ("Charset used for the message", IPN and
//! PDT variables, developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables); accounts start out
//! with windows-1252.

use encoding_rs::{Encoding, WINDOWS_1252};

/// The encoding of a message's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset {
    encoding: &'static Encoding,
    known: bool,
}

impl Charset {
    /// The charset of a message without a `charset` field (the IPN simulator's).
    pub const DEFAULT: Self = Self {
        encoding: WINDOWS_1252,
        known: true,
    };

    /// Reads a label, by the WHATWG's table. An unknown one, or one under which ASCII is not ASCII
    /// (no form could be read in it), gives windows-1252 and is not [`Self::is_known`].
    pub fn from_label(label: &[u8]) -> Self {
        if label.trim_ascii().is_empty() {
            return Self::DEFAULT;
        }
        let found = Encoding::for_label_no_replacement(label)
            .filter(|encoding| encoding.is_ascii_compatible());
        Self {
            encoding: found.unwrap_or(WINDOWS_1252),
            known: found.is_some(),
        }
    }

    /// Whether the label was understood.
    pub const fn is_known(self) -> bool {
        self.known
    }

    /// The encoding's WHATWG name.
    pub fn name(self) -> &'static str {
        self.encoding.name()
    }

    /// The text of `bytes`; what cannot be decoded becomes U+FFFD, never an error.
    pub fn decode(self, bytes: &[u8]) -> String {
        self.encoding
            .decode_without_bom_handling(bytes)
            .0
            .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_windows_1252() {
        assert_eq!(Charset::from_label(b"").decode(b"J\xF6rg \x80"), "Jörg €");
        assert!(Charset::from_label(b" ").is_known());
    }

    #[test]
    fn labels_are_the_whatwgs_in_any_case() {
        for (label, bytes, text) in [
            (&b"UTF-8"[..], &b"J\xC3\xB6rg"[..], "Jörg"),
            (b"windows-1251", b"\xCC\xE8\xF0", "Мир"),
            (b"Shift_JIS", b"\x93\xFA", "日"),
            (b"gb2312", b"\xC4\xE3", "你"),
            (b"big5", b"\xA7\x41", "你"),
        ] {
            assert!(Charset::from_label(label).is_known());
            assert_eq!(Charset::from_label(label).decode(bytes), text);
        }
    }

    #[test]
    fn an_unknown_label_is_read_as_windows_1252_and_told() {
        for label in [
            &b"1251x"[..],
            b"utf-16",
            b"replacement",
            b"iso-2022-jp",
            b"\xFF",
        ] {
            let charset = Charset::from_label(label);
            assert!(!charset.is_known());
            assert_eq!(charset.decode(b"\xF6"), "ö");
        }
    }

    #[test]
    fn bytes_outside_the_charset_are_replaced() {
        assert_eq!(
            Charset::from_label(b"utf-8").decode(b"a\xF6b"),
            "a\u{FFFD}b"
        );
    }
}
