//! `[[account]]`: who is paid, and which hosts are asked and shown.

use secrecy::SecretString;

use super::Reader;
use crate::event::Environment;
use crate::settings::Account;
use crate::settings::parse::{default_postback, default_webscr, gateway_url, receivers};

pub(super) fn read_accounts(reader: &mut Reader) -> Option<Vec<Account>> {
    let indices = reader.indices("account");
    if indices.is_empty() {
        let problem = "no account is set; add one [[account]] with at least `receivers`";
        reader.mistake("account", problem.to_owned());
    }
    let accounts: Vec<Option<Account>> = indices
        .into_iter()
        .map(|index| read_account(reader, index))
        .collect();
    accounts.into_iter().collect()
}

fn read_account(reader: &mut Reader, index: usize) -> Option<Account> {
    let key = |name: &str| format!("account.{index}.{name}");
    let id = reader.parsed(&key("id"));
    let gateway = reader.parsed(&key("gateway"));
    let environment = reader.parsed::<Environment>(&key("environment"));
    let receivers = reader.read_optional(&key("receivers"), receivers);
    if matches!(receivers, Ok(None)) {
        let allowed = "at least one id or e-mail address under which the account is paid";
        reader.mistake(&key("receivers"), format!("is needed; allowed: {allowed}"));
    }
    let pdt_token = reader.read_optional(&key("pdt_token"), |text| {
        let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        fits.then(|| SecretString::from(text))
    });
    let url = |text: &str| gateway_url(text, environment.unwrap_or(Environment::Live));
    let postback_url = reader.read_optional(&key("postback_url"), url);
    let pdt_url = reader.read_optional(&key("pdt_url"), url);
    let checkout_url = reader.read_optional(&key("checkout_url"), url);
    let environment = environment?;
    Some(Account {
        id: id?,
        gateway: gateway?,
        environment,
        receivers: receivers.ok()??,
        pdt_token: pdt_token.ok()?,
        postback_url: postback_url
            .ok()?
            .or_else(|| default_postback(environment))?,
        pdt_url: pdt_url.ok()?.or_else(|| default_webscr(environment))?,
        checkout_url: checkout_url.ok()?.or_else(|| default_webscr(environment))?,
    })
}
