//! Watches money: what the verifier hands on is looked for in the books until it is there, and what
//! it holds back is added up.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus::{GaugeVec, Opts, Registry};
use quittance_common::clock;
use quittance_common::disposition::Disposition;
use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::gateway;
use quittance_common::message::Message;
use quittance_common::notification::RawNotification;
use quittance_common::queue::{Destination, QueueId, WorkQueue};
use quittance_common::settings::Settings;
use quittance_common::shop::{Shop, ShopError};
use quittance_common::stage::{Stage, StageName};
use tracing::{debug, warn};

use super::{Labels, Ledger, Paid, Sums, sums};

/// How often the books are asked.
const EVERY: Duration = Duration::from_secs(10);

/// For how long what was quarantined counts. Whatever has waited for longer is somebody's decision.
const HELD_FOR: SignedDuration = SignedDuration::from_hours(35 * 24);

/// Money that was paid and has no effect yet. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct AtRisk {
    settings: Arc<Settings>,
    shop: Shop,
    ledger: Arc<Mutex<Ledger>>,
    gauge: GaugeVec,
}

impl fmt::Debug for AtRisk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AtRisk(..)")
    }
}

impl AtRisk {
    /// Registers `money_at_risk{currency,state}`.
    ///
    /// # Errors
    /// When the name is taken in the registry.
    pub fn register(
        registry: &Registry,
        settings: Arc<Settings>,
        shop: Shop,
    ) -> Result<Self, prometheus::Error> {
        let help = "Money that was paid and has no effect yet, in units of the currency: verified \
                    for a minute by this process and not in the books, or quarantined (the same \
                    from every process).";
        let options = Opts::new("quittance_money_at_risk", help);
        let gauge = GaugeVec::new(options, &["currency", "state"])?;
        registry.register(Box::new(gauge.clone()))?;
        let at_risk = Self {
            settings,
            shop,
            ledger: Arc::default(),
            gauge,
        };
        at_risk.show(State::Verified, &mut Labels::default(), &Sums::new());
        at_risk.show(State::Quarantined, &mut Labels::default(), &Sums::new());
        Ok(at_risk)
    }

    /// Keeps the gauge right until it is dropped. While the books cannot be asked, everything that
    /// is on its way may be at risk.
    pub async fn keep(&self) -> Infallible {
        let (mut verified, mut quarantined) = (Labels::default(), Labels::default());
        loop {
            if let Err(error) = self.ask_for_verified().await {
                debug!(%error, "the books cannot be asked what has arrived");
            }
            let now = clock::now();
            let overdue = self.ledger().overdue(now);
            self.show(State::Verified, &mut verified, &overdue);
            match self.held_back(now).await {
                Ok(held) => self.show(State::Quarantined, &mut quarantined, &held),
                Err(error) => debug!(%error, "the books cannot be asked what is quarantined"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Strikes out what has come into the books.
    async fn ask_for_verified(&self) -> Result<(), ShopError> {
        let open = self.ledger().open();
        if open.is_empty() {
            return Ok(());
        }
        let applied = self.shop.applied(&open).await?;
        self.ledger().applied(&applied);
        Ok(())
    }

    /// What is quarantined although it is genuine, and not in the books by another message.
    async fn held_back(&self, now: Timestamp) -> Result<Sums, ShopError> {
        let since = now.checked_sub(HELD_FOR).unwrap_or(Timestamp::MIN);
        let held: Vec<Paid> = self
            .shop
            .held_back(since)
            .await?
            .iter()
            .flat_map(|message| paid_by(message, &self.settings))
            .collect();
        let applied = self.shop.applied(held.iter().map(|paid| &paid.key)).await?;
        let missing = held.into_iter().filter(|paid| !applied.contains(&paid.key));
        Ok(sums(missing.map(|paid| paid.gross)))
    }

    fn show(&self, state: State, labels: &mut Labels, sums: &Sums) {
        for (currency, units) in labels.values(sums) {
            self.gauge
                .with_label_values(&[currency.as_str(), state.as_str()])
                .set(units);
        }
    }

    fn forwarded(&self, paid: Vec<Paid>) {
        let now = clock::now();
        let mut ledger = self.ledger();
        for paid in paid {
            if !ledger.forwarded(paid, now) {
                warn!("too many payments are on their way to keep all in mind");
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Entries are independent of each other, so the ledger is right even after a panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the money has no effect.
#[derive(Debug, Clone, Copy)]
enum State {
    /// On its way for too long.
    Verified,
    /// A person must decide.
    Quarantined,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Quarantined => "quarantined",
        }
    }
}

/// The payments that a parked message tells. What cannot be read tells none.
fn paid_by(message: &Message, settings: &Settings) -> Vec<Paid> {
    let Ok(raw) = RawNotification::from_message(message) else {
        return Vec::new();
    };
    let read = settings
        .account(raw.gateway, &raw.account)
        .and_then(|account| gateway::read(&raw, account).ok());
    let readings = read.into_iter().flat_map(|read| read.readings);
    readings
        .filter(|reading| reading.event_type == EventType::Completed)
        .filter_map(|reading| {
            let (key, gross) = (reading.key, reading.data.gross?);
            Some(Paid { key, gross })
        })
        .collect()
}

/// A stage whose payments are watched once they are on their way.
#[derive(Debug)]
pub struct Watched<S> {
    stage: S,
    at_risk: AtRisk,
}

impl<S> Watched<S> {
    /// Watches what `stage` hands on.
    pub const fn new(stage: S, at_risk: AtRisk) -> Self {
        Self { stage, at_risk }
    }

    /// The payments among what is published for the fulfiller.
    fn paid(&self, publish: &[(Destination, Message)]) -> Vec<Paid> {
        let fulfil = Destination::Queue(QueueId::Work(WorkQueue::Fulfil));
        publish
            .iter()
            .filter(|(to, _)| *to == fulfil)
            .filter_map(|(_, message)| PaymentEvent::from_json(&message.body).ok())
            .filter_map(|event| Paid::of(&event, &self.at_risk.settings.rules))
            .collect()
    }
}

impl<S: Stage> Stage for Watched<S> {
    const NAME: StageName = S::NAME;
    type Receipt = (S::Receipt, Vec<Paid>);

    async fn ready(&self) {
        self.stage.ready().await;
    }

    async fn handle(&self, message: &Message) -> Disposition<Self::Receipt> {
        match self.stage.handle(message).await {
            Disposition::Forward { publish, receipt } => {
                let paid = self.paid(&publish);
                Disposition::Forward {
                    publish,
                    receipt: (receipt, paid),
                }
            }
            Disposition::Retry {
                wait,
                reason,
                detail,
            } => Disposition::Retry {
                wait,
                reason,
                detail,
            },
            Disposition::Park {
                lot,
                reason,
                detail,
            } => Disposition::Park {
                lot,
                reason,
                detail,
            },
        }
    }

    async fn confirmed(&self, (receipt, paid): Self::Receipt) {
        self.at_risk.forwarded(paid);
        self.stage.confirmed(receipt).await;
    }
}

#[cfg(test)]
mod tests;
