//! Entry point of the ingest stage: settings, log, engine, listener, run, exit code.

use std::process::ExitCode;

use quittance_common::runtime::process::{self, Process};
use quittance_common::settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let routes = |settings: &Settings| Ok(quittance_ingest::orders::router(settings)?);
    process::main_with("ingest", routes, async |process: &mut Process| {
        let address = process.settings.ingest.listen;
        let listener = process::listen("ingest.listen", address).await?;
        let shell = process.shell.clone();
        let settings = std::sync::Arc::clone(&process.settings);
        let task = quittance_ingest::run(settings, shell, listener);
        process.service.spawn("ingest", task);
        Ok(())
    })
    .await
}
