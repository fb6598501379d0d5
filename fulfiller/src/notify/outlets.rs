//! By which way an announcement leaves: mail or the shop's own endpoints.

use std::time::Duration;

use lettre::message::Mailbox;
use quittance_common::clock;
use quittance_common::ids::Reason;
use quittance_common::message::Message;
use quittance_common::settings::mistake::{Mistake, Origin};
use quittance_common::settings::{NotifyDriver, Settings, SettingsErrors, StockDriver};
use quittance_common::telemetry::step::{Step, StepName};
use serde_json::json;

use crate::announcement::{Announcement, News};
use crate::mail::{MailSettingsError, MailTo, Mailer, SendError, mailbox, named_mailbox};
use crate::templates::Templates;
use crate::webhook::{HookError, Webhook};

/// Why settings give no outlet; a restart does not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutletError {
    /// Mistakes found only now, when things are put together.
    #[error("bad settings")]
    Settings(#[from] SettingsErrors),
}

/// How people are told.
#[derive(Debug)]
pub enum Channel {
    /// By mail of our own making.
    Mail {
        /// Who hands it over.
        mailer: Box<Mailer>,
        /// In which words.
        templates: Box<Templates>,
        /// Who hears of what waits for a person.
        merchant: Option<Mailbox>,
    },
    /// By the shop, which is posted the announcement.
    Http(Webhook),
}

/// Every way out.
#[derive(Debug)]
pub struct Outlets {
    /// For news.
    pub channel: Channel,
    /// For stock requests, where the shop counts.
    pub stock: Option<Webhook>,
}

/// What became of an announcement that needs no further attempt.
pub(super) enum Sent {
    /// It was taken.
    Done,
    /// There is nobody to send it to.
    Skipped(&'static str),
}

/// It was not taken.
pub(super) struct Untaken {
    pub(super) reason: Reason,
    /// The reason once there are no attempts left.
    pub(super) given_up: Reason,
    pub(super) detail: String,
    /// How long to wait at least; `None` when it will never be taken.
    pub(super) again: Option<Duration>,
}

/// Why an announcement was not sent.
pub(super) enum Unsent {
    /// It cannot be put into words, or there is no way for it here.
    Unwritten { reason: Reason, detail: String },
    /// Whoever should take it did not.
    Untaken(Untaken),
}

impl Outlets {
    /// As the settings say. Templates are parsed and tried out, nothing is connected to.
    pub fn of(settings: &Settings) -> Result<Self, OutletError> {
        let notify = &settings.notify;
        // Templates are checked even where they are not used: a mistake shows before the switch.
        let templates = Templates::load(notify)?;
        let merchant = notify
            .merchant
            .as_deref()
            .map(named_mailbox)
            .transpose()
            .map_err(|_| of_mail_settings(MailSettingsError::Merchant))?;
        let by_mail = |to| -> Result<Channel, OutletError> {
            Ok(Channel::Mail {
                mailer: Box::new(Mailer::new(notify, to).map_err(of_mail_settings)?),
                templates: Box::new(templates),
                merchant,
            })
        };
        let channel = match &notify.driver {
            NotifyDriver::Maildir(folder) => by_mail(MailTo::Maildir(folder))?,
            NotifyDriver::Smtp(url) => by_mail(MailTo::Smtp(url))?,
            NotifyDriver::Http(target) => Channel::Http(Webhook::new("notify", target)?),
        };
        let stock = match &settings.stock.driver {
            StockDriver::Sql => None,
            StockDriver::Http(target) => Some(Webhook::new("stock", target)?),
        };
        Ok(Self { channel, stock })
    }

    /// Whether an announcement that is sent twice arrives twice. In a Maildir it does not.
    pub(super) const fn repeats_arrive(&self, announcement: &Announcement) -> bool {
        match (&announcement.news, &self.channel) {
            (News::Stock { .. }, _) | (_, Channel::Http(_)) => true,
            (_, Channel::Mail { mailer, .. }) => mailer.repeats_arrive(),
        }
    }

    pub(super) async fn send(
        &self,
        message: &Message,
        announcement: &Announcement,
    ) -> Result<Sent, Unsent> {
        let mut step = Step::within(message, StepName::Send);
        // Whoever is posted to goes on from here.
        let trace = step.context().map(|context| context.to_string());
        let sent = self
            .hand_over(message, announcement, trace.as_deref())
            .await;
        let outcome = match &sent {
            Ok(Sent::Done) => "sent",
            Ok(Sent::Skipped(_)) => "skipped",
            Err(Unsent::Unwritten { .. }) => "unwritten",
            Err(Unsent::Untaken(_)) => "not_taken",
        };
        step.ended(outcome, sent.is_ok());
        sent
    }

