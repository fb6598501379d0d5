//! What a shop that counts its own stock is asked for: the difference between what it was asked to
//! hold and what the payment should hold now, item by item. Requests are numbered, so that the same
//! may be asked again where goods come and go more than once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quittance_common::event::Payer;
use quittance_common::ids::Sku;
use quittance_common::shop::{Absorbed, Asked, AskedLines, Hold};

use super::scene::Scene;
use super::{ApplyError, Done};
use crate::announcement::{Announcement, News, StockItem, StockRequest};
use crate::payment::{self, Payment};

/// In the order in which a payment had them when each was asked for once at most, without numbers.
const REQUESTS: [StockRequest; 4] = [
    StockRequest::Reserve,
    StockRequest::Release,
    StockRequest::Take,
    StockRequest::Restock,
];

/// The requests that a payment has had, as the names of its effects tell: `stock_decremented:3` is
/// the third.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Requests {
    last: Option<StockRequest>,
    count: u32,
    is_numbered: bool,
}

impl Requests {
    fn of(had: &BTreeSet<String>) -> Self {
        let mut requests = Self::default();
        for request in REQUESTS {
            if had.contains(request.movement().as_str()) {
                requests.last = Some(request);
                requests.count = requests.count.saturating_add(1);
            }
        }
        for effect in had {
            let Some((name, number)) = effect.split_once(':') else {
                continue;
            };
            let request = REQUESTS
                .into_iter()
                .find(|request| request.movement().as_str() == name);
            if let (Some(request), Ok(number)) = (request, number.parse::<u32>()) {
                requests.is_numbered = true;
                if number > requests.count {
                    requests.last = Some(request);
                    requests.count = number;
                }
            }
        }
        requests
    }

    /// What a build that kept no items must have asked for: all of `lines`, in the way of its last
    /// request.
    fn asked_before_items_were_kept(self, lines: &BTreeMap<Sku, i64>) -> AskedLines {
        let hold = match self.last {
            Some(StockRequest::Reserve) => Hold::Reserved,
            Some(StockRequest::Take) => Hold::Taken,
            Some(StockRequest::Release | StockRequest::Restock) | None => return AskedLines::new(),
        };
        let asked = |(sku, quantity): (&Sku, &i64)| {
            let quantity = *quantity;
            (sku.clone(), Asked { hold, quantity })
        };
        lines.iter().map(asked).collect()
    }
}

/// What is to be asked for, and what is held once it is done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    requests: Vec<(StockRequest, Vec<StockItem>)>,
    after: AskedLines,
}

/// What brings the shop from `asked` to holding `lines` in the way of `target`: exactly what was
/// asked for goes back, and only what is not there yet is asked for. What is sold is not set aside
/// again.
fn plan(asked: &AskedLines, target: Hold, lines: &BTreeMap<Sku, i64>) -> Plan {
    use StockRequest::{Release, Reserve, Restock, Take};
    let mut items: [Vec<StockItem>; 4] = Default::default();
    let mut after = AskedLines::new();
    let skus: BTreeSet<&Sku> = asked.keys().chain(lines.keys()).collect();
    for sku in skus {
        let is = asked.get(sku).copied().unwrap_or(NOTHING);
        let wanted = match lines.get(sku) {
            Some(quantity) if target != Hold::Nothing && *quantity > 0 => Asked {
                hold: target,
                quantity: *quantity,
            },
            _ => NOTHING,
        };
        let is_sold = is.hold == Hold::Taken && wanted.hold == Hold::Reserved;
        let wanted = if is_sold { is } else { wanted };
        // How many stay as they are, or go from set aside to sold.
        let kept = if wanted.hold >= is.hold {
            is.quantity.min(wanted.quantity)
        } else {
            0
        };
        let gone = is.quantity.saturating_sub(kept);
        let already = if wanted.hold == is.hold { kept } else { 0 };
        let added = wanted.quantity.saturating_sub(already);
        let [releases, restocks, reserves, takes] = &mut items;
        let note = |list: &mut Vec<StockItem>, quantity: i64| {
            if quantity > 0 {
                let sku = sku.clone();
                list.push(StockItem { sku, quantity });
            }
        };
        match is.hold {
            Hold::Nothing => {}
            Hold::Reserved => note(releases, gone),
            Hold::Taken => note(restocks, gone),
        }
        match wanted.hold {
            Hold::Nothing => {}
            Hold::Reserved => note(reserves, added),
            Hold::Taken => note(takes, added),
        }
        after.insert(sku.clone(), wanted);
    }
    let requests = [Release, Restock, Reserve, Take].into_iter().zip(items);
    Plan {
        requests: requests.filter(|(_, items)| !items.is_empty()).collect(),
        after,
    }
}

const NOTHING: Asked = Asked {
    hold: Hold::Nothing,
    quantity: 0,
};

