//! Posting a message to a listener as the gateway does, and again until it is taken.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use quittance_common::clock;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::ledger::Post;
use super::{Shared, schedule};

/// What `PayPal`'s senders call themselves.
const GATEWAY_AGENT: &str = "PayPal IPN ( https://www.paypal.com/ipn )";
/// `PayPal` sends this without a charset parameter: the body names its own.
const FORM: &str = "application/x-www-form-urlencoded";

/// An HTTP client as the gateway's: HTTP/1.1, no redirects, its own name.
///
/// # Errors
/// When the TLS set-up of this machine cannot be used.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    // The second and every further installation of the process-wide provider is refused; the
    // first one stays, and it is the same.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::builder()
        .user_agent(GATEWAY_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .build()
}

/// Posts `body` to `to` once, waiting at most `patience`.
pub async fn post(client: &reqwest::Client, to: &Url, body: Bytes, patience: Duration) -> Post {
    let answer = client
        .post(to.clone())
        .header(reqwest::header::CONTENT_TYPE, FORM)
        .timeout(patience)
        .body(body)
        .send()
        .await;
    let (status, error) = match answer {
        Ok(response) => (Some(response.status().as_u16()), None),
        Err(error) => (None, Some(innermost(&error))),
    };
    Post {
        at: clock::now(),
        status,
        error,
    }
}

/// The last cause of a failed request: "connection refused" says more than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// Posts message `id` on the schedule until it is taken, the schedule ends, or `stop`.
pub(crate) async fn resend(shared: Shared, id: u64, to: Url, body: Bytes, stop: CancellationToken) {
    for (resend, gap) in schedule::gaps(shared.options.time_scale).enumerate() {
        let attempt = async {
            tokio::time::sleep(gap).await;
            let patience = schedule::patience(resend.saturating_add(1));
            post(&shared.client, &to, body.clone(), patience).await
        };
        let Some(post) = stop.run_until_cancelled(attempt).await else {
            return;
        };
        let taken = post.is_taken();
        shared.ledger().posted(id, post);
        if taken {
            return;
        }
    }
}
