//! `quittance orders cancel` and `orders show`: an order that is off, and what is known of one.

use std::io::{self, Write};

use clap::Args;
use quittance_common::ids::OrderId;
use quittance_common::settings::Settings;
use quittance_common::shop::{Cancelled, OrderRow};
use quittance_fulfiller::fulfil::{Affected, Cancellation};
use serde::Serialize;

use crate::commands::{Context, Exit};
use crate::operator::system_user;
use crate::output::{Form, plain, write_json};
use crate::wiring::Books;

/// Which order, and a person's word.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shop's own number.
    id: OrderId,
    /// Why; kept with the order.
    #[arg(long, value_name = "TEXT", default_value = "")]
    because: String,
    /// Who; the user of this system unless given.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// What a program is told.
#[derive(Debug, Serialize)]
struct Told<'a> {
    order: &'a OrderId,
    /// `cancelled`, `cancelled_before` or `paid`.
    outcome: &'static str,
    /// Whether the order was registered when it was cancelled by this command.
    registered: bool,
    /// Who cancelled it, now or before; blank when it is paid.
    by: &'a str,
    /// The payment that settled it; blank unless it is paid.
    paid_by: &'a str,
    payments: Vec<ToldPayment<'a>>,
}

/// A payment that names the order.
#[derive(Debug, Serialize)]
struct ToldPayment<'a> {
    txn_id: &'a str,
    status: &'a str,
    /// How many items it had set aside, and gave back now.
    released: i64,
}

impl<'a> From<&'a Affected> for ToldPayment<'a> {
    fn from(payment: &'a Affected) -> Self {
        let released = payment
            .done
            .iter()
            .filter(|done| done.effect == "stock_released")
            .fold(0, |sum: i64, done| sum.saturating_add(done.count));
        Self {
            txn_id: payment.subject.id(),
            status: payment.status,
            released,
        }
    }
}

/// Cancels. A paid order is left as it is: exit code 1.
pub(crate) async fn cancel(
    arguments: Arguments,
    settings: &Settings,
    context: Context<'_>,
) -> anyhow::Result<Exit> {
    let Arguments { id, because, by } = arguments;
    let by = by.unwrap_or_else(system_user);
    let books = Books::open(settings).await?;
    let done = books
        .cancel_order(settings, &id, by.clone(), because)
        .await?;
    let told = told(&id, &by, &done);
    if context.form == Form::JsonLines {
        write_json(context.out, &told)?;
    } else if let Cancelled::Paid { txn_id, status } = &done.outcome {
        anyhow::bail!(
            "order {id} is paid by payment {txn_id} ({status}) and was not cancelled: stock and \
             payment stay as they are. To undo it refund the payment at the gateway; the refund's \
             notification puts the goods back"
        );
    } else {
        write_words(context.out, &told, &done)?;
    }
    Ok(match done.outcome {
        Cancelled::Paid { .. } => Exit::Failed,
        Cancelled::Now | Cancelled::Unregistered | Cancelled::Before { .. } => Exit::Done,
    })
}

fn told<'a>(id: &'a OrderId, by: &'a str, done: &'a Cancellation) -> Told<'a> {
    let (outcome, by, paid_by) = match &done.outcome {
        Cancelled::Now | Cancelled::Unregistered => ("cancelled", by, ""),
        Cancelled::Before { by, .. } => ("cancelled_before", by.as_str(), ""),
        Cancelled::Paid { txn_id, .. } => ("paid", "", txn_id.as_str()),
    };
    Told {
        order: id,
        outcome,
        registered: done.outcome != Cancelled::Unregistered,
        by,
        paid_by,
        payments: done.payments.iter().map(ToldPayment::from).collect(),
    }
}

fn write_words(out: &mut dyn Write, told: &Told<'_>, done: &Cancellation) -> io::Result<()> {
    let (order, by) = (plain(told.order.as_str()), plain(told.by));
    match &done.outcome {
        Cancelled::Before { at, .. } => {
            writeln!(out, "order {order} was cancelled before, by {by} at {at}")?;
        }
        Cancelled::Now | Cancelled::Paid { .. } => {
            writeln!(out, "cancelled order {order} by {by}")?;
        }
        Cancelled::Unregistered => {
            writeln!(out, "cancelled order {order} by {by}")?;
            writeln!(
                out,
                "no order {order} is registered: a signed one is cancelled by this; mind the spelling"
            )?;
        }
    }
    for payment in &told.payments {
        let ToldPayment {
            txn_id,
            status,
            released,
        } = payment;
        match released {
            0 => writeln!(out, "payment {txn_id} is {status}")?,
            count => writeln!(out, "payment {txn_id} is {status}: {count} items released")?,
        }
    }
    Ok(())
}

/// Writes everything about one order.
pub(crate) fn show(
    id: &OrderId,
    rows: Vec<OrderRow>,
    form: Form,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let row = rows.into_iter().find(|row| row.id == id.as_str());
    let Some(row) = row else {
        anyhow::bail!(
            "no order `{id}` is registered or cancelled: `quittance orders list` shows those that are"
        );
    };
    if form == Form::JsonLines {
        write_json(out, &row)?;
        return Ok(());
    }
    let lines = [
        ("order", row.id.clone()),
        (
            "total",
            format!("{} {}", row.total, row.currency).trim().to_owned(),
        ),
        ("lines", row.lines.join(", ")),
        ("registered", row.registered_at.clone()),
        ("settled by", row.settled_by.clone()),
        ("cancelled", row.cancelled_at.clone()),
        ("by", row.cancelled_by.clone()),
        ("because", row.cancelled_because),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:<10}  {}", plain(value))?;
    }
    Ok(())
}
