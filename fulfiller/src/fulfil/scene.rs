//! The effects of one payment, had within the transaction of one event.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quittance_common::event::{Payer, PaymentEvent};
use quittance_common::shop::reservation::EXPIRED;
use quittance_common::shop::{Books, Hold, Movement, PaymentRecord};

use super::{ApplyError, Done};
use crate::announcement::{self, Announcement, News, StockItem, StockRequest};
use crate::payment::{self, Effect, Payment, Status};
use crate::policy::{self, Permitted};
use crate::terms::{StockBy, Terms, waits_for_a_person};

/// That the merchant was told of a flag, as an effect.
fn merchant_effect(flag: &str) -> String {
    format!("mail_merchant:{flag}")
}

/// What an effect needs to know, and the effects had so far.
pub(super) struct Scene<'a> {
    pub(super) books: &'a mut Books,
    pub(super) terms: &'a Terms,
    pub(super) now: Timestamp,
    pub(super) event: &'a PaymentEvent,
    pub(super) payment: &'a Payment,
    pub(super) events: &'a [PaymentEvent],
    /// Names of effects: of earlier events, and of this one.
    pub(super) had: BTreeSet<String>,
    /// By this event.
    pub(super) done: Vec<Done>,
}

impl Scene<'_> {
    /// Brings the payment to the state that its events mean together.
    pub(super) async fn settle(&mut self) -> Result<PaymentRecord, ApplyError> {
        // Before stock is moved, so that locks are taken in one order.
        let refused = match &self.payment.settles {
            Some(order) => {
                let account = &self.event.account;
                self.books.settle_order(account, order).await?.flag()
            }
            None => None,
        };
        self.carry_out(refused.is_none()).await?;
        let mut flags = self.payment.flags.clone();
        flags.extend(refused.map(str::to_owned));
        flags.extend(self.books.stock_flags().await?);
        if self.payment.status == Status::Pending && self.had.contains(EXPIRED) {
            flags.insert(EXPIRED.to_owned());
        }
        Ok(PaymentRecord {
            status: self.payment.status.as_str(),
            amount: self.payment.gross,
            refunded: self.payment.refunded,
            flags,
        })
    }

    /// Has every effect that the payment should have had and has not, as far as the rules let it.
    /// One that does not settle its order gets no goods and is not thanked for: a person decides;
    /// money that goes back is told.
    async fn carry_out(&mut self, settles: bool) -> Result<(), ApplyError> {
        let effects = payment::effects(self.payment, self.events);
        let is_sold = self.had.contains(Movement::Taken.as_str());
        for effect in self.permitted(effects).await? {
            match effect {
                // Sold before, and put back: not to be taken only to be put back again. Or sold
                // before for the order that it settled: another one gets nothing.
                Effect::Stock(Hold::Taken) if is_sold && (self.payment.puts_back() || !settles) => {
                }
                Effect::Stock(Hold::Taken) if !settles => self.bring_stock(Hold::Nothing).await?,
                Effect::Tell(News::Received) if !settles => {}
                // Set aside for too long already: the goods are free until the money comes.
                Effect::Stock(Hold::Reserved) if self.had.contains(EXPIRED) => {}
                Effect::Stock(hold) => self.bring_stock(hold).await?,
                Effect::Tell(news) => self.tell(news).await?,
            }
        }
        Ok(())
    }

    /// Those of `effects` that the rules let through; the others are noted as withheld.
    async fn permitted(&mut self, effects: Vec<Effect>) -> Result<Vec<Effect>, ApplyError> {
        let rules = &self.terms.rules;
        let Permitted { effects, withheld } =
            policy::permit(effects, self.events, rules, &self.had);
        for marker in withheld {
            self.books.note_effect(&marker).await?;
            self.had.insert(marker);
        }
        Ok(effects)
    }

    async fn bring_stock(&mut self, hold: Hold) -> Result<(), ApplyError> {
        match self.terms.stock {
            StockBy::Sql => self.move_stock(hold).await,
            StockBy::Http => self.ask_for_stock(hold).await,
        }
    }

    async fn move_stock(&mut self, hold: Hold) -> Result<(), ApplyError> {
        let change = self.books.hold(&self.payment.lines, hold).await?;
        for (movement, count) in change.moved {
            self.note(movement.as_str(), count).await?;
            if movement == Movement::Backordered && self.payment.is_paid() {
                let news = vec![Effect::Tell(News::Backordered)];
                if !self.permitted(news).await?.is_empty() {
                    self.tell(News::Backordered).await?;
                }
            }
        }
        Ok(())
    }

    /// Announces what the shop should do with its stock; each request once a payment.
    async fn ask_for_stock(&mut self, hold: Hold) -> Result<(), ApplyError> {
        let items: Vec<StockItem> = self
            .payment
            .lines
            .iter()
            .map(|(sku, quantity)| StockItem {
                sku: sku.clone(),
                quantity: *quantity,
            })
            .collect();
        let Some(request) = request_for(hold, &self.had).filter(|_| !items.is_empty()) else {
            return Ok(());
        };
        let before = REQUESTS
            .iter()
            .filter(|other| self.had.contains(other.movement().as_str()))
            .count();
        let count = items
            .iter()
            .fold(0_i64, |sum, item| sum.saturating_add(item.quantity));
        let news = News::Stock {
            request,
            sequence: u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX),
            items,
            reserve_until: (request == StockRequest::Reserve)
                .then(|| end_of(self.now, self.terms.reserve_for)),
        };
        self.note(request.movement().as_str(), count).await?;
        let mut announcement =
            Announcement::new(news, self.books.subject(), self.payment, self.events);
        // Who paid is not the stock-keeper's business.
        announcement.payer = Payer::default();
        announcement.lines = Vec::new();
        self.enqueue(&announcement).await
    }

    async fn tell(&mut self, news: News) -> Result<(), ApplyError> {
        let effect = news.effect();
        if self.had.contains(&effect) {
            return Ok(());
        }
        self.books.note_effect(&effect).await?;
        self.done.push(Done {
            effect: news.name(),
            count: 1,
        });
        self.had.insert(effect);
        let announcement = Announcement::new(news, self.books.subject(), self.payment, self.events);
        self.enqueue(&announcement).await
    }

    /// One mail for all of `flags` that is new and waits for a person.
    pub(super) async fn tell_merchant(
        &mut self,
        flags: &BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        let reasons: Vec<String> = flags
            .iter()
            .filter(|flag| waits_for_a_person(flag) && !self.had.contains(&merchant_effect(flag)))
            .cloned()
            .collect();
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

    async fn note(&mut self, effect: &'static str, count: i64) -> Result<(), ApplyError> {
        self.books.note_effect(effect).await?;
        self.had.insert(effect.to_owned());
        self.done.push(Done { effect, count });
        Ok(())
    }

    async fn enqueue(&mut self, announcement: &Announcement) -> Result<(), ApplyError> {
        let event = self.event;
        let announcement = announcement.clone().in_trace(event.trace);
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

/// When something that is set aside at `now` is free again.
fn end_of(now: Timestamp, reserve_for: Duration) -> Timestamp {
    SignedDuration::try_from(reserve_for)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

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
