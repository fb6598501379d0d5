//! Whether the shop database is there, so that a stage takes no deliveries while it is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Shop;

/// How often a database that is down is asked again.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Remembers that the database was found down, and waits until it is not.
#[derive(Debug)]
pub struct Availability {
    shop: Shop,
    down: AtomicBool,
}

impl Availability {
    /// Of `shop`, which is taken to be there.
    pub const fn new(shop: Shop) -> Self {
        Self {
            shop,
            down: AtomicBool::new(false),
        }
    }

    /// A use has failed in a way that passes by itself.
    pub fn found_down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    /// Returns at once unless the database was found down; then as soon as it answers.
    /// Cancel-safe.
    pub async fn wait(&self) {
        while self.down.load(Ordering::Relaxed) {
            match self.shop.ping().await {
                // A fault that is not the database's absence shows in the next message's handling.
                Ok(()) => self.down.store(false, Ordering::Relaxed),
                Err(error) if !error.is_transient() => self.down.store(false, Ordering::Relaxed),
                Err(_) => tokio::time::sleep(PROBE_EVERY).await,
            }
        }
    }
}
