//! Posting to a shop, signed by the Standard Webhooks scheme: `webhook-id`, `webhook-timestamp`,
//! `webhook-signature`, and an `Idempotency-Key` that is the id. A repeat has the same id.

pub mod address;

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use quittance_common::http;
use quittance_common::ids::MessageId;
use quittance_common::settings::HttpTarget;
use quittance_common::settings::SettingsErrors;
use quittance_common::settings::mistake::{Mistake, Origin};
use quittance_common::trace::TRACEPARENT;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use secrecy::ExposeSecret as _;
use standardwebhooks::Webhook as Signer;
use url::{Host, Url};

use address::{Blocked, PublicOnly, is_public};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the scheme advises: 15 to 30 seconds.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest `Retry-After` that is honoured.
const LONGEST_WAIT: Duration = Duration::from_hours(6);

/// Why something was not taken. Never shows the URL's path or query, nor the answer's body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// Not now: no connection, no answer, 408, 425, 429, 5xx, or anything that is no answer to a
    /// webhook at all, such as a redirect.
    #[error("the shop did not take it now ({what})")]
    Later {
        /// What was seen.
        what: String,
        /// Not before.
        retry_after: Duration,
    },
    /// 410: nobody wants it any more.
    #[error("the shop says that the endpoint is gone (410)")]
    Gone,
    /// Another 4xx.
    #[error("the shop refused it ({0})")]
    Refused(u16),
    /// The host's name points to no public address.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// It could not be signed.
    #[error("it cannot be signed")]
    Unsigned,
}

/// An endpoint of a shop.
pub struct Webhook {
    client: reqwest::Client,
    url: Url,
    signers: Vec<Signer>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Webhook")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// An endpoint as the settings of `section` say. Connects to nothing yet.
    ///
    /// # Errors
    /// A private address without `allow_private`, a secret that cannot be used, no TLS stack: as
    /// mistakes in the settings.
    pub fn new(section: &str, target: &HttpTarget) -> Result<Self, SettingsErrors> {
        let mistake = |name: &str, problem: &str| {
            SettingsErrors(vec![Mistake {
                key: format!("{section}.{name}"),
                origin: Origin::Default,
                problem: problem.to_owned(),
            }])
        };
        let literal = match target.url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        // The resolver never sees an address that is written out.
        if !target.allow_private && literal.is_some_and(|address| !is_public(address)) {
            let problem = format!(
                "its host is not a public address; set {section}.allow_private = true if it is your own"
            );
            return Err(mistake("url", &problem));
        }
        let signers = target
            .secrets
            .iter()
            .map(|secret| Signer::new(secret.expose_secret()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| mistake("secrets", "the value (not shown) is not whsec_ and base64"))?;
        let mut builder = http::builder(CONNECT_TIMEOUT, TOTAL_TIMEOUT);
        if !target.allow_private {
            builder = builder.dns_resolver(Arc::new(PublicOnly));
        }
        let client = builder.build().map_err(|_| {
            mistake(
                "url",
                "no HTTP client can be made; are root certificates installed?",
            )
        })?;
        Ok(Self {
            client,
            url: target.url.clone(),
            signers,
        })
    }

    /// Posts `body`, JSON, as a part of `trace` (a `traceparent`). Done with any 2xx.
    pub async fn post(
        &self,
        id: MessageId,
        now: Timestamp,
        trace: Option<&str>,
        body: Vec<u8>,
    ) -> Result<(), HookError> {
        let id = id.to_string();
        let at = now.as_second();
        let signatures = self
            .signers
            .iter()
            .map(|signer| signer.sign(&id, at, &body))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| HookError::Unsigned)?
            .join(" ");
        let mut request = self
            .client
            .post(self.url.clone())
            .header("Content-Type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", signatures)
            .header("Idempotency-Key", &id)
            .body(body);
        if let Some(trace) = trace {
            request = request.header(TRACEPARENT, trace);
        }
        let response = request.send().await.map_err(|error| unanswered(&error))?;
        judge(response.status(), retry_after(response.headers(), now))
    }
}

