//! The broker's HTTP API: what AMQP cannot tell (unacked messages, policies, alarms).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lapin::uri::AMQPUri;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::hosts::Hosts;
use crate::settings::{ClusterSettings, Credential};

/// For one request in all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the HTTP API gave no answer to work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManagementError {
    /// `cluster.management_url` or `cluster.amqp_url` is no URL; says nothing more, because
    /// both hold passwords.
    #[error("cluster.management_url is not usable: {0}")]
    Settings(&'static str),
    /// No answer.
    #[error("the management API does not answer: {0}")]
    Unreachable(String),
    /// An answer that is no success.
    #[error("the management API refused {path} with status {status}")]
    Refused {
        /// What was asked for.
        path: String,
        /// The HTTP status.
        status: u16,
    },
}

/// A client of the HTTP API for the virtual host of `amqp_url`.
#[derive(Clone)]
pub struct Management {
    client: Client,
    url: Credential,
    hosts: Arc<Hosts>,
    vhost: String,
}

/// Where to ask, and as whom; made for each request, because a password may have changed.
struct Access {
    base: Url,
    user: String,
    password: SecretString,
}

impl Access {
    fn of(url: &Credential, amqp: &AMQPUri) -> Result<Self, ManagementError> {
        let mut base: Url = url
            .now()
            .expose_secret()
            .parse()
            .map_err(|_| ManagementError::Settings("it is no URL"))?;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(ManagementError::Settings("it is no http or https URL"));
        }
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let (user, password) = if base.username().is_empty() {
            let info = &amqp.authority.userinfo;
            (info.username.clone(), info.password.clone())
        } else {
            (
                decoded(base.username()),
                decoded(base.password().unwrap_or_default()),
            )
        };
        // Neither may show in an error of the HTTP client.
        base.set_username("").ok();
        base.set_password(None).ok();
        Ok(Self {
            base,
            user,
            password: password.into(),
        })
    }
}

impl fmt::Debug for Management {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Management")
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

impl Management {
    /// The client for `cluster.management_url`, or `None` when that is not set. User and password
    /// are those of the URL, or else of `amqp_url`.
    ///
    /// # Errors
    /// [`ManagementError::Settings`] when a URL cannot be read.
    pub fn new(settings: &ClusterSettings) -> Result<Option<Self>, ManagementError> {
        let Some(url) = &settings.management_url else {
            return Ok(None);
        };
        let hosts = Hosts::new(&settings.amqp_url, settings.heartbeat)
            .map_err(|_| ManagementError::Settings("cluster.amqp_url is no AMQP URL"))?;
        let amqp = first(&hosts)?;
        Access::of(url, &amqp)?;
        // The first provider of a process stays, and it is the same one everywhere.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let client = Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| ManagementError::Settings("the HTTP client cannot be set up"))?;
        Ok(Some(Self {
            client,
            url: url.clone(),
            hosts: Arc::new(hosts),
            vhost: amqp.vhost,
        }))
    }

    /// The virtual host that the application uses.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// `GET /api/{segments}`, with the virtual host wherever a segment is `{vhost}`. `None` when
    /// there is no such thing (404).
    ///
    /// # Errors
    /// [`ManagementError`] for anything but 200 and 404.
    pub async fn get(&self, segments: &[&str]) -> Result<Option<Value>, ManagementError> {
        match self.call(Method::GET, segments, None).await {
            Ok(value) => Ok(Some(value)),
            Err(ManagementError::Refused { status: 404, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// `PUT /api/{segments}` with a JSON body.
    ///
    /// # Errors
    /// [`ManagementError`] for anything but success.
    pub async fn put(&self, segments: &[&str], body: &Value) -> Result<(), ManagementError> {
        self.call(Method::PUT, segments, Some(body))
            .await
            .map(|_| ())
    }

    async fn call(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, ManagementError> {
        let path = format!("/api/{}", segments.join("/"));
        let access = Access::of(&self.url, &first(&self.hosts)?)?;
        let mut url = access.base;
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push("api");
            for segment in segments {
                parts.push(if *segment == "{vhost}" {
                    &self.vhost
                } else {
                    segment
                });
            }
        }
        let mut request = self
            .client
            .request(method, url)
            .basic_auth(&access.user, Some(access.password.expose_secret()));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let unreachable =
            |error: reqwest::Error| ManagementError::Unreachable(error.without_url().to_string());
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(ManagementError::Refused {
                path,
                status: status.as_u16(),
            });
        }
        let bytes = response.bytes().await.map_err(unreachable)?;
        if bytes.is_empty() || status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| ManagementError::Refused {
            path,
            status: status.as_u16(),
        })
    }
}

fn first(hosts: &Hosts) -> Result<AMQPUri, ManagementError> {
    let missing = ManagementError::Settings("cluster.amqp_url names no broker");
    hosts.first().ok_or(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_request_is_made_with_the_password_of_now() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("amqp");
        let write = |password: &str| {
            std::fs::write(&file, format!("amqp://shop:{password}@h/v")).unwrap();
        };
        write("hunter1");
        let urls = Credential::new("k", "amqp://h", Some(file.clone()), |_| true).unwrap();
        let hosts = Hosts::new(&urls, Duration::from_secs(10)).unwrap();
        let password = |url: &str| {
            let access = Access::of(&url.into(), &first(&hosts).unwrap()).unwrap();
            assert!(!access.base.as_str().contains('@'));
            access.password.expose_secret().to_owned()
        };
        assert_eq!(password("http://h:15672"), "hunter1");
        write("hunter2");
        assert_eq!(password("http://h:15672"), "hunter2");
        assert_eq!(password("http://u:its%20own@h:15672"), "its own");
    }
}
