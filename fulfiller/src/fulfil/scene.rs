//! The effects of one payment, had within the transaction of one event.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use quittance_common::event::PaymentEvent;
use quittance_common::shop::flags::told;
use quittance_common::shop::reservation::EXPIRED;
use quittance_common::shop::{
    Absorbed, Books, Hold, Movement, PaymentRecord, Settlement, ShopError, SubjectKey, Verdict,
};

use super::{ApplyError, Done};
use crate::announcement::{self, Announcement, News};
use crate::payment::{
    self, Effect, INVOICE_ALREADY_PAID, ITEM_WITHOUT_SKU, Incoming, ORDER_ALREADY_PAID,
    PENDING_FOR_PAID, Payment, Status,
};
use crate::policy::{self, Permitted, has_moved, is_settled};
use crate::terms::{StockBy, Terms};

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
    /// Whether the payment may not be taken for its order's.
    pub(super) refused: bool,
    /// Whether another payment of its series has settled the order.
    pub(super) renews: bool,
    /// Whether goods of the payment were sold by this event.
    pub(super) sold: bool,
    before: Before,
    /// Rows that are a part of the payment's from now on.
    absorbed: Vec<Absorbed>,
}

/// What was sold of the payment before this event.
struct Before {
    /// Whether the buyer was thanked, or a rule kept that from him: so once when it is sold.
    thanked: bool,
    /// How many of each item.
    sold: BTreeMap<String, i64>,
}

impl<'a> Scene<'a> {
    /// With the effects that the payment has had before.
    pub(super) async fn open(
        books: &'a mut Books,
        terms: &'a Terms,
        now: Timestamp,
        event: &'a PaymentEvent,
        payment: &'a Payment,
        events: &'a [PaymentEvent],
    ) -> Result<Self, ApplyError> {
        let had = books.effects().await?;
        let absorbed = books.take_absorbed();
        let mut sold = books.sold().await?;
        for (sku, count) in absorbed.iter().flat_map(|part| &part.sold) {
            let all = sold.entry(sku.clone()).or_default();
            *all = all.saturating_add(*count);
        }
        let thanked = is_settled(&had, &News::Received.effect());
        Ok(Self {
            books,
            terms,
            now,
            event,
            payment,
            events,
            had,
            done: Vec::new(),
            refused: false,
            renews: false,
            sold: false,
            before: Before { thanked, sold },
            absorbed,
        })
    }
}

