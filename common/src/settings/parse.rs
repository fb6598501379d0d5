//! The meaning of single texts: pure, `None` for what is not allowed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::event::Environment;
use crate::http::is_loopback;
use crate::retry::{Ladder, Rung};

/// The longest step of the ladder.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Where `PayPal` takes postbacks.
pub(super) fn default_postback(environment: Environment) -> Option<Url> {
    let url = match environment {
        Environment::Live => "https://ipnpb.paypal.com/cgi-bin/webscr",
        Environment::Sandbox => "https://ipnpb.sandbox.paypal.com/cgi-bin/webscr",
    };
    Url::parse(url).ok()
}

/// Where `PayPal` answers PDT look-ups and shows its checkout.
pub(super) fn default_webscr(environment: Environment) -> Option<Url> {
    let url = match environment {
        Environment::Live => "https://www.paypal.com/cgi-bin/webscr",
        Environment::Sandbox => "https://www.sandbox.paypal.com/cgi-bin/webscr",
    };
    Url::parse(url).ok()
}

/// A path that is not empty.
pub(super) fn folder(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// The beginning of every queue's name.
pub(super) fn queue_prefix(text: &str) -> Option<String> {
    let fits = (1..=32).contains(&text.len());
    let alphabet = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (fits && text.chars().all(alphabet)).then(|| text.to_owned())
}

/// The waits between attempts, each a whole number of milliseconds.
pub(super) fn ladder(text: &str) -> Option<Ladder> {
    let rungs = text
        .split(',')
        .map(|step| {
            let wait = humantime::parse_duration(step.trim()).ok()?;
            let whole = wait.subsec_nanos().is_multiple_of(1_000_000);
            let millis = u64::try_from(wait.as_millis()).ok()?;
            (whole && millis > 0 && wait <= LONGEST_WAIT).then(|| Rung::from_millis(millis))
        })
        .collect::<Option<Vec<_>>>()?;
    if rungs.len() > 16 {
        return None;
    }
    Ladder::new(rungs)
}

/// Ids and addresses are compared in lower case.
pub(super) fn receivers(text: &str) -> Option<Vec<String>> {
    let receivers: BTreeSet<String> = text
        .split(',')
        .map(|receiver| receiver.trim().to_ascii_lowercase())
        .filter(|receiver| !receiver.is_empty())
        .collect();
    (!receivers.is_empty()).then(|| receivers.into_iter().collect())
}

/// Whether it is a URL with one of the schemes and a host.
pub(super) fn is_url(text: &str, schemes: &[&str]) -> bool {
    let fits = |url: Url| schemes.contains(&url.scheme()) && url.has_host();
    Url::parse(text).is_ok_and(fits) && !text.contains(char::is_whitespace)
}

/// Real money is asked about over TLS only, except at a stand-in on this machine.
pub(super) fn gateway_url(text: &str, environment: Environment) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let allowed = match url.scheme() {
        "https" => true,
        "http" => environment == Environment::Sandbox || is_loopback(&url),
        _ => false,
    };
    allowed.then_some(url)
}

/// The beginning of the URLs under which buyers and the gateway reach ingest; ends with a slash.
pub(super) fn public_url(text: &str) -> Option<Url> {
    let mut url = web_url(text)?;
    let plain = url.query().is_none() && url.fragment().is_none();
    let safe = url.scheme() == "https" || is_loopback(&url);
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    (plain && safe).then_some(url)
}

/// A page that a browser can be sent to; no password in it.
pub(super) fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (web && url.username().is_empty() && url.password().is_none()).then_some(url)
}