/// What an answer means. Pure.
fn judge(status: StatusCode, retry_after: Duration) -> Result<(), HookError> {
    let later = || HookError::Later {
        what: format!("answer {}", status.as_u16()),
        retry_after,
    };
    match status.as_u16() {
        200..=299 => Ok(()),
        410 => Err(HookError::Gone),
        408 | 425 | 429 => Err(later()),
        code @ 400..=499 => Err(HookError::Refused(code)),
        _ => Err(later()),
    }
}

/// `Retry-After` in either of its forms, zero without one.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Duration {
    let Some(text) = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()) else {
        return Duration::ZERO;
    };
    let seconds = text.trim().parse::<u64>().ok().map(Duration::from_secs);
    let until = || {
        let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
        Duration::try_from(at.duration_since(now)).ok()
    };
    seconds
        .or_else(until)
        .unwrap_or(Duration::ZERO)
        .min(LONGEST_WAIT)
}

/// An error of the client, without its URL.
fn unanswered(error: &reqwest::Error) -> HookError {
    let mut cause = error.source();
    let mut what = "no answer".to_owned();
    while let Some(inner) = cause {
        if inner.is::<Blocked>() {
            return HookError::Blocked(Blocked);
        }
        what = inner.to_string();
        cause = inner.source();
    }
    let what = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        what
    };
    HookError::Later {
        what,
        retry_after: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, allow_private: bool) -> HttpTarget {
        HttpTarget {
            url: url.parse().unwrap(),
            secrets: vec!["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned().into()],
            allow_private,
        }
    }

    #[test]
    fn an_answer_decides_between_done_later_and_never() {
        let judged = |code: u16| judge(StatusCode::from_u16(code).unwrap(), Duration::ZERO);
        for done in [200, 201, 202, 204] {
            assert_eq!(judged(done), Ok(()));
        }
        for later in [301, 302, 307, 308, 408, 425, 429, 500, 502, 503, 504] {
            assert!(
                matches!(judged(later), Err(HookError::Later { .. })),
                "{later}"
            );
        }
        assert_eq!(judged(410), Err(HookError::Gone));
        for never in [400, 401, 403, 404, 405, 409, 413, 422] {
            assert_eq!(judged(never), Err(HookError::Refused(never)));
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_never_too_long() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(wait("120"), Duration::from_mins(2));
        assert_eq!(
            wait("Sun, 22 Nov 2026 10:01:30 GMT"),
            Duration::from_secs(90)
        );
        assert_eq!(wait("Sun, 22 Nov 2026 09:00:00 GMT"), Duration::ZERO);
        assert_eq!(wait("99999999999"), LONGEST_WAIT);
        assert_eq!(wait("soon"), Duration::ZERO);
    }

    #[test]
    fn a_private_address_that_is_written_out_is_a_mistake_in_the_settings() {
        for url in [
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/latest",
        ] {
            let SettingsErrors(mistakes) = Webhook::new("stock", &target(url, false)).unwrap_err();
            assert_eq!(mistakes[0].key, "stock.url");
            assert!(Webhook::new("stock", &target(url, true)).is_ok());
        }
    }

    #[tokio::test]
    async fn a_name_that_points_to_this_machine_is_not_posted_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hook = Webhook::new(
            "stock",
            &target(&format!("http://localhost:{port}/"), false),
        );
        let id = MessageId::from_name("x");
        let posted = hook
            .unwrap()
            .post(id, Timestamp::UNIX_EPOCH, None, b"{}".to_vec())
            .await;
        assert_eq!(posted, Err(HookError::Blocked(Blocked)));
    }

    #[tokio::test]
    async fn a_shop_that_is_not_there_is_tried_again_and_its_url_is_not_told() {
        let url = "http://127.0.0.1:9/hook?token=hidden";
        let hook = Webhook::new("stock", &target(url, true)).unwrap();
        let id = MessageId::from_name("x");
        let error = hook
            .post(id, Timestamp::UNIX_EPOCH, None, b"{}".to_vec())
            .await
            .unwrap_err();
        assert!(matches!(error, HookError::Later { .. }));
        let told = format!("{error} {error:?} {hook:?}");
        assert!(!told.contains("hidden"), "{told}");
    }
}
