//! The rows that a story consists of, as listings and programs get them.

use serde::Serialize;

use crate::shop::{DecisionRow, ParkedRow, PaymentRow, ResolutionRow};

/// Everything about one payment: `quittance payments show`. Of personal data it has whom an item of
/// a mass payment pays, until that is removed because of its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentStory {
    /// The row of the list.
    #[serde(flatten)]
    pub payment: PaymentRow,
    /// Each event, by the time at which it was received.
    pub history: Vec<EventRow>,
    /// What the stages decided about each message, and why, by time.
    pub decisions: Vec<DecisionRow>,
    /// What people have decided about it, and why, by time.
    pub resolutions: Vec<ResolutionRow>,
    /// Each effect, by time.
    pub effect_states: Vec<EffectRow>,
    /// Each change of stock.
    pub stock_moves: Vec<MoveRow>,
    /// Each customer notification, sent, skipped, given up or still queued.
    pub notifications: Vec<NotificationRow>,
    /// What belongs to it: refunds, captures, its subscription, its payments, its cases.
    pub related: Vec<RelatedRow>,
    /// Each message about it that was parked, and what has become of that.
    pub parked: Vec<ParkedRow>,
    /// What is still to be published.
    pub outbox_waiting: i64,
    /// When names, addresses and the like were removed because of their age; blank while they
    /// are there.
    pub details_removed_at: String,
    /// What else is known about it: what a subscription costs, until when an authorisation can be
    /// captured, what was settled ...
    pub facts: Vec<FactRow>,
}

/// One thing that is known about what a story is about, as its newest word has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactRow {
    /// `price`, `capture due`, `invoice` ...
    pub name: String,
    /// For people.
    pub value: String,
}

/// One event of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRow {
    /// The business key.
    pub key: String,
    /// `payment.completed` ...
    pub event_type: String,
    /// `ipn`, `pdt` or `replay`.
    pub source: String,
    /// The raw message that it was read from.
    pub message_id: String,
    /// When ingest had it.
    pub received_at: String,
    /// When the books had it.
    pub applied_at: String,
    /// `payment_date`, where it could be read.
    pub occurred_at: String,
    /// The transaction of this very event.
    pub txn_id: String,
    /// `txn_type`.
    pub txn_type: String,
    /// `pending_reason` or `reason_code`.
    pub reason: String,
    /// Such as `-5.00`.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// What the gateway took of it, with its currency.
    pub fee: String,
    /// What was booked in the account's own currency, and at which rate; blank without a conversion.
    pub settled: String,
}

/// One effect of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectRow {
    /// `stock_decremented`, `mail_refunded` ...
    pub effect: String,
    /// What it concerns, where a payment has several: the refund's transaction.
    pub of: String,
    /// `done`, `withheld` by a rule, or of a notification `queued`, `sent`, `skipped` or `given_up`.
    pub state: String,
    /// When it was had.
    pub at: String,
    /// The event that brought it about; blank for the clock or an operator.
    pub because: String,
    /// The rule that withheld it, by its number and what it matched then.
    pub rule: String,
}

/// One change of stock of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MoveRow {
    /// Of which product.
    pub sku: String,
    /// `stock_decremented` ...
    pub movement: String,
    /// How many.
    pub quantity: i64,
    /// When.
    pub at: String,
}

/// One customer notification of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotificationRow {
    /// The first part of its Message-ID.
    pub message_id: String,
    /// `mail_received` ...
    pub kind: String,
    /// `queued`, `sent`, `skipped`, or `given_up`: nobody took it, and it waits on `notify.dead`.
    pub outcome: String,
    /// Why skipped or given up.
    pub reason: String,
    /// When.
    pub at: String,
}

/// Something that belongs to what the story is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RelatedRow {
    /// `authorization`, `capture`, `refund`, `reversal`, `reversal_canceled`, `subscription`,
    /// `case`, `payment` or `order`.
    pub relation: String,
    /// Its transaction id, or what else it is known by: `payments show` takes it.
    pub id: String,
    /// Its status, where it has a row of its own; of a registered order whether it is cancelled,
    /// and by whom.
    pub status: String,
    /// How much, with its currency; blank where none was told.
    pub amount: String,
}
