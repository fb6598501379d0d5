//! The cookie of the browser that came back first: signed, so that it cannot be made up. Pure.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use quittance_common::lookups::LookupKey;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256, Sha512};

/// How long the browser is recognised, in seconds.
const LIFETIME: i64 = 3_600;

/// Signs and checks.
#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Signer(..)")
    }
}

impl Signer {
    /// By the secret of the settings; without one, by a key that only this process knows.
    pub fn new(secret: Option<&SecretString>) -> Self {
        let random: [u8; 32] = rand::random();
        let key = secret.map_or(&random[..], |secret| secret.expose_secret().as_bytes());
        // A digest of exactly one block: a key of that size cannot be refused.
        let mac = <Hmac<Sha256> as KeyInit>::new(&Sha512::digest(key));
        Self { mac }
    }

    fn signed(&self, key: &LookupKey, until: i64) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(format!("return\n{}\n{until}", key.name()).as_bytes());
        mac
    }

    /// The `Set-Cookie` for `key`. Not sent by other sites' requests except when the buyer follows
    /// a link, unseen by scripts, gone after an hour.
    ///
    /// It names no path. A proxy may put any prefix before ours, and only the browser knows the URL
    /// that it asked for: without a path it takes that URL's folder (RFC 6265, 5.1.4), which is
    /// `.../return/{gateway}`, prefix included. The page lies in it, and so does the target of the
    /// redirect after a POST, which differs from the page's URL in its query only.
    pub fn cookie(&self, key: &LookupKey, now: Timestamp, secure: bool) -> String {
        let until = now.as_second().saturating_add(LIFETIME);
        let tag = hex(&self.signed(key, until).finalize().into_bytes());
        let secure = if secure { "; Secure" } else { "" };
        format!(
            "{}={until}.{tag}; Max-Age={LIFETIME}; HttpOnly; SameSite=Lax{secure}",
            name(key)
        )
    }

    /// Whether one of the `Cookie` header's cookies was made for `key` and is not over.
    pub fn recognises(&self, header: &str, key: &LookupKey, now: Timestamp) -> bool {
        let name = name(key);
        header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == name)
            .any(|(_, value)| self.is_ours(value, key, now).unwrap_or(false))
    }

    fn is_ours(&self, value: &str, key: &LookupKey, now: Timestamp) -> Option<bool> {
        let (until, tag) = value.split_once('.')?;
        let until: i64 = until.parse().ok()?;
        let tag = unhex(tag)?;
        let genuine = self.signed(key, until).verify_slice(&tag).is_ok();
        Some(genuine && now.as_second() < until)
    }
}

/// A cookie for each purchase, so that two of them do not hide each other.
fn name(key: &LookupKey) -> String {
    format!("receipt_{}", key.token.as_str())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let even = text.len().is_multiple_of(2);
    even.then(|| text.as_bytes().chunks(2).map(digits).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(token: &str) -> LookupKey {
        LookupKey {
            gateway: quittance_common::ids::GatewayId::PayPal,
            account: "default".parse().unwrap(),
            token: token.parse().unwrap(),
        }
    }

    fn sent_back(cookie: &str) -> String {
        format!("other=1; {}", cookie.split(';').next().unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_browser_that_came_first_is_recognised_for_an_hour() {
        let signer = Signer::new(None);
        let key = key("TXCOOKIE01");
        let cookie = signer.cookie(&key, at(1_000), true);
        for part in ["HttpOnly", "SameSite=Lax", "Max-Age=3600", "Secure"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let header = sent_back(&cookie);
        assert!(signer.recognises(&header, &key, at(4_599)));
        assert!(!signer.recognises(&header, &key, at(4_600)));
    }

    /// The path that a browser gives to a cookie without one: RFC 6265, 5.1.4.
    fn default_path(path: &str) -> &str {
        path.rsplit_once('/').map_or(
            "/",
            |(folder, _)| if folder.is_empty() { "/" } else { folder },
        )
    }

    /// Whether a browser sends a cookie of `cookie_path` with a request: RFC 6265, 5.1.4.
    fn is_sent(cookie_path: &str, path: &str) -> bool {
        path.strip_prefix(cookie_path).is_some_and(|rest| {
            rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/')
        })
    }

    #[test]
    fn behind_a_prefix_of_a_proxy_the_page_loaded_anew_gets_its_cookie() {
        let cookie = Signer::new(None).cookie(&key("TXCOOKIE01"), at(1_000), true);
        let named = cookie
            .split(';')
            .find_map(|part| part.trim().strip_prefix("Path="));
        for prefix in ["", "/pay", "/shops/one"] {
            let page = format!("{prefix}/return/paypal/default");
            let path = named.unwrap_or(default_path(&page));
            assert!(is_sent(path, &page), "{path} is not above {page}");
            assert!(!is_sent(path, &format!("{prefix}/ipn/paypal/default")));
        }
    }

    #[test]
    fn a_cookie_of_another_purchase_key_or_making_is_none() {
        let signer = Signer::new(None);
        let (key, other) = (key("TXCOOKIE01"), key("TXCOOKIE02"));
        let header = sent_back(&signer.cookie(&key, at(1_000), false));
        let renamed = header.replace("TXCOOKIE01", "TXCOOKIE02");
        assert!(!signer.recognises(&renamed, &other, at(1_001)));
        assert!(!Signer::new(None).recognises(&header, &key, at(1_001)));
        let longer = header.replace("4600.", "9999.");
        assert!(!signer.recognises(&longer, &key, at(1_001)));
        for broken in ["receipt_TXCOOKIE01=", "receipt_TXCOOKIE01=9.zz", ""] {
            assert!(!signer.recognises(broken, &key, at(1)));
        }
    }

    #[test]
    fn two_replicas_with_one_secret_recognise_each_others_browsers() {
        let secret = SecretString::from("0123456789abcdef0123456789abcdef");
        let key = key("TXCOOKIE01");
        let header = sent_back(&Signer::new(Some(&secret)).cookie(&key, at(1_000), false));
        assert!(Signer::new(Some(&secret)).recognises(&header, &key, at(1_001)));
    }
}
