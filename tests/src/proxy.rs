//! A TCP proxy that passes, stalls, cuts or refuses on demand.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the proxy does with connections, old and new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Bytes go through.
    Pass,
    /// Connections stay open, new ones are taken, no byte moves: a network that drops packets.
    Stall,
    /// Open connections are closed, new ones are closed as soon as they are taken.
    Cut,
    /// Open connections are closed and nothing listens any more.
    Refuse,
}

/// The proxy; it ends with this value.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    applied: watch::Receiver<Mode>,
    task: JoinHandle<()>,
}

impl ChaosProxy {
    /// A proxy on a free port in front of `target`, passing.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let (applying, applied) = watch::channel(Mode::Pass);
        let task = tokio::spawn(async move {
            run(listener, address, target, modes, applying).await;
        });
        Ok(Self {
            address,
            mode,
            applied,
            task,
        })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to every connection, and returns once that is so.
    pub async fn set(&mut self, mode: Mode) -> anyhow::Result<()> {
        self.mode.send_replace(mode);
        self.applied.wait_for(|applied| *applied == mode).await?;
        Ok(())
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    listener: TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    mut modes: watch::Receiver<Mode>,
    applying: watch::Sender<Mode>,
) {
    let mut listener = Some(listener);
    let mut links = JoinSet::new();
    loop {
        let mode = *modes.borrow_and_update();
        if mode == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            // Should somebody have taken the port meanwhile, clients go on being refused.
            listener = TcpListener::bind(address).await.ok();
        }
        if matches!(mode, Mode::Cut | Mode::Refuse) {
            links.shutdown().await;
        }
        applying.send_replace(mode);
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            client = accept(listener.as_ref()) => {
                while links.try_join_next().is_some() {}
                if let Some(client) = client && mode != Mode::Cut {
                    links.spawn(link(client, target, modes.clone()));
                }
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => Some(listener.accept().await.ok()?.0),
        None => std::future::pending().await,
    }
}

/// One connection, both ways, until either side closes.
async fn link(client: TcpStream, target: SocketAddr, mut modes: watch::Receiver<Mode>) {
    passing(&mut modes).await;
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        pump(from_client, to_server, modes.clone()),
        pump(from_server, to_client, modes)
    );
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut modes: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // Held back here, not dropped: TCP would deliver it later as well.
        passing(&mut modes).await;
        let Some(bytes) = buffer.get(..count) else {
            return;
        };
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
    drop(to.shutdown().await);
}

async fn passing(modes: &mut watch::Receiver<Mode>) {
    if modes.wait_for(|mode| *mode == Mode::Pass).await.is_err() {
        // The proxy is gone; its task set is about to end this one.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn what_passes_comes_back() {
        let proxy = ChaosProxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn what_stalls_is_delivered_afterwards() {
        let mut proxy = ChaosProxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), b'x');
        proxy.set(Mode::Stall).await.unwrap();
        let stalled = tokio::time::timeout(Duration::from_millis(200), ask(&mut stream)).await;
        assert!(stalled.is_err());
        proxy.set(Mode::Pass).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_new_connections_end_too() {
        let mut proxy = ChaosProxy::start(echo().await).await.unwrap();
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut old).await.unwrap(), b'x');
        proxy.set(Mode::Cut).await.unwrap();
        assert!(old.read_u8().await.is_err());
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(new.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn what_is_refused_cannot_connect_until_it_passes_again() {
        let mut proxy = ChaosProxy::start(echo().await).await.unwrap();
        proxy.set(Mode::Refuse).await.unwrap();
        assert!(TcpStream::connect(proxy.address()).await.is_err());
        proxy.set(Mode::Pass).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), b'x');
    }
}
