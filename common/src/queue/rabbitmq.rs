//! The `RabbitMQ` engine: quorum queues, publisher confirms, and connections of its own keeping.
//!
//! | module | knows |
//! |---|---|
//! | `wire` | the AMQP form of a message; pure |
//! | `backoff`, `hosts` | when and where to connect |
//! | `link` | one supervised connection |
//! | `declare` | the table of queues on the broker |
//! | `publisher` | channels with one publish in flight |
//! | `consumer` | subscriptions that outlive connections |
//! | `archive` | reading the stream |
//! | `management`, `depths` | what the HTTP API tells |
//!
//! Publishing and consuming have a connection each: an alarm makes the broker stop reading from
//! connections that publish, and acks must get through all the same.

mod archive;
mod backoff;
mod consumer;
mod declare;
mod depths;
mod hosts;
mod link;
mod management;
mod publisher;
mod wire;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::declare::{Mismatch, Topology};
use self::hosts::Hosts;
use self::link::{Link, Live, State};
use self::publisher::Publisher;
use super::{Depth, Destination, PublishError, QueueError, QueueId, QueueNames, Range, Status};
use crate::ids::MessageId;
use crate::message::Message;
use crate::settings::ClusterSettings;

pub use consumer::{Acker, Consumer};
pub use management::{Management, ManagementError};

/// How long [`RabbitMq::depths`] waits for a connection.
const DEPTHS_TIMEOUT: Duration = Duration::from_secs(5);

/// The engine. Cheap to clone; every clone is the same engine.
#[derive(Clone)]
pub struct RabbitMq {
    inner: Arc<Inner>,
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RabbitMq")
    }
}

