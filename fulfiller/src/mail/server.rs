//! The mail server: connections are kept between mails, and made anew when the password has changed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use quittance_common::settings::Credential;
use secrecy::{ExposeSecret as _, SecretString};

use super::{MailSettingsError, SendError};

/// How long one SMTP command may take.
const SMTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Replies that speak of us and not of the mail: we are not logged in, or not well (RFC 4954). They
/// pass, at the latest when somebody has put the password right.
const NOT_LOGGED_IN: [&str; 4] = ["530", "534", "535", "538"];

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// A mail server, by URL.
#[derive(Debug)]
pub(super) struct Server {
    url: Credential,
    /// What it was reached by last.
    known: Mutex<(SecretString, Transport)>,
}

impl Server {
    /// Connects to nothing yet.
    pub(super) fn new(url: &Credential) -> Result<Self, MailSettingsError> {
        let now = url.now();
        let transport = transport(&now)?;
        Ok(Self {
            url: url.clone(),
            known: Mutex::new((now, transport)),
        })
    }

    pub(super) async fn send(&self, mail: lettre::Message) -> Result<(), SendError> {
        let sent = self.transport().send(mail).await;
        sent.map(|_| ()).map_err(|error| refusal(&error))
    }

    /// With the password of now.
    fn transport(&self) -> Transport {
        let now = self.url.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0.expose_secret() != now.expose_secret() {
            match transport(&now) {
                Ok(transport) => *known = (now, transport),
                Err(error) => tracing::warn!(%error, "the mail server known before is used"),
            }
        }
        known.1.clone()
    }
}

fn transport(url: &SecretString) -> Result<Transport, MailSettingsError> {
    let builder = Transport::from_url(url.expose_secret())
        // The error may repeat the URL, and with it the password.
        .map_err(|_| MailSettingsError::SmtpUrl)?;
    Ok(builder.timeout(Some(SMTP_TIMEOUT)).build())
}

/// The code of a reply may be shown; its text may repeat the address.
fn refusal(error: &SmtpError) -> SendError {
    let code = error.status().map(|code| code.to_string());
    let is_ours = code.as_deref().is_some_and(is_about_us);
    if error.is_permanent() && !is_ours {
        SendError::Refused(code)
    } else {
        SendError::Later(code)
    }
}

fn is_about_us(code: &str) -> bool {
    NOT_LOGGED_IN.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_changed_password_is_used_from_the_next_mail_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("smtp");
        std::fs::write(&file, "smtp://shop:hunter1@127.0.0.1:9").unwrap();
        let settings = quittance_common::settings::Settings::load(
            None,
            &[
                ("QUITTANCE_NOTIFY__SMTP_URL_FILE", file.to_str().unwrap()),
                ("QUITTANCE_NOTIFY__DRIVER", "smtp"),
                ("QUITTANCE_ACCOUNT__0__ID", "default"),
                ("QUITTANCE_ACCOUNT__0__RECEIVERS", "pay@shop.example"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        )
        .unwrap();
        let quittance_common::settings::NotifyDriver::Smtp(url) = settings.notify.driver else {
            panic!("no mail server");
        };
        let server = Server::new(&url).unwrap();
        let known = || server.known.lock().unwrap().0.expose_secret().to_owned();
        server.transport();
        assert!(known().contains("hunter1"));
        for (text, used) in [
            ("smtp://shop:hunter2@127.0.0.1:9\n", "hunter2"),
            ("not yet written", "hunter2"),
        ] {
            std::fs::write(&file, text).unwrap();
            server.transport();
            assert!(known().contains(used));
        }
    }

    #[test]
    fn a_login_that_is_refused_says_nothing_about_the_mail() {
        assert!(is_about_us("535"));
        assert!(!is_about_us("550") && !is_about_us("554"));
    }
}
