//! From fields to readings: which family a message belongs to, and what all families share.
//!
//! Routed by `txn_type` first: many messages have no `payment_status`, and disputes carry the
//! `txn_id` of a payment that they must not be taken for (IPN and PDT variables,
//! developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables).

use std::cell::OnceCell;

use super::super::ReadError;
use super::doubt::Doubt;
use super::fields::Fields;
use super::{
    ambiguity, amount, auction, cart, date, details, dispute, masspay, party, payment, subscription,
};
use crate::event::{Environment, EventData, EventType, OrderRef, Source, Subject};
use crate::ids::{EventKey, IdError, Reason, TxnId};
use crate::key::{Identity, Meaning, event_key};
use crate::notification::{Notification, Payee, RawNotification, Reading};
use crate::settings::Account;
use crate::status::{PaymentStatus, PendingReason, ReasonCode, TxnType};

/// Where the id of a subscription, recurring profile or billing agreement stands: standard
/// subscriptions send some messages with `recurring_payment_id`.
pub(super) const SUBSCRIPTION: [&str; 3] = ["subscr_id", "recurring_payment_id", "mp_id"];

/// Reads a body.
pub(super) fn read(raw: &RawNotification, account: &Account) -> Result<Notification, ReadError> {
    let fields = Fields::parse(&raw.body);
    ambiguity::check(&fields)?;
    let context = Context::new(raw, account, &fields);
    let readings = match family(&context)? {
        Family::MassPay => masspay::read(&context)?,
        Family::Dispute => vec![dispute::read(&context)?],
        Family::Subscription => vec![subscription::read(&context)?],
        Family::Payment => vec![payment::read(&context)?],
        Family::Unrecognised(doubt) => vec![payment::unrecognised(&context, doubt)?],
    };
    Ok(Notification {
        claimed_environment: claimed_environment(raw.source, &fields),
        added: amount::added(&fields),
        payee: context.payee,
        readings,
    })
}

/// `test_ipn=1` comes from the sandbox only. A PDT answer never has the field.
fn claimed_environment(source: Source, fields: &Fields) -> Option<Environment> {
    match (fields.text("test_ipn"), source) {
        (Some("1"), _) => Some(Environment::Sandbox),
        (_, Source::Ipn | Source::Replay) => Some(Environment::Live),
        (_, Source::Pdt) => None,
    }
}

/// The families of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Payment,
    Dispute,
    Subscription,
    MassPay,
    /// Genuine perhaps, and nothing that this build can apply; with the reason.
    Unrecognised(Doubt),
}

/// Decides the family.
fn family(context: &Context<'_>) -> Result<Family, ReadError> {
    let has = |name: &str| context.fields.text(name).is_some();
    let paid = context.status.is_some();
    Ok(match &context.txn_type {
        Some(TxnType::Masspay) => Family::MassPay,
        Some(TxnType::NewCase | TxnType::Adjustment) => Family::Dispute,
        Some(TxnType::Other(_)) => Family::Unrecognised(Doubt::UnknownTxnType),
        _ if paid => Family::Payment,
        Some(txn_type) if subscription::is_lifecycle(txn_type) => Family::Subscription,
        Some(_) => Family::Unrecognised(Doubt::MissingStatus),
        None if has("case_id") || has("case_type") => Family::Dispute,
        // Adaptive Payments: another vocabulary (`transaction_type`, `pay_key`, `status`).
        None if has("transaction_type") || has("pay_key") => {
            Family::Unrecognised(Doubt::AdaptivePayments)
        }
        None if has("txn_id") => Family::Unrecognised(Doubt::MissingStatus),
        None => return Err(ReadError::Nothing),
    })
}

/// A message with what every family asks of it.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) raw: &'a RawNotification,
    pub(super) fields: &'a Fields,
    pub(super) environment: Environment,
    pub(super) txn_type: Option<TxnType>,
    pub(super) status: Option<PaymentStatus>,
    pub(super) payee: Payee,
    /// Made at most once: a message may tell of thousands of items.
    digest: OnceCell<String>,
}

impl<'a> Context<'a> {
    fn new(raw: &'a RawNotification, account: &Account, fields: &'a Fields) -> Self {
        // "-" stands for no type in PayPal's table of variables.
        let txn_type = fields
            .text("txn_type")
            .filter(|text| *text != "-")
            .map(TxnType::parse);
        let payee = if txn_type == Some(TxnType::Masspay) {
            party::merchant_as_payer(fields)
        } else {
            party::payee(fields)
        };
        Self {
            raw,
            fields,
            environment: account.environment,
            txn_type,
            status: fields.text("payment_status").map(PaymentStatus::parse),
            payee,
            digest: OnceCell::new(),
        }
    }

    /// The transaction id in the field `name`.
    pub(super) fn txn_id(&self, name: &str) -> Result<Option<TxnId>, ReadError> {
        self.fields
            .text(name)
            .map(|text| {
                text.parse().map_err(|error: IdError| ReadError::Field {
                    field: name.to_owned(),
                    problem: error.to_string(),
                })
            })
            .transpose()
    }

    /// The doubts that any message may give rise to.
    pub(super) fn doubts(&self) -> Vec<Reason> {
        if self.fields.charset().is_known() {
            Vec::new()
        } else {
            vec![Doubt::UnknownCharset.reason()]
        }
    }

