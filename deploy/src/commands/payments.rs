//! `quittance payments`: what the books say about payments.

use clap::Subcommand;
use quittance_common::ids::TxnId;

use super::{Context, Exit};
use crate::output::write_rows;
use crate::wiring::Books;

/// What can be asked about payments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every payment, newest first.
    List {
        /// Only those of this status, such as `completed` or `pending`.
        #[arg(long)]
        status: Option<String>,
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
        Command::List { status } => {
            let mut rows = books.payments().await?;
            rows.retain(|row| status.as_ref().is_none_or(|status| row.status == *status));
            let columns = [
                "txn_id", "account", "status", "amount", "currency", "events", "effects", "flags",
            ];
            write_rows(context.out, context.form, &columns, &rows)?;
        }
        Command::Show { txn } => {
            let story = books.payment_story(&txn).await?;
            anyhow::ensure!(!story.is_empty(), "nothing is recorded about payment {txn}");
            let columns: Vec<&str> = story
                .first()
                .and_then(serde_json::Value::as_object)
                .map(|first| first.keys().map(String::as_str).collect())
                .unwrap_or_default();
            write_rows(context.out, context.form, &columns, &story)?;
        }
    }
    Ok(Exit::Done)
}
