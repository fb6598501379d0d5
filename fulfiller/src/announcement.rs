//! What leaves by `ipn.notify`: news for the customer or the merchant, and what a shop that counts
//! its own stock should do. What the outbox writes and the notifier reads: JSON, version 1.

use std::collections::BTreeSet;

use jiff::Timestamp;
use quittance_common::event::{Line, OrderRef, Payer, PaymentEvent};
use quittance_common::ids::{AccountId, GatewayId, MessageId, Sku};
use quittance_common::money::Money;
use quittance_common::quarantine_notice::Parked;
use quittance_common::shop::{Movement, Outgoing, OutgoingTo, SubjectKey};
use quittance_common::status::PendingReason;
use quittance_common::trace::TraceContext;
use serde::{Deserialize, Serialize};

use crate::payment::{Auction, Payment};

/// What a shop that counts its own stock should do with the items of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockRequest {
    /// Set them aside.
    Reserve,
    /// They are sold.
    Take,
    /// They are no longer set aside.
    Release,
    /// They come back: the payment was refunded in full.
    Restock,
}

impl StockRequest {
    /// The movement that it stands for, whose name is the effect's.
    pub const fn movement(self) -> Movement {
        match self {
            Self::Reserve => Movement::Reserved,
            Self::Take => Movement::Taken,
            Self::Release => Movement::Released,
            Self::Restock => Movement::Returned,
        }
    }
}

/// How many of one sku.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockItem {
    /// Which.
    pub sku: Sku,
    /// How many.
    pub quantity: i64,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    /// The payment is there.
    Received,
    /// The payment is on its way or held.
    Pending {
        /// Why, in the gateway's word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<PendingReason>,
        /// Whether all that was bought is set aside until the payment comes, as far as we know:
        /// what a shop that counts its own stock has done, we do not.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        set_aside: bool,
    },
    /// No payment will come.
    Failed,
    /// Money was given back.
    Refunded {
        /// The refund's own transaction id.
        refund: String,
        /// How much.
        amount: Money,
    },
    /// Something that was paid for is not in stock.
    Backordered,
    /// To the merchant: something waits for a person.
    Merchant {
        /// Why, as reason codes, sorted.
        reasons: Vec<String>,
        /// The same, each with the reversal or case that it is about: `reversed:61E...`. Empty where
        /// none is about one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        causes: Vec<String>,
        /// Whether it is a message in quarantine, not a payment in the books.
        #[serde(default)]
        quarantined: bool,
        /// The message, where it is about one that was parked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parked: Option<Parked>,
    },
    /// To the shop's own stock-keeping.
    Stock {
        /// What it should do.
        request: StockRequest,
        /// Counts the requests of one payment from 1: they may arrive in another order.
        sequence: u32,
        /// With what.
        items: Vec<StockItem>,
        /// Of a request to set aside: when the goods are free again unless the payment has come,
        /// RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reserve_until: Option<Timestamp>,
    },
}

impl News {
    /// The name of the effect, without what distinguishes several: metric label and listing.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Received => "mail_received",
            Self::Pending { .. } => "mail_pending",
            Self::Failed => "mail_failed",
            Self::Refunded { .. } => "mail_refunded",
            Self::Backordered => "mail_backordered",
            Self::Merchant { .. } => "mail_merchant",
            Self::Stock { request, .. } => request.movement().as_str(),
        }
    }

    /// The `type` of a webhook that carries it.
    pub const fn hook_type(&self) -> &'static str {
        match self {
            Self::Received => "notification.received",
            Self::Pending { .. } => "notification.pending",
            Self::Failed => "notification.failed",
            Self::Refunded { .. } => "notification.refunded",
            Self::Backordered => "notification.backordered",
            Self::Merchant { .. } => "notification.merchant",
            Self::Stock { request, .. } => match request {
                StockRequest::Reserve => "stock.reserve",
                StockRequest::Take => "stock.take",
                StockRequest::Release => "stock.release",
                StockRequest::Restock => "stock.restock",
            },
        }
    }

    /// The effect, unique within its payment.
    pub fn effect(&self) -> String {
        match self {
            Self::Received | Self::Pending { .. } | Self::Failed | Self::Backordered => {
                self.name().to_owned()
            }
            Self::Stock { sequence, .. } => format!("{}:{sequence}", self.name()),
            Self::Refunded { refund, .. } => format!("{}:{refund}", self.name()),
            Self::Merchant {
                reasons, causes, ..
            } => {
                let told = if causes.is_empty() { reasons } else { causes };
                format!("{}:{}", self.name(), told.join("+"))
            }
        }
    }
}

