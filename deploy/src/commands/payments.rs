//! `quittance payments`: what the books say about payments.

use clap::Subcommand;
use quittance_common::ids::TxnId;

use super::{Context, Exit};
use crate::output::{write_rows, write_stories};
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
        /// Only those with this flag, such as `backordered`.
        #[arg(long)]
        flag: Option<String>,
        /// At most so many.
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// Every message, decision and effect of one payment, in order.
    Show {
        /// The transaction id.
        txn: TxnId,
    },
}

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let books = Books::open(&context.settings.load()?).await?;
    match command {
        Command::List {
            status,
            account,
            flag,
            limit,
        } => {
            let query = PaymentQuery {
                status,
                account,
                flag,
                limit,
            };
            let rows = books.payments(&query).await?;
            let columns = [
                "txn_id", "account", "status", "amount", "currency", "events", "effects", "flags",
            ];
            write_rows(context.out, context.form, &columns, &rows)?;
        }
        Command::Show { txn } => {
            let story = books.payment_story(&txn).await?;
            anyhow::ensure!(!story.is_empty(), "nothing is recorded about payment {txn}");
            write_stories(context.out, context.form, &story)?;
        }
    }
    Ok(Exit::Done)
}
