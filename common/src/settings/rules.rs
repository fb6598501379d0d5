//! The rules between settings: values that are each allowed, but not together.

use std::collections::BTreeSet;

use super::reader::Reader;
use super::span::span;
use super::{Account, Engine, Settings, ShopDatabase};

/// Notes what does not fit together.
pub(super) fn check(settings: &Settings, reader: &mut Reader) {
    let verifier = &settings.verifier;
    let waits = ["verifier.claim_lease", "verifier.postback_timeout"];
    if verifier.claim_lease <= verifier.postback_timeout && !reader.is_wrong(&waits) {
        reader.mistake(
            "verifier.claim_lease",
            format!(
                "{} is not longer than verifier.postback_timeout ({}): a claim would end while \
                 its owner still waits for the gateway",
                span(verifier.claim_lease),
                span(verifier.postback_timeout),
            ),
        );
    }
    let waits = ["verifier.connect_timeout", "verifier.postback_timeout"];
    if verifier.connect_timeout > verifier.postback_timeout && !reader.is_wrong(&waits) {
        reader.mistake(
            "verifier.connect_timeout",
            "is longer than verifier.postback_timeout, which includes it".to_owned(),
        );
    }
    // Port 0 means any free port, so two of them never collide.
    if settings.ingest.listen == settings.admin.listen && settings.ingest.listen.port() != 0 {
        reader.mistake(
            "admin.listen",
            format!(
                "{} is also ingest.listen; metrics and probes need an address of their own",
                settings.admin.listen
            ),
        );
    }
    if settings.admin.token.is_some()
        && settings.public_url.is_none()
        && !reader.is_wrong(&["public_url"])
    {
        reader.mistake(
            "public_url",
            "is needed with admin.token: payment links name the address under which buyers and \
             the gateway reach ingest, such as `https://shop.example/`"
                .to_owned(),
        );
    }
    for rule in settings.rules.set() {
        if let Some(account) = &rule.when.account
            && !settings.accounts.iter().any(|own| own.id == *account)
        {
            reader.mistake(
                &format!("rule.{}.account", rule.index),
                format!("there is no account `{account}`"),
            );
        }
    }
    one_world(settings, reader);
    let mut seen = BTreeSet::new();
    for (index, account) in settings.accounts.iter().enumerate() {
        if !seen.insert((account.gateway, account.id.clone())) {
            reader.mistake(
                &format!("account.{index}.id"),
                format!(
                    "`{}` is set for gateway {} before; each account needs its own id",
                    account.id, account.gateway
                ),
            );
        }
    }
}

/// Play money must not buy real goods: every account of an instance sells from one shop database and
/// trusts the same order secrets.
fn one_world(settings: &Settings, reader: &mut Reader) {
    let Some(first) = settings.accounts.first() else {
        return;
    };
    let other = |account: &&Account| account.environment != first.environment;
    let Some(index) = settings.accounts.iter().position(|account| other(&account)) else {
        return;
    };
    let key = format!("account.{index}.environment");
    if reader.is_wrong(&[key.as_str()]) {
        return;
    }
    reader.mistake(
        &key,
        format!(
            "live and sandbox accounts (`{}` is {}) in one instance would share stock, orders and \
             order secrets; run a second instance with its own shop_database and orders.secret",
            first.id, first.environment
        ),
    );
}

impl Settings {
    /// What is allowed and probably not wanted; for the log at start and `config check`.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if matches!(self.engine, Engine::Cluster(_))
            && matches!(self.shop_database, ShopDatabase::Sqlite(_))
        {
            warnings.push(
                "engine = \"cluster\" with shop_database = \"sqlite\": all stages must run in one \
                 process on one machine; set a postgres:// URL to scale"
                    .to_owned(),
            );
        }
        if matches!(self.engine, Engine::Cluster(_))
            && self.pdt.cookie_secret.is_none()
            && self
                .accounts
                .iter()
                .any(|account| account.pdt_token.is_some())
        {
            warnings.push(
                "pdt.cookie_secret is not set: with more than one ingest, buyers who return see \
                 their address only while they reach the same one"
                    .to_owned(),
            );
        }
        for (rule, wider) in self.rules.unreachable() {
            warnings.push(format!(
                "rule.{rule} is never reached: rule.{wider} before it takes all of its events"
            ));
        }
        warnings
    }
}
