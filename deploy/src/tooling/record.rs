//! The line form of a message in a drain file. Version 1; a golden test pins it. Members that a
//! reader does not know are left alone, so that an older version reads what a newer one has added.

use std::collections::BTreeMap;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use quittance_common::message::{Headers, Message, MessageKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The version that this build writes, and the newest that it reads.
const VERSION: u32 = 1;

/// The first line of a drain file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// What the file is: always `drain`.
    quittance: String,
    /// The version of the form.
    version: u32,
    /// The queue that was drained.
    pub(crate) queue: String,
    /// When the file was begun.
    pub(crate) begun_at: Timestamp,
    /// The version of the program that began it.
    written_by: String,
}

impl Manifest {
    /// The first line of a new file.
    pub(crate) fn new(queue: &str, now: Timestamp) -> Self {
        Self {
            quittance: "drain".to_owned(),
            version: VERSION,
            queue: queue.to_owned(),
            begun_at: now,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Reads the first line of a file.
    ///
    /// # Errors
    /// When it is not the first line of a drain file of a version that this build reads.
    pub(crate) fn read(line: &str) -> anyhow::Result<Self> {
        let manifest: Self =
            serde_json::from_str(line).context("the first line is not that of a drain file")?;
        anyhow::ensure!(
            manifest.quittance == "drain",
            "the file is a `{}`, not a drain file",
            manifest.quittance
        );
        anyhow::ensure!(
            manifest.version <= VERSION,
            "the file has form {}, this version reads up to {VERSION}: use a newer quittance",
            manifest.version
        );
        Ok(manifest)
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The message's id.
    pub(crate) id: String,
    #[serde(rename = "type")]
    kind: String,
    content_type: String,
    timestamp: Timestamp,
    headers: BTreeMap<String, String>,
    /// SHA-256 of the body, hex.
    sha256: String,
    /// The exact bytes, base64.
    body: String,
}

impl Record {
    /// The line form of a message.
    pub(crate) fn of(message: &Message) -> Self {
        Self {
            id: message.id.to_string(),
            kind: message.kind.as_str().to_owned(),
            content_type: message.content_type.clone(),
            timestamp: message.timestamp,
            headers: message.headers.to_pairs().into_iter().collect(),
            sha256: hex(&message.body),
            body: STANDARD.encode(&message.body),
        }
    }

    /// The message, exactly as it was drained.
    ///
    /// # Errors
    /// When the line was damaged.
    pub(crate) fn message(&self) -> anyhow::Result<Message> {
        let body = STANDARD
            .decode(&self.body)
            .context("the body is not base64")?;
        anyhow::ensure!(
            hex(&body) == self.sha256,
            "the body of message {} is not the one that its sha256 tells: the file is damaged",
            self.id
        );
        Ok(Message {
            id: self.id.parse().context("the id is no UUID")?,
            kind: MessageKind::parse(&self.kind),
            content_type: self.content_type.clone(),
            timestamp: self.timestamp,
            headers: Headers::from_pairs(self.headers.clone()),
            body: Bytes::from(body),
        })
    }

    /// What makes two records the same message in the same state: a redelivery has the same one.
    pub(crate) fn identity(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.id, &self.kind, &self.sha256] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        for (name, value) in &self.headers {
            digest.update(name.as_bytes());
            digest.update([0]);
            digest.update(value.as_bytes());
            digest.update([0]);
        }
        digest.finalize().into()
    }
}

/// The SHA-256 of some bytes, hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").ok();
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 0.1.0 wrote it, with a member of a later version.
    const LINE: &str = r#"{"id":"019ab000-0000-7000-8000-000000000001","type":"ipn.notification.v1","content_type":"application/x-www-form-urlencoded","timestamp":"2026-11-22T10:00:00.125Z","headers":{"account":"default","attempt":"2","gateway":"paypal","reason":"unmatched_item","x-own":"ü"},"sha256":"7a2b42d2f9b3eee6f40bd2e5baf9d5b26a4fa8f9a2a3f7e4bb0c7a9f0bbd2bd9","body":"dHhuX2lkPVQx/w=="}"#;

    fn message() -> Message {
        let headers = [
            ("account", "default"),
            ("attempt", "2"),
            ("gateway", "paypal"),
        ]
        .into_iter()
        .chain([("reason", "unmatched_item"), ("x-own", "ü")])
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Message {
            id: "019ab000-0000-7000-8000-000000000001".parse().unwrap(),
            kind: MessageKind::NotificationV1,
            content_type: "application/x-www-form-urlencoded".into(),
            timestamp: "2026-11-22T10:00:00.125Z".parse().unwrap(),
            headers: Headers::from_pairs(headers),
            body: Bytes::from_static(b"txn_id=T1\xff"),
        }
    }

    #[test]
    fn the_line_form_is_the_pinned_one() {
        let mut line: serde_json::Value = serde_json::from_str(LINE).unwrap();
        line["sha256"] = hex(b"txn_id=T1\xff").into();
        assert_eq!(serde_json::to_value(Record::of(&message())).unwrap(), line);
    }

    #[test]
    fn a_record_gives_back_the_message_whatever_a_later_version_added() {
        let mut line = serde_json::to_value(Record::of(&message())).unwrap();
        line["later"] = "member".into();
        let record: Record = serde_json::from_value(line).unwrap();
        assert_eq!(record.message().unwrap(), message());
    }

    #[test]
    fn a_damaged_body_is_refused() {
        let mut record = Record::of(&message());
        record.body = STANDARD.encode("txn_id=T2");
        assert!(
            record
                .message()
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
    }

    #[test]
    fn a_redelivery_has_the_same_identity_and_another_reason_another() {
        let first = Record::of(&message());
        assert_eq!(first.identity(), Record::of(&message()).identity());
        let mut other = message();
        other.headers.reason = None;
        assert_ne!(first.identity(), Record::of(&other).identity());
    }

    #[test]
    fn a_file_of_a_newer_form_is_refused_in_words() {
        let line = r#"{"quittance":"drain","version":2,"queue":"q","begun_at":"2026-11-22T10:00:00Z","written_by":"9"}"#;
        let error = Manifest::read(line).unwrap_err().to_string();
        assert!(error.contains("use a newer quittance"), "{error}");
        assert!(Manifest::read("{}").is_err());
    }
}
