//! The verifier's checks on a body that nobody has sent, as the shop's own settings and database
//! have them. Only looks.

use std::collections::BTreeSet;

use quittance_common::event::{EventType, Line};
use quittance_common::ids::Reason;
use quittance_common::notification::{Notification, Reading};
use quittance_common::refusal::RefusalCode;
use quittance_common::settings::{Account, Settings};
use quittance_common::shop::Shop;
use quittance_verifier::checks::{self, Known, Passed, Policy};
use quittance_verifier::knowledge;

/// What the shop database says about what a body names.
#[derive(Debug)]
pub enum Knowledge {
    /// All that the checks ask for.
    Whole(Box<Known>),
    /// The database could not be asked, for this reason.
    Missing(String),
}

impl Knowledge {
    /// What could not be checked without the database, and why.
    fn missing(&self) -> Option<String> {
        match self {
            Self::Whole(_) => None,
            Self::Missing(why) => Some(format!(
                "not checked: prices, registered orders and subscriptions ({why})"
            )),
        }
    }

    /// Asks the shop database, if it can be opened. Nothing is made or changed.
    pub async fn of(settings: &Settings, notification: &Notification, account: &Account) -> Self {
        let asked = async {
            let shop = Shop::look(&settings.shop_database).await?;
            let known = knowledge::known(&shop, notification, account).await;
            shop.close().await;
            known
        };
        match asked.await {
            Ok(known) => Self::Whole(Box::new(known)),
            Err(error) => Self::Missing(error.to_string()),
        }
    }
}

/// What the checks say about one event that they let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What came of each check, in order.
    pub checks: Vec<String>,
    /// What was bought, where the order says and the message does not.
    pub bought: Option<Vec<Line>>,
}

/// Runs the checks; one answer an event.
///
/// # Errors
/// The refusal, as `reason: detail`, and what else could not be checked.
pub fn judge(
    settings: &Settings,
    notification: &Notification,
    account: &Account,
    knowledge: &Knowledge,
) -> Result<Vec<Judged>, Vec<String>> {
    let waived = match knowledge {
        Knowledge::Whole(_) => BTreeSet::new(),
        // What only the database can refuse. An order that is not named at all is missing all the same.
        Knowledge::Missing(_) => ONLY_IT_CAN_REFUSE.map(RefusalCode::reason).into(),
    };
    let guessed;
    let known = match knowledge {
        Knowledge::Whole(known) => known,
        Knowledge::Missing(_) => {
            let renewed = checks::renewed(notification);
            guessed = Known {
                subscriptions: renewed.into_iter().map(str::to_owned).collect(),
                ..Known::default()
            };
            &guessed
        }
    };
    let passed = checks::check(notification, account, known, Policy::of(settings), &waived)
        .map_err(|refusal| {
            let refused = format!("{}: {}", refusal.reason, refusal.detail);
            [refused]
                .into_iter()
                .chain(knowledge.missing())
                .collect::<Vec<_>>()
        })?;
    Ok(notification
        .readings
        .iter()
        .zip(passed)
        .map(|(reading, passed)| told(reading, passed, knowledge, &waived))
        .collect())
}

/// Refusals that nobody can foresee who has not asked the shop database.
const ONLY_IT_CAN_REFUSE: [RefusalCode; 3] = [
    RefusalCode::AuthorizationUnknown,
    RefusalCode::OrderUnknown,
    RefusalCode::UnmatchedItem,
];

fn told(
    reading: &Reading,
    passed: Passed,
    knowledge: &Knowledge,
    waived: &BTreeSet<Reason>,
) -> Judged {
    let mut checks = vec![
        "environment: passed".to_owned(),
        "receiver: passed".to_owned(),
    ];
    if let Some(order) = &passed.order {
        checks.push(format!("order: {order}"));
    }
    if let Some(asked) = passed.asked {
        checks.push(format!("price: held against {asked}"));
    } else if matches!(
        reading.event_type,
        EventType::Completed | EventType::Pending
    ) {
        checks.push(
            match knowledge {
                Knowledge::Whole(_) => "price: nothing to hold it against",
                Knowledge::Missing(_) => "price: needs the shop database",
            }
            .to_owned(),
        );
    }
    // A waiver stands here for what nobody could ask, and is no person's.
    let is_made_up = |flag: &&Reason| {
        !waived.is_empty() && (waived.contains(*flag) || flag.as_str() == "released")
    };
    let flags = passed.flags.iter().filter(|flag| !is_made_up(flag));
    checks.extend(flags.map(|flag| format!("flag: {flag}")));
    checks.extend(knowledge.missing());
    Judged {
        checks,
        bought: passed.bought,
    }
}
