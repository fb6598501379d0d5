//! `quittance sandbox`: the `PayPal` stand-in as a process of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use quittance_common::event::Environment;
use tokio::net::TcpListener;

use super::{Context, Exit};
use crate::sandbox::{self, Merchant, Options};
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
    /// Who can be paid at the checkout, as ID,EMAIL or ID,EMAIL,NAME; may be given several times.
    /// Without it, the demo's shop.
    #[arg(long = "merchant", value_name = "MERCHANT")]
    merchants: Vec<Merchant>,
    /// Which gateway it plays: notifications of the sandbox have `test_ipn=1`.
    #[arg(long, value_name = "sandbox|live", default_value = "sandbox")]
    environment: Environment,
    /// How long the bank takes to pay an eCheck, before it is divided by the time scale.
    #[arg(long, value_name = "DURATION", default_value = "5days", value_parser = humantime::parse_duration)]
    echeck_clears_after: Duration,
    /// Let it send notifications and buyers to other machines than this one, and be controlled under
    /// other names than localhost.
    #[arg(long)]
    allow_remote: bool,
}

pub(crate) async fn run(arguments: Arguments, context: Context<'_>) -> anyhow::Result<Exit> {
    let stop = wiring::stop_signal()?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    writeln!(context.out, "sandbox gateway on http://{address}")?;
    for key in ["postback_url", "pdt_url", "checkout_url"] {
        writeln!(context.out, "{key} = \"http://{address}/cgi-bin/webscr\"")?;
    }
    writeln!(
        context.out,
        "the identity token, for the file of pdt_token_file: {}",
        arguments.identity_token
    )?;
    context.out.flush()?;
    let mut options = Options {
        time_scale: arguments.time_scale,
        identity_token: arguments.identity_token,
        environment: arguments.environment,
        echeck_clears_after: arguments.echeck_clears_after,
        allow_remote: arguments.allow_remote,
        ..Options::default()
    };
    if !arguments.merchants.is_empty() {
        options.merchants = arguments.merchants;
    }
    sandbox::run(listener, options, stop).await?;
    Ok(Exit::Done)
}
