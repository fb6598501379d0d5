//! `quittance queues`: how full they are.

use clap::Subcommand;

use super::{Context, Exit};
use crate::output::write_rows;
use crate::wiring;

/// What can be asked of the queues.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// How many messages wait where.
    List,
}

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let Command::List = command;
    let settings = context.settings.load()?;
    let depths = wiring::depths(&settings).await?;
    let columns = ["queue", "ready", "unacked", "consumers"];
    write_rows(context.out, context.form, &columns, &depths)?;
    Ok(Exit::Done)
}
