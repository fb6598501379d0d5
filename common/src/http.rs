//! The HTTP client that every outgoing call uses: one TLS stack, HTTP/1.1, no surprises.

use std::time::Duration;

use url::Url;

/// How this software names itself; `PayPal` answers 403 to clients without a name.
pub const USER_AGENT: &str = concat!("Quittance/", env!("CARGO_PKG_VERSION"), " (+IPN listener)");

/// How long an idle connection is kept: shorter than what gateways and their balancers allow, so
/// that a request rarely meets a connection that the other side has just closed.
const IDLE: Duration = Duration::from_secs(20);

/// The client cannot be made: the TLS stack found no root certificates, or the like.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be made; are the system's root certificates installed?")]
pub struct ClientError(#[from] reqwest::Error);

/// A client with a limit for connecting and one for the whole exchange.
///
/// No redirects (an answer from elsewhere proves nothing), no proxy from the environment, no
/// retries below us (each request that leaves is one that we decided upon).
pub fn client(connect: Duration, total: Duration) -> Result<reqwest::Client, ClientError> {
    Ok(builder(connect, total).build()?)
}

/// What [`client`] is built from, for a caller that resolves names in its own way.
pub fn builder(connect: Duration, total: Duration) -> reqwest::ClientBuilder {
    install_crypto_provider();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(connect)
        .timeout(total)
        .pool_idle_timeout(IDLE)
}

/// Makes ring the process's crypto provider. May be called often; the first call counts.
pub fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that another thread was faster, with the same provider.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
    }
}

/// Whether a URL names this very machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        let is = |url: &str| is_loopback(&Url::parse(url).unwrap());
        assert!(is("http://127.8.0.1/") && is("http://[::1]:8/") && is("http://a.localhost/"));
        assert!(!is("http://127.0.0.1.example/") && !is("http://10.0.0.1/") && !is("mailto:a@b"));
    }

    #[test]
    fn a_client_can_be_made_twice() {
        let second = Duration::from_secs(1);
        assert!(client(second, second).is_ok());
        assert!(client(second, second).is_ok());
    }

    #[test]
    fn the_name_carries_the_version() {
        assert!(USER_AGENT.starts_with("Quittance/0"));
    }
}
