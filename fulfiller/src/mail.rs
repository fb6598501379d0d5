//! Mail: put together of a text and an HTML part, and handed over to a Maildir or a mail server.

pub mod maildir;
mod server;
mod smtp;

use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use lettre::Address;
use lettre::address::AddressError;
use lettre::message::{Mailbox, MultiPart};
use quittance_common::ids::MessageId;
use quittance_common::settings::{Credential, NotifySettings};

use crate::templates::{Words, one_line};
use server::Server;

/// Why mail settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailSettingsError {
    /// `notify.from` is not an address.
    #[error("notify.from is neither a mail address nor `Name <address>`: {0}")]
    From(AddressError),
    /// `notify.merchant` is not an address.
    #[error("notify.merchant is neither a mail address nor `Name <address>`")]
    Merchant,
    /// `notify.smtp_url` is not one. The value is secret.
    #[error("notify.smtp_url cannot be used: expected smtp:// or smtps:// with a host")]
    SmtpUrl,
}

/// Why a mail was not handed over. Never shows the address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server is not there, is slow, says try again (4xx), or refuses (5xx) before it has
    /// heard for whom the mail is.
    #[error("the mail server did not take the mail now{}", reply(.0.as_deref()))]
    Later(Option<String>),
    /// The server will never take it: it refused (5xx) the recipient or the mail.
    #[error("the mail server refused the mail{}", reply(.0.as_deref()))]
    Refused(Option<String>),
    /// The recipient's address has other letters than ASCII, and the server has no `SMTPUTF8`.
    #[error("the mail server takes no address with letters beyond ASCII")]
    Unsupported,
    /// The Maildir cannot be written.
    #[error("the mail folder cannot be written: {0}")]
    Folder(#[from] std::io::Error),
    /// It could not be put together.
    #[error("the mail cannot be put together: {0}")]
    Form(#[from] lettre::error::Error),
}

fn reply(code: Option<&str>) -> String {
    code.map_or_else(String::new, |code| format!(" (reply {code})"))
}

/// Where mail goes.
#[derive(Debug, Clone, Copy)]
pub enum MailTo<'a> {
    /// Into a Maildir.
    Maildir(&'a PathBuf),
    /// To a mail server, by URL.
    Smtp(&'a Credential),
}

/// How mail leaves.
#[derive(Debug)]
enum Driver {
    Maildir(PathBuf),
    Smtp(Box<Server>),
}

/// Puts mail together and hands it over.
#[derive(Debug)]
pub struct Mailer {
    driver: Driver,
    from: Mailbox,
}

impl Mailer {
    /// A mailer that speaks for the shop of the settings. Connects to nothing yet.
    pub fn new(settings: &NotifySettings, to: MailTo<'_>) -> Result<Self, MailSettingsError> {
        let from = named_mailbox(&settings.from).map_err(MailSettingsError::From)?;
        let name = from.name.unwrap_or_else(|| settings.shop_name.clone());
        let from = Mailbox::new(Some(one_line(&name)), from.email);
        let driver = match to {
            MailTo::Maildir(folder) => Driver::Maildir(folder.clone()),
            MailTo::Smtp(url) => Driver::Smtp(Box::new(Server::new(url)?)),
        };
        Ok(Self { driver, from })
    }

    /// Whether a mail that is sent twice arrives twice. In a Maildir it does not.
    pub const fn repeats_arrive(&self) -> bool {
        matches!(self.driver, Driver::Smtp(_))
    }

    /// Hands one mail over. Sent again under the same `id`, it has the same Message-ID and, in a
    /// Maildir, the same file.
    pub async fn send(
        &self,
        id: MessageId,
        at: Timestamp,
        to: Mailbox,
        words: Words,
    ) -> Result<(), SendError> {
        let mail = lettre::Message::builder()
            .message_id(Some(format!("<{id}@quittance>")))
            .date(SystemTime::from(at))
            .from(self.from.clone())
            .to(to)
            .subject(words.subject)
            .multipart(MultiPart::alternative_plain_html(words.text, words.html))?;
        match &self.driver {
            Driver::Maildir(folder) => {
                maildir::deliver(folder.clone(), format!("{id}.quittance"), mail.formatted())
                    .await?;
                Ok(())
            }
            Driver::Smtp(server) => server.send(mail.envelope(), &mail.formatted()).await,
        }
    }
}

/// A mailbox as people write it in settings: an address, or `Name <address>` with a name of any
/// letters, quoted or not.
pub fn named_mailbox(text: &str) -> Result<Mailbox, AddressError> {
    text.parse::<Mailbox>().or_else(|error| {
        let named = text.trim().strip_suffix('>');
        let (name, address) = named
            .and_then(|named| named.rsplit_once('<'))
            .ok_or(error)?;
        let name = one_line(name.trim().trim_matches('"'));
        Ok(Mailbox::new(Some(name), address.trim().parse()?))
    })
}

/// Somebody's mailbox; `None` when the address cannot be one.
pub fn mailbox(email: &str, name: Option<&str>) -> Option<Mailbox> {
    let address: Address = email.trim().parse().ok()?;
    Some(Mailbox::new(
        name.map(one_line).filter(|name| !name.is_empty()),
        address,
    ))
}
