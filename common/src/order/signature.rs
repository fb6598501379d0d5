//! A `custom` that carries an order and proves that the shop wrote it: no database is needed to
//! know what should have been paid.
//!
//! `q1.<order>.<total>.<currency>.<mac>`: URL-safe, at most 256 characters (`PayPal` keeps no more).
//! The order stands in Base64url, the total in minor units. The MAC is HMAC-SHA-256 over a
//! canonical form of order, total, currency, and of the items when the shop signs them: then the
//! cart that comes back must have exactly these, or the MAC is wrong.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::{Order, Quantities};
use crate::ids::OrderId;
use crate::money::{Currency, Money};

/// What every `custom` of this form begins with.
const PREFIX: &str = "q1.";

/// The most characters of a `custom`.
const LIMIT: usize = 256;

/// The fewest bytes of a secret.
pub const SECRET_LEAST: usize = 16;

/// Why an order cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The result would be cut by the gateway.
    #[error("the order's id is too long: its signed form has more than 256 characters")]
    TooLong,
}

/// What a `custom` turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// Not of this form: the shop's own text.
    Not,
    /// Of this form, and the shop did not write it, or not for these items.
    Invalid,
    /// The shop's word.
    Valid {
        /// The order.
        id: OrderId,
        /// What it costs.
        total: Money,
        /// What is in it; empty when the shop did not sign that.
        lines: Quantities,
    },
}

/// The signed form of `order`.
///
/// # Errors
/// When it would be longer than the gateway keeps.
pub fn sign(order: &Order, secret: &SecretString) -> Result<String, SignError> {
    let mac = mac(secret, order.id.as_str(), order.total, &order.lines)
        .map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
        .unwrap_or_default();
    let custom = format!(
        "{PREFIX}{}.{}.{}.{mac}",
        URL_SAFE_NO_PAD.encode(order.id.as_str()),
        order.total.minor(),
        order.total.currency(),
    );
    if custom.len() > LIMIT {
        return Err(SignError::TooLong);
    }
    Ok(custom)
}

/// The order that a `custom` of this form *says* it is for: worth looking up, and proves nothing.
pub fn claimed(custom: &str) -> Option<OrderId> {
    let (id, ..) = parts(custom.trim().strip_prefix(PREFIX)?)?;
    Some(id)
}

/// Reads a `custom` that came back with a payment. The signature says nothing about items, or
/// binds one of `items`: what the payment is for, what the shop has in its register. Any of
/// `secrets` will do, so that a secret can be replaced while payments are under way.
pub fn read(custom: &str, secrets: &[SecretString], items: &[&Quantities]) -> Signed {
    let Some(rest) = custom.trim().strip_prefix(PREFIX) else {
        return Signed::Not;
    };
    let Some((id, total, given)) = parts(rest) else {
        return Signed::Invalid;
    };
    let none = Quantities::new();
    let is_over = |lines: &Quantities| {
        secrets.iter().any(|secret| {
            mac(secret, id.as_str(), total, lines)
                .is_some_and(|mac| mac.verify_slice(&given).is_ok())
        })
    };
    let lines = std::iter::once(&none)
        .chain(items.iter().copied())
        .find(|lines| is_over(lines))
        .cloned();
    match lines {
        Some(lines) => Signed::Valid { id, total, lines },
        None => Signed::Invalid,
    }
}

fn parts(rest: &str) -> Option<(OrderId, Money, Vec<u8>)> {
    let mut parts = rest.split('.');
    let id = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let minor: i64 = parts.next()?.parse().ok()?;
    let currency: Currency = parts.next()?.parse().ok()?;
    let mac = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let id = String::from_utf8(id).ok()?.parse().ok()?;
    parts
        .next()
        .is_none()
        .then(|| (id, Money::from_minor(minor, currency), mac))
}