    /// Everything that a message says, about `subject`, without lines.
    pub(super) fn data(&self, subject: Subject) -> Result<EventData, ReadError> {
        let fields = self.fields;
        Ok(EventData {
            message_id: self.raw.id,
            source: self.raw.source,
            environment: self.environment,
            subject,
            txn_id: self.txn_id("txn_id")?,
            parent_txn_id: self.txn_id("parent_txn_id")?,
            txn_type: self.txn_type.clone(),
            payment_status: self.status.clone(),
            pending_reason: fields.text("pending_reason").map(PendingReason::parse),
            reason_code: fields.text("reason_code").map(ReasonCode::parse),
            subscription: SUBSCRIPTION.into_iter().find_map(|name| fields.owned(name)),
            gross: amount::gross(fields)?,
            asked: None,
            auction: None,
            terms: Vec::new(),
            fee: amount::fee(fields),
            occurred_at: fields.text("payment_date").and_then(date::parse),
            order: OrderRef {
                invoice: fields.owned("invoice"),
                custom: fields.owned("custom"),
                bound: None,
                held_against: None,
            },
            lines: Vec::new(),
            payer: party::payer(fields),
            flags: self.flags(),
            details: details::read(fields),
        })
    }

    /// What is noted without a doubt.
    fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        // Every item of a multi-item auction tells the amount of the whole auction.
        if auction::is_auction(self.fields) {
            flags.push("auction".to_owned());
        }
        if self.fields.text("initial_payment_txn_id").is_some() {
            flags.push("initial_payment".to_owned());
        }
        if self.txn_type == Some(TxnType::SubscrSignup)
            && subscription::is_first_payment_due(self.fields)
        {
            flags.push(subscription::FIRST_PAYMENT_DUE.to_owned());
        }
        flags
    }

    /// Adds the lines of an event of that type, and what is odd about them. None of an item is a doubt
    /// where items are sold or agreed on; money that goes back waits for nobody because of it.
    pub(super) fn add_lines(
        &self,
        event_type: EventType,
        data: &mut EventData,
        doubts: &mut Vec<Reason>,
    ) -> Result<(), ReadError> {
        let cart = cart::read(self.fields, amount::currency(self.fields)?)?;
        let counts = matches!(
            event_type,
            EventType::Completed | EventType::Pending | EventType::SubscriptionChanged
        );
        if cart.zero_quantity && counts {
            doubts.push(Doubt::ZeroQuantity.reason());
        }
        if cart.count_differs {
            data.flags.push("cart_count_differs".to_owned());
        }
        data.auction = auction::item(self.fields, &cart.lines);
        data.lines = cart.lines;
        Ok(())
    }

    /// The key of `identity` in this account's environment.
    pub(super) fn key(&self, identity: &Identity<'_>) -> Result<EventKey, ReadError> {
        event_key(self.environment, identity).map_err(|error| ReadError::Field {
            field: "txn_id".to_owned(),
            problem: error.to_string(),
        })
    }

    /// What the event means, for the fingerprint: amount, payee, order, parent, subject. Not how
    /// the message was sent: a resend differs in `resend`, `verify_sign`, `ipn_track_id`, `charset`
    /// or `notify_version` only.
    pub(super) fn meaning(&self, event_type: EventType, data: &EventData) -> Meaning {
        let gross = data.gross.map(|money| money.to_string());
        Meaning::default()
            .with("type", Some(event_type.as_str()))
            .with("subject", Some(data.subject.id()))
            .with("gross", gross.as_deref())
            .with("payee", party::identity(&self.payee))
            .with("invoice", data.order.invoice.as_deref())
            .with("custom", data.order.custom.as_deref())
            .with("parent", data.parent_txn_id.as_ref().map(TxnId::as_str))
            .with("quantity", auction::quantity(data).as_deref())
    }

    /// A hash of every field that is not about the sending itself, whatever their order: for
    /// messages that have no id.
    pub(super) fn digest(&self) -> &str {
        self.digest.get_or_init(|| digest(self.fields))
    }

    /// The key of a message that has no id of its own. `part` tells the items of one message apart.
    pub(super) fn message_key(&self, part: &str) -> Result<EventKey, ReadError> {
        self.key(&Identity::Message {
            digest: self.digest(),
            part,
        })
    }

    /// Puts a reading together.
    pub(super) fn reading(
        &self,
        event_type: EventType,
        key: EventKey,
        data: EventData,
        doubts: Vec<Reason>,
    ) -> Reading {
        Reading {
            key,
            fingerprint: self.meaning(event_type, &data).fingerprint(),
            event_type,
            data,
            doubts,
        }
    }
}

/// See [`Context::digest`].
fn digest(fields: &Fields) -> String {
    const SENDING: [&str; 5] = [
        "charset",
        "ipn_track_id",
        "notify_version",
        "resend",
        "verify_sign",
    ];
    let mut pairs: Vec<(&str, &str)> = fields
        .iter()
        .filter(|(name, _)| !SENDING.contains(name))
        .collect();
    pairs.sort_unstable();
    let meaning = pairs
        .into_iter()
        .fold(Meaning::default(), |all, (name, value)| {
            all.with(name, Some(value))
        });
    meaning.fingerprint().as_str().to_owned()
}

/// Lower case without spaces around it, blank when absent: how words go into keys.
pub(super) fn word(text: Option<&str>) -> String {
    text.map(|text| text.trim().to_ascii_lowercase())
        .unwrap_or_default()
}
