//! Who was paid and who paid.
//!
//! `receiver_email` is always the account's primary address, `business` what the button named
//! (IPN and PDT variables, developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables).

use super::fields::Fields;
use crate::event::Payer;
use crate::notification::Payee;

/// The three spellings of who was paid.
pub(super) fn payee(fields: &Fields) -> Payee {
    Payee {
        receiver_id: lower(fields, "receiver_id"),
        business: lower(fields, "business"),
        receiver_email: lower(fields, "receiver_email"),
        payer: Vec::new(),
        merchant_pays: false,
    }
}

/// A mass payment is sent *by* the merchant: the account is in the payer's fields.
pub(super) fn merchant_as_payer(fields: &Fields) -> Payee {
    Payee {
        payer: ["payer_id", "payer_email"]
            .into_iter()
            .filter_map(|name| lower(fields, name))
            .collect(),
        merchant_pays: true,
        ..Payee::default()
    }
}

/// The one spelling of the payee that goes into a fingerprint.
pub(super) fn identity(payee: &Payee) -> Option<&str> {
    payee
        .receiver_id
        .as_deref()
        .or(payee.business.as_deref())
        .or(payee.receiver_email.as_deref())
        .or(payee.payer.first().map(String::as_str))
}

/// The buyer.
pub(super) fn payer(fields: &Fields) -> Payer {
    let full_name = [fields.text("first_name"), fields.text("last_name")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    Payer {
        id: fields.owned("payer_id"),
        email: fields.owned("payer_email"),
        name: Some(full_name)
            .filter(|name| !name.is_empty())
            .or_else(|| fields.owned("payer_business_name")),
        country: country(fields, "residence_country")
            .or_else(|| country(fields, "address_country_code")),
    }
}

/// Two letters, upper case.
fn country(fields: &Fields, name: &str) -> Option<String> {
    fields
        .text(name)
        .filter(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()))
        .map(str::to_ascii_uppercase)
}

fn lower(fields: &Fields, name: &str) -> Option<String> {
    fields.text(name).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payee_is_trimmed_and_in_lower_case() {
        let fields = Fields::parse(b"receiver_id=S8XGHLYDW9T3S&business=+Pay%40Shop.example+");
        let payee = payee(&fields);
        assert_eq!(payee.receiver_id.as_deref(), Some("s8xghlydw9t3s"));
        assert_eq!(payee.business.as_deref(), Some("pay@shop.example"));
        assert_eq!(payee.receiver_email, None);
        assert_eq!(identity(&payee), Some("s8xghlydw9t3s"));
    }

    #[test]
    fn a_payer_is_named_by_person_or_else_by_business() {
        let payer_of = |body: &str| payer(&Fields::parse(body.as_bytes()));
        let person = payer_of("first_name=J%F6rg&last_name=Test&payer_business_name=Firma");
        assert_eq!(person.name.as_deref(), Some("Jörg Test"));
        let firm = payer_of("first_name=&payer_business_name=Firma&residence_country=de");
        assert_eq!(firm.name.as_deref(), Some("Firma"));
        assert_eq!(firm.country.as_deref(), Some("DE"));
        let odd = payer_of("residence_country=Germany&address_country_code=AT");
        assert_eq!(odd.country.as_deref(), Some("AT"));
        assert_eq!(odd.name, None);
    }
}
