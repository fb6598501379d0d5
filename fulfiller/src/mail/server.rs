//! The mail server of now: read anew when the password has changed.

use std::sync::{Arc, Mutex, PoisonError};

use lettre::address::Envelope;
use quittance_common::settings::Credential;
use secrecy::{ExposeSecret as _, SecretString};

use super::{MailSettingsError, SendError, smtp};

/// A mail server, by URL.
#[derive(Debug)]
pub(super) struct Server {
    url: Credential,
    /// What it was reached by last.
    known: Mutex<(SecretString, Arc<smtp::Server>)>,
}

impl Server {
    /// Connects to nothing yet.
    pub(super) fn new(url: &Credential) -> Result<Self, MailSettingsError> {
        let now = url.now();
        // An error would repeat the URL, and with it the password.
        let server = smtp::Server::of(now.expose_secret()).ok_or(MailSettingsError::SmtpUrl)?;
        Ok(Self {
            url: url.clone(),
            known: Mutex::new((now, Arc::new(server))),
        })
    }

    /// Hands one mail over.
    pub(super) async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), SendError> {
        self.current().send(envelope, mail).await
    }

    /// With the password of now.
    fn current(&self) -> Arc<smtp::Server> {
        let now = self.url.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0.expose_secret() != now.expose_secret() {
            if let Some(server) = smtp::Server::of(now.expose_secret()) {
                *known = (now, Arc::new(server));
            } else {
                tracing::warn!(
                    "the changed URL of the mail server cannot be read; the one before is used"
                );
            }
        }
        Arc::clone(&known.1)
    }
}

#[cfg(test)]
mod tests {
    use quittance_common::settings::{NotifyDriver, Settings};

    use super::*;

    #[tokio::test]
    async fn a_changed_password_is_used_from_the_next_mail_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("smtp");
        std::fs::write(&file, "smtp://shop:hunter1@127.0.0.1:9").unwrap();
        let environment = [
            ("QUITTANCE_NOTIFY__SMTP_URL_FILE", file.to_str().unwrap()),
            ("QUITTANCE_NOTIFY__DRIVER", "smtp"),
            ("QUITTANCE_ACCOUNT__0__ID", "default"),
            ("QUITTANCE_ACCOUNT__0__RECEIVERS", "pay@shop.example"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let settings = Settings::load(None, &environment.into()).unwrap();
        let NotifyDriver::Smtp(url) = settings.notify.driver else {
            panic!("no mail server");
        };
        let server = Server::new(&url).unwrap();
        let known = || server.known.lock().unwrap().0.expose_secret().to_owned();
        server.current();
        assert!(known().contains("hunter1"));
        for (text, used) in [
            ("smtp://shop:hunter2@127.0.0.1:9\n", "hunter2"),
            ("not yet written", "hunter2"),
        ] {
            std::fs::write(&file, text).unwrap();
            server.current();
            assert!(known().contains(used));
        }
    }
}
