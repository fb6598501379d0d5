//! Fields that decide something and are there more than once: never guessed, even when the copies
//! are equal, because the next reader of the same body may choose another one.

use super::super::ReadError;
use super::fields::Fields;

/// Names that decide what happened, to whom, for how much.
const DECIDING: [&str; 30] = [
    "auth_status",
    "business",
    "case_id",
    "case_type",
    "charset",
    "custom",
    "invoice",
    "mc_currency",
    "mc_fee",
    "mc_gross",
    "mp_id",
    "parent_txn_id",
    "pay_key",
    "payer_email",
    "payer_id",
    "payment_gross",
    "payment_fee",
    "payment_status",
    "pending_reason",
    "reason_code",
    "receiver_email",
    "receiver_id",
    "recurring_payment_id",
    "retry_at",
    "subscr_id",
    "test_ipn",
    "transaction_entity",
    "transaction_type",
    "txn_id",
    "txn_type",
];

/// Names that do so with a number behind them, or without one for a single item.
const NUMBERED: [&str; 10] = [
    "item_name",
    "item_number",
    "masspay_txn_id",
    "mc_currency",
    "mc_gross",
    "payment_gross",
    "quantity",
    "receiver_email",
    "status",
    "unique_id",
];

/// Refuses a body in which a deciding field is repeated.
pub(super) fn check(fields: &Fields) -> Result<(), ReadError> {
    match fields.repeated(is_deciding) {
        Some(field) => Err(ReadError::Ambiguous {
            field: field.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Whether `name` decides something.
fn is_deciding(name: &str) -> bool {
    let stem = name
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .trim_end_matches('_');
    DECIDING.contains(&name) || NUMBERED.contains(&stem) || stem.starts_with("option_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(body: &str) -> Result<(), ReadError> {
        check(&Fields::parse(body.as_bytes()))
    }

    #[test]
    fn every_deciding_field_twice_is_ambiguous_even_with_equal_values() {
        let numbered = [
            "item_number1",
            "quantity12",
            "mc_gross_2",
            "mc_gross2",
            "masspay_txn_id_3",
            "status_1",
            "item_number",
            "quantity",
            "option_selection1_2",
        ];
        for name in DECIDING.into_iter().chain(numbered) {
            let expected = Err(ReadError::Ambiguous {
                field: name.to_owned(),
            });
            assert_eq!(verdict(&format!("{name}=1&a=&{name}=1")), expected);
        }
    }

    #[test]
    fn an_encoded_name_is_the_same_name() {
        assert!(verdict("mc_gross=1&mc%5Fgross=2").is_err());
    }

    #[test]
    fn a_repeated_field_that_decides_nothing_is_let_be() {
        assert_eq!(verdict("memo=a&memo=b&mc_gross_1=1&mc_gross_2=1"), Ok(()));
    }
}
