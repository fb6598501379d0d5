//! How full the queues are, and how old what waits is: asked of the engine now and then.
//!
//! No broker tells the age of the oldest waiting message of a quorum queue without handing it out.
//! But a queue is in order: nothing that waits is older than the message that was handed out last,
//! nor than the moment at which the queue was last seen empty. The later of both is told, and nothing
//! as long as a process knows neither.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::{IntGaugeVec, Opts, Registry};

use super::PREFIX;
use crate::clock;
use crate::queue::{Depth, QueueId, QueueNames, Queues, WorkQueue};

/// How often the engine is asked; as often as Prometheus usually scrapes.
const EVERY: Duration = Duration::from_secs(10);

/// How old what waits on a queue may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oldest {
    /// Nothing waits.
    Nothing,
    /// No message that waits was put there before this.
    NotBefore(Timestamp),
    /// Messages wait, and this process has neither seen the queue empty nor taken anything from it:
    /// they may have waited for days. Its own start bounds nothing, or a process that is restarted
    /// every minute would say for ever that nothing is older than a minute.
    Unknown,
}

/// Since when the oldest message of a work queue may be waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Since {
    /// The newest moment at which something that has been delivered was put on the queue.
    delivered: Option<Timestamp>,
    /// When the queue was seen empty last.
    empty: Option<Timestamp>,
}

impl Since {
    /// Takes note of `ready` messages at `now`.
    fn seen(&mut self, ready: u64, now: Timestamp) -> Oldest {
        if ready == 0 {
            self.empty = Some(now);
            return Oldest::Nothing;
        }
        self.delivered
            .max(self.empty)
            .map_or(Oldest::Unknown, Oldest::NotBefore)
    }
}

/// What this process knows of the age of what waits. Cheap to clone; every clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<BTreeMap<WorkQueue, Since>>>);

impl Waiting {
    /// A message of `queue` was handed out that had been put there at `at`, or later.
    pub fn delivered(&self, queue: WorkQueue, at: Timestamp) {
        self.with(queue, |since| {
            since.delivered = since.delivered.max(Some(at));
        });
    }

    fn seen(&self, queue: WorkQueue, ready: u64, now: Timestamp) -> Oldest {
        self.with(queue, |since| since.seen(ready, now))
    }

    fn with<T>(&self, queue: WorkQueue, change: impl FnOnce(&mut Since) -> T) -> T {
        // Each entry is right by itself, also after a panic.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(queue).or_default())
    }
}

/// `queue_messages{queue}`, `queue_consumers{queue}`, `queue_oldest_timestamp_seconds{queue}`.
#[derive(Debug)]
pub struct QueueGauges {
    names: QueueNames,
    waiting: Waiting,
    messages: IntGaugeVec,
    consumers: IntGaugeVec,
    oldest: IntGaugeVec,
}

