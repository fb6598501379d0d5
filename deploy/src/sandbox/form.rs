//! Reading just enough of a form body: the stand-in must never re-encode what it sends.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Fields of a notification that a PDT reply does not have.
const NOT_IN_PDT: [&str; 6] = [
    "notify_version",
    "verify_sign",
    "test_ipn",
    "ipn_track_id",
    "resend",
    "transaction_subject",
];

/// The first value of `name`, decoded as UTF-8 with replacement: for ids and commands only.
pub(crate) fn field(body: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(body)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The PDT reply that tells the same as `message`: `SUCCESS` and one `key=value` a line, each still
/// encoded exactly as in the message (percent-encoded bytes of the account's charset).
pub(crate) fn success_lines(message: &[u8]) -> Bytes {
    let mut reply = BytesMut::from(&b"SUCCESS\n"[..]);
    for pair in message.split(|byte| *byte == b'&') {
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let left_out = NOT_IN_PDT.iter().any(|name| name.as_bytes() == key);
        if !pair.is_empty() && !left_out {
            reply.put_slice(pair);
            reply.put_u8(b'\n');
        }
    }
    reply.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pdt_reply_keeps_the_encoding_of_every_value() {
        let reply = success_lines(b"txn_id=T1&verify_sign=x&first_name=J%F6rg&memo=a%3Db+c&tax=");
        assert_eq!(
            reply,
            &b"SUCCESS\ntxn_id=T1\nfirst_name=J%F6rg\nmemo=a%3Db+c\ntax=\n"[..]
        );
    }

    #[test]
    fn a_field_is_found_decoded() {
        assert_eq!(field(b"a=1&tx=4%2B4", "tx").as_deref(), Some("4+4"));
        assert_eq!(field(b"a=1", "tx"), None);
    }
}