impl Scene<'_> {
    /// Brings the payment to the state that its events mean together.
    pub(super) async fn settle(&mut self) -> Result<PaymentRecord, ApplyError> {
        // Before stock is moved, so that locks are taken in one order.
        let against = self.settle_order().await?;
        let refused = against.is_some();
        self.refused = refused
            || matches!(
                self.payment.money,
                Incoming::Contradicted | Incoming::ForCancelled | Incoming::Closed
            );
        let is_repeated = match &self.payment.invoice {
            Some(invoice) => {
                let account = &self.event.account;
                !self.books.use_invoice(account, invoice).await?
            }
            None => false,
        };
        for part in std::mem::take(&mut self.absorbed) {
            self.books.give_back(&part.lines).await?;
            if self.terms.stock == StockBy::Http {
                self.give_up(&part).await?;
            }
        }
        self.carry_out(!refused).await?;
        self.sold = self.has_sold().await?;
        let mut flags = self.payment.flags.clone();
        flags.extend(against.map(str::to_owned));
        flags.extend(is_repeated.then(|| INVOICE_ALREADY_PAID.to_owned()));
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

    /// Has the payment settle the order that it was bound to; what a person should see where it
    /// does not.
    async fn settle_order(&mut self) -> Result<Option<&'static str>, ApplyError> {
        let payment = self.payment;
        if payment.money == Incoming::Closed {
            self.books.free_order().await?;
            return Ok(None);
        }
        if let Some(order) = &payment.settles {
            let series = series(self.events);
            let settlement = self.books.settle_order(order, series.as_ref()).await?;
            self.renews = settlement == Settlement::Renewed;
            let against = settlement.flag();
            // A person knows that the order was paid before, and wants this one to count as well.
            let is_waived = payment.standing.verdict == Verdict::Accepted;
            return Ok(against.filter(|flag| !(is_waived && *flag == ORDER_ALREADY_PAID)));
        }
        // For a person anyhow, who must not find the goods of an order gone twice.
        if payment.money == Incoming::Contradicted
            && let Some(order) = &payment.claims
        {
            let series = series(self.events);
            let is_paid = self.books.is_settled_by_another(order, series.as_ref());
            return Ok(is_paid.await?.then_some(ORDER_ALREADY_PAID));
        }
        Ok(pending_against(self.books, payment, self.events).await?)
    }

    /// Whether this event is the one that sold goods of the payment: the first with which it counted
    /// as paid, or one that brought further goods. Not of a payment that was given back by then.
    async fn has_sold(&mut self) -> Result<bool, ApplyError> {
        let is_gone = matches!(self.payment.status, Status::Refunded | Status::Reversed);
        if self.refused || !self.payment.is_paid() || is_gone {
            return Ok(false);
        }
        let sold = self.books.sold().await?;
        let before = &self.before;
        let is_first = !before.thanked && is_settled(&self.had, &News::Received.effect());
        let has_grown = sold
            .iter()
            .any(|(sku, count)| *count > before.sold.get(sku).copied().unwrap_or_default());
        Ok(is_first || has_grown)
    }

    /// Has every effect that the payment should have had and has not, as far as the rules let it.
    /// One that does not settle its order gets no goods and is not thanked for: a person decides;
    /// money that goes back is told.
    async fn carry_out(&mut self, settles: bool) -> Result<(), ApplyError> {
        let mut effects = payment::effects(self.payment, self.events);
        if !settles {
            // Nor is it noted that a rule withheld it: it may be had once a person has accepted.
            effects.retain(|effect| {
                let is_promise =
                    |news: &News| matches!(news, News::Received | News::Pending { .. });
                !matches!(effect, Effect::Tell(news) if is_promise(news))
            });
        }
        let is_sold = has_moved(&self.had, Movement::Taken);
        let effects = self.permitted(effects).await?;
        let puts_back = effects.contains(&Effect::Stock(Hold::Nothing));
        for effect in effects {
            match effect {
                // Sold before, and put back: not to be taken only to be put back again. Or sold
                // before for the order that it settled: another one gets nothing.
                Effect::Stock(Hold::Taken) if is_sold && (puts_back || !settles) => {}
                // Given back in full before it was sold: there is nothing to sell, or to be short of.
                Effect::Stock(Hold::Taken) if !settles || puts_back => {
                    self.bring_stock(Hold::Nothing).await?;
                }
                Effect::Stock(Hold::Reserved) if !settles => {
                    self.bring_stock(Hold::Nothing).await?;
                }
                // Set aside for too long already: the goods are free until the money comes.
                Effect::Stock(Hold::Reserved) if self.had.contains(EXPIRED) => {}
                Effect::Stock(hold) => self.bring_stock(hold).await?,
                Effect::Tell(News::Pending { reason, .. }) => {
                    let set_aside = self.is_set_aside().await?;
                    self.tell(News::Pending { reason, set_aside }).await?;
                }
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
        for (marker, rule) in withheld {
            self.books.note_withheld(&marker, &rules.told(rule)).await?;
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

    /// Whether the buyer may be told that his goods are kept for him.
    async fn is_set_aside(&mut self) -> Result<bool, ApplyError> {
        Ok(self.terms.stock == StockBy::Sql
            && !self.payment.flags.contains(ITEM_WITHOUT_SKU)
            && self.books.reserves(&self.payment.lines).await?)
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

    /// One mail for all of `flags` that is new and waits for a person. Of a payment's reversals
    /// and disputes each is told.
    pub(super) async fn tell_merchant(
        &mut self,
        flags: &BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        let is_payment = self.books.subject().kind() == "payment";
        let raised = is_payment.then_some(&self.payment.raised);
        let each: BTreeSet<&str> = raised
            .into_iter()
            .flatten()
            .map(|(flag, _)| *flag)
            .collect();
        let reasons: BTreeSet<String> = told(flags)
            .filter(|flag| !each.contains(flag))
            .map(str::to_owned)
            .chain(
                raised
                    .into_iter()
                    .flatten()
                    .map(|(flag, of)| format!("{flag}:{of}")),
            )
            .filter(|reason| !self.had.contains(&merchant_effect(reason)))
            .collect();
        let reasons: Vec<String> = reasons.into_iter().collect();
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

    pub(super) async fn enqueue(&mut self, announcement: &Announcement) -> Result<(), ApplyError> {
        let event = self.event;
        let announcement = announcement.clone().in_trace(event.trace);
        let outgoing =
            announcement.outgoing(event.gateway, event.account.clone(), event.received_at)?;
        Ok(self.books.enqueue(&outgoing).await?)
    }
}

/// What a person should see of a payment that is on its way for an order which another one has
/// settled: nothing is set aside for it, or a buyer could keep the last item from others by paying
/// twice.
pub(super) async fn pending_against(
    books: &mut Books,
    payment: &Payment,
    events: &[PaymentEvent],
) -> Result<Option<&'static str>, ShopError> {
    if payment.status != Status::Pending || payment.standing.verdict == Verdict::Accepted {
        return Ok(None);
    }
    let Some(order) = &payment.claims else {
        return Ok(None);
    };
    let series = series(events);
    let is_settled = books.is_settled_by_another(order, series.as_ref()).await?;
    Ok(is_settled.then_some(PENDING_FOR_PAID))
}

/// The subscription whose payments settle their order together, if these events are of one of them.
fn series(events: &[PaymentEvent]) -> Option<SubjectKey> {
    let of_it = events.iter().filter(|event| event.data.is_of_a_series());
    of_it.filter_map(SubjectKey::about).min()
}
