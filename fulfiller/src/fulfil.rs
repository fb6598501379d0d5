//! One payment event applied to the books: recorded, folded with all others of its payment, and
//! everything that follows from it done, in one transaction. Exactly once, whatever is repeated.

use jiff::Timestamp;
use quittance_common::event::{InTheBooks, PaymentEvent};
use quittance_common::failpoint;
use quittance_common::rules::{Decision, Facts, Ruling};
use quittance_common::shop::reservation::EXPIRED;
use quittance_common::shop::{Books, Hold, PaymentRecord, Recorded, Shop, ShopError, SubjectKey};

use crate::payment::{self, Incoming, OrderState, Payment, Status};
use crate::terms::Terms;
use crate::{dispute, payout, records, subscription};
use published::Standing;
use scene::Scene;

mod asking;
mod cancel;
mod published;
mod resolve;
mod scene;

pub use cancel::{Affected, Cancellation, cancel_order};
pub use resolve::{Resolved, resolve};

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

/// Applies `event`, and of what follows from it only what the rules of `terms` let through.
pub async fn apply_under(
    terms: &Terms,
    shop: &Shop,
    event: &PaymentEvent,
    now: Timestamp,
) -> Result<Applied, ApplyError> {
    Ok(apply_ruled(terms, shop, event, now).await?.applied)
}

/// What became of an event, and what was decided by rules about one that is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub applied: Applied,
    /// What has been done by; `None` where nothing was changed.
    pub decision: Option<Decision>,
}

impl From<Applied> for Outcome {
    fn from(applied: Applied) -> Self {
        Self {
            applied,
            decision: None,
        }
    }
}

/// The same as [`apply_under`], with what the rules decided. After an error the outcome may be
/// unknown: apply it again.
pub async fn apply_ruled(
    terms: &Terms,
    shop: &Shop,
    event: &PaymentEvent,
    now: Timestamp,
) -> Result<Outcome, ApplyError> {
    let mut books = shop.begin(event, now).await?;
    match books.record(event).await? {
        Recorded::New => {}
        Recorded::Duplicate => {
            books.roll_back().await?;
            return Ok(Applied::Duplicate.into());
        }
        Recorded::Conflict => {
            books.roll_back().await?;
            return Ok(Applied::Conflict.into());
        }
    }
    let events = books.events().await?;
    let kind = books.subject().kind();
    let beside = record_of(kind, &events);
    let payment = if beside.is_some() {
        // No payment, so no order is asked about: that would lock it after the subscription,
        // which payments do the other way round.
        payment::fold(&events)
    } else {
        folded(&mut books, &events).await?
    };
    let payment = payment.by(terms.restock);
    let decision = ruled(terms, event, &events);
    let ruling = decision.ruling;
    if ruling == Ruling::Record {
        let rule = terms.rules.told(decision.by);
        books
            .note_decision(&records::ruled(event, "recorded", rule, now))
            .await?;
    }
    let mut scene = Scene::open(&mut books, terms, now, event, &payment, &events).await?;
    let record = match beside {
        Some(record) => record,
        None => scene.settle().await?,
    };
    if terms.tell_merchant && ruling.tells_shop() {
        scene.tell_merchant(&record.flags).await?;
    }
    let (done, refused) = (std::mem::take(&mut scene.done), scene.refused);
    let (renews, sold) = (scene.renews, scene.sold);
    books.save(&record).await?;
    // The subscription or case that the payment's event tells about as well.
    if let Some(other) = SubjectKey::about(event) {
        let events = books.events_about(&other, event).await?;
        if let Some(record) = record_of(other.kind(), &events) {
            books.save_as(&other, &record).await?;
        }
    }
    if ruling.tells_shop() {
        let standing = Standing {
            flags: &record.flags,
            refused,
            settles: payment.settles.as_deref(),
            renews,
            payment: (kind == "payment").then(|| InTheBooks {
                id: books.subject().to_string(),
                sold,
            }),
        };
        books
            .enqueue(&published::for_the_shop(event, &standing)?)
            .await?;
    }
    failpoint::hit("fulfiller.before_commit");
    books.commit().await?;
    failpoint::hit("fulfiller.after_commit");
    Ok(Outcome {
        applied: Applied::New(done),
        decision: Some(decision),
    })
}

/// What the rules decide about an event in view of the others of its payment. `ignore` is decided by
/// the event alone, before the books are opened, or what is ignored would depend on the order of
/// arrival; of one that is in the books it means that they are all that it gets.
fn ruled(terms: &Terms, event: &PaymentEvent, events: &[PaymentEvent]) -> Decision {
    let decision = terms.rules.decide(&Facts::within(event, events));
    match decision.ruling {
        Ruling::Ignore => Decision {
            ruling: Ruling::Record,
            ..decision
        },
        Ruling::Process { .. } | Ruling::Record => decision,
    }
}

/// What the events of a payment mean together, in view of what has become of its order and what a
/// person has decided. Locks that order.
async fn folded(books: &mut Books, events: &[PaymentEvent]) -> Result<Payment, ShopError> {
    let order = if books.order_is_cancelled(events).await? {
        OrderState::Cancelled
    } else {
        OrderState::Open
    };
    let verdict = books.verdict().await?;
    Ok(payment::fold_for(
        payment::Standing { order, verdict },
        events,
    ))
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

/// Releases what a payment that is not paid holds, because it has held it for too long; `None`
/// when it was paid meanwhile. A payment that completes afterwards takes its goods all the same.
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
    if payment.money != Incoming::Unseen || !books.note_effect(EXPIRED).await? {
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
    flags.extend(books.stock_flags().await?);
    flags.extend(
        scene::pending_against(&mut books, &payment, &events)
            .await?
            .map(str::to_owned),
    );
    if payment.status == Status::Pending {
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
    books.commit().await?;
    Ok(Some(done))
}

#[cfg(test)]
mod tests;
