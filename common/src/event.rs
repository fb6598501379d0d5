//! The payment event: what a verified notification means, in gateway-neutral terms. Version 1.
//!
//! On the wire it is `CloudEvents` 1.0 structured JSON (`application/cloudevents+json`): `id` is the
//! business key, `type` the [`EventType`], `source` `/{gateway}/{account}`, `subject` the
//! transaction, case or subscription, `data` the rest. A golden file pins the form.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::claims::Fingerprint;
use crate::ids::{AccountId, EventKey, GatewayId, MessageId, OrderId, Sku, TxnId};
use crate::money::Money;
use crate::status::{PaymentStatus, PendingReason, ReasonCode, TxnType};
use crate::trace::TraceContext;

mod auction;
mod details;
mod kind;
mod wire;

pub use auction::AuctionItem;
pub use details::{Details, Payee, Schedule, Settled};
pub use kind::{Environment, EventType, Source};
pub use wire::{CONTENT_TYPE, EventError, InTheBooks};

/// What an event is about: the thing whose events are folded together, whatever their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Subject {
    /// A payment, by the transaction id of the payment itself: a refund's or reversal's subject is
    /// its parent.
    Payment(TxnId),
    /// A dispute, by case id.
    Case(String),
    /// A subscription or recurring profile, by its id.
    Subscription(String),
    /// An item of a mass payment, by its own transaction id.
    Payout(String),
    /// None of these; by the message's own hash.
    Message(String),
}

impl Subject {
    /// The id, without the kind.
    pub fn id(&self) -> &str {
        match self {
            Self::Payment(txn) => txn.as_str(),
            Self::Case(id) | Self::Subscription(id) | Self::Payout(id) | Self::Message(id) => id,
        }
    }
}

/// How the shop may recognise its order: pass-through fields, untrusted until checked. Shops put
/// addresses and names there: never in logs or metrics.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrderRef {
    /// `invoice`, at most 127 characters at `PayPal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<String>,
    /// `custom`, at most 256 characters at `PayPal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<String>,
    /// The order that the verifier's checks found this payment to be for, and that it may settle.
    /// `None` for a payment in a series, and for what matches none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<OrderId>,
    /// The order that a payment in a series was held against: the payments of a subscription
    /// settle it together, once. Says nothing of whether it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_against: Option<OrderId>,
}

impl OrderRef {
    /// The order that the checks held the payment against, alone or in a series.
    pub const fn claimed(&self) -> Option<&OrderId> {
        match &self.bound {
            Some(order) => Some(order),
            None => self.held_against.as_ref(),
        }
    }
}

impl fmt::Debug for OrderRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OrderRef")
            .field("invoice", &self.invoice.is_some())
            .field("custom", &self.custom.is_some())
            .field("bound", &self.bound.is_some())
            .field("held_against", &self.held_against.is_some())
            .finish()
    }
}

/// One cart line, or the single item of a payment. Options may hold what the buyer typed: never in
/// logs or metrics.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Line {
    /// `item_number`: the shop's sku, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<Sku>,
    /// `item_name`, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `quantity`; 1 when the gateway gave none.
    pub quantity: u32,
    /// `mc_gross_N`: the line's gross, quantity included. Absent for a single item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross: Option<Money>,
    /// `option_nameK` and `option_selectionK`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<(String, String)>,
}

impl fmt::Debug for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Line")
            .field("sku", &self.sku)
            .field("quantity", &self.quantity)
            .field("gross", &self.gross)
            .field("options", &self.options.len())
            .finish_non_exhaustive()
    }
}

/// One period of a subscription: 1 and 2 are trials, 3 is what recurs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BillingPeriod {
    /// The N of the two fields.
    pub number: u8,
    /// `mc_amountN` with `mc_currency`; absent, or nothing, where the period is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// `periodN`, as `PayPal` writes it: `1 M`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
}

impl BillingPeriod {
    /// The number of the period that recurs.
    pub const REGULAR: u8 = 3;
}

/// Who paid, as far as the shop needs it. Personal data: never in logs or metrics.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payer {
    /// `payer_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `payer_email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `first_name` and `last_name`, or `payer_business_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `residence_country` or `address_country_code`: two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

impl fmt::Debug for Payer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Payer(..)")
    }
}

