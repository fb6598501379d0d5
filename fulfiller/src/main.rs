//! Entry point of the fulfiller stage: settings, log, engine, run, exit code.

use std::process::ExitCode;

use quittance_common::runtime::process::{self, Process};

#[tokio::main]
async fn main() -> ExitCode {
    process::main("fulfiller", async |process: &mut Process| {
        let shell = process.shell.clone();
        quittance_fulfiller::spawn(&mut process.service, &process.settings, &shell)?;
        process.watch_queues()?;
        Ok(())
    })
    .await
}
