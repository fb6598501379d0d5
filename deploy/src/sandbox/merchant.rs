//! Who can be paid at the stand-in.

use std::str::FromStr;

use crate::demo::body::{RECEIVER_EMAIL, RECEIVER_ID};

/// A merchant account of the stand-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    /// `receiver_id`.
    pub id: String,
    /// `receiver_email`, the primary address.
    pub email: String,
    /// What buyers are shown.
    pub name: String,
}

impl Merchant {
    /// Whether `business` names this account: by its id or by its address.
    pub(crate) fn is(&self, business: &str) -> bool {
        [&self.id, &self.email]
            .into_iter()
            .any(|name| name.eq_ignore_ascii_case(business))
    }
}

impl Default for Merchant {
    /// The shop of the demo.
    fn default() -> Self {
        Self {
            id: RECEIVER_ID.to_owned(),
            email: RECEIVER_EMAIL.to_owned(),
            name: "Demo shop".to_owned(),
        }
    }
}

impl FromStr for Merchant {
    type Err = String;

    /// `ID,EMAIL` or `ID,EMAIL,NAME`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ',').map(str::trim);
        let (id, email) = (parts.next(), parts.next());
        match (id, email) {
            (Some(id), Some(email)) if !id.is_empty() && email.contains('@') => Ok(Self {
                id: id.to_owned(),
                email: email.to_owned(),
                name: parts.next().unwrap_or(email).to_owned(),
            }),
            _ => Err(format!(
                "`{text}` is not ID,EMAIL or ID,EMAIL,NAME, such as `S8XGHLYDW9T3S,pay@shop.example,My shop`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_is_written_as_id_address_and_perhaps_name() {
        let merchant: Merchant = "S8XG, pay@shop.example,Mugs, and more".parse().unwrap();
        assert_eq!(merchant.name, "Mugs, and more");
        assert!(merchant.is("s8xg") && merchant.is("Pay@Shop.example") && !merchant.is("pay"));
        let nameless: Merchant = "S8XG,pay@shop.example".parse().unwrap();
        assert_eq!(nameless.name, "pay@shop.example");
        for bad in ["", "S8XG", ",pay@shop.example", "S8XG,shop"] {
            assert!(bad.parse::<Merchant>().is_err(), "{bad}");
        }
    }
}
