//! Made-up announcements for trying templates out: every kind of news, every code, and each value
//! that may be missing both there and not there.

use quittance_common::codes;
use quittance_common::event::{Line, OrderRef, Payer};
use quittance_common::money::Money;
use quittance_common::quarantine_notice::Parked;
use quittance_common::status::PendingReason;

use crate::announcement::{Announcement, News};

/// A code that no build knows.
const UNKNOWN: &str = "a_code_of_tomorrow";

/// Which of the values that may be missing are.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is missing or not, whatever the others are"
)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Missing {
    name: bool,
    amount: bool,
    order: bool,
    lines: bool,
}

impl Missing {
    /// Every combination.
    fn all() -> impl Iterator<Item = Self> {
        (0_u8..16).map(|bits| Self {
            name: bits & 1 != 0,
            amount: bits & 2 != 0,
            order: bits & 4 != 0,
            lines: bits & 8 != 0,
        })
    }
}

/// Everything that templates are tried out with: an announcement of each kind for each combination
/// of missing values, then one for each code.
pub(super) fn all() -> Vec<Announcement> {
    let mut all = Vec::new();
    for missing in Missing::all() {
        for news in kinds() {
            all.push(announcement(news, missing));
        }
    }
    let unknown = PendingReason::Other(UNKNOWN.to_owned());
    let known = PendingReason::KNOWN
        .iter()
        .map(|code| PendingReason::parse(code));
    for reason in known.chain([unknown]) {
        let news = News::Pending {
            reason: Some(reason),
            set_aside: true,
        };
        all.push(announcement(news, Missing::default()));
    }
    for (quarantined, parked) in placed() {
        let mut news = merchant(codes::all().into_iter().chain([UNKNOWN]));
        if let News::Merchant {
            quarantined: in_quarantine,
            parked: message,
            ..
        } = &mut news
        {
            (*in_quarantine, *message) = (quarantined, parked);
        }
        all.push(announcement(news, Missing::default()));
    }
    all
}

/// One of every kind that has words, and of each the ways in which it may be told.
fn kinds() -> Vec<News> {
    let mut kinds = vec![
        News::Received,
        News::Failed,
        News::Backordered,
        merchant(["reversed"]),
        // A decision, which has more commands.
        merchant(["order_already_paid", "paid_after_denied"]),
    ];
    for set_aside in [false, true] {
        let reason = None;
        kinds.push(News::Pending { reason, set_aside });
    }
    for (quarantined, parked) in placed() {
        kinds.push(News::Merchant {
            reasons: vec!["amount_mismatch".to_owned()],
            causes: Vec::new(),
            quarantined,
            parked,
        });
    }
    // In full and in part.
    kinds.extend([FULL, FULL / 2].into_iter().filter_map(|minor| {
        Some(News::Refunded {
            refund: "SAMPLE".to_owned(),
            amount: amount(minor)?,
        })
    }));
    kinds
}

fn merchant<'a>(reasons: impl IntoIterator<Item = &'a str>) -> News {
    News::Merchant {
        reasons: reasons.into_iter().map(str::to_owned).collect(),
        causes: Vec::new(),
        quarantined: false,
        parked: None,
    }
}

/// Where what the merchant is told of may be.
fn placed() -> Vec<(bool, Option<Parked>)> {
    let compared = parked("quarantine", true);
    let bare = Parked {
        expected: None,
        found: None,
        ..parked("quarantine", false)
    };
    vec![
        (false, None),
        // As a former build tells it.
        (true, None),
        (true, Some(compared)),
        (true, Some(bare)),
        (false, Some(parked("notify.dead", false))),
    ]
}

/// A parked message.
pub(super) fn parked(queue: &str, can_release: bool) -> Parked {
    Parked {
        message_id: "SAMPLE".to_owned(),
        queue: queue.to_owned(),
        can_release,
        expected: Some("SAMPLE".to_owned()),
        found: Some("SAMPLE".to_owned()),
    }
}

/// The whole price.
const FULL: i64 = 123_450;

fn amount(minor: i64) -> Option<Money> {
    let currency = "EUR".parse().ok()?;
    Some(Money::from_minor(minor, currency))
}

/// Made-up values around `news`.
pub(super) fn announcement(news: News, missing: Missing) -> Announcement {
    let there = |is_missing: bool| (!is_missing).then(|| "Sample".to_owned());
    let line = Line {
        sku: None,
        name: "Sample".to_owned(),
        quantity: 1,
        gross: None,
        options: Vec::new(),
    };
    let is_for_merchant = matches!(news, News::Merchant { .. });
    Announcement {
        news,
        subject: "sample".to_owned(),
        // What cannot be read names no transaction.
        txn_id: if is_for_merchant && missing.order {
            String::new()
        } else {
            "SAMPLE".to_owned()
        },
        gross: amount(FULL).filter(|_| !missing.amount),
        order: OrderRef {
            invoice: there(missing.order),
            ..OrderRef::default()
        },
        lines: if missing.lines {
            Vec::new()
        } else {
            vec![line]
        },
        payer: Payer {
            name: there(missing.name),
            ..Payer::default()
        },
        traceparent: None,
    }
}
