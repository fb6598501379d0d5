//! A load generator: many kept-alive connections, each posting as fast as it is answered.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::{self, Connection};

/// What to post, and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// The path, such as `/ipn/paypal/default`.
    pub path: String,
    /// How many connections.
    pub connections: usize,
    /// For how long.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Answers with 200.
    pub ok: u64,
    /// Answers with another status.
    pub refused: u64,
    /// Requests without an answer.
    pub failed: u64,
    /// Answers with 200 in a second, rounded down.
    pub per_second: u64,
    /// Half of the 200s came within this many microseconds.
    pub p50_us: u64,
    /// 99 in 100 of them did.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// Posts bodies that `body` makes of a running number until the time is over.
pub async fn generate(load: &Load, body: fn(u64) -> Vec<u8>) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..load.connections {
        let load = load.clone();
        let first = u64::try_from(worker)?;
        workers.spawn(async move { work(&load, first, start + load.duration, body).await });
    }
    let mut outcome = Outcome::default();
    let mut latencies = Vec::new();
    while let Some(done) = workers.join_next().await {
        let (counts, mut measured) = done?;
        outcome.ok += counts.ok;
        outcome.refused += counts.refused;
        outcome.failed += counts.failed;
        latencies.append(&mut measured);
    }
    summarise(&mut outcome, latencies, start.elapsed());
    Ok(outcome)
}

async fn work(
    load: &Load,
    first: u64,
    deadline: Instant,
    body: fn(u64) -> Vec<u8>,
) -> (Outcome, Vec<u64>) {
    let step = u64::try_from(load.connections).unwrap_or(u64::MAX);
    let mut counts = Outcome::default();
    let mut latencies = Vec::new();
    let mut connection = None;
    let mut number = first;
    while Instant::now() < deadline {
        let bytes = http::request(
            "POST",
            &load.path,
            "Content-Type: application/x-www-form-urlencoded\r\n",
            &body(number),
        );
        number += step;
        let sent = Instant::now();
        match post(&mut connection, load.address, &bytes).await {
            Ok(200) => {
                counts.ok += 1;
                latencies.push(micros(sent.elapsed()));
            }
            Ok(_) => counts.refused += 1,
            Err(_) => {
                counts.failed += 1;
                connection = None;
                // Without a pause a server that is away would cost a whole core.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    (counts, latencies)
}

async fn post(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    bytes: &[u8],
) -> anyhow::Result<u16> {
    let open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address).await?,
    };
    let response = connection.insert(open).send(bytes).await?;
    if response.header("connection") == Some("close") {
        *connection = None;
    }
    Ok(response.status)
}

/// Latencies in microseconds, in any order, become the figures of the outcome.
pub fn summarise(outcome: &mut Outcome, mut latencies: Vec<u64>, elapsed: Duration) {
    latencies.sort_unstable();
    outcome.per_second = outcome.ok.saturating_mul(1_000_000) / micros(elapsed).max(1);
    outcome.p50_us = percentile(&latencies, 50);
    outcome.p99_us = percentile(&latencies, 99);
    outcome.max_us = latencies.last().copied().unwrap_or_default();
}

/// The value that `percent` in 100 do not exceed (nearest rank); 0 of nothing.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    let value = rank.checked_sub(1).and_then(|index| sorted.get(index));
    value.copied().unwrap_or_default()
}

/// Whole microseconds; some 580,000 years at most.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 99), 99);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_counted_as_failed() {
        let address = SocketAddr::from(([127, 0, 0, 1], crate::ports::free().unwrap()));
        let load = Load {
            address,
            path: "/".to_owned(),
            connections: 1,
            duration: Duration::from_millis(50),
        };
        let outcome = generate(&load, |_| Vec::new()).await.unwrap();
        assert_eq!(outcome.ok, 0);
        assert!(outcome.failed > 0);
    }
}
