//! One mail handed to a mail server, step by step: what a server refuses before it has heard of
//! the recipient (a password that was changed, a sender or a client that it does not want) says
//! nothing about the mail, which goes when somebody has mended that.

use std::time::Duration;

use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Tls, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use url::Url;

use super::SendError;

/// How long it may take until the server has said hello and let us in.
const HELLO: Duration = Duration::from_mins(1);

/// How long the rest may take. Together less than the time for which nobody else sends the mail.
const TRANSFER: Duration = Duration::from_secs(100);

/// How long we stay to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Replies that ask for a login, whatever they are the answer to (RFC 4954, section 6).
const ABOUT_LOGIN: [&str; 4] = ["530", "534", "535", "538"];

/// A mail server.
#[derive(Debug)]
pub(super) struct Server {
    host: String,
    port: u16,
    hello: ClientId,
    tls: Tls,
    credentials: Option<Credentials>,
}

impl Server {
    /// The server that a URL names, read as `lettre` reads it: `smtps://`, or `smtp://` with
    /// `?tls=required` or `?tls=opportunistic`; a path is the name that we go by.
    pub(super) fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?.to_owned();
        let with_tls = || TlsParameters::new(host.clone()).ok();
        let wanted = url.query_pairs().find(|(name, _)| name == "tls");
        let wanted = wanted.map(|(_, value)| value.into_owned());
        let (tls, port) = match (url.scheme(), wanted.as_deref()) {
            ("smtp", None) => (Tls::None, 25),
            ("smtp", Some("required")) => (Tls::Required(with_tls()?), 587),
            ("smtp", Some("opportunistic")) => (Tls::Opportunistic(with_tls()?), 587),
            ("smtps", _) => (Tls::Wrapper(with_tls()?), 465),
            _ => return None,
        };
        let decoded = |text| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
        let credentials = match url.password() {
            None => None,
            Some(password) => Some(Credentials::new(
                decoded(url.username())?,
                decoded(password)?,
            )),
        };
        let name = url.path().trim_matches('/');
        Some(Self {
            port: url.port().unwrap_or(port),
            hello: if name.is_empty() {
                ClientId::default()
            } else {
                ClientId::Domain(name.to_owned())
            },
            host,
            tls,
            credentials,
        })
    }

    /// Hands one mail over.
    pub(super) async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), SendError> {
        let mut connection = match timeout(HELLO, self.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(later(&error)),
            Err(_) => return Err(SendError::Later(None)),
        };
        let sent = timeout(TRANSFER, hand_over(&mut connection, envelope, mail)).await;
        timeout(GOODBYE, connection.abort()).await.ok();
        sent.unwrap_or(Err(SendError::Later(None)))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let wrapper = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            Tls::None | Tls::Opportunistic(_) | Tls::Required(_) => None,
        };
        let server = (self.host.as_str(), self.port);
        let limit = Some(HELLO);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, limit, &self.hello, wrapper, None).await?;
        match &self.tls {
            Tls::Opportunistic(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &self.hello).await?;
            }
            Tls::Required(parameters) => {
                connection.starttls(parameters.clone(), &self.hello).await?;
            }
            Tls::None | Tls::Opportunistic(_) | Tls::Wrapper(_) => {}
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    mail: &[u8],
) -> Result<(), SendError> {
    let options = options(connection, envelope, mail)?;
    let from = Mail::new(envelope.from().cloned(), options);
    connection
        .command(from)
        .await
        .map_err(|error| later(&error))?;
    for to in envelope.to() {
        connection
            .command(Rcpt::new(to.clone(), Vec::new()))
            .await
            .map_err(|error| of_recipient(&error))?;
    }
    connection
        .command(Data)
        .await
        .map_err(|error| of_recipient(&error))?;
    connection
        .message(mail)
        .await
        .map_err(|error| of_recipient(&error))?;
    Ok(())
}

/// What the server must be able to do for this mail.
fn options(
    connection: &AsyncSmtpConnection,
    envelope: &Envelope,
    mail: &[u8],
) -> Result<Vec<MailParameter>, SendError> {
    let can = |extension| connection.server_info().supports_feature(extension);
    let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    let mut options = Vec::new();
    let is_plain = envelope.to().iter().all(is_ascii);
    if !is_plain || !envelope.from().is_none_or(is_ascii) {
        if !can(Extension::SmtpUtfEight) {
            // The shop's own address can be changed; the buyer's will not.
            return Err(if is_plain {
                SendError::Later(None)
            } else {
                SendError::Unsupported
            });
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !mail.is_ascii() && can(Extension::EightBitMime) {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(options)
}

/// The code of a reply may be shown; its text may repeat the address.
fn code(error: &Error) -> Option<String> {
    error.status().map(|code| code.to_string())
}

fn later(error: &Error) -> SendError {
    SendError::Later(code(error))
}

/// What is said once the server has heard of the recipient.
fn of_recipient(error: &Error) -> SendError {
    let code = code(error);
    let is_about_login = code
        .as_deref()
        .is_some_and(|code| ABOUT_LOGIN.contains(&code));
    if error.is_permanent() && !is_about_login {
        SendError::Refused(code)
    } else {
        SendError::Later(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_from_its_url_as_before() {
        let of = |url: &str| {
            let server = Server::of(url)?;
            let tls = match server.tls {
                Tls::None => "none",
                Tls::Opportunistic(_) => "opportunistic",
                Tls::Required(_) => "required",
                Tls::Wrapper(_) => "wrapper",
            };
            let login = server.credentials.is_some();
            Some((server.host, server.port, tls, login))
        };
        let expected = |port, tls, login| Some(("mx.example".to_owned(), port, tls, login));
        assert_eq!(of("smtp://mx.example"), expected(25, "none", false));
        assert_eq!(
            of("smtp://jo%40x:p%3Aw@mx.example:2525?tls=required"),
            expected(2525, "required", true)
        );
        assert_eq!(
            of("smtp://mx.example/shop.example?tls=opportunistic"),
            expected(587, "opportunistic", false)
        );
        assert_eq!(of("smtps://a:b@mx.example"), expected(465, "wrapper", true));
        assert_eq!(of("smtp://mx.example?tls=perhaps"), None);
        assert_eq!(of("https://mx.example"), None);
        let server = Server::of("smtps://jo%40x:p%3Aw@mx.example/shop").unwrap();
        assert_eq!(
            server.credentials,
            Some(Credentials::new("jo@x".into(), "p:w".into()))
        );
        assert_eq!(server.hello, ClientId::Domain("shop".into()));
        assert!(!format!("{server:?}").contains("p:w"));
    }
}
