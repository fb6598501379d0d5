//! The side of the control socket that owns the file.

use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{BufReader, BufWriter};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::wire::{self, Answer, Ask, Envelope, Frame, Say};
use super::{VERSION, address};
use crate::queue::embedded::{Acker, Consumer, Embedded};
use crate::queue::{self, QueueError};

/// Asks of one tool that are worked on at once.
const AT_ONCE: usize = 256;

/// The socket belongs to the user that runs the server.
const MODE: u32 = 0o600;

/// Binds the socket in `data_dir`, whose lock the caller holds, so that a socket that is there is
/// a former process's.
pub(in crate::queue::embedded) fn bind(data_dir: &Path) -> Result<(UnixListener, u32), QueueError> {
    let failed = |error: io::Error| {
        QueueError::Unavailable(format!(
            "cannot open the control socket in {}: {error}",
            data_dir.display()
        ))
    };
    let (path, _folder) = address(data_dir).map_err(failed)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, Permissions::from_mode(MODE)).map_err(failed)?;
    let owner = std::fs::metadata(&path).map_err(failed)?.uid();
    Ok((listener, owner))
}

/// Answers tools until the engine is closed. Only those of `owner` and of root: the mode keeps
/// others out, but not in the instant before it is set.
pub(in crate::queue::embedded) async fn serve(
    listener: UnixListener,
    owner: u32,
    engine: Embedded,
) {
    let mut tools = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = engine.inner.commands.closed() => return,
            Some(_) = tools.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a tool could not be let in");
                // Out of file descriptors, most likely: asking again at once would not help.
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                continue;
            }
        };
        if stream
            .peer_cred()
            .is_ok_and(|peer| [owner, 0].contains(&peer.uid()))
        {
            tools.spawn(converse(stream, engine.clone()));
        } else {
            tracing::warn!("a process of another user was turned away from the control socket");
        }
    }
}

/// One tool, from its greeting to its end.
async fn converse(stream: UnixStream, engine: Embedded) {
    let (reader, writer) = stream.into_split();
    let (say, mut said) = mpsc::unbounded_channel::<Frame<Say>>();
    let talking = async move {
        let mut writer = BufWriter::new(writer);
        while let Some(frame) = said.recv().await {
            if let Err(error) = wire::write(&mut writer, &frame).await {
                tracing::debug!(%error, "a tool has gone away");
                return;
            }
        }
    };
    let closed = engine.inner.commands.clone();
    let listening = async move {
        let mut reader = BufReader::new(reader);
        if let Err(error) = listen(&mut reader, engine, say).await {
            tracing::debug!(%error, "a tool has gone away");
        }
    };
    // Whichever ends first, the tool's consumers end with it and give back what they hold.
    tokio::select! {
        () = closed.closed() => {}
        () = talking => {}
        () = listening => {}
    }
}

type Held = Arc<Mutex<HashMap<(u64, u64), Acker>>>;

/// What one tool has.
struct Session {
    engine: Embedded,
    say: mpsc::UnboundedSender<Frame<Say>>,
    held: Held,
    /// To stop a consumer: the number of the ask. Dropping it forgets the consumer.
    consumers: HashMap<u64, mpsc::UnboundedSender<u64>>,
    work: JoinSet<()>,
    room: Arc<Semaphore>,
}

async fn listen(
    reader: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
    engine: Embedded,
    say: mpsc::UnboundedSender<Frame<Say>>,
) -> io::Result<()> {
    let mut session = Session {
        engine,
        say,
        held: Held::default(),
        consumers: HashMap::new(),
        work: JoinSet::new(),
        room: Arc::new(Semaphore::new(AT_ONCE)),
    };
    match wire::read::<Ask>(reader).await? {
        Some((Ask::Hello { version: VERSION }, _)) => session.answer(0, Answer::Done),
        Some((Ask::Hello { version }, _)) => {
            let detail = format!(
                "this server speaks form {VERSION} and not {version}: use its own `quittance`"
            );
            session.answer(0, Answer::Failed { detail });
            // Until it has read that and hangs up.
            tokio::io::copy(reader, &mut tokio::io::sink()).await?;
            return Ok(());
        }
        _ => return Err(io::Error::other("no greeting")),
    }
    while let Some((ask, body)) = wire::read::<Ask>(reader).await? {
        while session.work.try_join_next().is_some() {}
        session.take(ask, body).await;
    }
    Ok(())
}

impl Session {
    fn answer(&self, number: u64, answer: Answer) {
        send(&self.say, Say::Answer { number, answer }, Bytes::new());
    }

