//! A customer notification on its way: what the outbox writes, `ipn.notify` carries and the
//! notifier reads. JSON, version 1.

use jiff::Timestamp;
use quittance_common::event::{Line, OrderRef, Payer, PaymentEvent};
use quittance_common::ids::{AccountId, GatewayId, MessageId};
use quittance_common::money::Money;
use quittance_common::shop::{Outgoing, OutgoingTo, SubjectKey};
use quittance_common::status::PendingReason;
use serde::{Deserialize, Serialize};

use crate::payment::Payment;

/// What the customer is told.
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
}

impl News {
    /// The name of the effect, without what distinguishes several: metric label and listing.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Received => "mail_received",
            Self::Pending { .. } => "mail_pending",
            Self::Failed => "mail_failed",
            Self::Refunded { .. } => "mail_refunded",
        }
    }

    /// The effect, unique within its payment.
    pub fn effect(&self) -> String {
        match self {
            Self::Received | Self::Pending { .. } | Self::Failed => self.name().to_owned(),
            Self::Refunded { refund, .. } => format!("{}:{refund}", self.name()),
        }
    }
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
        let lines = sorted.iter().find(|event| !event.data.lines.is_empty());
        let order = sorted
            .iter()
            .find(|event| event.data.order != OrderRef::default());
        Self {
            news,
            subject: subject.to_string(),
            txn_id: subject.id().to_owned(),
            gross: payment.gross,
            order: order.map_or_else(OrderRef::default, |event| event.data.order.clone()),
            lines: lines.map_or_else(Vec::new, |event| event.data.lines.clone()),
            payer: payer.unwrap_or_default(),
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
