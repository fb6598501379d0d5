//! One payment event applied to the books: recorded, folded with all others of its payment, and
//! everything that follows from it done, in one transaction. Exactly once, whatever is repeated.

use std::collections::BTreeSet;

use jiff::Timestamp;
use quittance_common::event::PaymentEvent;
use quittance_common::failpoint;
use quittance_common::rules::Facts;
use quittance_common::shop::{
    Books, Hold, Movement, Outgoing, OutgoingTo, PaymentRecord, Recorded, Shop, ShopError,
};

use crate::announcement::{self, Announcement, News, StockItem, StockRequest};
use crate::payment::{self, Effect, Payment};
use crate::policy::{self, Permitted};
use crate::terms::{StockBy, Terms, waits_for_a_person};

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

/// Applies `event`, and of what follows from it only what the rules of `terms` let through. After an error the outcome may be unknown: apply it again.
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
    let payment = payment::fold(&events);
    let mut had = books.effects().await?;
    let mut scene = Scene {
        books: &mut books,
        event,
        payment: &payment,
        events: &events,
        done: Vec::new(),
    };
    scene.carry_out(terms, &mut had).await?;
    let mut done = scene.done;
    let mut flags = payment.flags.clone();
    flags.extend(books.stock_flags().await?);
    if let Some(order) = &payment.settles
        && !books.settle_order(&event.account, order).await?
    {
        flags.insert("order_already_paid".to_owned());
    }
    let ruling = terms.rules.decide(&Facts::within(event, &events)).ruling;
    if terms.tell_merchant && ruling.tells_shop() {
        let reasons = flags.iter().filter(|flag| waits_for_a_person(flag));
        let new: Vec<String> = reasons
            .filter(|flag| !had.contains(&merchant_effect(flag)))
            .cloned()
            .collect();
        let mut scene = Scene {
            books: &mut books,
            event,
            payment: &payment,
            events: &events,
            done,
        };
        scene.tell_merchant(new).await?;
        done = scene.done;
    }
    books
        .save(&PaymentRecord {
            status: payment.status.as_str(),
            amount: payment.gross,
            refunded: payment.refunded,
            flags,
        })
        .await?;
    if ruling.tells_shop() {
        books.enqueue(&for_the_shop(event)?).await?;
    }
    failpoint::hit("fulfiller.before_commit");
    books.commit().await?;
    failpoint::hit("fulfiller.after_commit");
    Ok(Applied::New(done))
}

/// That the merchant was told of a flag, as an effect.
fn merchant_effect(flag: &str) -> String {
    format!("mail_merchant:{flag}")
}

/// What an effect needs to know, and the effects had so far.
struct Scene<'a> {
    books: &'a mut Books,
    event: &'a PaymentEvent,
    payment: &'a Payment,
    events: &'a [PaymentEvent],
    done: Vec<Done>,
}

