//! `quittance payments accept` and `payments close`: a person's decision about a payment that the
//! books hold back.

use clap::Args;
use quittance_common::ids::TxnId;
use quittance_common::settings::Settings;
use quittance_common::shop::Verdict;
use quittance_fulfiller::fulfil::{Done, Resolved};
use serde::Serialize;

use crate::commands::{Context, Exit};
use crate::operator::system_user;
use crate::output::{Form, write_json};
use crate::wiring::Books;

/// Which payment, and a person's word.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The transaction id.
    txn: TxnId,
    /// Why; kept with the payment's story.
    #[arg(long, value_name = "WHY")]
    because: String,
    /// Who; the user of this system unless given.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// What a program is told.
#[derive(Debug, Serialize)]
struct Told<'a> {
    txn_id: &'a str,
    /// `accepted`, `accepted_before`, `closed` or `closed_before`.
    outcome: &'static str,
    by: &'a str,
    /// The payment's status in the books; blank when nothing was changed.
    status: &'a str,
    /// What was done now, such as `stock_decremented`.
    effects: Vec<&'static str>,
}

/// Decides. Repeating a decision changes nothing and is no error.
pub(crate) async fn decide(
    verdict: Verdict,
    arguments: Arguments,
    settings: &Settings,
    context: Context<'_>,
) -> anyhow::Result<Exit> {
    let Arguments { txn, because, by } = arguments;
    anyhow::ensure!(!because.trim().is_empty(), "--because must say something");
    let by = by.unwrap_or_else(system_user);
    let books = Books::open(settings).await?;
    let resolved = books
        .resolve(settings, &txn, verdict, by.clone(), because)
        .await?;
    let (is_new, status, done) = match &resolved {
        Resolved::Now { status, done } => (true, *status, done.as_slice()),
        Resolved::Before => (false, "", [].as_slice()),
        Resolved::Accepted => anyhow::bail!(
            "payment {txn} was accepted before and was not closed: refund it at the gateway; the \
             refund's notification puts the goods back"
        ),
        Resolved::Undecidable { flags } => {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            anyhow::bail!(
                "payment {txn} waits for no decision (flags: {}): only order_already_paid, \
                 order_cancelled and paid_after_denied hold a payment back",
                if flags.is_empty() {
                    "none".to_owned()
                } else {
                    flags.join(", ")
                }
            );
        }
    };
    let told = told(&txn, &by, (verdict, is_new), status, done);
    if context.form == Form::JsonLines {
        write_json(context.out, &told)?;
    } else if is_new {
        writeln!(context.out, "{} {txn} ({status}) by {by}", told.outcome)?;
        for done in done {
            writeln!(context.out, "{} {}", done.effect, done.count)?;
        }
    } else {
        writeln!(
            context.out,
            "{txn} was {} before; nothing was changed",
            verdict.as_str()
        )?;
    }
    Ok(Exit::Done)
}

fn told<'a>(
    txn: &'a TxnId,
    by: &'a str,
    (verdict, is_new): (Verdict, bool),
    status: &'a str,
    done: &[Done],
) -> Told<'a> {
    let outcome = match (verdict, is_new) {
        (Verdict::Accepted, true) => "accepted",
        (Verdict::Accepted, false) => "accepted_before",
        (_, true) => "closed",
        (_, false) => "closed_before",
    };
    Told {
        txn_id: txn.as_str(),
        outcome,
        by,
        status,
        effects: done.iter().map(|done| done.effect).collect(),
    }
}
