//! Look-ups of the one process that the embedded engine is: answers and leases in its memory, the
//! counters also in a file.
//!
//! A restart forgets the answers, so that no address is ever written to a disk, and ends the
//! leases, whose holders are gone. It does not forget how often a token was looked up: who comes
//! next does not count as the first, and the worst is a look-up that the gateway refuses, which
//! says nothing about the payment.

mod counters;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use self::counters::{Counter, Counters};
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
    /// `None`: a restart forgets everything.
    counters: Option<Counters>,
}

#[derive(Debug, Clone)]
struct Entry {
    asked: u32,
    asking: Option<(Look, Instant)>,
    answer: Option<(KeptAnswer, Instant)>,
    forget_at: Instant,
}

impl EmbeddedLookups {
    /// An empty store in memory alone.
    pub fn new(times: LookupTimes) -> Self {
        Self {
            times,
            entries: Arc::default(),
            counters: None,
        }
    }

    /// A store that counts in `lookups.sqlite` of `data_dir`, which is opened when first needed.
    /// To be called in a runtime; one process at a time may have it.
    pub fn open(data_dir: &Path, times: LookupTimes) -> Self {
        Self {
            counters: Some(Counters::lazy(data_dir)),
            ..Self::new(times)
        }
    }

    /// See [`super::Lookups::begin`].
    ///
    /// # Errors
    /// When too many tokens are remembered, or the count cannot be read or made durable.
    pub async fn begin(&self, key: &LookupKey, look: &Look) -> Result<Begun, LookupError> {
        let mut entries = self.entries.lock().await;
        let now = Instant::now();
        if entries.len() >= LIMIT && !entries.contains_key(key) {
            entries.retain(|_, entry| entry.forget_at > now);
            if entries.len() >= LIMIT {
                return Err(LookupError("too many tokens at once".to_owned()));
            }
        }
        let mut entry = match entries.get(key).filter(|entry| entry.forget_at > now) {
            Some(entry) => entry.clone(),
            None => self.counted(key, now).await?,
        };
        let before = entry.asked;
        let begun = entry.begin(look, self.times, now);
        if entry.asked != before {
            // Durable before anybody asks. What fails here has changed nothing in memory, so that
            // nobody takes it for begun.
            self.count(key, &entry, now).await?;
        }
        entries.insert(key.clone(), entry);
        Ok(begun)
    }

    /// See [`super::Lookups::known`].
    pub async fn known(&self, key: &LookupKey) -> Option<KeptAnswer> {
        let now = Instant::now();
        let entries = self.entries.lock().await;
        let (answer, _) = entries
            .get(key)?
            .answer
            .as_ref()
            .filter(|(_, until)| *until > now)?;
        Some(answer.clone())
    }

    /// See [`super::Lookups::finish`].
    ///
    /// # Errors
    /// When the file does not take for how long the count is remembered; the answer is kept.
    pub async fn finish(&self, key: &LookupKey, answer: &KeptAnswer) -> Result<(), LookupError> {
        let mut entries = self.entries.lock().await;
        let now = Instant::now();
        let Some(entry) = entries.get_mut(key) else {
            return Ok(());
        };
        entry.finish(answer, self.times, now);
        if answer.is_success() {
            self.count(key, entry, now).await?;
        }
        Ok(())
    }

    /// The entry of a token that this process does not know yet.
    async fn counted(&self, key: &LookupKey, now: Instant) -> Result<Entry, LookupError> {
        let counter = match &self.counters {
            Some(counters) => counters.read(key).await?,
            None => Counter::default(),
        };
        Ok(Entry {
            asked: counter.asked,
            asking: None,
            answer: None,
            forget_at: after(now, counter.remember),
        })
    }

    async fn count(&self, key: &LookupKey, entry: &Entry, now: Instant) -> Result<(), LookupError> {
        let Some(counters) = &self.counters else {
            return Ok(());
        };
        let counter = Counter {
            asked: entry.asked,
            remember: entry.forget_at.saturating_duration_since(now),
        };
        counters.write(key, counter).await
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
