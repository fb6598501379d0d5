//! Look-ups in the memory of the one process that the embedded engine is.
//!
//! A restart forgets them: the worst that follows is a look-up that the gateway refuses, and a
//! refusal says nothing about the payment. In return no address is ever written to a disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{
    Begun, KeptAnswer, LOOKUPS_PER_TOKEN, Look, LookupError, LookupKey, LookupTimes, REMEMBER,
};

/// How many tokens are remembered at once; whoever makes tokens up must not fill the memory.
const LIMIT: usize = 50_000;

/// The store. Cheap to clone; every clone is the same.
#[derive(Debug, Clone)]
pub struct EmbeddedLookups {
    times: LookupTimes,
    entries: Arc<Mutex<HashMap<LookupKey, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    asked: u32,
    asking: Option<(Look, Instant)>,
    answer: Option<(KeptAnswer, Instant)>,
    forget_at: Instant,
}

impl EmbeddedLookups {
    /// An empty store.
    pub fn new(times: LookupTimes) -> Self {
        Self {
            times,
            entries: Arc::default(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<LookupKey, Entry>> {
        // Every statement leaves the map valid, so a poisoned lock holds a good value.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`super::Lookups::begin`].
    ///
    /// # Errors
    /// When too many tokens are remembered.
    pub fn begin(&self, key: &LookupKey, look: &Look) -> Result<Begun, LookupError> {
        let now = Instant::now();
        let mut entries = self.entries();
        if entries.len() >= LIMIT && !entries.contains_key(key) {
            entries.retain(|_, entry| entry.forget_at > now);
            if entries.len() >= LIMIT {
                return Err(LookupError("too many tokens at once".to_owned()));
            }
        }
        let fresh = || Entry {
            asked: 0,
            asking: None,
            answer: None,
            forget_at: now,
        };
        let entry = entries.entry(key.clone()).or_insert_with(fresh);
        if entry.forget_at <= now {
            *entry = fresh();
        }
        Ok(entry.begin(look, self.times, now))
    }

    /// See [`super::Lookups::finish`].
    pub fn finish(&self, key: &LookupKey, answer: &KeptAnswer) {
        let now = Instant::now();
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key) {
            entry.finish(answer, self.times, now);
        }
    }
}

impl Entry {
    fn begin(&mut self, look: &Look, times: LookupTimes, now: Instant) -> Begun {
        // What is over is let go of, not only overlooked: it is personal data.
        self.answer = self.answer.take().filter(|(_, until)| *until > now);
        if let Some((answer, _)) = &self.answer {
            return Begun::Known(answer.clone());
        }
        if let Some((other, until)) = &self.asking
            && *until > now
        {
            if other.owner != look.owner {
                let remaining = until.saturating_duration_since(now);
                return Begun::Busy { remaining };
            }
            if other.attempt >= look.attempt {
                return Begun::Ask { number: self.asked };
            }
        }
        if self.asked >= LOOKUPS_PER_TOKEN {
            return Begun::Spent;
        }
        self.asked = self.asked.saturating_add(1);
        self.asking = Some((look.clone(), after(now, times.lease)));
        let remember = after(now, times.keep.max(times.lease));
        self.forget_at = self.forget_at.max(remember);
        Begun::Ask { number: self.asked }
    }

    fn finish(&mut self, answer: &KeptAnswer, times: LookupTimes, now: Instant) {
        self.asking = None;
        let succeeded = self
            .answer
            .as_ref()
            .is_some_and(|(kept, until)| kept.is_success() && *until > now);
        if succeeded && !answer.is_success() {
            return;
        }
        if answer.is_success() {
            self.forget_at = after(now, REMEMBER);
        }
        self.answer = Some((answer.clone(), after(now, times.keep)));
    }
}

fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}