/// Tells the merchant that a payment waits for a person, and why: `causes` are flags, each with
/// what it is about after a colon, where there is such a thing; sorted.
pub fn merchant(
    causes: Vec<String>,
    subject: &SubjectKey,
    payment: &Payment,
    events: &[PaymentEvent],
) -> Announcement {
    let flag = |cause: &String| {
        let name = cause
            .split_once(':')
            .map_or(cause.as_str(), |(name, _)| name);
        name.to_owned()
    };
    let reasons: BTreeSet<String> = causes.iter().map(flag).collect();
    let is_about_one = causes.iter().any(|cause| cause.contains(':'));
    let news = News::Merchant {
        reasons: reasons.into_iter().collect(),
        causes: if is_about_one { causes } else { Vec::new() },
        quarantined: false,
        parked: None,
    };
    Announcement::new(news, subject, payment, events)
}

/// The body of a message of type `ipn.announcement.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What is told.
    #[serde(flatten)]
    pub news: News,
    /// The payment's row in the books.
    pub subject: String,
    /// The payment's transaction id.
    pub txn_id: String,
    /// What was paid, or is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross: Option<Money>,
    /// The order, as the gateway passed it through.
    #[serde(default)]
    pub order: OrderRef,
    /// What was bought.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// Who is told.
    #[serde(default)]
    pub payer: Payer,
    /// The trace of the event that brought it about: the outbox keeps bodies and no headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Announcement {
    /// Tells `news` about `payment`. Who paid and what was bought comes from the event that
    /// knows: a refund or a denial often does not say.
    pub fn new(
        news: News,
        subject: &SubjectKey,
        payment: &Payment,
        events: &[PaymentEvent],
    ) -> Self {
        let mut sorted: Vec<&PaymentEvent> = events.iter().collect();
        sorted.sort_by(|a, b| (a.received_at, &a.key).cmp(&(b.received_at, &b.key)));
        let payer = sorted
            .iter()
            .find(|event| event.data.payer.email.is_some())
            .or(sorted.first())
            .map(|event| event.data.payer.clone());
        // Of an auction every item, or none while not all are known.
        let lines = match Auction::of(sorted.iter().copied()) {
            Some(auction) if auction.is_complete() => auction.lines().cloned().collect(),
            Some(_) => Vec::new(),
            None => {
                let telling = sorted.iter().find(|event| !event.data.lines.is_empty());
                telling.map_or_else(Vec::new, |event| event.data.lines.clone())
            }
        };
        let order = sorted
            .iter()
            .find(|event| event.data.order != OrderRef::default());
        Self {
            news,
            subject: subject.to_string(),
            txn_id: subject.id().to_owned(),
            gross: payment.gross,
            order: order.map_or_else(OrderRef::default, |event| event.data.order.clone()),
            lines,
            payer: payer.unwrap_or_default(),
            traceparent: None,
        }
    }

    /// The same, as a part of that trace.
    #[must_use]
    pub fn in_trace(self, trace: Option<TraceContext>) -> Self {
        Self {
            traceparent: trace.map(|trace| trace.to_string()),
            ..self
        }
    }

    /// The id under which it travels and is sent: the same every time for this news of this
    /// payment, whichever event brought it about.
    pub fn message_id(&self) -> MessageId {
        MessageId::from_name(&format!("{}/{}", self.subject, self.news.effect()))
    }

    /// Its row in the outbox.
    pub fn outgoing(
        &self,
        gateway: GatewayId,
        account: AccountId,
        received_at: Timestamp,
    ) -> Result<Outgoing, serde_json::Error> {
        Ok(Outgoing {
            id: self.message_id(),
            to: OutgoingTo::Notify,
            gateway,
            account,
            received_at,
            payload: serde_json::to_string(self)?,
        })
    }
}
