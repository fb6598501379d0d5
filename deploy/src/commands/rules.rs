//! `quittance rules test`: what would become of a notification, said without asking the gateway.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use quittance_common::clock;
use quittance_common::event::Source;
use quittance_common::gateway;
use quittance_common::ids::{AccountId, GatewayId, MessageId};
use quittance_common::notification::{RawNotification, Reading};
use quittance_common::rules::{Facts, Ruling, built_in};
use quittance_common::settings::{Account, Settings};
use serde::Serialize;

use super::{Context, Exit};
use crate::output::write_rows;
use crate::wiring::checks::{self, Judged, Knowledge};

/// What can be asked of the rules.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what would become of a notification, if the gateway said that it is genuine. Prices, orders
    /// and subscriptions are asked of the shop database where it can be opened; without it the answer
    /// says what was not checked. Nothing is changed.
    Test {
        /// The raw body, as the gateway posted it; line breaks at its end do not count.
        file: PathBuf,
        /// The account that it would have been posted to.
        #[arg(long, default_value = "default")]
        account: AccountId,
    },
}

/// What would become of one event of the body.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Row {
    /// From 1, in the order of the body.
    event: usize,
    /// `payment.completed` ...
    event_type: String,
    /// The business key.
    key: String,
    /// `rule.0` ... or `built-in`; nothing when it would not get so far.
    rule: Option<String>,
    /// `process`, `record`, `ignore` or `quarantine`.
    outcome: &'static str,
    /// What would be done to the stock.
    stock: &'static str,
    /// What the customer would be told.
    notify: &'static str,
    /// Each check with what came of it, in order.
    checks: Vec<String>,
}

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let Command::Test { file, account } = command;
    let settings = context.settings.load()?;
    let body = read_body(&file)?;
    let rows = foretell(&settings, &account, body).await?;
    let columns = [
        "event",
        "event_type",
        "key",
        "rule",
        "outcome",
        "stock",
        "notify",
        "checks",
    ];
    write_rows(context.out, context.form, &columns, &rows)?;
    Ok(Exit::Done)
}

fn read_body(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body =
        std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    while matches!(body.last(), Some(b'\r' | b'\n')) {
        body.pop();
    }
    anyhow::ensure!(!body.is_empty(), "{} is empty", file.display());
    Ok(body)
}

/// What would become of `body`, posted to `account`; one row an event.
async fn foretell(
    settings: &Settings,
    account: &AccountId,
    body: Vec<u8>,
) -> anyhow::Result<Vec<Row>> {
    let gateway = GatewayId::PayPal;
    let account = settings
        .account(gateway, account)
        .with_context(|| format!("there is no account `{account}` in the settings"))?;
    let raw = RawNotification {
        id: MessageId::new(),
        gateway,
        account: account.id.clone(),
        source: Source::Ipn,
        received_at: clock::now(),
        body: body.into(),
    };
    let notification = match gateway::read(&raw, account) {
        Ok(notification) => notification,
        Err(error) => {
            return Ok(vec![Row {
                event: 1,
                event_type: "none".to_owned(),
                outcome: "quarantine",
                stock: "none",
                notify: "none",
                checks: vec![format!("{}: {error}", error.reason())],
                ..Row::default()
            }]);
        }
    };
    let knowledge = Knowledge::of(settings, &notification, account).await;
    let judged = checks::judge(settings, &notification, account, &knowledge);
    let numbered = (1..).zip(&notification.readings).enumerate();
    Ok(numbered
        .map(|(at, (event, reading))| {
            let row = Row {
                event,
                event_type: reading.event_type.to_string(),
                key: reading.key.to_string(),
                outcome: "quarantine",
                stock: "none",
                notify: "none",
                ..Row::default()
            };
            let judged = judged.as_ref().map(|judged| judged.get(at));
            match judged {
                Ok(Some(judged)) => foretell_one(settings, account, reading, judged, row),
                Ok(None) => row,
                Err(refusal) => Row {
                    checks: refusal.clone(),
                    ..row
                },
            }
        })
        .collect())
}

