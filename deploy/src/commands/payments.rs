//! `quittance payments`: what the books say about payments.

mod decide;

use std::io::Write;

use clap::Subcommand;
use quittance_common::ids::TxnId;
use quittance_common::shop::{ParkedRow, ParkedState, ReleaseOutcome, Verdict};
use serde::Serialize;

use super::{Context, Exit};
use crate::operator;
use crate::output::{Form, cut, write_json, write_rows};
use crate::story;
use crate::tooling::operation::warn;
use crate::wiring::{Books, PaymentQuery};

/// How many rows a list has unless it is asked for more or less.
const LISTED: u32 = 1000;

/// What can be asked about payments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Payments, subscriptions, cases and payouts, newest first; the newest 1000 unless `--limit` says
    /// otherwise. What is left out is told on the standard error output.
    List {
        /// Only those of this status, such as `completed` or `pending`.
        #[arg(long)]
        status: Option<String>,
        /// Only those of this account.
        #[arg(long)]
        account: Option<String>,
        /// Only this kind.
        #[arg(long, value_parser = ["payment", "subscription", "case", "payout", "message"])]
        kind: Option<String>,
        /// Only those with this flag, such as `backorder`.
        #[arg(long)]
        flag: Option<String>,
        /// Only those with a flag that a person must look at before the goods go.
        #[arg(long)]
        flagged: bool,
        /// At most so many.
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// What waits for a person: why, what was expected and what was found, and on which queue it
    /// is. Newest first.
    Quarantined {
        /// Also what was released or dismissed (by whom, when, why) or went its way since.
        #[arg(long)]
        all: bool,
    },
    /// Let a quarantined payment go on, without the check that refused it. It is verified again.
    Release {
        /// The transaction id.
        txn: TxnId,
        /// Why; kept with the payment's story.
        #[arg(long, value_name = "WHY")]
        because: String,
        /// Who; the user of this system unless given.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Say that nothing more is to be done for what is quarantined of a payment: it was paid back,
    /// or settled in another way. It is no longer listed and no longer money at risk.
    Dismiss {
        /// The transaction id, or that of a subscription or case.
        id: TxnId,
        /// Why; kept with the payment's story.
        #[arg(long, value_name = "WHY")]
        because: String,
        /// Who; the user of this system unless given.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Accept a payment that the books hold back (`order_already_paid`, `order_cancelled`,
    /// `paid_after_denied`): its goods are taken, the customer is thanked, and it settles its order
    /// unless another payment has.
    Accept(decide::Arguments),
    /// Close a payment that the books hold back: what it holds goes back, its order is free, and
    /// nobody is told. A refund is made at the gateway.
    Close(decide::Arguments),
    /// The whole story of one payment, subscription, case or payout: every message, decision and
    /// effect, in order.
    Show {
        /// The transaction id (or that of a refund or capture), `I-...`, `PP-D-...`.
        id: String,
    },
}

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let settings = context.settings.load()?;
    let books = Books::open(&settings).await?;
    match command {
        Command::Accept(arguments) => {
            return decide::decide(Verdict::Accepted, arguments, &settings, context).await;
        }
        Command::Close(arguments) => {
            return decide::decide(Verdict::Closed, arguments, &settings, context).await;
        }
        Command::List {
            status,
            account,
            kind,
            flag,
            flagged,
            limit,
        } => {
            // What waits for a person is never left out without being asked.
            let most = limit.or((!flagged).then_some(LISTED));
            let query = PaymentQuery {
                status,
                account,
                kind,
                flag,
                flagged,
                limit: most.map(|most| most.saturating_add(1)),
            };
            let mut rows = books.payments(&query).await?;
            if let Some(left_out) = most.and_then(|most| cut(&mut rows, most)) {
                warn(&left_out);
            }
            let columns = [
                "txn_id", "kind", "account", "status", "amount", "currency", "events", "effects",
                "flags",
            ];
            write_rows(context.out, context.form, &columns, &rows)?;
        }
        Command::Quarantined { all } => quarantined(&books, all, context).await?,
        Command::Release { txn, because, by } => {
            release(&books, &txn, because, by, context.out).await?;
        }
        Command::Dismiss { id, because, by } => {
            dismiss(&books, &id, because, by, context).await?;
        }
        Command::Show { id } => {
            let stories = books.payment_story(&id).await?;
            anyhow::ensure!(!stories.is_empty(), "nothing is recorded about {id}");
            story::write(context.out, context.form, &stories)?;
        }
    }
    Ok(Exit::Done)
}

async fn quarantined(books: &Books, all: bool, context: Context<'_>) -> anyhow::Result<()> {
    const WAITING: [&str; 8] = [
        "txn_id", "reason", "expected", "found", "at", "copies", "queue", "detail",
    ];
    const ALL: [&str; 10] = [
        "txn_id",
        "reason",
        "expected",
        "found",
        "at",
        "queue",
        "state",
        "decided_by",
        "decided_at",
        "decided_because",
    ];
    let rows = books.ever_parked().await?;
    if all {
        write_rows(context.out, context.form, &ALL, &rows)?;
        return Ok(());
    }
    let of = |state| rows.iter().filter(move |row| row.state == state);
    let waiting: Vec<&ParkedRow> = of(ParkedState::Waiting).collect();
    write_rows(context.out, context.form, &WAITING, &waiting)?;
    let released = of(ParkedState::Released).count();
    if released > 0 && context.form == Form::Table {
        writeln!(
            context.out,
            "{released} more released: --all shows by whom; their copies in quarantine stay until \
             they are purged"
        )?;
    }
    Ok(())
}

async fn release(
    books: &Books,
    txn: &TxnId,
    because: String,
    by: Option<String>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    anyhow::ensure!(!because.trim().is_empty(), "--because must say something");
    let by = by.unwrap_or_else(operator::system_user);
    let outcomes = books.release(txn, by.clone(), because).await?;
    anyhow::ensure!(
        !outcomes.is_empty(),
        "nothing of payment {txn} waits for a release"
    );
    let mut impossible = Vec::new();
    for outcome in &outcomes {
        match outcome {
            ReleaseOutcome::Released(row) => {
                writeln!(out, "released {txn} ({}) by {by}", row.reason)?;
            }
            ReleaseOutcome::Impossible(row) => impossible.push(row),
        }
    }
    if impossible.len() == outcomes.len() {
        let why: Vec<String> = impossible.into_iter().map(why_not).collect();
        anyhow::bail!("payment {txn} cannot be released: {}", why.join("; "));
    }
    Ok(())
}

async fn dismiss(
    books: &Books,
    id: &TxnId,
    because: String,
    by: Option<String>,
    context: Context<'_>,
) -> anyhow::Result<()> {
    anyhow::ensure!(!because.trim().is_empty(), "--because must say something");
    let by = by.unwrap_or_else(operator::system_user);
    let dismissed = books.dismiss(id, by.clone(), because).await?;
    anyhow::ensure!(
        !dismissed.rows.is_empty() || dismissed.payments > 0,
        "nothing of payment {id} waits for a person"
    );
    if dismissed.payments > 0 {
        let told = DismissedRow {
            id: id.as_str(),
            outcome: "dismissed",
            by: &by,
            reason: "verified",
            message_id: "",
            queue: "",
        };
        if context.form == Form::JsonLines {
            write_json(context.out, &told)?;
        } else {
            writeln!(
                context.out,
                "dismissed {id} by {by}: it was verified, and is not waited for any more"
            )?;
        }
    }
    for row in &dismissed.rows {
        if context.form == Form::JsonLines {
            write_json(
                context.out,
                &DismissedRow {
                    id: id.as_str(),
                    outcome: "dismissed",
                    by: &by,
                    reason: &row.reason,
                    message_id: &row.message_id,
                    queue: &row.queue,
                },
            )?;
        } else {
            writeln!(
                context.out,
                "dismissed {id} ({}) by {by}; the copy on `{}` stays until it is purged",
                row.reason, row.queue
            )?;
        }
    }
    Ok(())
}

/// What a program is told of one dismissed message.
#[derive(Debug, Serialize)]
struct DismissedRow<'a> {
    id: &'a str,
    outcome: &'static str,
    by: &'a str,
    reason: &'a str,
    message_id: &'a str,
    queue: &'a str,
}

/// Why a parked message cannot be released, and what to do instead.
fn why_not(row: &ParkedRow) -> String {
    let reason = &row.reason;
    if row.stage != "verifier" {
        return format!(
            "{reason}: it was verified before, and waits in `{}`; `quittance queues replay` sends \
             it again",
            row.queue
        );
    }
    if row.outcome == "refused" {
        return format!(
            "{reason}: its bytes were removed at {} because of their age; have it sent again",
            row.details_removed_at
        );
    }
    format!(
        "{reason}: only the gateway can say that a message is genuine, and only a refusal by a \
         check can be waived"
    )
}
