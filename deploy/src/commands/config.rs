//! `quittance config check`: the settings in effect, or every mistake in them.

use clap::Subcommand;
use serde::Serialize;

use super::{Context, Exit};
use crate::output::write_rows;
use crate::wiring;

/// What can be asked of the settings.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// Print the settings in effect, secrets only as set; or every mistake (exit code 78).
    Check,
}

#[derive(Serialize)]
struct Row {
    key: String,
    value: String,
}

pub(crate) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<Exit> {
    let Command::Check = command;
    let settings = context.settings.load()?;
    // Templates and secrets are looked into here as a start would.
    quittance_fulfiller::notify::Outlets::of(&settings)?;
    let rows: Vec<Row> = wiring::describe(&settings)
        .into_iter()
        .map(|(key, value)| Row { key, value })
        .collect();
    write_rows(context.out, context.form, &["key", "value"], &rows)?;
    Ok(Exit::Done)
}
