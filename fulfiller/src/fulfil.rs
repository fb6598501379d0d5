//! One payment event applied to the books: recorded, folded with all others of its payment, and
//! everything that follows from it done, in one transaction. Exactly once, whatever is repeated.

use jiff::Timestamp;
use quittance_common::event::PaymentEvent;
use quittance_common::failpoint;
use quittance_common::settings::Restock;
use quittance_common::shop::reservation::EXPIRED;
use quittance_common::shop::{
    Books, Hold, Movement, Outgoing, OutgoingTo, PaymentRecord, Recorded, Shop, ShopError,
    SubjectKey,
};

use crate::announcement::{Announcement, News};
use crate::payment::{self, Effect, Payment, Status};
use crate::{dispute, payout, subscription};

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

/// What the shop has decided about stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// When goods that were sold go back on the shelf.
    pub restock: Restock,
}

/// Applies `event` by the default policy.
pub async fn apply(
    shop: &Shop,
    event: &PaymentEvent,
    now: Timestamp,
) -> Result<Applied, ApplyError> {
    apply_by(shop, event, now, Policy::default()).await
}

/// Applies `event`. After an error the outcome may be unknown: apply it again.
pub async fn apply_by(
    shop: &Shop,
    event: &PaymentEvent,
    now: Timestamp,
    policy: Policy,
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
    let done = if let Some(record) = record_of(books.subject().kind(), &events) {
        books.save(&record).await?;
        Vec::new()
    } else {
        settle(&mut books, event, &events, policy).await?
    };
    // The subscription or case that the payment's event tells about as well.
    if let Some(other) = SubjectKey::about(event) {
        let events = books.events_about(&other, event).await?;
        if let Some(record) = record_of(other.kind(), &events) {
            books.save_as(&other, &record).await?;
        }
    }
    books.enqueue(&for_the_shop(event)?).await?;
    failpoint::hit("fulfiller.before_commit");
    books.commit().await?;
    failpoint::hit("fulfiller.after_commit");
    Ok(Applied::New(done))
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

/// Brings a payment to the state that its events mean together.
async fn settle(
    books: &mut Books,
    event: &PaymentEvent,
    events: &[PaymentEvent],
    policy: Policy,
) -> Result<Vec<Done>, ApplyError> {
    let payment = payment::fold(events).by(policy.restock);
    let done = carry_out(books, event, &payment, events).await?;
    let mut flags = payment.flags.clone();
    flags.extend(books.stock_flags().await?);
    if let Some(order) = &payment.settles
        && !books.settle_order(&event.account, order).await?
    {
        flags.insert("order_already_paid".to_owned());
    }
    if payment.status == Status::Pending && books.effects().await?.contains(EXPIRED) {
        flags.insert(EXPIRED.to_owned());
    }
    books
        .save(&PaymentRecord {
            status: payment.status.as_str(),
            amount: payment.gross,
            refunded: payment.refunded,
            flags,
        })
        .await?;
    Ok(done)
}

/// Has every effect that the payment should have had and has not.
async fn carry_out(
    books: &mut Books,
    event: &PaymentEvent,
    payment: &Payment,
    events: &[PaymentEvent],
) -> Result<Vec<Done>, ApplyError> {
    let had = books.effects().await?;
    let mut done = Vec::new();
    for effect in payment::effects(payment, events) {
        match effect {
            // Sold before, and put back: not to be taken only to be put back again.
            Effect::Stock(Hold::Taken)
                if had.contains(Movement::Taken.as_str()) && payment.puts_back() => {}
            // Set aside for too long already: the goods are free until the money comes.
            Effect::Stock(Hold::Reserved) if had.contains(EXPIRED) => {}
            Effect::Stock(hold) => move_stock(books, payment, hold, &mut done).await?,
            Effect::Tell(news) if had.contains(&news.effect()) => {}
            Effect::Tell(news) => {
                done.push(tell(books, event, payment, events, news).await?);
            }
        }
    }
    Ok(done)
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
    let payment = payment::fold(&books.events().await?);
    if payment.status != Status::Pending || !books.note_effect(EXPIRED).await? {
        books.roll_back().await?;
        return Ok(None);
    }
    let mut done = vec![Done {
        effect: EXPIRED,
        count: 1,
    }];
    move_stock(&mut books, &payment, Hold::Nothing, &mut done).await?;
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

async fn move_stock(
    books: &mut Books,
    payment: &Payment,
    hold: Hold,
    done: &mut Vec<Done>,
) -> Result<(), ApplyError> {
    let change = books.hold(&payment.lines, hold).await?;
    for (movement, count) in change.moved {
        books.note_effect(movement.as_str()).await?;
        done.push(Done {
            effect: movement.as_str(),
            count,
        });
    }
    Ok(())
}

async fn tell(
    books: &mut Books,
    event: &PaymentEvent,
    payment: &Payment,
    events: &[PaymentEvent],
    news: News,
) -> Result<Done, ApplyError> {
    let effect = news.name();
    books.note_effect(&news.effect()).await?;
    let announcement = Announcement::new(news, books.subject(), payment, events);
    let outgoing =
        announcement.outgoing(event.gateway, event.account.clone(), event.received_at)?;
    books.enqueue(&outgoing).await?;
    Ok(Done { effect, count: 1 })
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
