//! An SMTP server that keeps what it is sent and refuses when told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the server says once it has read a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `250`: kept.
    Accept,
    /// This 4xx or 5xx code: not kept.
    Refuse(u16),
    /// Kept, but the connection is cut before the answer: the sender cannot know.
    LoseReply,
    /// Kept, and answered with `250` once something else is to be answered.
    Hold,
    /// This 4xx or 5xx code, as soon as the client comes to that step.
    RefuseAt(Step, u16),
}

/// What a client does before its message is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It connects.
    Connect,
    /// It logs in.
    Login,
    /// It names the sender.
    Sender,
    /// It names a recipient.
    Recipient,
}

/// One message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The address of `MAIL FROM`.
    pub from: String,
    /// The addresses of `RCPT TO`.
    pub to: Vec<String>,
    /// Headers and body, dots unstuffed, lines ending with CRLF.
    pub data: String,
}

#[derive(Debug)]
struct State {
    answer: watch::Sender<Answer>,
    mails: Vec<Mail>,
}

impl State {
    fn answer(&self) -> Answer {
        *self.answer.borrow()
    }
}

/// The server; it ends with this value.
#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl SmtpSink {
    /// Listens on a free port and accepts everything.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            answer: watch::Sender::new(Answer::Accept),
            mails: Vec::new(),
        }));
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// `smtp://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Its address, for a proxy in front of it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, say this.
    pub fn answer(&self, answer: Answer) {
        self.with(|state| {
            state.answer.send_replace(answer);
        });
    }

    /// Everything kept so far, in order.
    pub fn messages(&self) -> Vec<Mail> {
        self.with(|state| state.mails.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    // A set ends its tasks when it is dropped, so that no conversation outlives the server.
    let mut conversations = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while conversations.try_join_next().is_some() {}
        let state = Arc::clone(&state);
        conversations.spawn(async move {
            // A client that hangs up is no fault of ours.
            drop(converse(stream, &state).await);
        });
    }
}

async fn converse(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    match refused_at(state, Step::Connect) {
        None => say(&mut stream, "220 sink").await?,
        Some(no) => return say(&mut stream, &no).await,
    }
    let mut from = String::new();
    let mut to = Vec::new();
    while let Some(line) = read_line(&mut stream).await? {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => say(&mut stream, "250-sink\r\n250 AUTH PLAIN").await?,
            "HELO" | "NOOP" => say(&mut stream, "250 sink").await?,
            "AUTH" => {
                let no = refused_at(state, Step::Login);
                say(&mut stream, no.as_deref().unwrap_or("235 ok")).await?;
            }
            "MAIL" => {
                from = address(&line);
                let no = refused_at(state, Step::Sender);
                say(&mut stream, no.as_deref().unwrap_or("250 ok")).await?;
            }
            "RCPT" => {
                to.push(address(&line));
                let no = refused_at(state, Step::Recipient);
                say(&mut stream, no.as_deref().unwrap_or("250 ok")).await?;
            }
            "RSET" => {
                to.clear();
                say(&mut stream, "250 ok").await?;
            }
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                let data = read_data(&mut stream).await?;
                let mail = Mail {
                    from: from.clone(),
                    to: std::mem::take(&mut to),
                    data,
                };
                match keep(state, mail) {
                    Answer::Hold => {
                        released(state).await;
                        say(&mut stream, "250 kept").await?;
                    }
                    Answer::Accept | Answer::RefuseAt(..) => say(&mut stream, "250 kept").await?,
                    Answer::Refuse(code) => say(&mut stream, &format!("{code} no")).await?,
                    Answer::LoseReply => return Ok(()),
                }
            }
            "QUIT" => return say(&mut stream, "221 bye").await,
            _ => say(&mut stream, "502 what?").await?,
        }
    }
    Ok(())
}

fn keep(state: &Mutex<State>, mail: Mail) -> Answer {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = state.answer();
    if !matches!(answer, Answer::Refuse(_)) {
        state.mails.push(mail);
    }
    answer
}

/// The refusal of a step, where it is to be refused.
fn refused_at(state: &Mutex<State>, step: Step) -> Option<String> {
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match state.answer() {
        Answer::RefuseAt(at, code) if at == step => Some(format!("{code} no")),
        _ => None,
    }
}

/// Waits until something else than to wait is to be answered.
async fn released(state: &Mutex<State>) {
    let mut answers = {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answer.subscribe()
    };
    // The server is gone: nobody waits for the answer.
    drop(answers.wait_for(|answer| *answer != Answer::Hold).await);
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> std::io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&line);
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn read_data(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<String> {
    let mut data = String::new();
    while let Some(line) = read_line(stream).await? {
        if line == "." {
            break;
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
        data.push_str("\r\n");
    }
    Ok(data)
}

/// What stands between `<` and `>`.
fn address(line: &str) -> String {
    let inner = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(address, _)| address.to_owned())
}