struct Inner {
    hosts: Arc<Hosts>,
    topology: Arc<Topology>,
    publisher: Publisher,
    /// Made by the first subscription: a process that only publishes needs none.
    consuming: OnceLock<Link>,
    management: Option<Management>,
    closing: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl RabbitMq {
    /// Starts the supervisor of the publishing connection and returns at once, also while the
    /// broker is down. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`QueueError::Unsupported`] when an URL of the settings cannot be used.
    pub fn start(settings: &ClusterSettings, names: QueueNames) -> Result<Self, QueueError> {
        let hosts = Arc::new(Hosts::new(&settings.amqp_url, settings.heartbeat)?);
        let management = Management::new(settings).map_err(|_| {
            QueueError::Unsupported("cluster.management_url is not an http or https URL")
        })?;
        let topology = Arc::new(Topology::new(names));
        let closing = CancellationToken::new();
        let link = Link::start(
            connection_name("publish"),
            Arc::clone(&hosts),
            Arc::clone(&topology),
            closing.clone(),
        );
        let publisher = Publisher::new(link, settings.publish_channels, settings.publish_timeout);
        Ok(Self {
            inner: Arc::new(Inner {
                hosts,
                topology,
                publisher,
                consuming: OnceLock::new(),
                management,
                closing,
            }),
        })
    }

    /// The virtual host that `amqp_url` names.
    ///
    /// # Errors
    /// [`QueueError::Unsupported`] when an URL of the settings cannot be used.
    pub fn vhost(settings: &ClusterSettings) -> Result<String, QueueError> {
        let hosts = Hosts::new(&settings.amqp_url, settings.heartbeat)?;
        Ok(hosts
            .first()
            .map_or_else(|| "/".to_owned(), |uri| uri.vhost))
    }

    /// Waits until messages can be published: connected, and the queues declared.
    ///
    /// # Errors
    /// [`QueueError::Mismatch`] when a queue exists with other arguments: a restart does not
    /// help. [`QueueError::Unavailable`] when it took longer than `within`; the supervisor goes
    /// on trying.
    pub async fn ready(&self, within: Duration) -> Result<(), QueueError> {
        let mut state = self.inner.publisher.link().watch();
        let up = async {
            state
                .wait_for(|state| matches!(state, State::Up(_)))
                .await
                .is_ok()
        };
        tokio::select! {
            biased;
            error = self.fatal() => Err(error),
            up = timeout(within, up) => if up == Ok(true) {
                Ok(())
            } else {
                Err(QueueError::Unavailable(match self.status() {
                    Status::Down(detail) | Status::Blocked(detail) => detail,
                    Status::Up => "closed".to_owned(),
                }))
            },
        }
    }

    /// Resolves with [`QueueError::Mismatch`] when the broker has a queue of the table with other
    /// arguments: a process should say so and exit with a failure. Pending otherwise.
    pub fn fatal(&self) -> impl Future<Output = QueueError> + Send + use<> {
        let mut mismatch = self.inner.topology.mismatch();
        async move {
            if let Ok(found) = mismatch.wait_for(Option::is_some).await
                && let Some(Mismatch { queue, detail }) = found.clone()
            {
                return QueueError::Mismatch { queue, detail };
            }
            std::future::pending().await
        }
    }

    /// Publishes and waits for the confirm; see [`super::Queues::publish`].
    ///
    /// # Errors
    /// [`PublishError`] for everything but a plain ack within `publish_timeout`.
    pub async fn publish(&self, to: &Destination, message: Message) -> Result<(), PublishError> {
        let names = self.inner.topology.names();
        self.inner.publisher.publish(names, to, message).await
    }

    /// Subscribes; see [`super::Queues::consume`].
    #[expect(
        clippy::unused_async,
        reason = "the same shape as the embedded engine's"
    )]
    pub async fn consume(&self, queue: QueueId, prefetch: u16) -> Consumer {
        let queue = self.inner.topology.names().name(queue);
        Consumer::start(queue, prefetch, self.inner.consuming().watch())
    }

    /// How full the queues are, by the HTTP API when `management_url` is set. Otherwise by AMQP,
    /// which does not tell unacked messages. Missing queues are left out.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when the broker cannot be asked.
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let names = self.inner.topology.names();
        if let Some(management) = &self.inner.management {
            match depths::by_management(management, names).await {
                Ok(depths) => return Ok(depths),
                Err(error) => {
                    warn!(%error, "asking by AMQP instead: unacked messages are unknown");
                }
            }
        }
        let live = self.consuming_live().await?;
        depths::by_amqp(&live, names).await
    }

    /// How full one queue is at this moment, by AMQP, which does not tell `unacked`. `None` when
    /// it is missing.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when the broker cannot be asked.
    pub async fn depth(&self, queue: QueueId) -> Result<Option<Depth>, QueueError> {
        let name = self.inner.topology.names().name(queue);
        let live = self.consuming_live().await?;
        depths::one(&live, name).await
    }

    /// The message at the head of a queue, taken and given back.
    pub async fn head(&self, queue: QueueId) -> Result<Option<Message>, QueueError> {
        let name = self.inner.topology.names().name(queue);
        depths::head(&*self.consuming_live().await?, &name).await
    }

    /// How many messages the archive's stream has; `None` when there is none.
    pub async fn archive_depth(&self) -> Result<Option<Depth>, QueueError> {
        let names = self.inner.topology.names();
        if names.archive().is_none() {
            return Ok(None);
        }
        depths::one(&*self.consuming_live().await?, names.archive_name()).await
    }

    /// The archive's oldest message; `None` when it shows none in time.
    pub async fn archive_head(&self) -> Result<Option<Message>, QueueError> {
        let stream = self.inner.topology.names().archive_name();
        archive::oldest(&*self.consuming_live().await?, &stream).await
    }

    /// Reads the archive into `found`; see [`super::Queues::archived`].
    pub(super) fn archived(&self, range: Range, found: mpsc::Sender<Result<Message, QueueError>>) {
        let broker = self.clone();
        tokio::spawn(async move {
            let stream = broker.inner.topology.names().archive_name();
            let read = match broker.consuming_live().await {
                Ok(live) => {
                    let end = MessageId::new();
                    let set = broker.publish(&Destination::Archive, archive::mark(end));
                    archive::read(&live, &stream, range, (end, set), &found).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                // Nobody may be waiting any more.
                found.send(Err(error)).await.ok();
            }
        });
    }

    /// The consuming connection, once it stands.
    async fn consuming_live(&self) -> Result<Arc<Live>, QueueError> {
        // On the consuming connection: the other one hangs while publishers are blocked.
        let mut state = self.inner.consuming().watch();
        let up = state.wait_for(|state| matches!(state, State::Up(_)));
        match timeout(DEPTHS_TIMEOUT, up).await {
            Ok(Ok(state)) => match &*state {
                State::Up(live) => Ok(Arc::clone(live)),
                State::Down(detail) => Err(QueueError::Unavailable(detail.clone())),
            },
            Ok(Err(_)) | Err(_) => Err(QueueError::Unavailable(format!(
                "no connection within {DEPTHS_TIMEOUT:?}"
            ))),
        }
    }

    /// Whether publishing makes sense now.
    pub fn status(&self) -> Status {
        match self.inner.publisher.link().state() {
            State::Down(detail) => Status::Down(detail),
            State::Up(live) => live.blocked_now().map_or(Status::Up, Status::Blocked),
        }
    }

    /// Closes both connections, waiting at most `within`. What is unacked then is redelivered.
    pub async fn close(&self, within: Duration) {
        self.inner.closing.cancel();
        let both = async {
            self.inner.publisher.link().closed().await;
            if let Some(link) = self.inner.consuming.get() {
                link.closed().await;
            }
        };
        if timeout(within, both).await.is_err() {
            warn!("the broker's connections did not close in time; left to the operating system");
        }
    }
}

impl Inner {
    fn consuming(&self) -> &Link {
        self.consuming.get_or_init(|| {
            Link::start(
                connection_name("consume"),
                Arc::clone(&self.hosts),
                Arc::clone(&self.topology),
                self.closing.clone(),
            )
        })
    }
}

/// What the broker's listings show for a connection: whose it is and what for.
fn connection_name(purpose: &str) -> String {
    format!("quittance {purpose} (pid {})", std::process::id())
}
