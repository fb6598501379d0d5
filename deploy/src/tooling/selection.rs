//! Which messages an operator means. Pure: the time is an argument.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use quittance_common::ids::{AccountId, GatewayId, Reason};
use quittance_common::message::Message;
use quittance_common::settings::span::span;

use super::subject::Subject;

/// How many attempts a message may have had: `3` exactly, `3..` at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempts {
    least: u32,
    most: u32,
}

impl FromStr for Attempts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, open) = text
            .strip_suffix("..")
            .map_or((text, false), |number| (number, true));
        let least = number
            .parse()
            .map_err(|_| "a number such as `3`, or `3..` for at least 3".to_owned())?;
        let most = if open { u32::MAX } else { least };
        Ok(Self { least, most })
    }
}

/// `name=value` of the decoded body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldIs {
    pub(crate) name: String,
    value: String,
}

impl FromStr for FieldIs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or("name=value, such as `payment_status=Pending`")?;
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// The filter. Conditions of one kind are alternatives; kinds narrow each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Selection {
    /// Only those that wait or are parked for this reason, such as `unmatched_item`.
    #[arg(long = "reason", value_name = "REASON")]
    reasons: Vec<String>,
    /// Only those of this gateway.
    #[arg(long = "gateway", value_name = "GATEWAY")]
    gateways: Vec<String>,
    /// Only those of this account.
    #[arg(long = "account", value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// Only those that tell this, such as `payment.completed`.
    #[arg(long = "event", value_name = "TYPE")]
    events: Vec<String>,
    /// Only those about this transaction.
    #[arg(long = "txn", value_name = "ID")]
    txns: Vec<String>,
    /// Only those received longer ago than this, such as `2h`.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only those received since this long ago.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    younger_than: Option<Duration>,
    /// Only those with so many attempts: `3`, or `3..` for at least 3.
    #[arg(long, value_name = "N")]
    attempt: Option<Attempts>,
    /// Only those whose decoded body has this field with this value; in JSON `data.txn_id=...`.
    #[arg(long = "field", value_name = "NAME=VALUE")]
    fields: Vec<FieldIs>,
}

impl Selection {
    /// Whether it leaves out nothing.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the message is meant.
    pub(crate) fn takes(&self, message: &Message, subject: &Subject, now: Timestamp) -> bool {
        let headers = &message.headers;
        let one_of = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|w| w == found))
        };
        let any_of = |wanted: &[String], found: &[String]| {
            wanted.is_empty() || wanted.iter().any(|w| found.contains(w))
        };
        let age = age(message, now);
        one_of(&self.reasons, headers.reason.as_ref().map(Reason::as_str))
            && one_of(&self.gateways, headers.gateway.map(GatewayId::as_str))
            && one_of(
                &self.accounts,
                headers.account.as_ref().map(AccountId::as_str),
            )
            && any_of(&self.events, &subject.events)
            && any_of(&self.txns, &subject.txns)
            && self.older_than.is_none_or(|limit| age > limit)
            && self.younger_than.is_none_or(|limit| age <= limit)
            && self
                .attempt
                .is_none_or(|a| (a.least..=a.most).contains(&headers.attempt))
            && self
                .fields
                .iter()
                .all(|field| subject.has(&field.name, &field.value))
    }

    /// The conditions in words for the audit log. Of fields only the names: values may be
    /// personal data.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut put = |name: &str, values: &[String]| {
            all.extend(values.iter().map(|value| format!("{name}={value}")));
        };
        put("reason", &self.reasons);
        put("gateway", &self.gateways);
        put("account", &self.accounts);
        put("event", &self.events);
        put("txn", &self.txns);
        all.extend(self.older_than.map(|a| format!("older-than={}", span(a))));
        all.extend(
            self.younger_than
                .map(|a| format!("younger-than={}", span(a))),
        );
        all.extend(
            self.attempt
                .map(|a| format!("attempt={}..={}", a.least, a.most)),
        );
        all.extend(self.fields.iter().map(|f| format!("field={}", f.name)));
        all
    }
}

/// How long ago ingest had the message; zero for one from the future.
pub(crate) fn age(message: &Message, now: Timestamp) -> Duration {
    let since = message.headers.received_at.unwrap_or(message.timestamp);
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quittance_common::ids::MessageId;
    use quittance_common::message::{Headers, MessageKind};

    const NOW: &str = "2026-11-22T12:00:00Z";

    fn message() -> Message {
        Message {
            id: MessageId::new(),
            kind: MessageKind::NotificationV1,
            content_type: "application/x-www-form-urlencoded".into(),
            timestamp: NOW.parse().unwrap(),
            headers: Headers {
                gateway: Some(GatewayId::PayPal),
                account: Some("shop".parse().unwrap()),
                received_at: Some("2026-11-22T11:00:00Z".parse().unwrap()),
                attempt: 3,
                reason: Some(Reason::of("unmatched_item")),
                ..Headers::default()
            },
            body: Bytes::from_static(b"txn_id=T1&payment_status=Pending&first_name=J%FCrgen"),
        }
    }

    fn takes(selection: &Selection) -> bool {
        let message = message();
        let mut subject = Subject::of_body(&message);
        subject.events = vec!["payment.pending".to_owned()];
        selection.takes(&message, &subject, NOW.parse().unwrap())
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        selection: Selection,
    }

    fn selection(arguments: &[&str]) -> Selection {
        use clap::Parser as _;
        let line = Line::try_parse_from([&["x"], arguments].concat());
        line.map(|line| line.selection).unwrap()
    }

    #[test]
    fn no_condition_takes_everything() {
        assert!(Selection::default().is_everything());
        assert!(takes(&Selection::default()));
    }

    #[test]
    fn each_condition_takes_what_matches_and_nothing_else() {
        for (name, yes, no) in [
            ("--reason", "unmatched_item", "conflict"),
            ("--gateway", "paypal", "other"),
            ("--account", "shop", "default"),
            ("--event", "payment.pending", "payment.completed"),
            ("--txn", "T1", "T2"),
            ("--older-than", "59m", "61m"),
            ("--younger-than", "61m", "59m"),
            ("--attempt", "3", "2"),
            ("--attempt", "2..", "4.."),
            ("--field", "payment_status=Pending", "payment_status=Pend"),
            ("--field", "first_name=Jürgen", "last_name=Jürgen"),
        ] {
            assert!(takes(&selection(&[name, yes])), "{name} {yes}");
            assert!(!takes(&selection(&[name, no])), "{name} {no}");
        }
    }

    #[test]
    fn conditions_of_one_kind_are_alternatives_and_kinds_narrow() {
        let either = ["--reason", "conflict", "--reason", "unmatched_item"];
        assert!(takes(&selection(&either)));
        let both = ["--reason", "unmatched_item", "--txn", "T2"];
        assert!(!takes(&selection(&both)));
    }

    #[test]
    fn the_description_has_no_value_of_a_field() {
        let words = selection(&["--field", "payer_email=a@b.example", "--txn", "T1"]).describe();
        assert_eq!(words, ["txn=T1", "field=payer_email"]);
    }
}
