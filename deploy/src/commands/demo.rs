//! `quittance demo`: the scripted day, or a shop to click through.

use std::net::SocketAddr;

use clap::Args;

use super::{Context, Exit};
use crate::{demo, wiring};

/// Which demo.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Open a shop to click through in a browser, with a PayPal stand-in behind it, until Ctrl-C.
    #[arg(long)]
    web: bool,
    /// Where the shop listens; port 0 is any free one.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:0",
        requires = "web"
    )]
    listen: SocketAddr,
}

pub(crate) async fn run(arguments: Arguments, context: Context<'_>) -> anyhow::Result<Exit> {
    if arguments.web {
        let stop = wiring::stop_signal()?;
        demo::web::run(context.out, arguments.listen, stop).await?;
        return Ok(Exit::Done);
    }
    let all_right = demo::run(context.out, context.form).await?;
    Ok(if all_right { Exit::Done } else { Exit::Failed })
}