/// A verified, checked event. Built only from a [`crate::notification::Verified`] or read from the
/// queue that only the verifier writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEvent {
    /// The business key; two events with one key are one event.
    pub key: EventKey,
    /// Hash of the fields that carry meaning.
    pub fingerprint: Fingerprint,
    /// What happened.
    pub event_type: EventType,
    /// Who told us.
    pub gateway: GatewayId,
    /// Whose account, from the URL.
    pub account: AccountId,
    /// When ingest had it.
    pub received_at: Timestamp,
    /// The trace that it belongs to: CloudEvents' distributed tracing extension. Says nothing
    /// about the payment; two copies of one event differ in it.
    pub trace: Option<TraceContext>,
    /// Everything else.
    pub data: EventData,
}

/// The `data` of the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    /// The raw message that this was read from.
    pub message_id: MessageId,
    /// By which way we heard.
    pub source: Source,
    /// Live or sandbox.
    pub environment: Environment,
    /// What it is about.
    pub subject: Subject,
    /// `txn_id` of this very event (a refund has its own; a dispute carries the payment's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn_id: Option<TxnId>,
    /// `parent_txn_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_txn_id: Option<TxnId>,
    /// `txn_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn_type: Option<TxnType>,
    /// `payment_status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_status: Option<PaymentStatus>,
    /// `pending_reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_reason: Option<PendingReason>,
    /// `reason_code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<ReasonCode>,
    /// `subscr_id`, `recurring_payment_id` or `mp_id` of a payment: the subscription, recurring
    /// profile or billing agreement that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// `mc_gross` with `mc_currency`; negative for refunds and reversals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross: Option<Money>,
    /// What the checks held `gross` against: the total of its order, or what the catalogue asks.
    /// `None` when nothing said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Money>,
    /// Of a payment for an auction of several items: which of them the event tells. `lines` is that
    /// item, `gross` the amount of them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auction: Option<AuctionItem>,
    /// What a sign-up or change of a subscription agrees on, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<BillingPeriod>,
    /// `mc_fee`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money>,
    /// `payment_date`, UTC; `None` when it could not be read, which blocks nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// The order, as the gateway passed it through.
    #[serde(default)]
    pub order: OrderRef,
    /// What was bought.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// Who paid.
    #[serde(default)]
    pub payer: Payer,
    /// What the checks noted without refusing (`overpaid`, `unmatched_item`), as reason codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// What nothing is decided by.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
}

impl EventData {
    /// Whether the payment is one of a series under the same invoice: of a subscription or a
    /// recurring profile. A payment by a billing agreement (`merch_pmt`) is none: the merchant
    /// makes each of them, for something of its own.
    pub const fn is_of_a_series(&self) -> bool {
        matches!(
            self.txn_type,
            Some(
                TxnType::SubscrPayment
                    | TxnType::RecurringPayment
                    | TxnType::RecurringPaymentOutstandingPayment
            )
        )
    }
}

impl PaymentEvent {
    /// The routing key on the topic exchange: `{gateway}.{event type}`.
    pub fn routing_key(&self) -> String {
        format!("{}.{}", self.gateway, self.event_type)
    }

    /// The order that it is for: the one that the checks held it against, or else its invoice.
    /// Only of money that comes in, and never the invoice of one payment in a series, which
    /// repeats it.
    pub fn order_ref(&self) -> Option<&str> {
        if !matches!(self.event_type, EventType::Completed | EventType::Pending) {
            return None;
        }
        let order = &self.data.order;
        let claimed = order.claimed().map(OrderId::as_str);
        // What is no order's number (with control characters, say) names none.
        let invoice = order
            .invoice
            .as_deref()
            .filter(|invoice| !self.data.is_of_a_series() && invoice.parse::<OrderId>().is_ok());
        claimed.or(invoice)
    }

    /// The same event without what tells who paid or what he wrote: the payer, the options of the
    /// items, the pass-through `custom` and whom a mass payment pays. What it is worth, what it is about and what it is for
    /// stay, so that everything concluded from it stays the same.
    #[must_use]
    pub fn without_personal_data(mut self) -> Self {
        self.data.payer = Payer::default();
        self.data.order.custom = None;
        if let Some(payee) = &mut self.data.details.payee {
            payee.email = None;
        }
        for line in &mut self.data.lines {
            line.options.clear();
        }
        self
    }

    /// The message id of this event: the same for every copy of the same event.
    pub fn message_id(&self) -> MessageId {
        MessageId::from_name(self.key.as_str())
    }
}

#[cfg(test)]
mod tests;
