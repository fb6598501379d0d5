//! What a shop that counts its own stock is asked for: derived from what it was asked for last, and
//! numbered, so that the same may be asked again where goods come and go more than once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quittance_common::event::Payer;
use quittance_common::ids::Sku;
use quittance_common::shop::{Absorbed, Hold};

use super::scene::Scene;
use super::{ApplyError, Done};
use crate::announcement::{Announcement, News, StockItem, StockRequest};
use crate::payment;

/// In the order in which a payment had them when each was asked for once at most, without numbers.
const REQUESTS: [StockRequest; 4] = [
    StockRequest::Reserve,
    StockRequest::Release,
    StockRequest::Take,
    StockRequest::Restock,
];

/// What was asked for last, and how many requests there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Asked {
    last: Option<StockRequest>,
    count: u32,
}

impl Asked {
    /// As the names of the effects tell: `stock_decremented:3` is the third request.
    fn of(had: &BTreeSet<String>) -> Self {
        let mut asked = Self::default();
        for request in REQUESTS {
            if had.contains(request.movement().as_str()) {
                asked.last = Some(request);
                asked.count = asked.count.saturating_add(1);
            }
        }
        for effect in had {
            let Some((name, number)) = effect.split_once(':') else {
                continue;
            };
            let request = REQUESTS
                .into_iter()
                .find(|request| request.movement().as_str() == name);
            if let (Some(request), Ok(number)) = (request, number.parse::<u32>())
                && number > asked.count
            {
                asked.last = Some(request);
                asked.count = number;
            }
        }
        asked
    }

    /// What brings the shop's stock to `hold`; `None` when it is there.
    fn next(self, hold: Hold) -> Option<StockRequest> {
        use StockRequest::{Release, Reserve, Restock, Take};
        match (hold, self.last) {
            (Hold::Reserved, None | Some(Release | Restock)) => Some(Reserve),
            (Hold::Taken, None | Some(Reserve | Release | Restock)) => Some(Take),
            (Hold::Nothing, Some(Take)) => Some(Restock),
            (Hold::Nothing, Some(Reserve)) => Some(Release),
            (Hold::Reserved, Some(Reserve | Take))
            | (Hold::Taken, Some(Take))
            | (Hold::Nothing, None | Some(Release | Restock)) => None,
        }
    }
}

impl Scene<'_> {
    /// Announces what the shop should do with its stock.
    pub(super) async fn ask_for_stock(&mut self, hold: Hold) -> Result<(), ApplyError> {
        let asked = Asked::of(&self.had);
        let items = items(&self.payment.lines);
        let Some(request) = asked.next(hold).filter(|_| !items.is_empty()) else {
            return Ok(());
        };
        let news = self.request(request, asked, items.clone());
        let effect = news.effect();
        self.books.note_effect(&effect).await?;
        self.had.insert(effect);
        self.moved(request, &items);
        let announcement = Announcement::new(news, self.books.subject(), self.payment, self.events);
        self.enqueue(&to_the_shop(announcement)).await
    }

    /// Has given back what the shop was asked for in the name of a row that is a part of this one
    /// now: everything is asked for once more, in this one's name.
    pub(super) async fn give_up(&mut self, part: &Absorbed) -> Result<(), ApplyError> {
        let asked = Asked::of(&part.effects);
        // Those without a number are counted in our own tables.
        let is_numbered = part.effects.iter().any(|effect| {
            let name = effect.split_once(':').map(|(name, _)| name);
            REQUESTS
                .iter()
                .any(|request| name == Some(request.movement().as_str()))
        });
        let payment = payment::fold(&part.events);
        let items = items(&payment.lines);
        let request = asked.next(Hold::Nothing);
        let Some(request) = request.filter(|_| is_numbered && !items.is_empty()) else {
            return Ok(());
        };
        let news = self.request(request, asked, items.clone());
        self.moved(request, &items);
        let announcement = Announcement::new(news, &part.subject, &payment, &part.events);
        self.enqueue(&to_the_shop(announcement)).await
    }

    fn request(&self, request: StockRequest, asked: Asked, items: Vec<StockItem>) -> News {
        News::Stock {
            request,
            sequence: asked.count.saturating_add(1),
            items,
            reserve_until: (request == StockRequest::Reserve)
                .then(|| end_of(self.now, self.terms.reserve_for)),
        }
    }

    fn moved(&mut self, request: StockRequest, items: &[StockItem]) {
        let sum = |sum: i64, item: &StockItem| sum.saturating_add(item.quantity);
        self.done.push(Done {
            effect: request.movement().as_str(),
            count: items.iter().fold(0, sum),
        });
    }
}

/// Who paid is not the stock-keeper's business.
fn to_the_shop(announcement: Announcement) -> Announcement {
    Announcement {
        payer: Payer::default(),
        lines: Vec::new(),
        ..announcement
    }
}

fn items(lines: &BTreeMap<Sku, i64>) -> Vec<StockItem> {
    let item = |(sku, quantity): (&Sku, &i64)| StockItem {
        sku: sku.clone(),
        quantity: *quantity,
    };
    lines.iter().map(item).collect()
}

/// When something that is set aside at `now` is free again.
fn end_of(now: Timestamp, reserve_for: Duration) -> Timestamp {
    SignedDuration::try_from(reserve_for)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_request_is_the_one_of_the_highest_number_and_old_ones_have_none() {
        let asked = |effects: &[&str]| Asked::of(&effects.iter().map(|e| (*e).into()).collect());
        let last = asked(&[
            "stock_reserved:1",
            "stock_decremented:12",
            "stock_restocked:9",
        ]);
        assert_eq!((last.last, last.count), (Some(StockRequest::Take), 12));
        assert_eq!(last.next(Hold::Nothing), Some(StockRequest::Restock));
        let old = asked(&[
            "stock_reserved",
            "stock_released",
            "stock_decremented",
            "mail_x:9",
        ]);
        assert_eq!((old.last, old.count), (Some(StockRequest::Take), 3));
        let then = asked(&["stock_reserved", "stock_decremented", "stock_restocked:3"]);
        assert_eq!(then.next(Hold::Taken), Some(StockRequest::Take));
        assert_eq!(asked(&[]).next(Hold::Nothing), None);
    }
}