    async fn hand_over(
        &self,
        message: &Message,
        announcement: &Announcement,
        trace: Option<&str>,
    ) -> Result<Sent, Unsent> {
        let news = &announcement.news;
        if matches!(news, News::Stock { .. }) {
            let Some(hook) = &self.stock else {
                return Err(Unsent::Unwritten {
                    reason: Reason::of("stock_not_configured"),
                    detail: "a stock request, but stock.driver is not \"http\" here".to_owned(),
                });
            };
            return post(hook, message, announcement, trace).await;
        }
        match &self.channel {
            Channel::Http(hook) => post(hook, message, announcement, trace).await,
            Channel::Mail {
                mailer,
                templates,
                merchant,
            } => {
                let to = match news {
                    News::Merchant { .. } => merchant.clone().ok_or("no_merchant"),
                    _ => buyer(announcement),
                };
                match to {
                    Ok(to) => mail(mailer, templates, to, message, announcement).await,
                    Err(reason) => Ok(Sent::Skipped(reason)),
                }
            }
        }
    }
}

/// The same as a mistake in the settings.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn of_mail_settings(error: MailSettingsError) -> SettingsErrors {
    let key = match error {
        MailSettingsError::From(_) => "notify.from",
        MailSettingsError::Merchant => "notify.merchant",
        MailSettingsError::SmtpUrl => "notify.smtp_url",
    };
    SettingsErrors(vec![Mistake {
        key: key.to_owned(),
        origin: Origin::Default,
        problem: error.to_string(),
    }])
}

fn buyer(announcement: &Announcement) -> Result<Mailbox, &'static str> {
    let payer = &announcement.payer;
    let email = payer.email.as_deref().ok_or("no_address")?;
    mailbox(email, payer.name.as_deref()).ok_or("bad_address")
}

async fn mail(
    mailer: &Mailer,
    templates: &Templates,
    to: Mailbox,
    message: &Message,
    announcement: &Announcement,
) -> Result<Sent, Unsent> {
    let words = templates
        .render(announcement)
        .map_err(|error| Unsent::Unwritten {
            reason: Reason::of("template_error"),
            detail: error.to_string(),
        })?;
    let id = announcement.message_id();
    match mailer.send(id, message.timestamp, to, words).await {
        Ok(()) => Ok(Sent::Done),
        // Waiting does not teach the server another alphabet.
        Err(SendError::Unsupported) => Ok(Sent::Skipped("address_not_supported")),
        Err(error) => Err(Unsent::Untaken(of_mail(&error))),
    }
}

/// Posts an announcement in the form that the Standard Webhooks scheme advises.
async fn post(
    hook: &Webhook,
    message: &Message,
    announcement: &Announcement,
    trace: Option<&str>,
) -> Result<Sent, Unsent> {
    // The same at every attempt: a repeat has the same bytes.
    let at = message.headers.received_at.unwrap_or(message.timestamp);
    // The trace goes in a header: an attempt's own span must not change the bytes.
    let announcement = announcement.clone().in_trace(None);
    let body = json!({
        "type": announcement.news.hook_type(),
        "timestamp": clock::rfc3339_millis(at),
        "data": announcement,
    });
    let body = body.to_string().into_bytes();
    match hook
        .post(announcement.message_id(), clock::now(), trace, body)
        .await
    {
        Ok(()) => Ok(Sent::Done),
        Err(error) => Err(Unsent::Untaken(of_hook(&error))),
    }
}

fn of_mail(error: &SendError) -> Untaken {
    let (reason, again) = match error {
        SendError::Refused(_) | SendError::Unsupported | SendError::Form(_) => {
            (Reason::of("smtp_rejected"), None)
        }
        SendError::Later(_) | SendError::Folder(_) => {
            (Reason::of("mail_unavailable"), Some(Duration::ZERO))
        }
    };
    Untaken {
        reason,
        given_up: Reason::of("mail_not_taken"),
        detail: error.to_string(),
        again,
    }
}

fn of_hook(error: &HookError) -> Untaken {
    let (reason, again) = match error {
        HookError::Later { retry_after, .. } => {
            (Reason::of("webhook_unavailable"), Some(*retry_after))
        }
        // A name may point elsewhere for a while; a person sees it when it stays so.
        HookError::Blocked(_) => (Reason::of("webhook_blocked"), Some(Duration::ZERO)),
        HookError::Gone => (Reason::of("webhook_gone"), None),
        HookError::Refused(_) | HookError::Unsigned => (Reason::of("webhook_rejected"), None),
    };
    Untaken {
        reason,
        given_up: Reason::of("webhook_not_taken"),
        detail: error.to_string(),
        again,
    }
}
