//! What is known about a payment beside its events: its order's state, and a person's decision.

use quittance_common::event::PaymentEvent;
use quittance_common::shop::Verdict;

use super::Status;

/// That there is money for an order which the shop has cancelled.
pub const ORDER_CANCELLED: &str = "order_cancelled";

/// That money for such an order is on its way.
pub const PENDING_FOR_CANCELLED: &str = "pending_for_cancelled_order";

/// That money is on its way for an order which another payment has settled.
pub const PENDING_FOR_PAID: &str = "pending_for_paid_order";

/// That a payment was refused as well as completed.
pub const PAID_AFTER_DENIED: &str = "paid_after_denied";

/// That another payment has settled its order.
pub const ORDER_ALREADY_PAID: &str = "order_already_paid";

/// That another payment has named its invoice, which no check has bound to an order.
pub const INVOICE_ALREADY_PAID: &str = "invoice_already_paid";

/// Whether a payment with this flag gets no goods, or none for good, until a person has accepted
/// or closed it.
pub fn awaits_a_decision(flag: &str) -> bool {
    matches!(
        flag,
        ORDER_CANCELLED | PAID_AFTER_DENIED | ORDER_ALREADY_PAID
    )
}

/// What has become of the order that a payment is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OrderState {
    /// It stands, or there is none.
    #[default]
    Open,
    /// The shop has cancelled it.
    Cancelled,
}

/// What is known about a payment beside its events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// What has become of its order.
    pub order: OrderState,
    /// What a person has decided about it.
    pub verdict: Verdict,
}

impl From<OrderState> for Standing {
    fn from(order: OrderState) -> Self {
        Self {
            order,
            verdict: Verdict::Open,
        }
    }
}

impl From<Verdict> for Standing {
    fn from(verdict: Verdict) -> Self {
        Self {
            order: OrderState::Open,
            verdict,
        }
    }
}

impl Standing {
    /// What becomes of the money that these completed events tell of, some of which are sound.
    pub(super) fn money(self, completed: &[&PaymentEvent], sound: &[&PaymentEvent]) -> Incoming {
        match self.verdict {
            _ if completed.is_empty() => Incoming::Unseen,
            Verdict::Closed => Incoming::Closed,
            _ if self.is_cancelled() => Incoming::ForCancelled,
            _ if sound.is_empty() => Incoming::Contradicted,
            Verdict::Open | Verdict::Accepted => Incoming::Sound,
        }
    }

    /// What a person should see of it, of a payment that is paid (`has_paid`) or in that `status`.
    pub(super) fn flags(
        self,
        has_paid: bool,
        status: Status,
    ) -> impl Iterator<Item = &'static str> {
        let cancelled = self.is_cancelled().then_some(match (has_paid, status) {
            (true, _) => Some(ORDER_CANCELLED),
            (false, Status::Pending) => Some(PENDING_FOR_CANCELLED),
            (false, _) => None,
        });
        let decided = (self.verdict != Verdict::Open).then_some(self.verdict.as_str());
        cancelled.flatten().into_iter().chain(decided)
    }

    /// Whether the order counts as cancelled for this payment: not once a person has decided.
    pub(crate) fn is_cancelled(self) -> bool {
        self.order == OrderState::Cancelled && self.verdict == Verdict::Open
    }
}

/// Whether the gateway has called a payment completed, and what speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// It has not.
    Unseen,
    /// It has, and nothing speaks against it, or a person has accepted it.
    Sound,
    /// It was refused as well: for a person.
    Contradicted,
    /// Its order was cancelled: for a person.
    ForCancelled,
    /// A person has closed it.
    Closed,
}
