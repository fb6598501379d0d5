//! Free TCP ports on the loopback interface.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::bail;

/// Below the range from which the kernel takes the local ports of outgoing connections, so that
/// a port stays free between the choice and the start of its server.
const FIRST: u64 = 20_000;
const COUNT: u64 = 12_000;
const TRIES: u32 = 200;

/// What this process has given out: a server may not have bound its port yet when the next asks.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of 127.0.0.1 on which nothing listens, never the same twice in one process.
///
/// Chosen at random, since several test processes choose at the same time.
pub fn free() -> anyhow::Result<u16> {
    for _ in 0..TRIES {
        let port = u16::try_from(FIRST + RandomState::new().build_hasher().finish() % COUNT)?;
        let is_new = GIVEN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port);
        if is_new && is_free(port) {
            return Ok(port);
        }
    }
    bail!("no free port found on 127.0.0.1 after {TRIES} tries");
}

/// Whether nothing listens on a port of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_called_free() {
        let port = free().unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        for _ in 0..50 {
            assert_ne!(free().unwrap(), port);
        }
    }
}
