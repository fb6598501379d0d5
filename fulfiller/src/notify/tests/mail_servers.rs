//! What mail servers answer, and what becomes of the mail.

use std::collections::BTreeMap;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A mail server that answers every RCPT with `reply`, for one connection after another.
async fn mail_server(reply: &'static str) -> String {
    mail_server_with([("RCPT", reply)].into()).await
}

/// The same with answers by what a line begins with; `""` is the greeting. Whatever is not there is
/// fine with it.
async fn mail_server_with(replies: BTreeMap<&'static str, &'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that hangs up is no fault of ours.
            drop(converse(stream, &replies).await);
        }
    });
    format!("smtp://jo:secret@{address}")
}

async fn converse(
    stream: TcpStream,
    replies: &BTreeMap<&'static str, &'static str>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut say = async |line: &str| write.write_all(format!("{line}\r\n").as_bytes()).await;
    say(replies.get("").unwrap_or(&"220 test")).await?;
    let mut in_data = false;
    while let Some(line) = lines.next_line().await? {
        if in_data && line != "." {
            continue;
        }
        in_data = line == "DATA" && !replies.contains_key("DATA");
        let found = replies
            .iter()
            .find(|(verb, _)| !verb.is_empty() && line.starts_with(**verb));
        let answer = match (found, line.get(..4).unwrap_or(&line)) {
            (Some((_, reply)), _) => *reply,
            (None, "EHLO") => "250-test\r\n250 AUTH PLAIN",
            (None, "AUTH") => "235 come in",
            (None, "DATA") => "354 go on",
            (None, ".") => "250 taken",
            (None, _) => "250 ok",
        };
        say(answer).await?;
    }
    Ok(())
}

#[tokio::test]
async fn two_deliveries_of_one_notification_at_once_send_one_mail() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let url = mail_server("250 ok").await;
    let [one, two] = [(); 2].map(|()| stage(&shop, NotifyDriver::Smtp(url.clone().into())));
    let message = message(Some("buyer@example.org"), 0);
    let (first, second) = tokio::join!(one.handle(&message), two.handle(&message));
    let sent = [&first, &second]
        .into_iter()
        .filter(|disposition| matches!(disposition, Disposition::Forward { .. }))
        .count();
    assert_eq!(sent, 1, "{first:?} {second:?}");
    let waits = |disposition: &Disposition<()>| {
        matches!(disposition, Disposition::Retry { wait: Wait::Free { .. }, reason, .. }
            if reason.as_str() == "being_sent")
    };
    assert!(waits(&first) || waits(&second), "{first:?} {second:?}");
    let again = two.handle(&message).await;
    assert!(matches!(again, Disposition::Forward { .. }), "{again:?}");
    assert_eq!(shop.count_announcements("sent").await.unwrap(), 1);
}

#[tokio::test]
async fn a_mail_server_decides_between_sent_later_and_never() {
    for (reply, expected) in [
        ("250 ok", "sent"),
        ("450 greylisted, buyer@example.org", "later"),
        ("550 no such user buyer@example.org", "never"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 1).await;
        let url = mail_server(reply).await;
        let stage = stage(&shop, NotifyDriver::Smtp(url.into()));
        let disposition = stage.handle(&message(Some("buyer@example.org"), 0)).await;
        let outcome = match &disposition {
            Disposition::Forward { .. } => "sent",
            Disposition::Retry { detail, .. } => {
                assert!(!detail.contains("buyer"), "{detail}");
                "later"
            }
            Disposition::Park {
                lot: Lot::Dead,
                reason,
                detail,
            } => {
                assert_eq!(reason.as_str(), "smtp_rejected");
                assert!(!detail.contains("buyer"), "{detail}");
                "never"
            }
            Disposition::Park { .. } => "elsewhere",
        };
        assert_eq!(outcome, expected, "{disposition:?}");
        let sent = shop.count_announcements("sent").await.unwrap();
        assert_eq!(sent, u64::from(expected == "sent"));
    }
}

