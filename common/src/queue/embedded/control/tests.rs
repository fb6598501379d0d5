//! What is true of the socket itself; that a tool's queues keep the port's promises is in the
//! contract suite.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixStream;

use super::*;
use crate::ids::MessageId;
use crate::message::{Headers, Message, MessageKind};
use crate::queue::embedded::{Embedded, Remote};
use crate::queue::{Destination, QueueError, QueueId, QueueNames, Status};

const PARKED: QueueId = QueueId::Quarantine;
const SOON: Duration = Duration::from_secs(10);

async fn server(dir: &Path) -> Embedded {
    let engine = Embedded::open(dir, QueueNames::default()).await.unwrap();
    engine.let_tools_in(dir).unwrap();
    engine
}

async fn tool(dir: &Path) -> Remote {
    let tool = Remote::connect(dir, QueueNames::default()).await.unwrap();
    tool.expect("a server")
}

fn message(body: &'static [u8]) -> Message {
    Message {
        id: MessageId::new(),
        kind: MessageKind::NotificationV1,
        content_type: "application/x-www-form-urlencoded".into(),
        timestamp: "2026-11-22T10:00:00.125Z".parse().unwrap(),
        headers: Headers::from_pairs([("x-own".to_owned(), "ü".to_owned())]),
        body: bytes::Bytes::from_static(body),
    }
}

#[tokio::test]
async fn without_a_server_there_is_nobody_to_ask_also_after_one_has_ended() {
    let dir = TempDir::new().unwrap();
    let connect = async || Remote::connect(dir.path(), QueueNames::default()).await;
    assert!(connect().await.unwrap().is_none());
    let engine = server(dir.path()).await;
    assert!(connect().await.unwrap().is_some());
    engine.close(SOON).await;
    assert!(connect().await.unwrap().is_none());
    // The socket that a killed process leaves behind is in nobody's way.
    let again = server(dir.path()).await;
    assert!(connect().await.unwrap().is_some());
    again.close(SOON).await;
}

#[tokio::test]
async fn the_socket_is_for_its_owner_only_and_may_lie_deep() {
    let dir = TempDir::new().unwrap();
    let deep = dir.path().join("d".repeat(60)).join("e".repeat(60));
    for folder in [dir.path(), deep.as_path()] {
        let engine = server(folder).await;
        let mode = std::fs::metadata(folder.join(NAME)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        tool(folder).await.depths().await.unwrap();
        engine.close(SOON).await;
    }
}

#[tokio::test]
async fn a_message_goes_through_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    let engine = server(dir.path()).await;
    let tool = tool(dir.path()).await;
    let sent = message(b"a\0\n\xff");
    let to = Destination::Queue(PARKED);
    tool.publish(&to, sent.clone()).await.unwrap();
    assert_eq!(
        engine.peek(PARKED, 9).await.unwrap(),
        std::slice::from_ref(&sent)
    );
    let mut consumer = tool.consume(PARKED, 1).await;
    let delivery = tokio::time::timeout(SOON, consumer.next()).await.unwrap();
    assert_eq!(delivery.unwrap().message, sent);
}

#[tokio::test]
async fn what_a_tool_has_in_hand_is_in_line_again_when_its_connection_ends() {
    let dir = TempDir::new().unwrap();
    let engine = server(dir.path()).await;
    let to = Destination::Queue(PARKED);
    engine.publish(&to, message(b"stays")).await.unwrap();
    let tool = tool(dir.path()).await;
    let mut consumer = tool.consume(PARKED, 8).await;
    let in_hand = tokio::time::timeout(SOON, consumer.next()).await.unwrap();
    assert!(in_hand.is_some());
    tool.close();
    let mut own = engine.consume(PARKED, 8).await;
    let again = tokio::time::timeout(SOON, own.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (again.message.body.as_ref(), again.redelivered),
        (&b"stays"[..], true)
    );
    // Too late: it is no longer the tool's to settle.
    assert!(in_hand.unwrap().acker.ack().await.is_err());
    assert!(consumer.next().await.is_none());
}

#[tokio::test]
async fn a_tool_hears_that_the_server_has_ended() {
    let dir = TempDir::new().unwrap();
    let engine = server(dir.path()).await;
    let tool = tool(dir.path()).await;
    let mut consumer = tool.consume(PARKED, 8).await;
    engine.close(SOON).await;
    let ended = tokio::time::timeout(SOON, consumer.next()).await.unwrap();
    assert!(ended.is_none());
    let refused = tool
        .publish(&Destination::Queue(PARKED), message(b"x"))
        .await;
    assert!(refused.unwrap_err().to_string().contains("has ended"));
    assert!(matches!(tool.status(), Status::Down(_)));
}

#[tokio::test]
async fn a_tool_of_another_version_is_told_so() {
    let dir = TempDir::new().unwrap();
    let _engine = server(dir.path()).await;
    let mut stream = UnixStream::connect(dir.path().join(NAME)).await.unwrap();
    let hello = wire::Ask::Hello { version: 99 };
    wire::write(&mut stream, &(hello, bytes::Bytes::new()))
        .await
        .unwrap();
    let answer = wire::read::<wire::Say>(&mut stream).await.unwrap();
    let told = format!("{answer:?}");
    assert!(
        told.contains("this server speaks form 1 and not 99"),
        "{told}"
    );
}

#[tokio::test]
async fn what_listens_there_and_is_no_server_is_not_taken_for_one() {
    let dir = TempDir::new().unwrap();
    let listener = tokio::net::UnixListener::bind(dir.path().join(NAME)).unwrap();
    let answering = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(stream);
    });
    let failed = Remote::connect(dir.path(), QueueNames::default()).await;
    assert!(matches!(failed, Err(QueueError::Unavailable(_))));
    answering.await.unwrap();
}
