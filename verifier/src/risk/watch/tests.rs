//! Payments on their way, with books on a real file.

use std::collections::BTreeMap;

use quittance_common::ids::MessageId;
use quittance_common::message::{Headers, MessageKind};
use quittance_common::settings::ShopDatabase;

use super::*;

/// A completed payment of 21.50 EUR.
const EVENT: &[u8] = include_bytes!("../../../../tests/golden/payment-event-v1.json");

/// Hands the same event on, whatever comes.
struct Forwarding;

impl Stage for Forwarding {
    const NAME: StageName = StageName::Verifier;
    type Receipt = ();

    async fn ready(&self) {}

    async fn handle(&self, message: &Message) -> Disposition<()> {
        let fulfil = Destination::Queue(QueueId::Work(WorkQueue::Fulfil));
        let notify = Destination::Queue(QueueId::Work(WorkQueue::Notify));
        Disposition::Forward {
            publish: vec![(fulfil, message.clone()), (notify, message.clone())],
            receipt: (),
        }
    }

    async fn confirmed(&self, (): ()) {}
}

fn message() -> Message {
    Message {
        id: MessageId::new(),
        kind: MessageKind::PaymentV1,
        content_type: "application/json".into(),
        timestamp: clock::now(),
        headers: Headers::default(),
        body: EVENT.into(),
    }
}

fn watched(folder: &tempfile::TempDir, rule: &[(&str, &str)]) -> Watched<Forwarding> {
    let mut environment = BTreeMap::from([("QUITTANCE_ACCOUNT__0__RECEIVERS", "pay@shop.example")]);
    environment.extend(rule.iter().copied());
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let settings = Settings::load(None, &environment).unwrap();
    let database = ShopDatabase::Sqlite(folder.path().join("shop.sqlite"));
    let shop = Shop::lazy(&database).unwrap();
    let at_risk = AtRisk::register(&Registry::new(), Arc::new(settings), shop).unwrap();
    Watched::new(Forwarding, at_risk)
}

/// What is at risk a minute from now, in the minor units of all currencies.
fn at_risk(watched: &Watched<Forwarding>) -> i64 {
    let later = clock::now() + crate::risk::ON_ITS_WAY;
    watched.at_risk.ledger().overdue(later).values().sum()
}

async fn forward(watched: &Watched<Forwarding>) {
    let Disposition::Forward { receipt, .. } = watched.handle(&message()).await else {
        panic!("it is handed on");
    };
    assert_eq!(
        at_risk(watched),
        0,
        "nothing is on its way before the confirm"
    );
    watched.confirmed(receipt).await;
}

#[tokio::test]
async fn a_payment_is_watched_from_the_confirm_until_the_books_have_its_event() {
    let folder = tempfile::tempdir().unwrap();
    let watched = watched(&folder, &[]);
    forward(&watched).await;
    assert_eq!(at_risk(&watched), 2150);
    watched.at_risk.ask_for_verified().await.unwrap();
    assert_eq!(at_risk(&watched), 2150, "the books do not have it yet");

    let event = PaymentEvent::from_json(EVENT).unwrap();
    let mut books = watched
        .at_risk
        .shop
        .begin(&event, clock::now())
        .await
        .unwrap();
    books.record(&event).await.unwrap();
    books.commit().await.unwrap();
    watched.at_risk.ask_for_verified().await.unwrap();
    assert_eq!(at_risk(&watched), 0);
}

#[tokio::test]
async fn what_the_rules_ignore_never_comes_into_the_books_and_is_not_watched() {
    let folder = tempfile::tempdir().unwrap();
    let watched = watched(
        &folder,
        &[
            ("QUITTANCE_RULE__0__EVENT", "payment.completed"),
            ("QUITTANCE_RULE__0__ACTION", "ignore"),
        ],
    );
    forward(&watched).await;
    assert_eq!(at_risk(&watched), 0);
}
