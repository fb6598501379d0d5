//! One payment event applied to the books: recorded, folded with all others of its payment, and
//! everything that follows from it done, in one transaction. Exactly once, whatever is repeated.

use jiff::Timestamp;
use quittance_common::event::PaymentEvent;
use quittance_common::failpoint;
use quittance_common::rules::Facts;
use quittance_common::shop::reservation::EXPIRED;
use quittance_common::shop::{
    Books, Hold, Outgoing, OutgoingTo, PaymentRecord, Recorded, Shop, ShopError, SubjectKey,
};

use crate::payment::{self, OrderState, Payment, Status};
use crate::terms::Terms;
use crate::{dispute, payout, subscription};
use scene::Scene;

mod cancel;
mod scene;

pub use cancel::{Affected, Cancellation, cancel_order};

/// What became of an event. Every arm must be matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It was new; these effects were had by it.
    New(Vec<Done>),
    /// It was applied before; nothing was changed.
    Duplicate,
    /// An event of its key was applied before, with another meaning; nothing was changed.
    Conflict,
}

/// One effect that was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// `stock_decremented`, `mail_received` ...
    pub effect: &'static str,
    /// How many items moved; 1 for a mail.
    pub count: i64,
}

/// Why an event could not be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The database.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// Something to be announced has no JSON form.
    #[error("an announcement cannot be written: {0}")]
    Announcement(#[from] serde_json::Error),
}

impl ApplyError {
    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Shop(error) => error.is_transient(),
            Self::Announcement(_) => false,
        }
    }
}

/// Applies `event` with everything that the built-in table says, with stock in the shop database
/// and no merchant to be told.
pub async fn apply(
    shop: &Shop,
    event: &PaymentEvent,
    now: Timestamp,
) -> Result<Applied, ApplyError> {
    apply_under(&Terms::default(), shop, event, now).await
}

/// Applies `event`, and of what follows from it only what the rules of `terms` let through. After
/// an error the outcome may be unknown: apply it again.
pub async fn apply_under(
    terms: &Terms,
    shop: &Shop,
    event: &PaymentEvent,
    now: Timestamp,
) -> Result<Applied, ApplyError> {
    let mut books = shop.begin(event, now).await?;
    match books.record(event).await? {
        Recorded::New => {}
        Recorded::Duplicate => {
            books.roll_back().await?;
            return Ok(Applied::Duplicate);
        }
        Recorded::Conflict => {
            books.roll_back().await?;
            return Ok(Applied::Conflict);
        }
    }
    let events = books.events().await?;
    let had = books.effects().await?;
    let payment = folded(&mut books, &events).await?.by(terms.restock);
    let ruling = terms.rules.decide(&Facts::within(event, &events)).ruling;
    let kind = books.subject().kind();
    let mut scene = Scene {
        books: &mut books,
        terms,
        now,
        event,
        payment: &payment,
        events: &events,
        had,
        done: Vec::new(),
    };
    let record = match record_of(kind, &events) {
        Some(record) => record,
        None => scene.settle().await?,
    };
    if terms.tell_merchant && ruling.tells_shop() {
        scene.tell_merchant(&record.flags).await?;
    }
    let done = scene.done;
    books.save(&record).await?;
    // The subscription or case that the payment's event tells about as well.
    if let Some(other) = SubjectKey::about(event) {
        let events = books.events_about(&other, event).await?;
        if let Some(record) = record_of(other.kind(), &events) {
            books.save_as(&other, &record).await?;
        }
    }
    if ruling.tells_shop() {
        books.enqueue(&for_the_shop(event)?).await?;
    }
    failpoint::hit("fulfiller.before_commit");
    books.commit().await?;
    failpoint::hit("fulfiller.after_commit");
    Ok(Applied::New(done))
}

/// What the events of a payment mean together, in view of what has become of its order. Locks that
/// order.
async fn folded(books: &mut Books, events: &[PaymentEvent]) -> Result<Payment, ShopError> {
    let order = if books.order_is_cancelled(events).await? {
        OrderState::Cancelled
    } else {
        OrderState::Open
    };
    Ok(payment::fold_for(order, events))
}

/// What the books say about something that is no payment; `None` for a payment (or a message of
/// which nothing is known), which has effects.
fn record_of(kind: &str, events: &[PaymentEvent]) -> Option<PaymentRecord> {
    match kind {
        "subscription" => Some(subscription::fold(events)),
        "case" => Some(dispute::fold(events)),
        "payout" => Some(payout::fold(events)),
        _ => None,
    }
}

/// Releases what a pending payment holds, because it has held it for too long; `None` when it
/// holds nothing any more. A payment that completes afterwards takes its goods all the same.
pub async fn release_stale(
    shop: &Shop,
    subject: &SubjectKey,
    now: Timestamp,
) -> Result<Option<Vec<Done>>, ApplyError> {
    let Some(mut books) = shop.begin_again(subject, now).await? else {
        return Ok(None);
    };
    let events = books.events().await?;
    let payment = folded(&mut books, &events).await?;
    if payment.status != Status::Pending || !books.note_effect(EXPIRED).await? {
        books.roll_back().await?;
        return Ok(None);
    }
    let mut done = vec![Done {
        effect: EXPIRED,
        count: 1,
    }];
    let change = books.hold(&payment.lines, Hold::Nothing).await?;
    for (movement, count) in change.moved {
        let effect = movement.as_str();
        books.note_effect(effect).await?;
        done.push(Done { effect, count });
    }
    let mut flags = payment.flags.clone();
    flags.insert(EXPIRED.to_owned());
    books
        .save(&PaymentRecord {
            status: payment.status.as_str(),
            amount: payment.gross,
            refunded: payment.refunded,
            flags,
        })
        .await?;
    books.commit().await?;
    Ok(Some(done))
}

/// The event itself, for the queues that the shop binds.
fn for_the_shop(event: &PaymentEvent) -> Result<Outgoing, ApplyError> {
    let unreadable = |detail: String| ShopError::Unreadable {
        what: "payment event",
        detail,
    };
    let json = event
        .to_json()
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(Outgoing {
        id: event.message_id(),
        to: OutgoingTo::Payments {
            routing_key: event.routing_key(),
        },
        gateway: event.gateway,
        account: event.account.clone(),
        received_at: event.received_at,
        payload: String::from_utf8(json).map_err(|error| unreadable(error.to_string()))?,
    })
}

#[cfg(test)]
mod tests;
