//! The engine's state, read when it is scraped: a gauge that is set now and then would lie.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Opts};

use super::PREFIX;
use crate::queue::{Queues, Status};

/// `broker_up` and `broker_blocked`.
#[derive(Debug)]
pub(super) struct BrokerState {
    queues: Queues,
    up: IntGauge,
    blocked: IntGauge,
}

impl BrokerState {
    pub(super) fn new(queues: Queues) -> Result<Self, prometheus::Error> {
        let gauge = |name, help: &str| IntGauge::with_opts(Opts::new(name, help).namespace(PREFIX));
        Ok(Self {
            queues,
            up: gauge("broker_up", "Whether messages can be published: 1 or 0.")?,
            blocked: gauge(
                "broker_blocked",
                "Whether the broker blocks publishers: 1 or 0.",
            )?,
        })
    }
}

impl Collector for BrokerState {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.up.desc();
        all.extend(self.blocked.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (up, blocked) = match self.queues.status() {
            Status::Up => (1, 0),
            Status::Blocked(_) => (0, 1),
            Status::Down(_) => (0, 0),
        };
        self.up.set(up);
        self.blocked.set(blocked);
        let mut all = self.up.collect();
        all.extend(self.blocked.collect());
        all
    }
}
