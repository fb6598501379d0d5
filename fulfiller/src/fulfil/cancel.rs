//! Cancelling an order: its payments in progress give back what they hold. Money that comes for it
//! afterwards is for a person.

use jiff::Timestamp;
use quittance_common::ids::OrderId;
use quittance_common::shop::{Cancelled, NewCancellation, Shop, SubjectKey};

use super::scene::Scene;
use super::{ApplyError, Done, folded};
use crate::terms::Terms;

/// What cancelling an order came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// Whether it is cancelled, since when, or why not.
    pub outcome: Cancelled,
    /// The payments that still name it: each with its status, and what it gave back now.
    pub payments: Vec<Affected>,
}

/// A payment of an order that was cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// Which.
    pub subject: SubjectKey,
    /// Its status in the books.
    pub status: &'static str,
    /// The effects that it had for it.
    pub done: Vec<Done>,
}

/// Cancels an order and takes back what its payments in progress hold. Repeating it finishes what
/// a crash has left, and changes nothing else.
pub async fn cancel_order(
    terms: &Terms,
    shop: &Shop,
    id: &OrderId,
    word: &NewCancellation,
) -> Result<Cancellation, ApplyError> {
    let outcome = shop.cancel_order(id, word).await?;
    let mut payments = Vec::new();
    if !matches!(outcome, Cancelled::Paid { .. }) {
        for subject in shop.payments_for_order(id.as_str()).await? {
            payments.extend(reconsider(terms, shop, &subject, word.at).await?);
        }
    }
    Ok(Cancellation { outcome, payments })
}

/// Brings a payment to the state that its events mean, now that its order is cancelled. `None` when
/// its row is gone, to its authorisation's.
async fn reconsider(
    terms: &Terms,
    shop: &Shop,
    subject: &SubjectKey,
    now: Timestamp,
) -> Result<Option<Affected>, ApplyError> {
    let Some(mut books) = shop.begin_again(subject, now).await? else {
        return Ok(None);
    };
    let events = books.events().await?;
    let Some(event) = events.iter().max_by_key(|event| &event.key) else {
        books.roll_back().await?;
        return Ok(None);
    };
    let payment = folded(&mut books, &events).await?.by(terms.restock);
    let mut scene = Scene::open(&mut books, terms, now, event, &payment, &events).await?;
    let record = scene.settle().await?;
    let done = std::mem::take(&mut scene.done);
    books.save(&record).await?;
    books.commit().await?;
    Ok(Some(Affected {
        subject: subject.clone(),
        status: record.status,
        done,
    }))
}
