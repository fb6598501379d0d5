//! Declares the table of queues on the broker, idempotently, and tells a mismatch from a failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tracing::{error, info};

use crate::queue::QueueNames;
use crate::queue::topology::{Argument, QueueSpec};

/// For one declaration: a quorum queue that is made anew elects a leader first.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(10);

/// A queue that exists with other arguments than the table's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// The queue's (or the exchange's) name.
    pub(super) queue: String,
    /// The broker's words.
    pub(super) detail: String,
}

/// Why the table could not be declared.
#[derive(Debug)]
pub(super) enum DeclareError {
    /// A person must decide.
    Mismatch(Mismatch),
    /// It may work on the next connection.
    Failed(String),
}

/// The table, and what has become of it on the broker.
pub(super) struct Topology {
    names: QueueNames,
    declared: AtomicBool,
    mismatch: watch::Sender<Option<Mismatch>>,
    /// The two connections of a process declare one after the other.
    turn: Mutex<()>,
}

impl Topology {
    pub(super) fn new(names: QueueNames) -> Self {
        Self {
            names,
            declared: AtomicBool::new(false),
            mismatch: watch::Sender::new(None),
            turn: Mutex::new(()),
        }
    }

    pub(super) const fn names(&self) -> &QueueNames {
        &self.names
    }

    /// Whether this process has declared the whole table once.
    pub(super) fn is_declared(&self) -> bool {
        self.declared.load(Ordering::Acquire)
    }

    /// The mismatch that was found, if any, now and later.
    pub(super) fn mismatch(&self) -> watch::Receiver<Option<Mismatch>> {
        self.mismatch.subscribe()
    }

    /// Declares everything on scratch channels of `connection`.
    pub(super) async fn declare(&self, connection: &Connection) -> Result<(), DeclareError> {
        let _turn = self.turn.lock().await;
        match self.declare_all(connection).await {
            Ok(()) => {
                if !self.declared.swap(true, Ordering::AcqRel) {
                    info!("the queues are declared");
                }
                self.mismatch.send_replace(None);
                Ok(())
            }
            Err(failure) => {
                if let DeclareError::Mismatch(found) = &failure {
                    error!(
                        queue = found.queue,
                        detail = found.detail,
                        "the queue exists with other arguments; delete or rename it, a restart does not help"
                    );
                    self.mismatch.send_replace(Some(found.clone()));
                }
                Err(failure)
            }
        }
    }

    async fn declare_all(&self, connection: &Connection) -> Result<(), DeclareError> {
        let mut channel = open(connection).await?;
        let exchange = self.names.payments_exchange();
        if let Err(refused) = declare_exchange(&channel, &exchange).await {
            channel = self.forgive(connection, refused, &exchange).await?;
        }
        for queue in self.names.all() {
            let spec = self.names.queue_spec(queue);
            if let Err(refused) = declare_queue(&channel, &spec).await {
                channel = self.forgive(connection, refused, &spec.name).await?;
            }
        }
        if let Some(spec) = self.names.archive_spec()
            && let Err(refused) = declare_queue(&channel, &spec).await
        {
            // The flow does without; what cannot be archived is counted.
            error!(queue = spec.name, error = %refused, "there is no archive");
        }
        Ok(())
    }

    /// A user without the right to configure may still run on queues that an administrator has
    /// declared; whether they are there shows at the first publish. All else is a failure.
    /// Returns a new channel, because a refusal closes the old one.
    async fn forgive(
        &self,
        connection: &Connection,
        refused: lapin::Error,
        name: &str,
    ) -> Result<Channel, DeclareError> {
        match soft_error(&refused) {
            Some((AMQPSoftError::ACCESSREFUSED, _)) => open(connection).await,
            Some((AMQPSoftError::PRECONDITIONFAILED, detail)) => {
                Err(DeclareError::Mismatch(Mismatch {
                    queue: name.to_owned(),
                    detail,
                }))
            }
            _ => Err(DeclareError::Failed(format!(
                "declaring `{name}`: {refused}"
            ))),
        }
    }
}

/// The broker's refusal of one operation on a channel, with its words.
pub(super) fn soft_error(error: &lapin::Error) -> Option<(AMQPSoftError, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(protocol) => match protocol.kind() {
            AMQPErrorKind::Soft(kind) => Some((kind.clone(), protocol.get_message().to_string())),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

async fn open(connection: &Connection) -> Result<Channel, DeclareError> {
    bounded(connection.create_channel())
        .await
        .map_err(|error| DeclareError::Failed(format!("opening a channel: {error}")))
}

async fn declare_exchange(channel: &Channel, name: &str) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    bounded(channel.exchange_declare(
        short(name)?,
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    ))
    .await
}

async fn declare_queue(channel: &Channel, spec: &QueueSpec) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    for (name, value) in &spec.arguments {
        arguments.insert(short(name)?, amqp_value(value));
    }
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    bounded(channel.queue_declare(short(&spec.name)?, options, arguments))
        .await
        .map(|_| ())
}

fn amqp_value(argument: &Argument) -> AMQPValue {
    match argument {
        Argument::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        Argument::Number(number) => AMQPValue::LongLongInt(*number),
    }
}

/// A name as AMQP carries it: at most 255 bytes.
pub(super) fn short(name: &str) -> lapin::Result<ShortString> {
    ShortString::try_new(name)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error).into())
}

/// Waits for an answer of the broker, but not for ever.
pub(super) async fn bounded<T>(answer: impl Future<Output = lapin::Result<T>>) -> lapin::Result<T> {
    match timeout(DECLARE_TIMEOUT, answer).await {
        Ok(result) => result,
        Err(_) => Err(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer within {DECLARE_TIMEOUT:?}"),
        )
        .into()),
    }
}
