//! Entry point of the verifier stage: settings, log, engine, run, exit code.

use std::process::ExitCode;
use std::sync::Arc;

use quittance_common::runtime::process::{self, Process};
use quittance_common::shop::Shop;

#[tokio::main]
async fn main() -> ExitCode {
    process::main("verifier", async |process: &mut Process| {
        let shop = Shop::lazy(&process.settings.shop_database)?;
        let settings = Arc::clone(&process.settings);
        let shell = process.shell.clone();
        let task = quittance_verifier::run(settings, shell, process.claims.clone(), shop);
        process.service.spawn("verifier", task);
        process.watch_queues()?;
        Ok(())
    })
    .await
}
