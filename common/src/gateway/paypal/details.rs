//! What is read for people and for accounting, and decides nothing: what cannot be read is left out.
//!
//! Sources: `auth_exp`, `settle_amount`, `case_type`, `subscr_date`, `retry_at`,
//! `next_payment_date`, `receiver_email_x` and others in IPN and PDT variables
//! (developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables). `username` and `password` of a
//! subscription are never read.

use super::fields::Fields;
use super::reading::word;
use super::{amount, date};
use crate::event::{Details, Payee, Schedule, Settled};

/// Longer than any rate that was seen: 0.662793.
const LONGEST_RATE: usize = 32;

/// Those of the whole message.
pub(super) fn read(fields: &Fields) -> Details {
    let schedule = schedule(fields);
    Details {
        authorized_until: fields.text("auth_exp").and_then(date::parse),
        settled: settled(fields),
        case_type: fields.text("case_type").map(|text| word(Some(text))),
        schedule: (schedule != Schedule::default()).then_some(schedule),
        payee: None,
    }
}

/// Whom item `number` of a mass payment pays.
pub(super) fn payee(fields: &Fields, number: u32) -> Option<Payee> {
    let payee = Payee {
        email: fields.owned(&format!("receiver_email_{number}")),
        reference: fields.owned(&format!("unique_id_{number}")),
    };
    (payee != Payee::default()).then_some(payee)
}

fn settled(fields: &Fields) -> Option<Settled> {
    let currency = amount::currency_named(fields, "settle_currency").ok()?;
    let is_rate = |text: &&str| {
        text.len() <= LONGEST_RATE && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    Some(Settled {
        amount: amount::money_named(fields, "settle_amount", currency).ok()??,
        exchange_rate: fields
            .text("exchange_rate")
            .filter(is_rate)
            .map(str::to_owned),
    })
}

fn schedule(fields: &Fields) -> Schedule {
    let at = |name: &str| fields.text(name).and_then(date::parse);
    let currency = ["currency_code", "mc_currency"]
        .into_iter()
        .find_map(|name| amount::currency_named(fields, name).ok().flatten());
    Schedule {
        amount: amount::money_named(fields, "amount_per_cycle", currency)
            .ok()
            .flatten(),
        cycle: fields.owned("payment_cycle"),
        started_at: at("subscr_date").or_else(|| at("time_created")),
        effective_at: at("subscr_effective"),
        retry_at: at("retry_at"),
        next_payment_at: at("next_payment_date"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Details {
        read(&Fields::parse(body.as_bytes()))
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_blocks_nothing() {
        for body in [
            "auth_exp=soon&settle_amount=1,2,3&settle_currency=EUR",
            "settle_amount=5.00",
            "settle_amount=5.00&settle_currency=Euro",
            "retry_at=N%2FA&next_payment_date=N%2FA&amount_per_cycle=x&currency_code=EUR",
            "",
        ] {
            assert!(of(body).is_empty(), "{body}");
        }
        let odd = of("settle_amount=5.00&settle_currency=EUR&exchange_rate=a+lot");
        assert_eq!(odd.settled.unwrap().exchange_rate, None);
    }

    #[test]
    fn the_credentials_of_a_subscription_are_not_read() {
        assert!(of("username=ada&password=hunter2").is_empty());
    }
}
