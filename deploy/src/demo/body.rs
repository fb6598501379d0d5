//! Notifications as `PayPal` writes them: fields in its order, percent-encoded windows-1252.

use bytes::Bytes;

/// The account that the demo's shop is paid on: its id and its primary address.
pub const RECEIVER_ID: &str = "DEMOSHOP00001";
/// The primary address of [`RECEIVER_ID`].
pub const RECEIVER_EMAIL: &str = "pay@shop.example";

/// One notification in the making.
#[derive(Debug, Clone)]
pub struct Ipn {
    fields: Vec<(String, String)>,
}

impl Ipn {
    /// A completed payment of `quantity` pieces of `sku`. `gross` in EUR.
    pub fn payment(txn: &str, sku: &str, quantity: u32, gross: &str) -> Self {
        Self::base(txn, gross)
            .with("txn_type", "web_accept")
            .with("item_name", &format!("Demo item {sku}"))
            .with("item_number", sku)
            .with("quantity", &quantity.to_string())
    }

    /// A completed payment of several lines `(sku, quantity, line gross)`; `gross` in EUR.
    pub fn cart(txn: &str, lines: &[(String, u32, String)], gross: &str) -> Self {
        let mut ipn = Self::base(txn, gross)
            .with("txn_type", "cart")
            .with("num_cart_items", &lines.len().to_string());
        for (number, (sku, quantity, line)) in (1_usize..).zip(lines) {
            ipn = ipn
                .with(&format!("item_name{number}"), &format!("Demo item {sku}"))
                .with(&format!("item_number{number}"), sku)
                .with(&format!("quantity{number}"), &quantity.to_string())
                .with(&format!("mc_gross_{number}"), line);
        }
        ipn
    }

    /// A refund of `gross` (negative, EUR) of the payment `parent`.
    pub fn refund(txn: &str, parent: &str, gross: &str) -> Self {
        Self::base(txn, gross)
            .with("payment_status", "Refunded")
            .with("reason_code", "refund")
            .with("parent_txn_id", parent)
    }

    /// What every payment message has.
    fn base(txn: &str, gross: &str) -> Self {
        let fields = [
            ("mc_gross", gross),
            ("protection_eligibility", "Eligible"),
            ("payer_id", "DEMOBUYER0001"),
            ("payment_date", "03:15:42 Nov 22, 2026 PST"),
            ("payment_status", "Completed"),
            ("charset", "windows-1252"),
            ("first_name", "Jane"),
            ("last_name", "Doe"),
            ("notify_version", "3.9"),
            ("payer_status", "verified"),
            ("business", RECEIVER_EMAIL),
            ("payer_email", "buyer@example.net"),
            ("txn_id", txn),
            ("payment_type", "instant"),
            ("receiver_email", RECEIVER_EMAIL),
            ("receiver_id", RECEIVER_ID),
            ("residence_country", "US"),
            ("mc_currency", "EUR"),
            ("payment_gross", ""),
            ("ipn_track_id", "demo0000track"),
            ("verify_sign", "AFcWxV21C7fd0v3bYYYRCpSSRl31ADemo.only"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            fields: fields.into(),
        }
    }

    /// Sets a field: in its place when it is there, at the end otherwise.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Adds a field, even when it is there already.
    #[must_use]
    pub fn with_another(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The exact bytes. Characters that windows-1252 lacks become character references, as
    /// browsers do it.
    pub fn bytes(&self) -> Bytes {
        let pairs: Vec<String> = self
            .fields
            .iter()
            .map(|(name, value)| {
                let (value, ..) = encoding_rs::WINDOWS_1252.encode(value);
                let value: String = form_urlencoded::byte_serialize(&value).collect();
                format!("{name}={value}")
            })
            .collect();
        pairs.join("&").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn umlauts_are_one_byte_each() {
        let bytes = Ipn::payment("T1", "MUG", 1, "9.90")
            .with("first_name", "Jürgen")
            .bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.contains("first_name=J%FCrgen"), "{text}");
        assert!(
            text.contains("&payment_gross=&"),
            "blank values are kept: {text}"
        );
    }

    #[test]
    fn a_field_is_set_once_and_may_be_doubled() {
        let ipn = Ipn::payment("T1", "MUG", 1, "9.90").with("mc_gross", "1.00");
        let count = |ipn: &Ipn| {
            let text = ipn.bytes();
            text.split(|b| *b == b'&')
                .filter(|pair| pair.starts_with(b"mc_gross="))
                .count()
        };
        assert_eq!(count(&ipn), 1);
        assert_eq!(count(&ipn.with_another("mc_gross", "2.00")), 2);
    }
}
