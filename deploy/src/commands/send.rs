//! `quittance send`: post a body as the gateway would.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use url::Url;

use super::{Context, Exit};
use crate::output::{Form, write_json};
use crate::sandbox;

/// What `PayPal` allows a listener.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is posted, and where to.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The body, posted byte for byte: no line end is cut off.
    file: PathBuf,
    /// The listener, such as <http://127.0.0.1:8080/ipn/paypal>.
    #[arg(long, value_name = "URL")]
    to: Url,
}

#[derive(Serialize)]
struct Answer {
    status: u16,
}

pub(crate) async fn run(arguments: &Arguments, context: Context<'_>) -> anyhow::Result<Exit> {
    let Arguments { file, to } = arguments;
    let body = tokio::fs::read(file)
        .await
        .with_context(|| format!("cannot read {}", file.display()))?;
    let client = sandbox::client()?;
    let post = sandbox::post_form(&client, to, body.into(), PATIENCE).await;
    let Some(status) = post.status else {
        let error = post.error.unwrap_or_default();
        anyhow::bail!("no answer from {to}: {error}");
    };
    match context.form {
        Form::Table => writeln!(context.out, "{status}")?,
        Form::JsonLines => write_json(context.out, &Answer { status })?,
    }
    Ok(if post.is_taken() {
        Exit::Done
    } else {
        Exit::Failed
    })
}
