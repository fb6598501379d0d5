//! `[notify]` and `[stock]`: by which way effects leave, and in which language.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use url::Url;

use super::Reader;
use crate::settings::parse::{folder, is_url};
use crate::settings::{
    HttpTarget, Languages, NotifyDriver, NotifySettings, StockDriver, StockSettings,
};

/// What begins a secret of the Standard Webhooks scheme.
const SECRET_PREFIX: &str = "whsec_";

enum Way {
    Maildir,
    Smtp,
    Http,
}

pub(super) fn read_notify(reader: &mut Reader, data_dir: Option<&Path>) -> Option<NotifySettings> {
    let from = reader.read("notify.from", address);
    let shop_name = reader.read("notify.shop_name", |text| {
        let fits = (1..=100).contains(&text.chars().count());
        (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
    });
    let merchant = reader.read_optional("notify.merchant", address);
    let templates = reader.read_optional("notify.templates", folder);
    let languages = read_languages(reader);
    let maildir = reader.read_optional("notify.maildir", folder);
    let smtp_url = reader.credential("notify.smtp_url", |text| is_url(text, &["smtp", "smtps"]));
    let way = reader.read("notify.driver", |text| match text {
        "maildir" => Some(Way::Maildir),
        "smtp" => Some(Way::Smtp),
        "http" => Some(Way::Http),
        _ => None,
    });
    let target = read_target(reader, "notify", matches!(way, Some(Way::Http)));
    let driver = match way? {
        Way::Smtp => {
            let smtp_url = smtp_url.ok()?;
            if smtp_url.is_none() {
                let problem =
                    "is needed with notify.driver = \"smtp\"; allowed: an smtp:// or smtps:// URL";
                reader.mistake("notify.smtp_url", problem.to_owned());
            }
            NotifyDriver::Smtp(smtp_url?)
        }
        Way::Maildir => NotifyDriver::Maildir(
            maildir
                .ok()?
                .unwrap_or_else(|| data_dir.unwrap_or(Path::new(".")).join("mail")),
        ),
        Way::Http => NotifyDriver::Http(target?),
    };
    Some(NotifySettings {
        driver,
        from: from?,
        shop_name: shop_name?,
        merchant: merchant.ok()?,
        templates: templates.ok()?,
        languages: languages?,
    })
}

pub(super) fn read_stock(reader: &mut Reader) -> Option<StockSettings> {
    let is_http = reader.read("stock.driver", |text| match text {
        "sql" => Some(false),
        "http" => Some(true),
        _ => None,
    });
    let target = read_target(reader, "stock", is_http == Some(true));
    let driver = if is_http? {
        StockDriver::Http(target?)
    } else {
        StockDriver::Sql
    };
    Some(StockSettings { driver })
}

fn read_languages(reader: &mut Reader) -> Option<Languages> {
    let default = reader.read("notify.language", language);
    let by_country = reader.read("notify.languages", |text| {
        text.split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (country, of_it) = pair.split_once(':')?;
                let country = country.trim().to_ascii_uppercase();
                let is_country =
                    country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
                is_country.then_some((country, language(of_it.trim())?))
            })
            .collect::<Option<BTreeMap<_, _>>>()
    });
    Some(Languages {
        default: default?,
        by_country: by_country?,
    })
}

/// `{section}.url`, `.secrets` and `.allow_private`; `None` when they are not there or wrong.
fn read_target(reader: &mut Reader, section: &str, needed: bool) -> Option<HttpTarget> {
    let key = |name: &str| format!("{section}.{name}");
    let allow_private = reader.parsed(&key("allow_private"));
    let url = reader.read_optional(&key("url"), |text| {
        hook_url(text, allow_private.unwrap_or(false))
    });
    let secrets = reader.read_optional(&key("secrets"), hook_secrets);
    if needed {
        for (name, missing) in [
            ("url", matches!(url, Ok(None))),
            ("secrets", matches!(secrets, Ok(None))),
        ] {
            if missing {
                let problem = format!("is needed with {section}.driver = \"http\"");
                reader.mistake(&key(name), problem);
            }
        }
    }
    Some(HttpTarget {
        url: url.ok()??,
        secrets: secrets.ok()??,
        allow_private: allow_private?,
    })
}

fn address(text: &str) -> Option<String> {
    let plausible = text.contains('@') && !text.chars().any(char::is_control);
    plausible.then(|| text.to_owned())
}

fn language(text: &str) -> Option<String> {
    let fits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_lowercase());
    fits.then(|| text.to_owned())
}

/// What is posted holds personal data: in the clear only where somebody has said that the way is
/// his own.
fn hook_url(text: &str, allow_private: bool) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let scheme = match url.scheme() {
        "https" => true,
        "http" => allow_private,
        _ => false,
    };
    (scheme && url.has_host()).then_some(url)
}

fn hook_secrets(text: &str) -> Option<Vec<SecretString>> {
    let secrets = text
        .split(',')
        .map(|secret| {
            let secret = secret.trim();
            let bytes = STANDARD.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
            (24..=64)
                .contains(&bytes.len())
                .then(|| SecretString::from(secret))
        })
        .collect::<Option<Vec<_>>>()?;
    (!secrets.is_empty()).then_some(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_whsec_and_base64_of_24_to_64_bytes() {
        let secret = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7_u8; bytes]));
        let two = format!("{}, {}", secret(24), secret(64));
        assert_eq!(hook_secrets(&two).unwrap().len(), 2);
        for bad in ["", "whsec_", "whsec_***", &secret(23), &secret(65)] {
            assert!(hook_secrets(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn personal_data_goes_in_the_clear_only_over_ones_own_wires() {
        assert!(hook_url("http://shop.example/hook", false).is_none());
        assert!(hook_url("http://10.0.0.1/hook", true).is_some());
        assert!(hook_url("https://shop.example/hook", false).is_some());
        assert!(hook_url("ftp://shop.example/hook", true).is_none());
    }
}
