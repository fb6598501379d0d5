//! One payment event applied to the books: recorded, folded with all others of its payment, and
//! everything that follows from it done, in one transaction. Exactly once, whatever is repeated.

use jiff::Timestamp;
use quittance_common::event::PaymentEvent;
use quittance_common::failpoint;
use quittance_common::shop::{
    Books, Hold, Movement, Outgoing, OutgoingTo, PaymentRecord, Recorded, Shop, ShopError,
};

use crate::announcement::{Announcement, News};
use crate::payment::{self, Effect, Payment};

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

/// Applies `event`. After an error the outcome may be unknown: apply it again.
pub async fn apply(
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
    let payment = payment::fold(&events);
    let refused = match &payment.settles {
        Some(order) => books.settle_order(&event.account, order).await?.flag(),
        None => None,
    };
    let done = carry_out(&mut books, event, &payment, &events, refused.is_none()).await?;
    let mut flags = payment.flags.clone();
    flags.extend(refused.map(str::to_owned));
    flags.extend(books.stock_flags().await?);
    books
        .save(&PaymentRecord {
            status: payment.status.as_str(),
            amount: payment.gross,
            refunded: payment.refunded,
            flags,
        })
        .await?;
    books.enqueue(&for_the_shop(event)?).await?;
    failpoint::hit("fulfiller.before_commit");
    books.commit().await?;
    failpoint::hit("fulfiller.after_commit");
    Ok(Applied::New(done))
}

/// Has every effect that the payment should have had and has not. One that does not settle its
/// order gets no goods and is not thanked for: a person decides; money that goes back is told.
async fn carry_out(
    books: &mut Books,
    event: &PaymentEvent,
    payment: &Payment,
    events: &[PaymentEvent],
    settles: bool,
) -> Result<Vec<Done>, ApplyError> {
    let had = books.effects().await?;
    let mut done = Vec::new();
    for effect in payment::effects(payment, events) {
        match effect {
            // Sold before: what may have been given back since is not taken again.
            Effect::Stock(Hold::Taken) if had.contains(Movement::Taken.as_str()) => {}
            Effect::Stock(Hold::Taken) if !settles => {
                move_stock(books, payment, Hold::Nothing, &mut done).await?;
            }
            Effect::Tell(News::Received) if !settles => {}
            Effect::Stock(hold) => move_stock(books, payment, hold, &mut done).await?,
            Effect::Tell(news) if had.contains(&news.effect()) => {}
            Effect::Tell(news) => {
                done.push(tell(books, event, payment, events, news).await?);
            }
        }
    }
    Ok(done)
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
