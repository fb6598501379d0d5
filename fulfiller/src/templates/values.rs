//! What a template may show.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value, context, escape_formatter};
use quittance_common::event::OrderRef;
use quittance_common::ids::OrderId;
use quittance_common::quarantine_notice::Parked;
use quittance_common::status::PendingReason;

use super::next_steps::next_steps;
use super::wording::{amount, line_name, one_line};
use super::{TemplateError, Templates};
use crate::announcement::{Announcement, News};

/// Writes a value, unless it is none: nobody is to read that word.
pub(super) fn formatter(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    if value.kind() == ValueKind::None {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            "a value that may be missing is shown outside of an {% if %}",
        ));
    }
    escape_formatter(out, state, value)
}

/// A value, or one that cannot be shown.
fn or_missing<T: Into<Value>>(value: Option<T>) -> Value {
    value.map_or(Value::UNDEFINED, Into::into)
}

impl Templates {
    /// The values for the templates of `language`.
    pub(super) fn values(&self, language: &str, of: &Announcement) -> Result<Value, TemplateError> {
        let (mut reason, mut set_aside) = (String::new(), false);
        let (mut refund, mut full) = (None, false);
        let (mut reasons, mut quarantined, mut parked) = (Vec::new(), false, None);
        let transaction = &one_line(&of.txn_id);
        match &of.news {
            News::Pending {
                reason: code,
                set_aside: is_set_aside,
            } => {
                let code = code.as_ref().map_or("", PendingReason::as_str);
                let name = format!("{language}/pending_reason.txt");
                reason.push_str(self.fill(&name, &context! { code, language })?.trim());
                set_aside = *is_set_aside;
            }
            News::Refunded { amount: given, .. } => {
                refund = Some(amount(*given, language));
                full = of.gross == Some(*given);
            }
            News::Merchant {
                reasons: codes,
                quarantined: in_quarantine,
                parked: message,
                ..
            } => {
                (quarantined, parked) = (*in_quarantine, message.as_ref());
                let name = format!("{language}/merchant_reason.txt");
                for code in codes {
                    let values = context! { code, quarantined, transaction, language };
                    let words = self.fill(&name, &values)?;
                    reasons.push(context! { code => one_line(code), words => words.trim() });
                }
            }
            News::Received | News::Failed | News::Backordered | News::Stock { .. } => {}
        }
        let lines: Vec<Value> = of
            .lines
            .iter()
            .map(|line| context! { quantity => line.quantity, name => line_name(line) })
            .collect();
        let commands: Vec<Value> = next_steps(of)
            .into_iter()
            .map(|step| context! { does => step.does, line => step.line })
            .collect();
        Ok(context! {
            language,
            shop => &self.shop_name,
            name => or_missing(of.payer.name.as_deref().map(one_line)),
            amount => or_missing(of.gross.map(|gross| amount(gross, language))),
            order => or_missing(order_named(&of.order).map(one_line)),
            transaction,
            lines,
            reason,
            set_aside,
            refund => or_missing(refund),
            full,
            reasons,
            quarantined,
            parked => or_missing(parked.map(of_parked)),
            commands,
        })
    }
}

fn of_parked(parked: &Parked) -> Value {
    context! {
        message => one_line(&parked.message_id),
        queue => one_line(&parked.queue),
        expected => or_missing(parked.expected.as_deref().map(one_line)),
        found => or_missing(parked.found.as_deref().map(one_line)),
    }
}

/// The order as the customer knows it: the one that the payment was found to be for, before what
/// the payment says itself.
fn order_named(order: &OrderRef) -> Option<&str> {
    let claimed = order.claimed().map(OrderId::as_str);
    claimed.or(order.invoice.as_deref())
}
