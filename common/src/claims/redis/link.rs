//! One connection to Redis that is made when needed and replaced when it is no good.
//!
//! The client library replaces a connection only when TCP says that it is broken. A server behind a
//! black hole, or one that has become a replica, would be asked for ever.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo as _,
    RedisError, RedisResult, ScriptInvocation, ServerErrorKind,
};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;

use crate::claims::ClaimError;
use crate::settings::Credential;

/// For TCP, TLS and the hello together.
const CONNECT: Duration = Duration::from_secs(1);

/// For one reply.
const RESPONSE: Duration = Duration::from_secs(1);

/// Replies that may fail to come one after the other before the connection is given up.
const TIMEOUTS: u32 = 3;

/// How long a failed connect stands for those who ask meanwhile: many callers, one attempt.
const REFUSED_FOR: Duration = Duration::from_millis(200);

/// The connection. Cheap to clone; every clone is the same connection.
#[derive(Clone)]
pub(crate) struct Link {
    /// Read anew for each connection: a password may have changed.
    url: Credential,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Link {
    /// Shows nothing: the URL holds the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Link").finish_non_exhaustive()
    }
}

/// What Redis is asked; may be put again.
#[derive(Clone, Copy)]
pub(crate) enum Question<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl Question<'_> {
    async fn put<T: FromRedisValue>(
        self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Script(invocation) => invocation.invoke_async(connection).await,
        }
    }
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a late failure of an old one does not end the new one.
    generation: u64,
    timeouts: u32,
    refused: Option<(Instant, String)>,
}

impl Link {
    pub(crate) fn new(url: &Credential) -> Self {
        Self {
            url: url.clone(),
            state: Arc::default(),
        }
    }

    /// Asks; once more on a new connection when the old one turns out to be useless. What is asked
    /// must be idempotent.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        question: Question<'_>,
    ) -> Result<T, ClaimError> {
        let (error, generation) = match self.try_once(question).await? {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let verdict = judge(&error);
        self.failed(verdict, generation).await;
        if verdict != Verdict::Useless {
            return Err(unavailable(&error));
        }
        match self.try_once(question).await? {
            Ok(answer) => Ok(answer),
            Err((error, generation)) => {
                self.failed(judge(&error), generation).await;
                Err(unavailable(&error))
            }
        }
    }

    async fn try_once<T: FromRedisValue>(
        &self,
        question: Question<'_>,
    ) -> Result<Result<T, (RedisError, u64)>, ClaimError> {
        let (mut connection, generation) = self.connection().await?;
        match question.put(&mut connection).await {
            Ok(answer) => {
                let mut state = self.state.lock().await;
                if state.generation == generation {
                    state.timeouts = 0;
                }
                Ok(Ok(answer))
            }
            Err(error) => Ok(Err((error, generation))),
        }
    }

    /// The connection, or a new one. One caller connects; the others wait for the outcome.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), ClaimError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((connection.clone(), state.generation));
        }
        if let Some((at, detail)) = &state.refused
            && at.elapsed() < REFUSED_FOR
        {
            return Err(ClaimError::Unavailable(detail.clone()));
        }
        let client = client(&self.url).map_err(|_| {
            ClaimError::Unavailable("`redis_url` is not a redis:// or rediss:// URL".to_owned())
        })?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE));
        match client
            .get_multiplexed_async_connection_with_config(&config)
            .await
        {
            Ok(connection) => {
                state.generation = state.generation.wrapping_add(1);
                state.timeouts = 0;
                state.refused = None;
                state.connection = Some(connection.clone());
                Ok((connection, state.generation))
            }
            Err(error) => {
                let detail = format!("cannot connect: {}", describe(&error));
                state.refused = Some((Instant::now(), detail.clone()));
                Err(ClaimError::Unavailable(detail))
            }
        }
    }

    async fn failed(&self, verdict: Verdict, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation != generation {
            return;
        }
        match verdict {
            Verdict::Useless => state.connection = None,
            Verdict::Late => {
                state.timeouts = state.timeouts.saturating_add(1);
                if state.timeouts >= TIMEOUTS {
                    state.connection = None;
                    tracing::warn!(timeouts = TIMEOUTS, "redis does not reply: connecting anew");
                }
            }
            Verdict::Answered => state.timeouts = 0,
        }
    }
}

/// What a failure says about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Broken, or to a server that does not take writes.
    Useless,
    /// No reply in time; it may come next time.
    Late,
    /// Redis said no; the connection is good.
    Answered,
}

fn judge(error: &RedisError) -> Verdict {
    let read_only = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        // Servers before 7 wrap the code into the text of the script's failure.
        || error.detail().is_some_and(|detail| detail.contains("READONLY"));
    if error.is_timeout() {
        Verdict::Late
    } else if read_only || error.is_connection_dropped() || error.is_unrecoverable_error() {
        Verdict::Useless
    } else {
        Verdict::Answered
    }
}

fn unavailable(error: &RedisError) -> ClaimError {
    ClaimError::Unavailable(describe(error))
}

/// The kind of a failure. Never its full text: that may quote what was configured.
fn describe(error: &RedisError) -> String {
    if error.is_timeout() {
        return format!("no reply within {RESPONSE:?}; the outcome is unknown");
    }
    let category = error.category();
    error.code().map_or_else(
        || category.to_owned(),
        |code| format!("{category} ({code})"),
    )
}

fn client(url: &Credential) -> RedisResult<Client> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2))
        .with_retries(3);
    let tcp = tcp_settings(keepalive);
    let info = url.now().expose_secret().into_connection_info()?;
    Client::open(info.set_tcp_settings(tcp))
}

#[cfg(target_os = "linux")]
fn tcp_settings(keepalive: TcpKeepalive) -> TcpSettings {
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(Duration::from_secs(5))
}

#[cfg(not(target_os = "linux"))]
fn tcp_settings(keepalive: TcpKeepalive) -> TcpSettings {
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(url: &str) -> Link {
        Link::new(&Credential::from(url))
    }

    async fn ping(link: &Link) -> Result<(), ClaimError> {
        let command = redis::cmd("PING");
        link.ask(Question::Command(&command)).await
    }

    #[tokio::test]
    async fn an_error_text_never_shows_the_password() {
        for url in ["redis://:hunter2@127.0.0.1:1/", "hunter2://nowhere"] {
            let link = link(url);
            let error = ping(&link).await.unwrap_err();
            assert!(!format!("{error} {error:?} {link:?}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn a_server_that_is_silent_is_left_after_three_timeouts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = link(&format!("redis://{}", listener.local_addr().unwrap()));
        let silent = tokio::spawn(async move { serve(listener).await });
        for _ in 0..TIMEOUTS {
            assert!(ping(&link).await.is_err());
        }
        assert_eq!(link.state.lock().await.generation, 1);
        assert!(ping(&link).await.is_err());
        assert_eq!(link.state.lock().await.generation, 2);
        silent.abort();
    }

    /// Says OK to every command of the greeting and nothing to a PING.
    async fn serve(listener: tokio::net::TcpListener) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            open.spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(read) = socket.read(&mut buffer).await {
                    if read == 0 {
                        return;
                    }
                    let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    let greetings = text.matches("CLIENT").count();
                    let reply = "+OK\r\n".repeat(greetings);
                    socket.write_all(reply.as_bytes()).await.unwrap();
                }
            });
        }
    }
}
