//! `quittance topology`: the broker against the table of queues.

use super::{Context, Exit};
use crate::output::Form;
use crate::topology::{self, Command, Outcome};

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let settings = context.settings.load()?;
    let json = context.form == Form::JsonLines;
    Ok(match topology::run(command, &settings, json).await? {
        Outcome::Done => Exit::Done,
        Outcome::Failed => Exit::Failed,
    })
}
