//! Notifications sent, skipped, repeated and refused.

use std::path::Path;

use bytes::Bytes;
use quittance_common::event::EventType;
use quittance_common::ids::MessageId;
use quittance_common::message::Headers;
use quittance_common::settings::{NotifyDriver, NotifySettings};
use quittance_common::shop::SubjectKey;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::announcement::News;
use crate::payment::fold;
use crate::testing::{at, event, shop};

fn stage(shop: &Shop, driver: NotifyDriver) -> NotifyStage {
    let settings = NotifySettings {
        driver,
        from: "shop@example.com".into(),
        shop_name: "Mugs".into(),
    };
    let metrics = Metrics::register(
        &prometheus::Registry::new(),
        Metrics::duplicates_total().unwrap(),
    )
    .unwrap();
    NotifyStage::new(
        shop.clone(),
        Templates::built_in("Mugs").unwrap(),
        Mailer::new(&settings).unwrap(),
        metrics,
    )
}

fn message(email: Option<&str>, attempt: u32) -> Message {
    let mut paid = event(EventType::Completed, "T", "T");
    paid.data.payer.email = email.map(str::to_owned);
    paid.data.payer.name = Some("Jo\r\nBcc: everybody@example.org".into());
    let events = [paid];
    let subject = SubjectKey::of(&events[0]);
    let announcement = Announcement::new(News::Received, &subject, &fold(&events), &events);
    Message {
        id: announcement.message_id(),
        kind: MessageKind::AnnouncementV1,
        content_type: "application/json".into(),
        timestamp: at(0),
        headers: Headers {
            attempt,
            ..Headers::default()
        },
        body: Bytes::from(serde_json::to_vec(&announcement).unwrap()),
    }
}

fn mails(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder.join("new")).map_or_else(
        |_| Vec::new(),
        |files| {
            files
                .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
                .collect()
        },
    )
}

#[tokio::test]
async fn a_notification_is_sent_once_with_a_stable_id_and_no_header_of_the_buyers_making() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let inbox = folder.path().join("mail");
    let stage = stage(&shop, NotifyDriver::Maildir(inbox.clone()));
    let message = message(Some("buyer@example.org"), 0);
    for _ in 0..2 {
        let disposition = stage.handle(&message).await;
        assert!(matches!(disposition, Disposition::Forward { .. }));
    }
    let mails = mails(&inbox);
    assert_eq!(mails.len(), 1);
    let (head, _) = mails[0].split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Message-ID: <{}@quittance>", message.id)));
    assert!(head.contains("Subject: Mugs: payment received"));
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
    assert_eq!(shop.count_announcements("sent").await.unwrap(), 1);
}

#[tokio::test]
async fn a_mail_that_the_reader_has_filed_away_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let inbox = folder.path().join("mail");
    let stage = stage(&shop, NotifyDriver::Maildir(inbox.clone()));
    let message = message(Some("buyer@example.org"), 0);
    stage.handle(&message).await;
    std::fs::remove_dir_all(inbox.join("new")).unwrap();
    let disposition = stage.handle(&message).await;
    assert!(matches!(disposition, Disposition::Forward { .. }));
    assert!(mails(&inbox).is_empty());
}

#[tokio::test]
async fn without_a_usable_address_nothing_is_sent_and_that_is_recorded() {
    for email in [None, Some("no address\r\nBcc: x@example.org")] {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(&folder, 1).await;
        let inbox = folder.path().join("mail");
        let stage = stage(&shop, NotifyDriver::Maildir(inbox.clone()));
        let disposition = stage.handle(&message(email, 0)).await;
        assert!(matches!(disposition, Disposition::Forward { .. }));
        assert!(mails(&inbox).is_empty());
        assert_eq!(shop.count_announcements("skipped").await.unwrap(), 1);
    }
}

/// A mail server that answers every RCPT with `reply`, for one connection after another.
async fn mail_server(reply: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 test\r\n").await.unwrap();
            let mut in_data = false;
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.as_str() {
                    "." => {
                        in_data = false;
                        "250 taken"
                    }
                    _ if in_data => continue,
                    "DATA" => {
                        in_data = true;
                        "354 go on"
                    }
                    _ if line.starts_with("RCPT") => reply,
                    _ => "250 ok",
                };
                write.write_all(answer.as_bytes()).await.unwrap();
                write.write_all(b"\r\n").await.unwrap();
            }
        }
    });
    format!("smtp://{address}")
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
async fn what_a_crash_left_in_hand_is_sent_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let id = MessageId::from_name("mail");
    let begin = async |seconds| {
        let begun = shop.begin_announcement(id, "s", "mail_received", at(seconds), SENDING);
        begun.await.unwrap()
    };
    assert_eq!(begin(0).await, Begun::Mine);
    assert_eq!(begin(179).await, Begun::Busy);
    assert_eq!(begin(180).await, Begun::Mine);
    // Who overslept gives back nothing of the new owner's.
    shop.give_up_announcement(id, at(0)).await.unwrap();
    assert_eq!(begin(181).await, Begun::Busy);
    shop.give_up_announcement(id, at(180)).await.unwrap();
    assert_eq!(begin(182).await, Begun::Mine);
    let outcome = Announced::Sent;
    let recorded = shop.record_announcement(id, "s", "mail_received", outcome, at(183));
    recorded.await.unwrap();
    assert_eq!(begin(10_000).await, Begun::Before);
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