impl Scene<'_> {
    /// Has every effect that the payment should have had and has not, as far as the rules let it.
    async fn carry_out(
        &mut self,
        terms: &Terms,
        had: &mut BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        let effects = payment::effects(self.payment, self.events);
        for effect in self.permitted(effects, terms, had).await? {
            match effect {
                // Sold before: what may have been given back since is not taken again.
                Effect::Stock(Hold::Taken) if had.contains(Movement::Taken.as_str()) => {}
                Effect::Stock(hold) => match terms.stock {
                    StockBy::Sql => self.move_stock(hold, terms, had).await?,
                    StockBy::Http => self.ask_for_stock(hold, had).await?,
                },
                Effect::Tell(news) => self.tell(news, had).await?,
            }
        }
        Ok(())
    }

    /// Those of `effects` that the rules let through; the others are noted as withheld.
    async fn permitted(
        &mut self,
        effects: Vec<Effect>,
        terms: &Terms,
        had: &mut BTreeSet<String>,
    ) -> Result<Vec<Effect>, ApplyError> {
        let Permitted { effects, withheld } =
            policy::permit(effects, self.events, &terms.rules, had);
        for marker in withheld {
            self.books.note_effect(&marker).await?;
            had.insert(marker);
        }
        Ok(effects)
    }

    async fn move_stock(
        &mut self,
        hold: Hold,
        terms: &Terms,
        had: &mut BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        let change = self.books.hold(&self.payment.lines, hold).await?;
        for (movement, count) in change.moved {
            self.note(movement.as_str(), count, had).await?;
            if movement == Movement::Backordered {
                let news = vec![Effect::Tell(News::Backordered)];
                if !self.permitted(news, terms, had).await?.is_empty() {
                    self.tell(News::Backordered, had).await?;
                }
            }
        }
        Ok(())
    }

    /// Announces what the shop should do with its stock; each request once a payment.
    async fn ask_for_stock(
        &mut self,
        hold: Hold,
        had: &mut BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        let items: Vec<StockItem> = self
            .payment
            .lines
            .iter()
            .map(|(sku, quantity)| StockItem {
                sku: sku.clone(),
                quantity: *quantity,
            })
            .collect();
        let Some(request) = request_for(hold, had).filter(|_| !items.is_empty()) else {
            return Ok(());
        };
        let before = REQUESTS
            .iter()
            .filter(|other| had.contains(other.movement().as_str()))
            .count();
        let count = items
            .iter()
            .fold(0_i64, |sum, item| sum.saturating_add(item.quantity));
        let news = News::Stock {
            request,
            sequence: u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX),
            items,
        };
        self.note(request.movement().as_str(), count, had).await?;
        let mut announcement =
            Announcement::new(news, self.books.subject(), self.payment, self.events);
        // Who paid is not the stock-keeper's business.
        announcement.payer = quittance_common::event::Payer::default();
        announcement.lines = Vec::new();
        self.enqueue(&announcement).await
    }

    async fn tell(&mut self, news: News, had: &mut BTreeSet<String>) -> Result<(), ApplyError> {
        let effect = news.effect();
        if had.contains(&effect) {
            return Ok(());
        }
        self.books.note_effect(&effect).await?;
        self.done.push(Done {
            effect: news.name(),
            count: 1,
        });
        had.insert(effect);
        let announcement = Announcement::new(news, self.books.subject(), self.payment, self.events);
        self.enqueue(&announcement).await
    }

    /// One mail for all that is new.
    async fn tell_merchant(&mut self, reasons: Vec<String>) -> Result<(), ApplyError> {
        if reasons.is_empty() {
            return Ok(());
        }
        for reason in &reasons {
            self.books.note_effect(&merchant_effect(reason)).await?;
        }
        self.done.push(Done {
            effect: "mail_merchant",
            count: 1,
        });
        let announcement =
            announcement::merchant(reasons, self.books.subject(), self.payment, self.events);
        self.enqueue(&announcement).await
    }

    async fn note(
        &mut self,
        effect: &'static str,
        count: i64,
        had: &mut BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        self.books.note_effect(effect).await?;
        had.insert(effect.to_owned());
        self.done.push(Done { effect, count });
        Ok(())
    }

    async fn enqueue(&mut self, announcement: &Announcement) -> Result<(), ApplyError> {
        let event = self.event;
        let outgoing =
            announcement.outgoing(event.gateway, event.account.clone(), event.received_at)?;
        Ok(self.books.enqueue(&outgoing).await?)
    }
}

const REQUESTS: [StockRequest; 4] = [
    StockRequest::Reserve,
    StockRequest::Take,
    StockRequest::Release,
    StockRequest::Restock,
];

/// What brings a shop's stock to `hold`, after what it was asked for before. Pure.
fn request_for(hold: Hold, had: &BTreeSet<String>) -> Option<StockRequest> {
    let asked = |request: StockRequest| had.contains(request.movement().as_str());
    let (reserved, taken) = (asked(StockRequest::Reserve), asked(StockRequest::Take));
    let request = match hold {
        Hold::Reserved if !taken => StockRequest::Reserve,
        Hold::Taken => StockRequest::Take,
        Hold::Nothing if taken => StockRequest::Restock,
        Hold::Nothing if reserved => StockRequest::Release,
        Hold::Reserved | Hold::Nothing => return None,
    };
    (!asked(request)).then_some(request)
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
