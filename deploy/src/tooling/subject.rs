//! What a message is about, as far as it can be told without proof: for filters and dry runs only.

use quittance_common::event::PaymentEvent;
use quittance_common::gateway;
use quittance_common::gateway::paypal::fields::Fields;
use quittance_common::message::{Message, MessageKind};
use quittance_common::notification::RawNotification;
use quittance_common::settings::Settings;
use serde_json::Value;

/// What a message claims.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// The events that it tells, such as `payment.completed`.
    pub(crate) events: Vec<String>,
    /// The transactions that it names.
    pub(crate) txns: Vec<String>,
    /// The business keys of its events; empty when it cannot be read.
    pub(crate) keys: Vec<String>,
    fields: Vec<(String, String)>,
}

impl Subject {
    /// Reads what can be read; what cannot stays empty.
    pub(crate) fn of(message: &Message, settings: &Settings) -> Self {
        let mut subject = Self::of_body(message);
        match message.kind {
            MessageKind::NotificationV1 | MessageKind::EvidenceV1 => {
                subject.read_notification(message, settings);
            }
            MessageKind::PaymentV1 => {
                if let Ok(event) = PaymentEvent::from_json(&message.body) {
                    subject.events.push(event.event_type.to_string());
                    subject.keys.push(event.key.to_string());
                    let data = &event.data;
                    let txns = data.txn_id.iter().chain(&data.parent_txn_id);
                    subject.txns.extend(txns.map(ToString::to_string));
                }
            }
            MessageKind::AnnouncementV1 | MessageKind::Unknown(_) => {}
        }
        subject
    }

    /// The fields of the body alone.
    pub(crate) fn of_body(message: &Message) -> Self {
        let fields = match message.kind {
            MessageKind::NotificationV1 => form(&message.body),
            MessageKind::EvidenceV1 => form(&joined(&message.body)),
            MessageKind::PaymentV1 | MessageKind::AnnouncementV1 | MessageKind::Unknown(_) => {
                let mut fields = Vec::new();
                if let Ok(body) = serde_json::from_slice::<Value>(&message.body) {
                    flatten("", &body, &mut fields);
                }
                fields
            }
        };
        let is_txn =
            |name: &str| matches!(name.rsplit('.').next(), Some("txn_id" | "parent_txn_id"));
        let txns = fields.iter().filter(|(name, _)| is_txn(name));
        Self {
            txns: txns.map(|(_, value)| value.clone()).collect(),
            fields,
            ..Self::default()
        }
    }

    /// Whether the body has that field with that value, once at least.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.fields.iter().any(|(n, v)| n == name && v == value)
    }

    fn read_notification(&mut self, message: &Message, settings: &Settings) {
        let Ok(raw) = RawNotification::from_message(message) else {
            return;
        };
        let Some(account) = settings.account(raw.gateway, &raw.account) else {
            return;
        };
        let Ok(notification) = gateway::read(&raw, account) else {
            return;
        };
        for reading in &notification.readings {
            self.events.push(reading.event_type.to_string());
            self.keys.push(reading.key.to_string());
        }
    }
}

fn form(body: &[u8]) -> Vec<(String, String)> {
    let fields = Fields::parse(body);
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    fields.iter().map(owned).collect()
}

/// The lines of a PDT reply, without the first, as one form.
fn joined(reply: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = reply.split(|byte| *byte == b'\n').skip(1).collect();
    lines.join(&b'&')
}

/// `{"data": {"a": [1]}}` as `data.a.0 = 1`.
fn flatten(path: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                flatten(&below(name), member, fields);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&below(&at.to_string()), item, fields);
            }
        }
        Value::String(text) => fields.push((path.to_owned(), text.clone())),
        Value::Null => {}
        other => fields.push((path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_json_body_is_fields_by_their_paths() {
        let mut fields = Vec::new();
        let body = json!({"id": "k", "data": {"lines": [{"quantity": 2}], "none": null}});
        flatten("", &body, &mut fields);
        fields.sort();
        let expected = [("data.lines.0.quantity", "2"), ("id", "k")];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn a_pdt_reply_is_a_form_of_its_lines() {
        let reply = joined(b"SUCCESS\ntxn_id=T1\nmemo=a%26b");
        assert_eq!(reply, b"txn_id=T1&memo=a%26b");
    }
}
