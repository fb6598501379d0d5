//! `quittance payments`: what the books say about payments.

use clap::Subcommand;

use super::{Context, Exit};
use crate::output::write_rows;
use crate::story;
use crate::wiring::{Books, PaymentQuery};

/// What can be asked about payments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every payment, newest first.
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
        /// At most so many.
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// The whole story of one payment, subscription, case or payout: every message, decision and
    /// effect, in order.
    Show {
        /// The transaction id (or that of a refund or capture), `I-...`, `PP-D-...`.
        id: String,
    },
}

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let books = Books::open(&context.settings.load()?).await?;
    match command {
        Command::List {
            status,
            account,
            kind,
            flag,
            limit,
        } => {
            let query = PaymentQuery {
                status,
                account,
                kind,
                flag,
                limit,
            };
            let rows = books.payments(&query).await?;
            let columns = [
                "txn_id", "kind", "account", "status", "amount", "currency", "events", "effects",
                "flags",
            ];
            write_rows(context.out, context.form, &columns, &rows)?;
        }
        Command::Show { id } => {
            let stories = books.payment_story(&id).await?;
            anyhow::ensure!(!stories.is_empty(), "nothing is recorded about {id}");
            story::write(context.out, context.form, &stories)?;
        }
    }
    Ok(Exit::Done)
}