/// What would become of an event that the checks let pass.
fn foretell_one(
    settings: &Settings,
    account: &Account,
    reading: &Reading,
    judged: &Judged,
    row: Row,
) -> Row {
    let mut data = reading.data.clone();
    if let Some(bought) = &judged.bought {
        data.lines.clone_from(bought);
    }
    let facts = Facts::new(account.gateway, &account.id, reading.event_type, &data);
    let decision = settings.rules.decide(&facts);
    let all = built_in(reading.event_type);
    let when = |allowed: bool, what| if allowed { what } else { "none" };
    Row {
        rule: Some(decision.by.to_string()),
        outcome: decision.ruling.action(),
        stock: when(Ruling::moves_stock(decision.ruling), all.stock),
        notify: when(Ruling::tells_customer(decision.ruling), all.notify),
        checks: judged.checks.clone(),
        ..row
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use super::*;

    const SETTINGS: &str = "[[account]]\nreceivers = [\"pay@shop.example\", \"SHOPID0000001\"]\n\
        [[account]]\nid = \"other\"\nreceivers = [\"other@shop.example\"]\n\
        [[rule]]\nevent = \"subscription.*\"\naction = \"ignore\"\n\
        [[rule]]\nitem = \"EBOOK-*\"\naction = \"record\"\n\
        [[rule]]\nevent = \"payment.completed\"\nnotify = \"none\"\n";

    const PAYMENT: &str = "txn_id=T1&txn_type=web_accept&payment_status=Completed&mc_gross=9.90\
        &mc_currency=EUR&receiver_email=pay%40shop.example&quantity=1&item_number=";

    /// A shop whose database is not there, with further settings.
    fn settings(more: &str) -> Settings {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(format!("data_dir = \"/nowhere/at/all\"\n{SETTINGS}{more}").as_bytes())
            .unwrap();
        Settings::load(Some(file.path()), &BTreeMap::new()).unwrap()
    }

    async fn foretold(account: &str, body: &str) -> Vec<Row> {
        foretold_by(&settings(""), account, body).await
    }

    async fn foretold_by(settings: &Settings, account: &str, body: &str) -> Vec<Row> {
        foretell(settings, &account.parse().unwrap(), body.into())
            .await
            .unwrap()
    }

    fn outcome(row: &Row) -> (&str, Option<&str>, &str, &str) {
        (row.outcome, row.rule.as_deref(), row.stock, row.notify)
    }

    #[tokio::test]
    async fn the_first_rule_that_matches_says_what_would_happen() {
        let rows = foretold("default", &format!("{PAYMENT}MUG")).await;
        assert_eq!(
            outcome(&rows[0]),
            ("process", Some("rule.2"), "decrement", "none")
        );
        assert_eq!(rows[0].event_type, "payment.completed");
        assert!(rows[0].key.contains("T1"), "{rows:?}");
        assert!(
            rows[0]
                .checks
                .iter()
                .any(|check| check.starts_with("price:")),
            "{rows:?}"
        );
        let rows = foretold("default", &format!("{PAYMENT}EBOOK-1")).await;
        assert_eq!(
            outcome(&rows[0]),
            ("record", Some("rule.1"), "none", "none")
        );
        let pending = PAYMENT.replace("Completed", "Pending");
        let rows = foretold("default", &format!("{pending}MUG")).await;
        assert_eq!(
            outcome(&rows[0]),
            ("process", Some("built-in"), "reserve", "pending")
        );
        let signup = "txn_type=subscr_signup&subscr_id=S-1&receiver_email=pay%40shop.example\
            &mc_amount3=5.00&mc_currency=EUR&period3=1+M";
        let rows = foretold("default", signup).await;
        assert_eq!(
            outcome(&rows[0]),
            ("ignore", Some("rule.0"), "none", "none")
        );
    }

    #[tokio::test]
    async fn what_the_checks_refuse_reaches_no_rule() {
        let body = format!("{PAYMENT}MUG");
        let twice = format!("{body}&mc_gross=1.00");
        let play = format!("{body}&test_ipn=1");
        for (account, body, reason) in [
            ("other", &body, "receiver_mismatch"),
            ("default", &play, "environment_mismatch"),
            ("default", &twice, "ambiguous_field"),
        ] {
            let rows = foretold(account, body).await;
            assert_eq!(outcome(&rows[0]), ("quarantine", None, "none", "none"));
            assert!(rows[0].checks[0].starts_with(reason), "{rows:?}");
        }
    }

    const CAREFUL: &str = "[verifier]\norders = \"required\"\n\
        [orders]\nsecret = \"a secret of the stories\"\n";

    #[tokio::test]
    async fn the_shops_own_policy_decides_and_what_nobody_could_ask_is_said() {
        let careful = settings(CAREFUL);
        let refused = async |body: &str| {
            let rows = foretold_by(&careful, "default", body).await;
            assert_eq!(outcome(&rows[0]), ("quarantine", None, "none", "none"));
            rows[0].checks[0].split(':').next().unwrap().to_owned()
        };
        let body = format!("{PAYMENT}MUG");
        assert_eq!(refused(&body).await, "order_missing");
        let forged = format!("{body}&custom=q1.1001.990.EUR.AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(refused(&forged).await, "order_signature_invalid");
        // Whether such an order is registered only the database knows.
        let named = format!("{body}&invoice=1001");
        let rows = foretold_by(&careful, "default", &named).await;
        assert_eq!(rows[0].outcome, "process");
        let checks = rows[0].checks.join("; ");
        assert!(
            checks.contains("price: needs the shop database"),
            "{checks}"
        );
        assert!(
            checks.contains("not checked: prices, registered orders"),
            "{checks}"
        );
        assert!(!checks.contains("flag:"), "{checks}");
    }

    #[tokio::test]
    async fn a_shop_database_that_is_there_is_asked_and_not_changed() {
        use quittance_common::shop::{ProductRow, Shop};

        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let text = format!("data_dir = {:?}\n{SETTINGS}", data.to_str().unwrap());
        let file = folder.path().join("quittance.toml");
        std::fs::write(&file, text).unwrap();
        let settings = Settings::load(Some(&file), &BTreeMap::new()).unwrap();
        let body = format!("{PAYMENT}MUG");
        let rows = foretold_by(&settings, "default", &body).await;
        assert!(rows[0].checks.join(";").contains("not checked"), "{rows:?}");
        assert!(!data.exists(), "asking makes nothing");

        let shop = Shop::open(&settings.shop_database).await.unwrap();
        let mug = |minor| ProductRow {
            sku: "MUG".parse().unwrap(),
            name: "A mug".into(),
            price: quittance_common::money::Money::from_minor(minor, "EUR".parse().unwrap()),
            on_hand: 1,
        };
        shop.import_products(&[mug(990)], clock::now())
            .await
            .unwrap();
        let rows = foretold_by(&settings, "default", &body).await;
        assert_eq!(rows[0].outcome, "process");
        assert_eq!(
            rows[0].checks,
            [
                "environment: passed",
                "receiver: passed",
                "price: held against 9.90 EUR"
            ]
        );
        shop.import_products(&[mug(2000)], clock::now())
            .await
            .unwrap();
        let rows = foretold_by(&settings, "default", &body).await;
        assert_eq!(rows[0].outcome, "quarantine");
        assert!(rows[0].checks[0].starts_with("amount_mismatch"), "{rows:?}");
    }

    #[tokio::test]
    async fn a_mass_payment_is_one_line_an_item() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/paypal/");
        let body = std::fs::read_to_string(format!("{root}masspay_completed.txt")).unwrap();
        let rows = foretold("default", body.trim_end()).await;
        assert!(rows.len() > 1, "{rows:?}");
        for (number, row) in (1..).zip(&rows) {
            assert_eq!(row.event, number);
            assert_eq!(row.event_type, "payout.item");
        }
    }

    #[tokio::test]
    async fn an_account_that_is_not_there_is_said() {
        let account = "nobody".parse().unwrap();
        let error = foretell(&settings(""), &account, b"txn_id=1".to_vec())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("`nobody`"), "{error}");
    }

    #[test]
    fn line_breaks_at_the_end_of_the_file_are_not_part_of_the_body() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"a=1\r\n\n").unwrap();
        assert_eq!(read_body(file.path()).unwrap(), b"a=1");
    }
}