/// The MAC over the canonical form: every text with its length before it, so that none can pose as
/// two. `None` never happens: HMAC takes a key of any length.
fn mac(secret: &SecretString, id: &str, total: Money, items: &Quantities) -> Option<Hmac<Sha256>> {
    let mut canonical = format!(
        "quittance order 1\n{}:{id}\n{}\n{}\n",
        id.len(),
        total.minor(),
        total.currency()
    );
    for (sku, quantity) in items {
        // Writing to a String cannot fail.
        writeln!(canonical, "{}:{sku}={quantity}", sku.as_str().len()).ok();
    }
    let mut mac =
        <Hmac<Sha256> as hmac::Mac>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(canonical.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str, minor: i64, lines: &[(&str, u64)]) -> Order {
        Order {
            id: id.parse().unwrap(),
            total: Money::from_minor(minor, "EUR".parse().unwrap()),
            lines: lines
                .iter()
                .map(|(s, n)| (s.parse().unwrap(), *n))
                .collect(),
        }
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn what_was_signed_is_read_again_with_the_new_and_the_old_secret() {
        let order = order("A.1 ü/7", 1980, &[]);
        let custom = sign(&order, &secret("the former secret")).unwrap();
        let secrets = [secret("the newer secret!"), secret("the former secret")];
        let valid = Signed::Valid {
            id: order.id,
            total: order.total,
            lines: Quantities::new(),
        };
        assert_eq!(read(&custom, &secrets, &[]), valid);
        assert_eq!(read(&custom, &secrets[..1], &[]), Signed::Invalid);
    }

    #[test]
    fn it_fits_into_custom_and_needs_no_escaping_and_never_changes() {
        let custom = sign(&order("1001", 1980, &[]), &secret("a secret of a shop")).unwrap();
        assert_eq!(
            custom,
            "q1.MTAwMQ.1980.EUR.ryXNOEjdF_hGq8-AImFbCcwvzMTgLpzIIvrGLb0n1Wo"
        );
        let longest = "x".repeat(127);
        let custom = sign(
            &order(&longest, i64::MAX, &[]),
            &secret("a secret of a shop"),
        )
        .unwrap();
        assert!(custom.len() <= LIMIT, "{}", custom.len());
        assert!(
            custom
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        );
    }

    #[test]
    fn a_changed_order_total_currency_or_mac_is_invalid_and_other_texts_are_let_be() {
        let secrets = [secret("a secret of a shop")];
        let custom = sign(&order("1001", 1980, &[]), &secrets[0]).unwrap();
        let mac = custom.rsplit('.').next().unwrap();
        for forged in [
            format!("q1.MTAwMg.1980.EUR.{mac}"),
            format!("q1.MTAwMQ.198.EUR.{mac}"),
            format!("q1.MTAwMQ.1980.JPY.{mac}"),
            "q1.MTAwMQ.1980.EUR.".to_owned(),
            format!("{custom}.x"),
            "q1.".to_owned(),
        ] {
            assert_eq!(read(&forged, &secrets, &[]), Signed::Invalid, "{forged}");
        }
        for own in ["", "1001", "q2.MTAwMQ.1980.EUR.x", "basket q1."] {
            assert_eq!(read(own, &secrets, &[]), Signed::Not, "{own}");
        }
    }

    #[test]
    fn signed_items_bind_the_cart_and_unsigned_ones_do_not() {
        let secrets = [secret("a secret of a shop")];
        let order = order("1001", 1980, &[("MUG", 2)]);
        let custom = sign(&order, &secrets[0]).unwrap();
        let valid = |lines: &Quantities| Signed::Valid {
            id: "1001".parse().unwrap(),
            total: order.total,
            lines: lines.clone(),
        };
        let more: Quantities = [("MUG".parse().unwrap(), 20)].into();
        assert_eq!(
            read(&custom, &secrets, &[&more, &order.lines]),
            valid(&order.lines)
        );
        assert_eq!(read(&custom, &secrets, &[&more]), Signed::Invalid);
        assert_eq!(read(&custom, &secrets, &[]), Signed::Invalid);
        let plain = sign(
            &Order {
                lines: Quantities::new(),
                ..order.clone()
            },
            &secrets[0],
        )
        .unwrap();
        assert_eq!(read(&plain, &secrets, &[&more]), valid(&Quantities::new()));
        assert_eq!(claimed(&plain), Some(order.id));
    }
}
