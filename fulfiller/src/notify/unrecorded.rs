//! What was sent and is not recorded as sent yet, because the database went away in between. While
//! the process lives it knows, and sends nothing twice.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quittance_common::ids::MessageId;

/// The most that is remembered: far more than a process has in hand when its database goes away.
const MOST: usize = 4096;

/// The ids, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unrecorded(Mutex<VecDeque<MessageId>>);

impl Unrecorded {
    /// `id` was sent. Of too many the oldest is forgotten.
    pub(super) fn remember(&self, id: MessageId) {
        let mut ids = self.ids();
        if ids.contains(&id) {
            return;
        }
        if ids.len() == MOST {
            ids.pop_front();
        }
        ids.push_back(id);
    }

    /// Whether `id` was sent.
    pub(super) fn has(&self, id: MessageId) -> bool {
        self.ids().contains(&id)
    }

    /// That `id` was sent is recorded.
    pub(super) fn forget(&self, id: MessageId) {
        self.ids().retain(|known| *known != id);
    }

    fn ids(&self) -> MutexGuard<'_, VecDeque<MessageId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_known_until_it_is_recorded_and_the_oldest_makes_room() {
        let unrecorded = Unrecorded::default();
        let ids: Vec<MessageId> = (0..=MOST)
            .map(|n| MessageId::from_name(&n.to_string()))
            .collect();
        for id in &ids {
            unrecorded.remember(*id);
            unrecorded.remember(*id);
        }
        assert!(!unrecorded.has(ids[0]) && unrecorded.has(ids[1]));
        unrecorded.forget(ids[1]);
        assert!(!unrecorded.has(ids[1]) && unrecorded.has(ids[MOST]));
    }
}
