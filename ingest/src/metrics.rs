//! What ingest counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};
use quittance_common::ids::{AccountId, GatewayId};
use quittance_common::metrics::{ANSWER_BUCKETS, InFlight, Metrics, PREFIX, counter_vec};
use quittance_common::settings::Settings;
use quittance_common::stage::StageName;

use crate::accept::{Refusal, Route};
use crate::returns::look::Outcome;

/// The label of what was accepted.
const ACCEPTED: &str = "accepted";
/// The label of a gateway or account that is not set: what stands in the URL is no label.
const UNKNOWN: &str = "unknown";
/// The most accounts with a label of their own: with `unknown` and [`OTHER`] that makes twenty.
const MOST_ACCOUNTS: usize = 18;
/// The label of the accounts beyond those.
const OTHER: &str = "other";

/// The handles. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    received: IntCounterVec,
    /// `ack_seconds`: from the request's head to the decision to answer `200`.
    pub ack_seconds: Histogram,
    /// `connections`: open ones of clients.
    pub connections: IntGauge,
    /// `connections_limit`: how many there may be at once.
    pub connections_limit: IntGauge,
    /// `pdt_lookups_total`, by [`crate::returns::look::Outcome`].
    pub lookups: IntCounterVec,
    /// The shared metrics.
    pub shared: Metrics,
    in_flight: IntGauge,
    /// The accounts that have a label of their own: the first of the settings.
    named: Arc<BTreeSet<(GatewayId, AccountId)>>,
}

impl IngestMetrics {
    /// Registers them, every series at zero.
    ///
    /// # Errors
    /// When a name is registered already.
    pub fn register(shared: &Metrics, settings: &Settings) -> Result<Self, prometheus::Error> {
        let registry = shared.registry();
        let received = counter_vec(
            registry,
            "notifications_received_total",
            "Notifications received, by what became of them.",
            &["gateway", "account", "outcome"],
        )?;
        let options = HistogramOpts::new(
            "ack_seconds",
            "Seconds from a request's head to the answer 200.",
        )
        .namespace(PREFIX)
        .buckets(ANSWER_BUCKETS.to_vec());
        let ack_seconds = Histogram::with_opts(options)?;
        registry.register(Box::new(ack_seconds.clone()))?;
        let named: BTreeSet<(GatewayId, AccountId)> = settings
            .accounts
            .iter()
            .take(MOST_ACCOUNTS)
            .map(|account| (account.gateway, account.id.clone()))
            .collect();
        for account in &settings.accounts {
            let gateway = account.gateway.as_str();
            let id = account_label(&named, account.gateway, &account.id);
            received.with_label_values(&[gateway, id, ACCEPTED]);
            for refusal in Refusal::ALL {
                received.with_label_values(&[gateway, id, refusal.as_label()]);
            }
        }
        received.with_label_values(&[UNKNOWN, UNKNOWN, Refusal::Unknown.as_label()]);
        let lookups = counter_vec(
            registry,
            "pdt_lookups_total",
            "Look-ups of returning buyers' transactions, by what came of them.",
            &["outcome"],
        )?;
        for outcome in Outcome::ALL {
            lookups.with_label_values(&[outcome.as_label()]);
        }
        let gauge = |name, help: &str| {
            let gauge = IntGauge::with_opts(Opts::new(name, help).namespace(PREFIX))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let connections = gauge("connections", "Open connections of clients.")?;
        let connections_limit = gauge("connections_limit", "The most connections at once.")?;
        let in_flight = shared
            .in_flight
            .with_label_values(&[StageName::Ingest.as_str()]);
        Ok(Self {
            received,
            ack_seconds,
            connections,
            connections_limit,
            lookups,
            shared: shared.clone(),
            in_flight,
            named: Arc::new(named),
        })
    }

    /// Counts one notification; `None` for a URL that is not set.
    pub fn count(&self, route: Option<&Route>, outcome: Result<(), Refusal>) {
        let (gateway, account) = route.map_or((UNKNOWN, UNKNOWN), |route| {
            let account = account_label(&self.named, route.gateway, &route.account);
            (route.gateway.as_str(), account)
        });
        let outcome = outcome.map_or_else(Refusal::as_label, |()| ACCEPTED);
        self.received
            .with_label_values(&[gateway, account, outcome])
            .inc();
    }

    /// Counts a request in hand for as long as the answer lives.
    pub fn enter(&self) -> InFlight {
        InFlight::enter(self.in_flight.clone())
    }
}

/// The label of an account that is set.
fn account_label<'a>(
    named: &BTreeSet<(GatewayId, AccountId)>,
    gateway: GatewayId,
    account: &'a AccountId,
) -> &'a str {
    if named.contains(&(gateway, account.clone())) {
        account.as_str()
    } else {
        OTHER
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use quittance_common::queue::QueueNames;

    #[test]
    fn a_hundred_accounts_have_twenty_labels_and_each_notification_is_counted_under_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("quittance.toml");
        let mut text = String::new();
        for number in 0..100 {
            writeln!(
                text,
                "[[account]]\nid = \"shop{number:03}\"\ngateway = \"paypal\"\nreceivers = [\"R{number}\"]"
            )
            .unwrap();
        }
        std::fs::write(&file, text).unwrap();
        let settings = Settings::load(Some(&file), &std::collections::BTreeMap::new()).unwrap();
        let shared = Metrics::new(&QueueNames::default()).unwrap();
        let metrics = IngestMetrics::register(&shared, &settings).unwrap();
        for account in &settings.accounts {
            let route = Route {
                gateway: account.gateway,
                account: account.id.clone(),
            };
            metrics.count(Some(&route), Ok(()));
        }
        metrics.count(None, Err(Refusal::Unknown));
        let text = shared.render().unwrap();
        let labels: BTreeSet<&str> = text
            .lines()
            .filter(|line| line.starts_with("quittance_notifications_received_total"))
            .filter_map(|line| line.split_once("account=\"")?.1.split('"').next())
            .collect();
        assert_eq!(labels.len(), 20, "{labels:?}");
        let accepted = |account: &str| {
            format!(
                "received_total{{account=\"{account}\",gateway=\"paypal\",outcome=\"accepted\"}}"
            )
        };
        assert!(text.contains(&format!("{} 1", accepted("shop017"))));
        assert!(text.contains(&format!("{} 82", accepted(OTHER))));
    }
}
