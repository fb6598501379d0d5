//! A person's decision about a payment that waits for one: accepted, it counts whatever speaks
//! against it; closed, what it holds goes back and its order is free. The decision enters the fold
//! beside the events, so that it makes no difference which of them come before and which after.

use std::collections::BTreeSet;

use quittance_common::event::{EventType, InTheBooks, PaymentEvent};
use quittance_common::rules::Facts;
use quittance_common::shop::{NewResolution, Shop, SubjectKey, Verdict};

use super::published::{self, Standing};
use super::scene::Scene;
use super::{ApplyError, Done, folded};
use crate::payment::awaits_a_decision;
use crate::terms::Terms;

/// What a decision came to. Every arm must be matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// It counts from now on; these effects were had for it.
    Now {
        /// The payment's status in the books.
        status: &'static str,
        /// What was done.
        done: Vec<Done>,
    },
    /// The same was decided before; nothing was changed.
    Before,
    /// It was accepted before and cannot be closed: money goes back by a refund.
    Accepted,
    /// Nothing about it waits for a decision.
    Undecidable {
        /// What a person should see.
        flags: BTreeSet<String>,
    },
}

/// Decides about the payment `subject`. Repeating it changes nothing. `None` when its row is gone.
pub async fn resolve(
    terms: &Terms,
    shop: &Shop,
    subject: &SubjectKey,
    word: &NewResolution,
) -> Result<Option<Resolved>, ApplyError> {
    let Some(mut books) = shop.begin_again(subject, word.at).await? else {
        return Ok(None);
    };
    let flags = books.flags().await?;
    let refused = match (books.verdict().await?, word.verdict) {
        (before, now) if before == now => Some(Resolved::Before),
        (Verdict::Accepted, _) => Some(Resolved::Accepted),
        // Closed by mistake, or the buyer has explained it: accepted after all.
        (Verdict::Closed, _) => None,
        (Verdict::Open, _) if flags.iter().any(|flag| awaits_a_decision(flag)) => None,
        (Verdict::Open, _) => Some(Resolved::Undecidable { flags }),
    };
    let events = books.events().await?;
    let event = events.iter().max_by_key(|event| &event.key);
    let (None, Some(event)) = (&refused, event) else {
        books.roll_back().await?;
        return Ok(refused);
    };
    books.resolve(word).await?;
    let payment = folded(&mut books, &events).await?.by(terms.restock);
    let mut scene = Scene::open(&mut books, terms, word.at, event, &payment, &events).await?;
    let record = scene.settle().await?;
    if terms.tell_merchant {
        scene.tell_merchant(&record.flags).await?;
    }
    let (done, refused) = (std::mem::take(&mut scene.done), scene.refused);
    let (renews, mut sold) = (scene.renews, scene.sold);
    books.save(&record).await?;
    if word.verdict == Verdict::Accepted {
        for event in to_be_told(terms, &events) {
            let standing = Standing {
                flags: &record.flags,
                refused,
                settles: payment.settles.as_deref(),
                renews,
                payment: Some(InTheBooks {
                    id: subject.to_string(),
                    // Of several captures the first is told to have sold the goods.
                    sold: std::mem::take(&mut sold),
                }),
            };
            let again = published::accepted(event, &standing)?;
            books.enqueue(&again).await?;
        }
    }
    books.commit().await?;
    let status = record.status;
    Ok(Some(Resolved::Now { status, done }))
}

/// The completed events that the rules let the shop hear of, by key.
fn to_be_told<'a>(terms: &Terms, events: &'a [PaymentEvent]) -> Vec<&'a PaymentEvent> {
    let is_told = |event: &&PaymentEvent| {
        let facts = Facts::within(event, events);
        event.event_type == EventType::Completed && terms.rules.decide(&facts).ruling.tells_shop()
    };
    let mut told: Vec<&PaymentEvent> = events.iter().filter(is_told).collect();
    told.sort_by(|a, b| a.key.cmp(&b.key));
    told
}
