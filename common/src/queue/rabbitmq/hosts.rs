//! The brokers that a connection may use: read anew at each attempt, because a password may have
//! changed, tried in turn, named without credentials.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::queue::QueueError;
use crate::settings::Credential;

/// For TCP, TLS and the AMQP handshake together. Short, because the next host may answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Attempts that may be left waiting for an answer. The client library cannot take one back: it
/// keeps a thread and a socket until the host answers or the connection breaks, and a host that is
/// frozen does neither.
const PENDING_LIMIT: usize = 4;

/// The hosts of one cluster.
pub(super) struct Hosts {
    urls: Credential,
    /// In seconds.
    heartbeat: u16,
    /// What `urls` said last that could be used.
    known: Mutex<Vec<AMQPUri>>,
    next: AtomicUsize,
}

impl Hosts {
    /// Parses `amqp_url`.
    ///
    /// # Errors
    /// [`QueueError::Unsupported`] when one is no AMQP URL; never says which text, because it holds a
    /// password.
    pub(super) fn new(urls: &Credential, heartbeat: Duration) -> Result<Self, QueueError> {
        let heartbeat = u16::try_from(heartbeat.as_secs().max(1)).unwrap_or(u16::MAX);
        let known = parse(urls, heartbeat)?;
        // Processes that start together begin at different hosts.
        let next = AtomicUsize::new(rand::random_range(0..known.len().max(1)));
        Ok(Self {
            urls: urls.clone(),
            heartbeat,
            known: Mutex::new(known),
            next,
        })
    }

    /// The next host in turn.
    fn next(&self) -> Option<AMQPUri> {
        let uris = self.uris();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(uris.len()).unwrap_or_default();
        uris.into_iter().nth(index)
    }

    /// The first URL: its virtual host, and user and password for the HTTP API.
    pub(super) fn first(&self) -> Option<AMQPUri> {
        self.uris().into_iter().next()
    }

    fn uris(&self) -> Vec<AMQPUri> {
        let found = parse(&self.urls, self.heartbeat);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(uris) => *known = uris,
            Err(error) => tracing::warn!(%error, "the hosts that were known before are used"),
        }
        known.clone()
    }
}

/// At least one.
fn parse(urls: &Credential, heartbeat: u16) -> Result<Vec<AMQPUri>, QueueError> {
    let connection_timeout = u64::try_from(CONNECT_TIMEOUT.as_millis()).ok();
    let urls = urls.now();
    let urls = urls.expose_secret().split(',').map(str::trim);
    urls.map(|url| {
        let mut uri: AMQPUri = url.parse().map_err(|_: String| {
            QueueError::Unsupported(
                "cluster.amqp_url is not a list of URLs such as amqp://user:password@host:5672/vhost",
            )
        })?;
        uri.query.heartbeat = Some(heartbeat);
        uri.query.connection_timeout = connection_timeout;
        Ok(uri)
    })
    .collect()
}

/// Opens the connections of one supervisor.
pub(super) struct Dialer {
    hosts: Arc<Hosts>,
    name: String,
    pending: JoinSet<Result<Connection, String>>,
}

impl Dialer {
    /// `name` is what the broker shows for the connection.
    pub(super) fn new(hosts: Arc<Hosts>, name: String) -> Self {
        Self {
            hosts,
            name,
            pending: JoinSet::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Tries the next host and waits for an answer from it, or from one that was tried before.
    /// The error names the host, without credentials. Cancel-safe.
    pub(super) async fn dial(&mut self) -> Result<Connection, String> {
        if self.pending.len() < PENDING_LIMIT
            && let Some(uri) = self.hosts.next()
        {
            self.pending.spawn(connect(uri, self.name.clone()));
        }
        match timeout(CONNECT_TIMEOUT, self.pending.join_next()).await {
            Ok(Some(Ok(Ok(connection)))) => {
                hang_up(std::mem::take(&mut self.pending));
                Ok(connection)
            }
            Ok(Some(Ok(Err(detail)))) => Err(detail),
            Ok(Some(Err(_)) | None) => Err("the attempt to connect ended early".to_owned()),
            Err(_) => Err(format!(
                "{} attempts to connect without an answer for {CONNECT_TIMEOUT:?}",
                self.pending.len()
            )),
        }
    }
}

async fn connect(uri: AMQPUri, name: String) -> Result<Connection, String> {
    let host = format!("{}:{}", uri.authority.host, uri.authority.port);
    // Recovery stays off: the supervisor does it, to another host and with fresh channels.
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect_uri(uri, properties)
        .await
        .map_err(|error| format!("{host}: {error}"))
}

/// Closes the connections that come up after another one was first.
fn hang_up(mut late: JoinSet<Result<Connection, String>>) {
    if late.is_empty() {
        return;
    }
    tokio::spawn(async move {
        while let Some(outcome) = late.join_next().await {
            if let Ok(Ok(connection)) = outcome {
                timeout(CONNECT_TIMEOUT, connection.close(200, "not needed".into()))
                    .await
                    .ok();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_never_answers_is_not_asked_without_end() {
        // Connections wait in the backlog, as on a host that is frozen.
        let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("amqp://{}", frozen.local_addr().unwrap());
        let hosts = Hosts::new(&url.into(), Duration::from_secs(10)).unwrap();
        let mut dialer = Dialer::new(Arc::new(hosts), "test".into());
        for _ in 0..20 {
            assert!(dialer.dial().await.is_err());
        }
        assert_eq!(dialer.pending.len(), PENDING_LIMIT);
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_it() {
        let urls = Credential::from("amqp://shop:hunter2@[broken");
        let error = Hosts::new(&urls, Duration::from_secs(10)).err().unwrap();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn the_heartbeat_is_asked_for_in_the_url() {
        let urls = Credential::from("amqp://localhost/shop");
        let hosts = Hosts::new(&urls, Duration::from_secs(7)).unwrap();
        let uri = hosts.first().unwrap();
        assert_eq!(uri.query.heartbeat, Some(7));
        assert_eq!(uri.vhost, "shop");
    }
}