    async fn consume(&mut self, number: u64, consumer: u64, queue: &str, prefetch: u16) {
        let Some(queue) = self.engine.inner.names.parse(queue) else {
            send(&self.say, Say::Over { consumer }, Bytes::new());
            return self.answer(number, Answer::Unroutable);
        };
        let subscription = self.engine.consume(queue, prefetch).await;
        let (stop, stops) = mpsc::unbounded_channel();
        self.consumers.insert(consumer, stop);
        let (held, say) = (Arc::clone(&self.held), self.say.clone());
        self.work
            .spawn(pump(consumer, subscription, stops, held, say));
        self.answer(number, Answer::Done);
    }

    async fn take(&mut self, ask: Ask, body: Bytes) {
        // Never closed; without a permit the limit would only be a little higher.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        let (engine, say) = (self.engine.clone(), self.say.clone());
        match ask {
            Ask::Hello { .. } => {}
            Ask::Publish {
                number,
                to,
                envelope,
            } => {
                self.work.spawn(async move {
                    let answer = match to.destination(&engine.inner.names) {
                        Some(to) => {
                            Answer::published(engine.publish(&to, envelope.message(body)).await)
                        }
                        None => Answer::Unroutable,
                    };
                    send(&say, Say::Answer { number, answer }, Bytes::new());
                    drop(permit);
                });
            }
            Ask::Consume {
                number,
                consumer,
                queue,
                prefetch,
            } => self.consume(number, consumer, &queue, prefetch).await,
            Ask::Stop { number, consumer } => {
                let asked = self.consumers.get(&consumer).map(|stop| stop.send(number));
                if !matches!(asked, Some(Ok(()))) {
                    self.answer(number, Answer::Done);
                }
            }
            Ask::Forget { consumer } => {
                self.consumers.remove(&consumer);
                hold(&self.held).retain(|(of, _), _| *of != consumer);
            }
            Ask::Settle {
                number,
                consumer,
                tag,
                done,
            } => {
                let acker = hold(&self.held).remove(&(consumer, tag));
                self.work.spawn(async move {
                    let settled = match acker {
                        Some(acker) if done => acker.ack().await,
                        Some(acker) => acker.requeue().await,
                        None => Err(queue::StaleDelivery),
                    };
                    let answer = settled.map_or(Answer::Stale, |()| Answer::Done);
                    send(&say, Say::Answer { number, answer }, Bytes::new());
                    drop(permit);
                });
            }
            Ask::Depths { number } => {
                self.work.spawn(async move {
                    let answer = match engine.depths().await {
                        Ok(depths) => Answer::Depths { depths },
                        Err(error) => Answer::Failed {
                            detail: error.to_string(),
                        },
                    };
                    send(&say, Say::Answer { number, answer }, Bytes::new());
                    drop(permit);
                });
            }
        }
    }
}

/// Hands deliveries on. Ends, and gives back what is held, when the tool forgets the consumer.
async fn pump(
    number: u64,
    mut consumer: Consumer,
    mut stops: mpsc::UnboundedReceiver<u64>,
    held: Held,
    say: mpsc::UnboundedSender<Frame<Say>>,
) {
    let tags = AtomicU64::new(0);
    let mut open = true;
    loop {
        let delivery = tokio::select! {
            biased;
            stop = stops.recv() => {
                let Some(ask) = stop else { return };
                consumer.stop().await;
                open = false;
                send(&say, Say::Answer { number: ask, answer: Answer::Done }, Bytes::new());
                continue;
            }
            delivery = consumer.next(), if open => delivery,
        };
        let Some(delivery) = delivery else {
            open = false;
            send(&say, Say::Over { consumer: number }, Bytes::new());
            continue;
        };
        // The only kind of acker that this engine hands out.
        let queue::Acker::Embedded(acker) = delivery.acker else {
            continue;
        };
        let tag = tags.fetch_add(1, Ordering::Relaxed);
        hold(&held).insert((number, tag), acker);
        let envelope = Envelope::of(&delivery.message);
        let say_delivery = Say::Delivery {
            consumer: number,
            tag,
            redelivered: delivery.redelivered,
            envelope,
        };
        send(&say, say_delivery, delivery.message.body);
    }
}

fn send(say: &mpsc::UnboundedSender<Frame<Say>>, what: Say, body: Bytes) {
    // A tool that has gone away needs no answer.
    say.send((what, body)).ok();
}

fn hold(held: &Held) -> MutexGuard<'_, HashMap<(u64, u64), Acker>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
