//! What a purchase becomes when it is paid: the notification, and what the browser takes back. Pure,
//! but for the ids that are drawn.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::Offset;
use quittance_common::event::Environment;
use quittance_common::money::Money;

use super::request::{Kind, Purchase};

/// Who pays, as the tester wrote it.
#[derive(Clone)]
pub(crate) struct Buyer {
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) email: String,
    pub(crate) street: String,
    pub(crate) zip: String,
    pub(crate) city: String,
    pub(crate) country: Country,
}

impl std::fmt::Debug for Buyer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Buyer(..)")
    }
}

impl Default for Buyer {
    fn default() -> Self {
        Self {
            first_name: "Jane".to_owned(),
            last_name: "Doe".to_owned(),
            email: "buyer@example.net".to_owned(),
            street: "1 Main St".to_owned(),
            zip: "95131".to_owned(),
            city: "San Jose".to_owned(),
            country: Country::UnitedStates,
        }
    }
}

/// Where a buyer can live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Country {
    UnitedStates,
    UnitedKingdom,
    Germany,
    Austria,
    Switzerland,
}

impl Country {
    pub(crate) const ALL: [Self; 5] = [
        Self::UnitedStates,
        Self::UnitedKingdom,
        Self::Germany,
        Self::Austria,
        Self::Switzerland,
    ];

    /// `residence_country`.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::UnitedStates => "US",
            Self::UnitedKingdom => "GB",
            Self::Germany => "DE",
            Self::Austria => "AT",
            Self::Switzerland => "CH",
        }
    }

    /// `address_country`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UnitedStates => "United States",
            Self::UnitedKingdom => "United Kingdom",
            Self::Germany => "Germany",
            Self::Austria => "Austria",
            Self::Switzerland => "Switzerland",
        }
    }

    pub(crate) fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|country| country.code() == code)
    }
}

/// What the payment is made of, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Paid from a balance or by card: the money is there.
    Instant,
    /// Paid from a bank account: the money is on its way.
    Echeck,
    /// The same, after the bank has paid.
    EcheckCleared,
}

impl Standing {
    const fn status(self) -> &'static str {
        match self {
            Self::Instant | Self::EcheckCleared => "Completed",
            Self::Echeck => "Pending",
        }
    }

    const fn payment_type(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Echeck | Self::EcheckCleared => "echeck",
        }
    }
}

/// A payment.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(crate) purchase: Purchase,
    pub(crate) buyer: Buyer,
    /// `txn_id`, and the token of the return.
    pub(crate) txn_id: String,
    payer_id: String,
    at: Timestamp,
    environment: Environment,
}

type Fields = Vec<(String, String)>;

impl Payment {
    /// A payment with ids of its own.
    pub(crate) fn new(
        purchase: Purchase,
        buyer: Buyer,
        at: Timestamp,
        environment: Environment,
    ) -> Self {
        Self {
            purchase,
            buyer,
            txn_id: random(17),
            payer_id: random(13),
            at,
            environment,
        }
    }

    /// The notification, byte for byte.
    pub(crate) fn message(&self, standing: Standing) -> Bytes {
        let mut fields = self.fields(standing);
        let mut put = |name: &str, value: String| fields.push((name.to_owned(), value));
        put("notify_version", "3.9".to_owned());
        put("verify_sign", random(56));
        put("ipn_track_id", random(13).to_lowercase());
        if self.environment == Environment::Sandbox {
            put("test_ipn", "1".to_owned());
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&fields);
        form.finish().into()
    }

