//! `quittance sandbox`: the `PayPal` stand-in as a process of its own.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::{Context, Exit};
use crate::sandbox::{self, Options};
use crate::wiring;

/// How the stand-in runs.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where it listens. It has no authentication: leave it on a loopback address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// How many times faster than PayPal it sends again.
    #[arg(long, value_name = "TIMES", default_value_t = 1)]
    time_scale: u32,
    /// The PDT identity token that it knows.
    #[arg(long, value_name = "TOKEN", default_value_t = Options::default().identity_token)]
    identity_token: String,
}

pub(crate) async fn run(arguments: Arguments, context: Context<'_>) -> anyhow::Result<Exit> {
    let stop = wiring::stop_signal()?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    writeln!(context.out, "sandbox gateway on http://{address}")?;
    writeln!(
        context.out,
        "postback_url = \"http://{address}/cgi-bin/webscr\""
    )?;
    context.out.flush()?;
    let options = Options {
        time_scale: arguments.time_scale,
        identity_token: arguments.identity_token,
    };
    sandbox::run(listener, options, stop).await?;
    Ok(Exit::Done)
}
