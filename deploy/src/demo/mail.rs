//! Reading the mails that the shop wrote, as far as the demo must: who to, what about, which text.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

/// One mail, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// The `To` header, decoded.
    pub to: String,
    /// The `Subject` header, decoded.
    pub subject: String,
    /// Every text part, decoded.
    #[serde(skip)]
    pub text: String,
}

/// Every mail in the `new` folder of a Maildir; none when there is no such folder yet.
///
/// # Errors
/// When a file cannot be read.
pub fn read_all(maildir: &Path) -> io::Result<Vec<Mail>> {
    let entries = match std::fs::read_dir(maildir.join("new")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths
        .into_iter()
        .map(|path| Ok(parse(&String::from_utf8_lossy(&std::fs::read(path)?))))
        .collect()
}

/// Reads one mail.
pub fn parse(raw: &str) -> Mail {
    let raw = raw.replace("\r\n", "\n");
    let (head, _) = raw.split_once("\n\n").unwrap_or((&raw, ""));
    Mail {
        to: words(&header(head, "to").unwrap_or_default()),
        subject: words(&header(head, "subject").unwrap_or_default()),
        text: part_text(&raw, 0),
    }
}

/// The text of a part: decoded, or that of its own parts.
fn part_text(part: &str, depth: u8) -> String {
    let (head, body) = part.split_once("\n\n").unwrap_or((part, ""));
    let kind = header(head, "content-type").unwrap_or_default();
    let boundary = kind.split_once("boundary=").map(|(_, rest)| {
        rest.trim_matches('"')
            .split(['"', ';'])
            .next()
            .unwrap_or(rest)
    });
    if let Some(boundary) = boundary.filter(|_| depth < 4) {
        return body
            .split(&format!("--{boundary}"))
            .skip(1)
            .take_while(|part| !part.starts_with("--"))
            .map(|part| part_text(part.trim_start_matches('\n'), depth.saturating_add(1)))
            .collect();
    }
    let encoding = header(head, "content-transfer-encoding").unwrap_or_default();
    let bytes = match encoding.to_ascii_lowercase().as_str() {
        "quoted-printable" => quoted_printable(body),
        "base64" => {
            let packed: String = body.split_whitespace().collect();
            BASE64.decode(packed).unwrap_or_default()
        }
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A header's value, its continuation lines joined.
fn header(head: &str, name: &str) -> Option<String> {
    let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
    unfolded.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// Decodes the encoded words (RFC 2047) of a header in UTF-8.
fn words(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, word)) = rest.split_once("=?") {
        let mut parts = word.splitn(4, '?');
        let (Some(_), Some(kind), Some(coded), Some(after)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            break;
        };
        // White space between two encoded words does not count.
        if !before.trim().is_empty() {
            text.push_str(before);
        }
        let bytes = if kind.eq_ignore_ascii_case("b") {
            BASE64.decode(coded).unwrap_or_default()
        } else {
            quoted_printable(&coded.replace('_', " "))
        };
        text.push_str(&String::from_utf8_lossy(&bytes));
        rest = after.strip_prefix('=').unwrap_or(after);
    }
    text.push_str(rest);
    text
}

/// Decodes quoted-printable; what is no escape stays as it is.
fn quoted_printable(text: &str) -> Vec<u8> {
    let text = text.replace("=\n", "");
    let mut parts = text.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let escape = part
            .split_at_checked(2)
            .and_then(|(hex, rest)| Some((u8::from_str_radix(hex, 16).ok()?, rest)));
        if let Some((byte, rest)) = escape {
            bytes.push(byte);
            bytes.extend_from_slice(rest.as_bytes());
        } else {
            bytes.push(b'=');
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_printable_mail_is_read() {
        let mail = parse(
            "To: b@example.net\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?= from\r\n =?utf-8?q?J=C3=BCrgen?=\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\nDear J=C3=BCrgen Gro=\r\n=C3=9F, 1=2\r\n",
        );
        assert_eq!(mail.to, "b@example.net");
        assert_eq!(mail.subject, "Grüße from Jürgen");
        assert_eq!(mail.text, "Dear Jürgen Groß, 1=2\n");
    }

    #[test]
    fn every_part_of_a_multipart_mail_is_read() {
        let mail = parse(
            "To: b@example.net\nContent-Type: multipart/alternative; boundary=\"x\"\n\n\
             --x\nContent-Type: text/plain\n\nplain\n--x\nContent-Type: text/html\n\
             Content-Transfer-Encoding: base64\n\nPGI+aHRtbDwvYj4=\n--x--\n",
        );
        assert!(mail.text.contains("plain") && mail.text.contains("<b>html</b>"));
    }

    #[test]
    fn a_maildir_that_is_not_there_yet_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_all(folder.path()).unwrap(), []);
    }
}