#[tokio::test]
async fn what_a_mail_server_refuses_before_it_hears_for_whom_the_mail_is_is_tried_again() {
    for (at, reply, expected) in [
        ("", "554 no service", "later"),
        ("EHLO", "550 go away", "later"),
        ("AUTH", "535 5.7.8 bad credentials", "later"),
        ("MAIL", "550 not from you", "later"),
        ("MAIL", "530 5.7.0 login first", "later"),
        ("RCPT", "530 5.7.0 login first", "later"),
        ("RCPT", "554 no relay", "never"),
        ("DATA", "554 no", "never"),
        (".", "552 too large", "never"),
        (".", "451 try again", "later"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 1).await;
        let url = mail_server_with([(at, reply)].into()).await;
        let stage = stage(&shop, NotifyDriver::Smtp(url.into()));
        let disposition = stage.handle(&message(Some("buyer@example.org"), 0)).await;
        let outcome = match &disposition {
            Disposition::Retry {
                wait: Wait::Counted { .. },
                detail,
                ..
            } => {
                assert!(detail.contains(reply.get(..3).unwrap()), "{detail}");
                "later"
            }
            Disposition::Park { reason, .. } if reason.as_str() == "smtp_rejected" => "never",
            _ => "otherwise",
        };
        assert_eq!(outcome, expected, "{at} {reply}: {disposition:?}");
    }
}

#[tokio::test]
async fn an_address_that_the_mail_server_cannot_write_to_is_skipped_at_once() {
    for (hello, outcome) in [
        ("250-test\r\n250 AUTH PLAIN", "skipped"),
        (
            "250-test\r\n250-AUTH PLAIN\r\n250-8BITMIME\r\n250 SMTPUTF8",
            "sent",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 1).await;
        let url = mail_server_with([("EHLO", hello)].into()).await;
        let stage = stage(&shop, NotifyDriver::Smtp(url.into()));
        let disposition = stage.handle(&message(Some("jörg@example.org"), 0)).await;
        assert!(
            matches!(disposition, Disposition::Forward { .. }),
            "{disposition:?}"
        );
        assert_eq!(shop.count_announcements(outcome).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn the_sender_may_have_a_name_of_its_own() {
    for (from, written) in [
        ("shop@example.com", "From: Mugs <shop@example.com>"),
        (
            "The Mug Shop <shop@example.com>",
            "From: \"The Mug Shop\" <shop@example.com>",
        ),
        (
            "\"Mug, Ltd.\" <shop@example.com>",
            // "Mug, Ltd." in base64.
            "From: =?utf-8?b?TXVnLCBMdGQu?= <shop@example.com>",
        ),
        (
            "Mug, Ltd. <shop@example.com>",
            "From: =?utf-8?b?TXVnLCBMdGQu?= <shop@example.com>",
        ),
        (
            "Söhne <shop@example.com>",
            "From: =?utf-8?b?U8O2aG5l?= <shop@example.com>",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 1).await;
        let inbox = folder.path().join("mail");
        let stage = stage_from(&shop, NotifyDriver::Maildir(inbox.clone()), from);
        stage.handle(&message(Some("buyer@example.org"), 0)).await;
        let mail = mails(&inbox).remove(0);
        let line = mail
            .lines()
            .find(|line| line.starts_with("From: "))
            .unwrap();
        assert_eq!(line, written);
    }
}

#[tokio::test]
async fn what_was_sent_is_recorded_and_not_sent_again_when_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    // Nobody listens: an attempt to send would fail.
    let stage = stage(
        &shop,
        NotifyDriver::Smtp("smtp://127.0.0.1:9".to_owned().into()),
    );
    let message = message(Some("buyer@example.org"), 0);
    stage.unrecorded.remember(message.id);
    let disposition = stage.handle(&message).await;
    assert!(
        matches!(disposition, Disposition::Forward { .. }),
        "{disposition:?}"
    );
    assert_eq!(shop.count_announcements("sent").await.unwrap(), 1);
    assert!(!stage.unrecorded.has(message.id));
}

#[tokio::test]
async fn a_mail_server_that_is_not_there_is_tried_again_and_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let stage = stage(
        &shop,
        NotifyDriver::Smtp("smtp://127.0.0.1:9".to_owned().into()),
    );
    let early = stage.handle(&message(Some("buyer@example.org"), 0)).await;
    assert!(matches!(early, Disposition::Retry { .. }), "{early:?}");
    let late = stage
        .handle(&message(Some("buyer@example.org"), SEND_ATTEMPTS))
        .await;
    assert!(
        matches!(&late, Disposition::Park { reason, .. } if reason.as_str() == "mail_not_taken"),
        "{late:?}"
    );
}
