//! `quittance send`: post bodies as the gateway would, one or many, such as those that a person has
//! copied from the gateway's history because they never arrived. Ingest takes them as it takes
//! everything: they are verified by postback, and what was applied before is not applied again.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use url::Url;

use super::{Context, Exit};
use crate::output::{Form, write_json};
use crate::sandbox;
use crate::tooling::pace::{Pace, Rate};

/// What `PayPal` allows a listener.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is posted, and where to.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The bodies, one a file, posted byte for byte: no line end is cut off. `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The files have one body a line, as pasted from the gateway's history.
    #[arg(long)]
    lines: bool,
    /// The listener, such as <http://127.0.0.1:8080/ipn/paypal>.
    #[arg(long, value_name = "URL")]
    to: Url,
    /// Of several bodies so many a second.
    #[arg(long, value_name = "N/s", default_value = "20/s")]
    rate: Rate,
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

/// A body, and where it was found.
#[derive(Debug, PartialEq, Eq)]
struct Body {
    from: String,
    bytes: Bytes,
}

/// The bodies in what a file holds. Pasted lines may have the line ends of any system; empty ones
/// are none. Pure.
fn bodies(file: &str, content: Vec<u8>, lines: bool) -> Vec<Body> {
    if !lines {
        let from = file.to_owned();
        return vec![Body {
            from,
            bytes: content.into(),
        }];
    }
    let content = Bytes::from(content);
    content
        .split(|byte| *byte == b'\n')
        .zip(1_usize..)
        .map(|(line, number)| (line.trim_ascii(), number))
        .filter(|(line, _)| !line.is_empty())
        .map(|(line, number)| Body {
            from: format!("{file}:{number}"),
            bytes: content.slice_ref(line),
        })
        .collect()
}

fn read(arguments: &Arguments) -> anyhow::Result<Vec<Body>> {
    let mut all = Vec::new();
    for file in &arguments.files {
        let name = file.display().to_string();
        let content = if name == "-" {
            let mut content = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut content);
            read.context("cannot read standard input")?;
            content
        } else {
            std::fs::read(file).with_context(|| format!("cannot read {name}"))?
        };
        all.extend(bodies(&name, content, arguments.lines));
    }
    anyhow::ensure!(!all.is_empty(), "there is no body in what was given");
    Ok(all)
}

/// What came of one body.
#[derive(Serialize)]
struct Answer {
    /// Which one, of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The status of the answer; `None` when there was none.
    status: Option<u16>,
    /// Why there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn run(arguments: &Arguments, context: Context<'_>) -> anyhow::Result<Exit> {
    let to = &arguments.to;
    let bodies = read(arguments)?;
    let (many, mut taken) = (bodies.len() > 1, 0_usize);
    let count = bodies.len();
    let client = sandbox::client()?;
    let mut pace = Pace::new(arguments.rate);
    for body in bodies {
        pace.turn().await;
        if let Some(at) = &arguments.genuine_at {
            make_genuine(&client, at, &body.bytes).await?;
        }
        let post = sandbox::post_form(&client, to, body.bytes, PATIENCE).await;
        if post.status.is_none() && !many {
            let error = post.error.unwrap_or_default();
            anyhow::bail!("no answer from {to}: {error}");
        }
        taken = taken.saturating_add(usize::from(post.is_taken()));
        let answer = Answer {
            from: many.then_some(body.from),
            status: post.status,
            error: post.error,
        };
        tell(context.out, context.form, &answer)?;
    }
    Ok(match taken {
        taken if taken == count => Exit::Done,
        0 => Exit::Failed,
        // Those that were taken are known when they come again.
        _ => Exit::Partial,
    })
}

fn tell(out: &mut dyn std::io::Write, form: Form, answer: &Answer) -> anyhow::Result<()> {
    if form == Form::JsonLines {
        return Ok(write_json(out, answer)?);
    }
    let came = match (answer.status, &answer.error) {
        (Some(status), _) => status.to_string(),
        (None, error) => format!("no answer: {}", error.as_deref().unwrap_or_default()),
    };
    match &answer.from {
        Some(from) => writeln!(out, "{from} {came}")?,
        None => writeln!(out, "{came}")?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_body_to_its_last_byte() {
        let found = bodies("f", b"a=1\n".to_vec(), false);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bytes, "a=1\n");
    }

    #[test]
    fn pasted_lines_are_bodies_without_their_line_ends() {
        let found = bodies("f", b"a=1\r\n\n  b=\xff+2 \n".to_vec(), true);
        let found: Vec<_> = found
            .iter()
            .map(|b| (b.from.as_str(), &b.bytes[..]))
            .collect();
        assert_eq!(found, [("f:1", &b"a=1"[..]), ("f:3", &b"b=\xff+2"[..])]);
    }
}
