//! Who waits for what: the consumers in memory, what each holds, and which queues may have
//! something for them. No IO.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio::sync::{mpsc, oneshot, watch};

use super::batch::{Leased, Place, Want};
use crate::queue::{QueueId, StaleDelivery};

/// A consumer as the writer knows it.
#[derive(Debug)]
pub(super) struct Subscription {
    /// Its number; unique in this process, never 0.
    pub(super) consumer: i64,
    /// What it consumes.
    pub(super) queue: QueueId,
    /// The same as columns.
    pub(super) place: Place,
    /// The most it holds.
    pub(super) prefetch: usize,
    /// Its deliveries; closed when the consumer is gone.
    pub(super) deliveries: mpsc::UnboundedSender<Leased>,
    /// Whether it stands.
    pub(super) subscribed: watch::Sender<bool>,
}

/// A message that goes back, and from where it was taken.
pub(super) type Returned = (i64, QueueId);

#[derive(Debug)]
struct Member {
    subscription: Subscription,
    held: BTreeSet<i64>,
    stopped: bool,
}

impl Member {
    fn credit(&self) -> usize {
        if self.stopped {
            0
        } else {
            self.subscription.prefetch.saturating_sub(self.held.len())
        }
    }
}

/// What to look for in the next transaction.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// Work queues whose next due moment is to be looked up, with their names.
    pub(super) due: Vec<(QueueId, String)>,
    /// Consumers with credit at queues that may have messages.
    pub(super) consumers: Vec<(QueueId, Want)>,
}

impl Wants {
    /// Whether there is nothing to look for.
    pub(super) const fn is_empty(&self) -> bool {
        self.due.is_empty() && self.consumers.is_empty()
    }
}

/// What a transaction has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// When each asked queue is due next.
    pub(super) due: Vec<(QueueId, i64)>,
    /// What each consumer has got.
    pub(super) leased: Vec<(i64, Vec<Leased>)>,
    /// Queues that have no more now.
    pub(super) exhausted: HashSet<QueueId>,
}

/// Consumers, and what is known of the queues that they wait for.
#[derive(Debug, Default)]
pub(super) struct Line {
    members: BTreeMap<i64, Member>,
    /// Queues that may have a message to give.
    ready: HashSet<QueueId>,
    /// A moment not after the one when a waiting message joins the queue next.
    due: HashMap<QueueId, i64>,
    /// The consumer that was asked first in the last round.
    first: i64,
}

impl Line {
    /// A new consumer; its queue may have messages and waiting ones.
    pub(super) fn subscribe(&mut self, subscription: Subscription) {
        subscription.subscribed.send_replace(true);
        self.returned(subscription.queue);
        self.members.insert(
            subscription.consumer,
            Member {
                subscription,
                held: BTreeSet::new(),
                stopped: false,
            },
        );
    }

    /// A consumer takes no more; it still holds what it holds.
    pub(super) fn unsubscribe(&mut self, consumer: i64) {
        if let Some(member) = self.members.get_mut(&consumer) {
            member.stopped = true;
            member.subscription.subscribed.send_replace(false);
        }
    }

    /// Takes a message out of a consumer's hands; its queue, if it was in them.
    pub(super) fn settle(&mut self, consumer: i64, seq: i64) -> Result<QueueId, StaleDelivery> {
        let member = self.members.get_mut(&consumer).ok_or(StaleDelivery)?;
        if member.held.remove(&seq) {
            Ok(member.subscription.queue)
        } else {
            Err(StaleDelivery)
        }
    }

    /// Forgets the consumers that were dropped; what they held goes back.
    pub(super) fn collect_dropped(&mut self) -> Vec<Returned> {
        self.members
            .extract_if(.., |_, member| member.subscription.deliveries.is_closed())
            .flat_map(|(_, member)| {
                let queue = member.subscription.queue;
                member.held.into_iter().map(move |seq| (seq, queue))
            })
            .collect()
    }

    /// A message was stored for `queue`, to join the line at `visible_at`.
    pub(super) fn stored(&mut self, queue: QueueId, visible_at: i64) {
        self.ready.insert(queue);
        if let QueueId::Retry(work, _) = queue {
            let due = self.due.entry(QueueId::Work(work)).or_insert(visible_at);
            *due = visible_at.min(*due);
        }
    }

    /// Messages went back to `queue`; one of a delay queue may be due meanwhile.
    pub(super) fn returned(&mut self, queue: QueueId) {
        self.ready.insert(queue);
        let work = match queue {
            QueueId::Work(work) | QueueId::Retry(work, _) => work,
            QueueId::Dead(_) | QueueId::Quarantine => return,
        };
        self.due.insert(QueueId::Work(work), i64::MIN);
    }

    /// What to look for at `now`. Nothing is forgotten by asking.
    pub(super) fn wants(&mut self, now: i64) -> Wants {
        let mut wants = Wants::default();
        let waiting: BTreeSet<QueueId> = self.waiting().collect();
        for queue in &waiting {
            if self.due.get(queue).is_some_and(|due| *due <= now) {
                self.ready.insert(*queue);
            }
        }
        let after = self.members.range(self.first.saturating_add(1)..);
        let before = self.members.range(..=self.first);
        for (consumer, member) in after.chain(before) {
            let queue = member.subscription.queue;
            let credit = member.credit();
            if credit == 0 || !self.ready.contains(&queue) {
                continue;
            }
            let place = &member.subscription.place;
            if self.due.get(&queue).is_some_and(|due| *due <= now)
                && !wants.due.iter().any(|(asked, _)| *asked == queue)
            {
                wants.due.push((queue, place.queue.clone()));
            }
            let want = Want {
                consumer: *consumer,
                place: place.clone(),
                limit: i64::try_from(credit).unwrap_or(i64::MAX),
            };
            wants.consumers.push((queue, want));
        }
        if let Some((_, want)) = wants.consumers.first() {
            self.first = want.consumer;
        }
        wants
    }

    /// Notes what a committed transaction has found, and hands the messages out.
    pub(super) fn record(&mut self, found: Found) {
        self.due.extend(found.due);
        for queue in &found.exhausted {
            self.ready.remove(queue);
        }
        for (consumer, leased) in found.leased {
            let Some(member) = self.members.get_mut(&consumer) else {
                continue;
            };
            for one in leased {
                member.held.insert(one.seq);
                // A consumer that was dropped meanwhile is collected in the next turn.
                member.subscription.deliveries.send(one).ok();
            }
        }
    }

    /// The next moment when somebody could be given something; `None` when only an event helps.
    pub(super) fn next_moment(&self) -> Option<i64> {
        self.waiting()
            .filter_map(|queue| {
                if self.ready.contains(&queue) {
                    Some(i64::MIN)
                } else {
                    self.due.get(&queue).copied()
                }
            })
            .min()
    }

    /// Nobody is subscribed any more.
    pub(super) fn close(&mut self) {
        for member in self.members.values() {
            member.subscription.subscribed.send_replace(false);
        }
        self.members.clear();
    }

    fn waiting(&self) -> impl Iterator<Item = QueueId> {
        self.members
            .values()
            .filter(|member| member.credit() > 0)
            .map(|member| member.subscription.queue)
    }
}

/// How a settled delivery is answered.
pub(super) type SettleReply = oneshot::Sender<Result<(), StaleDelivery>>;
