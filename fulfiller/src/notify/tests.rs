//! Notifications sent, skipped, repeated and refused.

mod mail_servers;

use std::path::Path;

use bytes::Bytes;
use quittance_common::event::EventType;
use quittance_common::ids::MessageId;
use quittance_common::message::Headers;
use quittance_common::settings::{HttpTarget, Languages, NotifyDriver, NotifySettings};
use quittance_common::shop::SubjectKey;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::announcement::{News, StockItem, StockRequest};
use crate::mail::{MailTo, Mailer};
use crate::payment::fold;
use crate::templates::Templates;
use crate::testing::{at, event, shop};
use crate::webhook::Webhook;

fn metrics() -> Metrics {
    let duplicates = Metrics::duplicates_total().unwrap();
    Metrics::register(&prometheus::Registry::new(), duplicates).unwrap()
}

fn stage(shop: &Shop, driver: NotifyDriver) -> NotifyStage {
    stage_from(shop, driver, "shop@example.com")
}

fn stage_from(shop: &Shop, driver: NotifyDriver, from: &str) -> NotifyStage {
    let settings = NotifySettings {
        driver,
        from: from.into(),
        shop_name: "Mugs".into(),
        merchant: None,
        templates: None,
        languages: Languages::default(),
    };
    let to = match &settings.driver {
        NotifyDriver::Maildir(folder) => MailTo::Maildir(folder),
        NotifyDriver::Smtp(url) => MailTo::Smtp(url),
        NotifyDriver::Http(_) => panic!("no mail"),
    };
    let channel = Channel::Mail {
        mailer: Box::new(Mailer::new(&settings, to).unwrap()),
        templates: Box::new(Templates::load(&settings).unwrap()),
        merchant: Some("office@shop.example".parse().unwrap()),
    };
    let outlets = Outlets {
        channel,
        stock: None,
    };
    NotifyStage::new(shop.clone(), outlets, metrics())
}

fn message(email: Option<&str>, attempt: u32) -> Message {
    let mut paid = event(EventType::Completed, "T", "T");
    paid.data.payer.email = email.map(str::to_owned);
    paid.data.payer.name = Some("Jo\r\nBcc: everybody@example.org".into());
    let events = [paid];
    let subject = SubjectKey::of(&events[0]);
    carry(
        &Announcement::new(News::Received, &subject, &fold(&events), &events),
        attempt,
    )
}

fn carry(announcement: &Announcement, attempt: u32) -> Message {
    Message {
        id: announcement.message_id(),
        kind: MessageKind::AnnouncementV1,
        content_type: "application/json".into(),
        timestamp: at(0),
        headers: Headers {
            attempt,
            ..Headers::default()
        },
        body: Bytes::from(serde_json::to_vec(announcement).unwrap()),
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

/// The mail's charset and both of its parts.
#[tokio::test]
async fn a_mail_has_a_text_and_an_html_part_in_utf_8() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let inbox = folder.path().join("mail");
    let stage = stage(&shop, NotifyDriver::Maildir(inbox.clone()));
    stage.handle(&message(Some("buyer@example.org"), 0)).await;
    let mail = mails(&inbox).remove(0);
    assert!(
        mail.contains("Content-Type: multipart/alternative"),
        "{mail}"
    );
    let plain = mail
        .find("Content-Type: text/plain; charset=utf-8")
        .unwrap();
    let html = mail.find("Content-Type: text/html; charset=utf-8").unwrap();
    assert!(plain < html, "what a reader prefers comes last");
}

#[tokio::test]
async fn what_waits_for_a_person_is_mailed_to_the_merchant_and_not_to_the_buyer() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let inbox = folder.path().join("mail");
    let stage = stage(&shop, NotifyDriver::Maildir(inbox.clone()));
    let mut paid = event(EventType::Completed, "T", "T");
    paid.data.payer.email = Some("buyer@example.org".into());
    let events = [paid];
    let subject = SubjectKey::of(&events[0]);
    let flagged =
        crate::announcement::merchant(vec!["reversed".into()], &subject, &fold(&events), &events);
    stage.handle(&carry(&flagged, 0)).await;
    let mail = mails(&inbox).remove(0);
    assert!(mail.contains("To: office@shop.example"), "{mail}");
    assert!(!mail.contains("buyer@example.org"), "{mail}");
}

/// A shop that answers every request with `answer` and hands on what it was asked.
async fn shop_endpoint(answer: &'static str) -> (Webhook, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (asked, requests) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            // The last member of the body is `type`.
            while !request.ends_with(b"\"stock.take\"}") {
                tokio::io::AsyncReadExt::read_buf(&mut stream, &mut request)
                    .await
                    .unwrap();
            }
            let reply =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
            asked.send(String::from_utf8(request).unwrap()).await.ok();
        }
    });
    let target = HttpTarget {
        url: url.parse().unwrap(),
        secrets: SECRETS.map(|secret| secret.to_owned().into()).into(),
        allow_private: true,
    };
    (Webhook::new("stock", &target).unwrap(), requests)
}

const SECRETS: [&str; 2] = [
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
];

fn stock_request() -> Announcement {
    let events = [event(EventType::Completed, "T", "T")];
    let subject = SubjectKey::of(&events[0]);
    let news = News::Stock {
        request: StockRequest::Take,
        sequence: 1,
        items: vec![StockItem {
            sku: "mug".parse().unwrap(),
            quantity: 2,
        }],
        reserve_until: None,
    };
    Announcement::new(news, &subject, &fold(&events), &events)
}