impl QueueGauges {
    pub(super) fn register(
        registry: &Registry,
        names: QueueNames,
        waiting: Waiting,
    ) -> Result<Self, prometheus::Error> {
        let gauge = |name, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help).namespace(PREFIX), &["queue"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            messages: gauge(
                "queue_messages",
                "Messages that wait, by queue; the delay queues of a work queue are one.",
            )?,
            consumers: gauge("queue_consumers", "Consumers of a work queue.")?,
            oldest: gauge(
                "queue_oldest_timestamp_seconds",
                "No message that waits is older than this; 0 when none waits, absent while it is not known.",
            )?,
            names,
            waiting,
        })
    }

    /// Asks `queues` until it is dropped. While the engine cannot be asked there are no series:
    /// the last known number would be a lie.
    pub async fn keep(self, queues: Queues) -> Infallible {
        loop {
            match queues.depths().await {
                Ok(depths) => self.show(&depths, clock::now()),
                Err(error) => {
                    tracing::debug!(%error, "how full the queues are is not known");
                    self.hide();
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Shows what was found; a queue that is not listed is empty.
    fn show(&self, depths: &[Depth], now: Timestamp) {
        let found = |queue| {
            let name = self.names.name(queue);
            depths.iter().find(|depth| depth.queue == name)
        };
        let ready = |queue| found(queue).map_or(0, |depth| depth.ready);
        for work in WorkQueue::ALL {
            let name = self.names.name(QueueId::Work(work));
            let waits = ready(QueueId::Work(work));
            set(&self.messages, &name, waits);
            let rungs = self.names.ladder().rungs().iter();
            let delayed = rungs.map(|rung| ready(QueueId::Retry(work, *rung))).sum();
            set(&self.messages, &format!("{name}.retry"), delayed);
            let dead = QueueId::Dead(work);
            set(&self.messages, &self.names.name(dead), ready(dead));
            let consumers = found(QueueId::Work(work)).map_or(0, |depth| depth.consumers);
            set(&self.consumers, &name, consumers);
            let oldest = match self.waiting.seen(work, waits, now) {
                Oldest::Nothing => Some(0),
                Oldest::NotBefore(at) => Some(at.as_second()),
                Oldest::Unknown => None,
            };
            match oldest {
                Some(seconds) => self.oldest.with_label_values(&[&name]).set(seconds),
                // An error says that there was no such series.
                None => self.oldest.remove_label_values(&[&name]).unwrap_or(()),
            }
        }
        let quarantine = self.names.name(QueueId::Quarantine);
        set(&self.messages, &quarantine, ready(QueueId::Quarantine));
    }

    fn hide(&self) {
        self.messages.reset();
        self.consumers.reset();
        self.oldest.reset();
    }
}

fn set(gauge: &IntGaugeVec, queue: &str, value: u64) {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    gauge.with_label_values(&[queue]).set(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn nothing_waits_longer_than_since_the_queue_was_seen_empty() {
        let mut since = Since::default();
        assert_eq!(since.seen(0, at(0)), Oldest::Nothing);
        assert_eq!(since.seen(3, at(15)), Oldest::NotBefore(at(0)));
        assert_eq!(since.seen(9, at(600)), Oldest::NotBefore(at(0)));
        assert_eq!(since.seen(0, at(615)), Oldest::Nothing);
    }

    #[test]
    fn a_process_that_has_just_started_says_nothing_of_what_waited_before_it() {
        let names = QueueNames::default();
        let metrics = Metrics::new(&names).unwrap();
        let gauges = metrics.watch_queues(&names).unwrap();
        let verify = |ready| {
            [Depth {
                queue: "ipn.verify".into(),
                ready,
                unacked: Some(0),
                consumers: 1,
            }]
        };
        let oldest = "quittance_queue_oldest_timestamp_seconds{queue=\"ipn.verify\"}";
        let shown = |ready, now| {
            gauges.show(&verify(ready), now);
            let text = metrics.render().unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(oldest));
            line.map(|seconds| seconds.trim().to_owned())
        };
        for second in [0, 600, 6_000] {
            assert_eq!(shown(5, at(second)), None);
        }
        metrics.waiting.delivered(WorkQueue::Verify, at(-60));
        assert_eq!(shown(5, at(6_010)).as_deref(), Some("1799999940"));
        assert_eq!(shown(0, at(6_020)).as_deref(), Some("0"));
        assert_eq!(shown(1, at(6_030)).as_deref(), Some("1800006020"));
    }

    #[test]
    fn nothing_waits_longer_than_the_message_that_was_handed_out_last() {
        let waiting = Waiting::default();
        assert_eq!(waiting.seen(WorkQueue::Verify, 5, at(0)), Oldest::Unknown);
        waiting.delivered(WorkQueue::Verify, at(40));
        // One that comes back from a delay queue has kept its first time, which says nothing new.
        waiting.delivered(WorkQueue::Verify, at(-9_000));
        let oldest = waiting.seen(WorkQueue::Verify, 5, at(60));
        assert_eq!(oldest, Oldest::NotBefore(at(40)));
        assert_eq!(waiting.seen(WorkQueue::Notify, 5, at(60)), Oldest::Unknown);
    }

    #[test]
    fn delay_queues_are_one_and_queues_that_cannot_be_asked_have_no_number() {
        let names = QueueNames::default();
        let metrics = Metrics::new(&names).unwrap();
        let gauges = metrics.watch_queues(&names).unwrap();
        let depth = |queue: &str, ready, consumers| Depth {
            queue: queue.into(),
            ready,
            unacked: None,
            consumers,
        };
        let found = [
            depth("ipn.verify", 7, 2),
            depth("ipn.verify.retry.1s", 2, 0),
            depth("ipn.verify.retry.5s", 3, 0),
            depth("ipn.quarantine", 4, 0),
        ];
        gauges.show(&found, at(0));
        let text = metrics.render().unwrap();
        for line in [
            "quittance_queue_messages{queue=\"ipn.verify\"} 7",
            "quittance_queue_messages{queue=\"ipn.verify.retry\"} 5",
            "quittance_queue_messages{queue=\"ipn.quarantine\"} 4",
            "quittance_queue_messages{queue=\"ipn.fulfil.dead\"} 0",
            "quittance_queue_consumers{queue=\"ipn.verify\"} 2",
            "quittance_queue_consumers{queue=\"ipn.fulfil\"} 0",
            "quittance_queue_oldest_timestamp_seconds{queue=\"ipn.notify\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        gauges.hide();
        assert!(!metrics.render().unwrap().contains("quittance_queue_"));
    }
}
