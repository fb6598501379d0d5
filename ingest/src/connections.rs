//! How many connections are served at once. Beyond that, clients wait in the kernel's queue: a
//! gateway waits seconds for an answer, and a process without file descriptors answers nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::IntGauge;
use quittance_common::metrics::InFlight;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// File descriptors that are not for clients: broker, databases, look-ups, log, the runtime.
const RESERVED: usize = 128;

/// Where Linux tells a process its limits.
const LIMITS: &str = "/proc/self/limits";

/// The door: lets in as many as there is room for.
#[derive(Debug, Clone)]
pub struct Door {
    room: Arc<Semaphore>,
    open: IntGauge,
}

/// A connection that was let in; it takes its room until this is dropped.
#[derive(Debug)]
pub struct Guest {
    _room: OwnedSemaphorePermit,
    _counted: InFlight,
}

impl Door {
    /// A door for `limit` connections at once, counted in `open`.
    pub fn new(limit: usize, open: IntGauge) -> Self {
        Self {
            room: Arc::new(Semaphore::new(limit)),
            open,
        }
    }

    /// The next connection, once there is room for it. Cancel-safe.
    ///
    /// # Errors
    /// Those of accepting.
    pub async fn next(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, Guest)> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        // Nobody closes the semaphore.
        let room = room.map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        let guest = Guest {
            _room: room,
            _counted: InFlight::enter(self.open.clone()),
        };
        Ok((stream, peer, guest))
    }
}

/// The limit in effect: what is set, but not more than the process may open files.
pub fn limit(set: usize) -> usize {
    let files = std::fs::read_to_string(LIMITS)
        .ok()
        .and_then(|limits| open_files(&limits));
    let limit = affordable(set, files);
    if limit < set {
        tracing::warn!(
            set,
            limit,
            ?files,
            "ingest.max_connections is more than this process may open files: raise the limit of \
             open files, or lower the setting"
        );
    }
    limit
}

/// What is set, or what `files` leave when that is less; one in any case.
fn affordable(set: usize, files: Option<usize>) -> usize {
    let most = files.map_or(set, |files| files.saturating_sub(RESERVED));
    set.min(most).max(1)
}

/// The soft limit of open files in the text of `/proc/self/limits`; `None` for no limit.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const TEXT: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
        Max processes             127232               127232               processes\n\
        Max open files            1024                 524288               files\n";

    #[test]
    fn never_more_connections_than_files_are_left_for() {
        assert_eq!(open_files(TEXT), Some(1024));
        assert_eq!(
            open_files("Max open files   unlimited  unlimited files"),
            None
        );
        assert_eq!(affordable(512, open_files(TEXT)), 512);
        assert_eq!(affordable(5_000, open_files(TEXT)), 896);
        assert_eq!(affordable(5_000, None), 5_000);
        assert_eq!(affordable(5_000, Some(64)), 1);
    }

    #[tokio::test]
    async fn whoever_comes_when_it_is_full_is_let_in_when_somebody_has_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = IntGauge::new("open", "open").unwrap();
        let door = Door::new(1, open.clone());
        let _first = TcpStream::connect(address).await.unwrap();
        let second = TcpStream::connect(address).await.unwrap();
        let (_, _, guest) = door.next(&listener).await.unwrap();
        assert_eq!(open.get(), 1);

        assert!(door.next(&listener).now_or_never().is_none());
        drop(guest);
        let (_, _, guest) = door.next(&listener).await.unwrap();
        assert_eq!(open.get(), 1);
        drop((guest, second));
        assert_eq!(open.get(), 0);
    }
}