impl Scene<'_> {
    /// Announces what the shop should do with its stock.
    pub(super) async fn ask_for_stock(&mut self, hold: Hold) -> Result<(), ApplyError> {
        let had = Requests::of(&self.had);
        let lines = &self.payment.lines;
        let kept = self.books.asked().await?;
        let asked = if kept.is_empty() {
            had.asked_before_items_were_kept(lines)
        } else {
            kept.clone()
        };
        let Plan { requests, after } = plan(&asked, hold, lines);
        for (sku, asked) in &after {
            if kept.get(sku).copied().unwrap_or(NOTHING) != *asked {
                self.books.note_asked(sku, *asked).await?;
            }
        }
        for (sequence, (request, items)) in (had.count.saturating_add(1)..).zip(requests) {
            let news = self.request(request, sequence, items);
            let effect = news.effect();
            self.books.note_effect(&effect).await?;
            self.had.insert(effect);
            let told = Announcement::new(news, self.books.subject(), self.payment, self.events);
            self.ask(told).await?;
        }
        Ok(())
    }

    /// Has given back what the shop was asked for in the name of a row that is a part of this one
    /// now: everything is asked for once more, in this one's name.
    pub(super) async fn give_up(&mut self, part: &Absorbed) -> Result<(), ApplyError> {
        let had = Requests::of(&part.effects);
        let payment: Payment = payment::fold(&part.events);
        let asked = if part.asked.is_empty() && had.is_numbered {
            had.asked_before_items_were_kept(&payment.lines)
        } else {
            part.asked.clone()
        };
        let given_back = plan(&asked, Hold::Nothing, &BTreeMap::new()).requests;
        for (sequence, (request, items)) in (had.count.saturating_add(1)..).zip(given_back) {
            let news = self.request(request, sequence, items);
            let told = Announcement::new(news, &part.subject, &payment, &part.events);
            self.ask(told).await?;
        }
        Ok(())
    }

    fn request(&self, request: StockRequest, sequence: u32, items: Vec<StockItem>) -> News {
        News::Stock {
            request,
            sequence,
            items,
            reserve_until: (request == StockRequest::Reserve)
                .then(|| end_of(self.now, self.terms.reserve_for)),
        }
    }

    /// Counts a request and queues it. Who paid is not the stock-keeper's business.
    async fn ask(&mut self, told: Announcement) -> Result<(), ApplyError> {
        if let News::Stock { request, items, .. } = &told.news {
            let sum = |sum: i64, item: &StockItem| sum.saturating_add(item.quantity);
            self.done.push(Done {
                effect: request.movement().as_str(),
                count: items.iter().fold(0, sum),
            });
        }
        self.enqueue(&Announcement {
            payer: Payer::default(),
            lines: Vec::new(),
            ..told
        })
        .await
    }
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

    fn lines(lines: &[(&str, i64)]) -> BTreeMap<Sku, i64> {
        let line = |(sku, quantity): &(&str, i64)| (sku.parse().unwrap(), *quantity);
        lines.iter().map(line).collect()
    }

    fn asked(hold: Hold, of: &[(&str, i64)]) -> AskedLines {
        lines(of)
            .into_iter()
            .map(|(sku, quantity)| (sku, Asked { hold, quantity }))
            .collect()
    }

    /// `take mug 1, hat 2`, one a request.
    fn told(asked: &AskedLines, target: Hold, wanted: &[(&str, i64)]) -> Vec<String> {
        let plan = plan(asked, target, &lines(wanted));
        let again = super::plan(&plan.after, target, &lines(wanted));
        assert_eq!(again.requests, [], "asked once");
        let told = plan.requests.iter().map(|(request, items)| {
            let items = items
                .iter()
                .map(|item| format!("{} {}", item.sku, item.quantity));
            let items: Vec<String> = items.collect();
            format!("{request:?} {}", items.join(", ")).to_lowercase()
        });
        told.collect()
    }

    #[test]
    fn the_last_request_is_the_one_of_the_highest_number_and_old_ones_have_none() {
        let had = |effects: &[&str]| Requests::of(&effects.iter().map(|e| (*e).into()).collect());
        let last = had(&[
            "stock_reserved:1",
            "stock_decremented:12",
            "stock_restocked:9",
        ]);
        assert_eq!((last.last, last.count), (Some(StockRequest::Take), 12));
        let mug = lines(&[("mug", 2)]);
        let kept = last.asked_before_items_were_kept(&mug);
        assert_eq!(kept, asked(Hold::Taken, &[("mug", 2)]));
        let old = had(&[
            "stock_reserved",
            "stock_released",
            "stock_decremented",
            "mail_x:9",
        ]);
        assert_eq!((old.last, old.count), (Some(StockRequest::Take), 3));
        assert!(last.is_numbered && !old.is_numbered);
        let then = had(&["stock_reserved", "stock_decremented", "stock_restocked:3"]);
        assert!(then.asked_before_items_were_kept(&mug).is_empty());
    }

    #[test]
    fn what_was_asked_for_goes_back_whatever_the_payment_says_by_then() {
        let taken = asked(Hold::Taken, &[("hat", 1), ("mug", 2)]);
        assert_eq!(
            told(&taken, Hold::Nothing, &[("mug", 5)]),
            ["restock hat 1, mug 2"]
        );
        let reserved = asked(Hold::Reserved, &[("hat", 1)]);
        assert_eq!(told(&reserved, Hold::Nothing, &[]), ["release hat 1"]);
        assert!(told(&AskedLines::new(), Hold::Nothing, &[("mug", 5)]).is_empty());
    }

    #[test]
    fn of_lines_that_grow_only_the_added_goods_are_asked_for() {
        let taken = asked(Hold::Taken, &[("mug", 2)]);
        assert_eq!(
            told(&taken, Hold::Taken, &[("hat", 1), ("mug", 3)]),
            ["take hat 1, mug 1"]
        );
        let reserved = asked(Hold::Reserved, &[("mug", 2)]);
        assert_eq!(
            told(&reserved, Hold::Reserved, &[("mug", 3)]),
            ["reserve mug 1"]
        );
        assert!(told(&taken, Hold::Reserved, &[("mug", 2)]).is_empty());
    }

    #[test]
    fn a_take_uses_up_what_was_set_aside_and_the_rest_of_it_is_released() {
        let reserved = asked(Hold::Reserved, &[("hat", 1), ("mug", 3)]);
        assert_eq!(
            told(&reserved, Hold::Taken, &[("mug", 2)]),
            ["release hat 1, mug 1", "take mug 2"]
        );
    }
}