    /// What the browser takes back in the URL.
    pub(crate) fn return_pairs(&self, standing: Standing) -> Fields {
        let total = self.purchase.total;
        let custom = self.purchase.custom.clone().unwrap_or_default();
        [
            ("PayerID", self.payer_id.clone()),
            ("st", standing.status().to_owned()),
            ("tx", self.txn_id.clone()),
            ("cc", total.currency().to_string()),
            ("amt", total.value()),
            ("cm", custom),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// What it takes back by POST: the same, and all that the notification says.
    pub(crate) fn return_form(&self, standing: Standing) -> Fields {
        let mut fields = self.return_pairs(standing);
        fields.extend(self.fields(standing));
        fields
    }

    fn fields(&self, standing: Standing) -> Fields {
        let Purchase {
            merchant,
            business,
            total,
            ..
        } = &self.purchase;
        let buyer = &self.buyer;
        let mut fields = Fields::new();
        let mut put = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
        put("mc_gross", &total.value());
        put("protection_eligibility", "Eligible");
        put("address_status", "confirmed");
        put("payer_id", &self.payer_id);
        put("address_street", &buyer.street);
        put("payment_date", &paypal_date(self.at));
        put("payment_status", standing.status());
        put("charset", "UTF-8");
        put("address_zip", &buyer.zip);
        put("first_name", &buyer.first_name);
        put("last_name", &buyer.last_name);
        let name = format!("{} {}", buyer.first_name, buyer.last_name);
        put("address_name", name.trim());
        put("address_country_code", buyer.country.code());
        put("address_country", buyer.country.name());
        put("address_city", &buyer.city);
        put("residence_country", buyer.country.code());
        put("payer_status", "verified");
        put("payer_email", &buyer.email);
        put("business", business);
        put("receiver_email", &merchant.email);
        put("receiver_id", &merchant.id);
        put("txn_id", &self.txn_id);
        put("payment_type", standing.payment_type());
        if standing == Standing::Echeck {
            put("pending_reason", "echeck");
        }
        put("mc_currency", total.currency().as_str());
        let dollars = total.currency().as_str() == "USD";
        put(
            "payment_gross",
            &if dollars {
                total.value()
            } else {
                String::new()
            },
        );
        put(
            "custom",
            self.purchase.custom.as_deref().unwrap_or_default(),
        );
        if let Some(invoice) = &self.purchase.invoice {
            put("invoice", invoice);
        }
        self.put_lines(put);
        fields
    }

    fn put_lines(&self, mut put: impl FnMut(&str, &str)) {
        let Purchase {
            kind,
            lines,
            handling,
            discount,
            ..
        } = &self.purchase;
        let value = |money: &Option<Money>| money.map(Money::value);
        match (kind, &lines[..]) {
            (Kind::Single, lines) => {
                put("txn_type", "web_accept");
                for line in lines {
                    put("item_name", &line.name);
                    put("item_number", &line.number);
                    put("quantity", &line.quantity.to_string());
                }
                if let Some(handling) = value(handling) {
                    put("handling_amount", &handling);
                }
            }
            (Kind::Cart, lines) => {
                put("txn_type", "cart");
                put("num_cart_items", &lines.len().to_string());
                for (number, line) in (1_usize..).zip(lines) {
                    put(&format!("item_name{number}"), &line.name);
                    put(&format!("item_number{number}"), &line.number);
                    put(&format!("quantity{number}"), &line.quantity.to_string());
                    put(&format!("mc_gross_{number}"), &line.gross.value());
                }
                if let Some(handling) = value(handling) {
                    put("mc_handling", &handling);
                }
                if let Some(discount) = value(discount) {
                    put("discount", &discount);
                }
            }
        }
    }
}

/// `HH:MM:SS Mmm DD, YYYY PST`.
fn paypal_date(at: Timestamp) -> String {
    let there = Offset::constant(-8).to_datetime(at);
    there.strftime("%H:%M:%S %b %d, %Y PST").to_string()
}

/// Letters and digits as the gateway's ids have them.
pub(super) fn random(length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    (0..length)
        .filter_map(|_| {
            let at = usize::from(rand::random::<u8>() % 32);
            ALPHABET.get(at).copied().map(char::from)
        })
        .collect()
}

#[cfg(test)]
mod tests;
