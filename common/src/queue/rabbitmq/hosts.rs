//! The brokers that a connection may use: parsed once, tried in turn, named without credentials.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use crate::queue::QueueError;

/// For TCP, TLS and the AMQP handshake together. Short, because the next host may answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The hosts of one cluster.
pub(super) struct Hosts {
    uris: Vec<AMQPUri>,
    next: AtomicUsize,
}

impl Hosts {
    /// Parses `amqp_url`.
    ///
    /// # Errors
    /// [`QueueError::Unsupported`] when there is none, or one is no AMQP URL; never says which
    /// text, because it holds a password.
    pub(super) fn new(urls: &[SecretString], heartbeat: Duration) -> Result<Self, QueueError> {
        let heartbeat = u16::try_from(heartbeat.as_secs().max(1)).unwrap_or(u16::MAX);
        let connection_timeout = u64::try_from(CONNECT_TIMEOUT.as_millis()).ok();
        let mut uris = Vec::new();
        for url in urls {
            let mut uri: AMQPUri = url.expose_secret().parse().map_err(|_: String| {
                QueueError::Unsupported(
                    "cluster.amqp_url is not a list of URLs such as amqp://user:password@host:5672/vhost",
                )
            })?;
            uri.query.heartbeat = Some(heartbeat);
            uri.query.connection_timeout = connection_timeout;
            uris.push(uri);
        }
        if uris.is_empty() {
            return Err(QueueError::Unsupported("cluster.amqp_url names no broker"));
        }
        // Processes that start together begin at different hosts.
        let next = AtomicUsize::new(rand::random_range(0..uris.len()));
        Ok(Self { uris, next })
    }

    /// Connects to the next host; the error names it, without credentials.
    pub(super) async fn connect(&self, name: &str) -> Result<Connection, String> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(self.uris.len()).unwrap_or_default();
        let Some(uri) = self.uris.get(index) else {
            return Err("no broker is named".to_owned());
        };
        let host = format!("{}:{}", uri.authority.host, uri.authority.port);
        // Recovery stays off: the supervisor does it, to another host and with fresh channels.
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        match timeout(
            CONNECT_TIMEOUT,
            Connection::connect_uri(uri.clone(), properties),
        )
        .await
        {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(format!("{host}: {error}")),
            Err(_) => Err(format!("{host}: no connection within {CONNECT_TIMEOUT:?}")),
        }
    }

    /// The virtual host, the user and the password of the first URL, for the HTTP API.
    pub(super) fn first(&self) -> Option<&AMQPUri> {
        self.uris.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_refused_without_showing_it() {
        let urls = [SecretString::from("amqp://shop:hunter2@[broken")];
        let error = Hosts::new(&urls, Duration::from_secs(10)).err().unwrap();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn the_heartbeat_is_asked_for_in_the_url() {
        let urls = [SecretString::from("amqp://localhost/shop")];
        let hosts = Hosts::new(&urls, Duration::from_secs(7)).unwrap();
        let uri = hosts.first().unwrap();
        assert_eq!(uri.query.heartbeat, Some(7));
        assert_eq!(uri.vhost, "shop");
    }
}