async fn posted(answer: &'static str, attempt: u32) -> (Disposition<()>, String, u64) {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let (hook, mut requests) = shop_endpoint(answer).await;
    let (other, _) = shop_endpoint("500 Oops").await;
    let outlets = Outlets {
        channel: Channel::Http(other),
        stock: Some(hook),
    };
    let stage = NotifyStage::new(shop.clone(), outlets, metrics());
    let disposition = stage.handle(&carry(&stock_request(), attempt)).await;
    let request = requests.recv().await.unwrap();
    (
        disposition,
        request,
        shop.count_announcements("sent").await.unwrap(),
    )
}

#[tokio::test]
async fn a_stock_request_is_signed_with_every_secret_and_carries_its_effects_id() {
    let (disposition, request, sent) = posted("204 No Content", 0).await;
    assert!(matches!(disposition, Disposition::Forward { .. }));
    assert_eq!(sent, 1);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let line = head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then(|| value.to_owned())
        });
        line.unwrap_or_else(|| panic!("no {name} in {head}"))
    };
    let id = stock_request().message_id().to_string();
    assert_eq!(
        (header("webhook-id"), header("idempotency-key")),
        (id.clone(), id.clone())
    );
    let at: i64 = header("webhook-timestamp").parse().unwrap();
    let signatures = header("webhook-signature");
    for (secret, signature) in SECRETS.iter().zip(signatures.split(' ')) {
        let signer = standardwebhooks::Webhook::new(secret).unwrap();
        assert_eq!(signer.sign(&id, at, body.as_bytes()).unwrap(), signature);
    }
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["type"], "stock.take");
    assert_eq!(body["data"]["items"][0]["sku"], "mug");
    assert_eq!(body["data"]["items"][0]["quantity"], 2);
}

#[tokio::test]
async fn a_shop_decides_between_taken_later_and_never() {
    for (answer, attempt, expected) in [
        (
            "503 Busy\r\nRetry-After: 120",
            0,
            "later 120 webhook_unavailable",
        ),
        ("429 Slow", 0, "later 0 webhook_unavailable"),
        (
            "302 Found\r\nLocation: http://127.0.0.1:1/",
            0,
            "later 0 webhook_unavailable",
        ),
        ("503 Busy", SEND_ATTEMPTS, "never webhook_not_taken"),
        ("410 Gone", 0, "never webhook_gone"),
        ("422 No", 0, "never webhook_rejected"),
    ] {
        let (disposition, _, sent) = posted(answer, attempt).await;
        let outcome = match &disposition {
            Disposition::Retry {
                wait: Wait::Counted { at_least },
                reason,
                ..
            } => format!("later {} {reason}", at_least.as_secs()),
            Disposition::Park {
                lot: Lot::Dead,
                reason,
                ..
            } => format!("never {reason}"),
            other => format!("{other:?}"),
        };
        assert_eq!(outcome, expected, "{answer}");
        assert_eq!(sent, 0);
    }
}

#[tokio::test]
async fn a_stock_request_without_a_place_to_go_ends_with_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let stage = stage(&shop, NotifyDriver::Maildir(folder.path().join("mail")));
    let disposition = stage.handle(&carry(&stock_request(), 99)).await;
    assert!(
        matches!(&disposition, Disposition::Park { reason, .. } if reason.as_str() == "stock_not_configured"),
        "{disposition:?}"
    );
}

#[tokio::test]
async fn copies_of_a_refused_message_are_one_mail_to_the_merchant_with_everything_known() {
    use quittance_common::ids::GatewayId;
    use quittance_common::quarantine_notice::{Known, quarantine_notice};
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder, 1).await;
    let inbox = folder.path().join("mail");
    let stage = stage(&shop, NotifyDriver::Maildir(inbox.clone()));
    let known = Known {
        keys: vec!["pp:live:T1:completed:".parse().unwrap()],
        txn_id: "T1".parse().ok(),
        gross: Some(crate::testing::eur(5)),
        expected: Some("20.00 EUR".into()),
        found: Some("0.05 EUR".into()),
        can_release: true,
        ..Known::default()
    };
    for copy in ["one", "two", "three"] {
        let parked = Message {
            id: MessageId::from_name(copy),
            kind: MessageKind::NotificationV1,
            headers: Headers {
                gateway: Some(GatewayId::PayPal),
                account: "default".parse().ok(),
                ..Headers::default()
            },
            ..message(Some("buyer@example.org"), 0)
        };
        let (name, lot) = (StageName::Verifier, Lot::Quarantine);
        let reason = Reason::of("amount_mismatch");
        let outgoing = quarantine_notice(&parked, name, lot, &reason, &known)
            .unwrap()
            .outgoing;
        let announcement: Announcement = serde_json::from_str(&outgoing.payload).unwrap();
        assert_eq!(announcement.message_id(), outgoing.id);
        stage.handle(&carry(&announcement, 0)).await;
    }
    let mails = mails(&inbox);
    assert_eq!(mails.len(), 1);
    for told in [
        "The price is not the one",
        "20.00 EUR",
        "payments release T1",
    ] {
        assert!(mails[0].contains(told), "{told}: {}", mails[0]);
    }
    assert!(!mails[0].contains("buyer@example.org"));
}
