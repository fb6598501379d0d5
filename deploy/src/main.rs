//! Entry point of `quittance`: the command line in, an exit code out.

use std::io;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    quittance_common::failpoint::from_environment();
    let (mut out, mut complaints) = (io::stdout(), io::stderr());
    quittance_deploy::commands::run(std::env::args_os(), &mut out, &mut complaints)
        .await
        .into()
}
