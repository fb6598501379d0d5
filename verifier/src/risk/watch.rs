//! Shows what the books say about money at risk and about what waits for a person. The books know
//! it all, so every process shows the same, and a restart forgets nothing.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};
use quittance_common::clock;
use quittance_common::shop::parked::PARKING;
use quittance_common::shop::{Shop, ShopError, Waits};
use tracing::debug;

use super::{Labels, Sums, sums};

/// How often the books are asked.
const EVERY: Duration = Duration::from_secs(10);

/// Failures in a row after which the last known figures are shown no longer.
const PATIENCE: u32 = 6;

/// The gauges. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct AtRisk {
    shop: Shop,
    money: GaugeVec,
    waiting: IntGaugeVec,
}

impl fmt::Debug for AtRisk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AtRisk(..)")
    }
}

impl AtRisk {
    /// Registers `money_at_risk{currency,state}` and `waiting_for_a_person{queue}`.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(registry: &Registry, shop: Shop) -> Result<Self, prometheus::Error> {
        let help = "Money that was paid and has no effect yet, in units of the currency: verified \
                    for a minute and not in the books, or quarantined. The same from every process.";
        let options = Opts::new("quittance_money_at_risk", help);
        let money = GaugeVec::new(options, &["currency", "state"])?;
        registry.register(Box::new(money.clone()))?;
        let help = "Genuine parked messages that nobody has released or dismissed yet, by the \
                    queue that they were parked on, without its prefix. The same from every \
                    process.";
        let options = Opts::new("quittance_waiting_for_a_person", help);
        let waiting = IntGaugeVec::new(options, &["queue"])?;
        registry.register(Box::new(waiting.clone()))?;
        for queue in PARKING {
            waiting.with_label_values(&[queue]).set(0);
        }
        let at_risk = Self {
            shop,
            money,
            waiting,
        };
        at_risk.show(Waits::Verified, &mut Labels::default(), &Sums::new());
        at_risk.show(Waits::Quarantined, &mut Labels::default(), &Sums::new());
        Ok(at_risk)
    }

    /// Keeps the gauges right until it is dropped. While the books cannot be asked they show what
    /// was known last, and after a minute nothing: other verifiers may know better.
    pub async fn keep(&self) -> Infallible {
        let (mut labels, mut failures) = ([Labels::default(), Labels::default()], 0_u32);
        loop {
            if let Err(error) = self.look(&mut labels).await {
                debug!(%error, "the books cannot be asked which money is at risk");
                failures = failures.saturating_add(1);
                if failures == PATIENCE {
                    self.money.reset();
                    self.waiting.reset();
                }
            } else {
                failures = 0;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn look(&self, [verified, quarantined]: &mut [Labels; 2]) -> Result<(), ShopError> {
        let found = self.shop.money_at_risk(clock::now()).await?;
        let of = |state| {
            let own = found.iter().filter(move |(waits, _)| *waits == state);
            sums(own.map(|(_, money)| *money))
        };
        self.show(Waits::Verified, verified, &of(Waits::Verified));
        self.show(Waits::Quarantined, quarantined, &of(Waits::Quarantined));
        for (queue, count) in self.shop.waiting_for_a_person().await? {
            self.waiting.with_label_values(&[queue.as_str()]).set(count);
        }
        Ok(())
    }

    fn show(&self, state: Waits, labels: &mut Labels, sums: &Sums) {
        for (currency, units) in labels.values(sums) {
            self.money
                .with_label_values(&[currency.as_str(), state.as_str()])
                .set(units);
        }
    }
}
