//! What `/readyz` answers, as a number; asked when it is scraped.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Opts};

use super::PREFIX;
use crate::admin::Readiness;

/// `ready`.
#[derive(Debug)]
pub(super) struct ReadyState {
    readiness: Readiness,
    ready: IntGauge,
}

impl ReadyState {
    pub(super) fn new(readiness: Readiness) -> Result<Self, prometheus::Error> {
        let help = "Whether this process takes work, as /readyz answers: 1 or 0.";
        Ok(Self {
            readiness,
            ready: IntGauge::with_opts(Opts::new("ready", help).namespace(PREFIX))?,
        })
    }
}

impl Collector for ReadyState {
    fn desc(&self) -> Vec<&Desc> {
        self.ready.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.ready
            .set(i64::from(self.readiness.missing().is_empty()));
        self.ready.collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::admin::Readiness;
    use crate::metrics::Metrics;
    use crate::queue::QueueNames;

    #[test]
    fn a_process_that_drains_is_shown_as_not_ready() {
        let metrics = Metrics::new(&QueueNames::default()).unwrap();
        let readiness = Readiness::new();
        metrics.watch_readiness(readiness.clone()).unwrap();
        assert!(metrics.render().unwrap().contains("\nquittance_ready 0\n"));
        readiness.require("listener", || true);
        assert!(metrics.render().unwrap().contains("\nquittance_ready 1\n"));
        readiness.drain();
        assert!(metrics.render().unwrap().contains("\nquittance_ready 0\n"));
    }
}
