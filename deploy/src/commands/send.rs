//! `quittance send`: post a body as the gateway would.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
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
    /// A `quittance sandbox`, such as <http://127.0.0.1:8090/>, that is told first that the bytes
    /// are its own: it will then answer the postback with VERIFIED.
    #[arg(long, value_name = "URL")]
    genuine_at: Option<Url>,
}

/// Tells a stand-in that it has sent these bytes.
async fn make_genuine(client: &reqwest::Client, at: &Url, body: &[u8]) -> anyhow::Result<()> {
    let body_base64 = base64::engine::general_purpose::STANDARD.encode(body);
    let answer = client
        .post(at.join("/control/register")?)
        .header("Content-Type", "application/json")
        .body(serde_json::json!({ "body_base64": body_base64 }).to_string())
        .send()
        .await
        .with_context(|| format!("no sandbox answers at {at}"))?;
    anyhow::ensure!(
        answer.status().is_success(),
        "the sandbox at {at} answered {}",
        answer.status()
    );
    Ok(())
}

#[derive(Serialize)]
struct Answer {
    status: u16,
}

pub(crate) async fn run(arguments: &Arguments, context: Context<'_>) -> anyhow::Result<Exit> {
    let Arguments {
        file,
        to,
        genuine_at,
    } = arguments;
    let body = tokio::fs::read(file)
        .await
        .with_context(|| format!("cannot read {}", file.display()))?;
    let client = sandbox::client()?;
    if let Some(at) = genuine_at {
        make_genuine(&client, at, &body).await?;
    }
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
