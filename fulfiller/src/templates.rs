//! The words of notifications: for each kind of news and each language a text template with a
//! `Subject:` line, an empty line and the text, and an HTML template that a common layout frames.
//!
//! A shop's folder may hold files of the same names; what it lacks is built in. Values are made
//! one line each, so nothing in them can be a header, and HTML templates escape them, so nothing
//! in them can be markup.

mod built_in;
pub(crate) mod wording;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, Value, context};
use quittance_common::event::{Line, OrderRef, Payer};
use quittance_common::ids::OrderId;
use quittance_common::money::Money;
use quittance_common::settings::mistake::{Mistake, Origin};
use quittance_common::settings::{Languages, NotifySettings, SettingsErrors};
use quittance_common::status::PendingReason;

use crate::announcement::{Announcement, News};
pub(crate) use wording::one_line;
use wording::{amount, line_name};

/// The frame of every HTML part.
const LAYOUT: &str = "layout.html";

/// A notification in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as an HTML document.
    pub html: String,
}

/// Why a notification cannot be put into words. Names the template, never a value.
#[derive(Debug, thiserror::Error)]
#[error("the template {path}{} cannot be used: {problem}", at_line(*.line))]
pub struct TemplateError {
    path: String,
    line: Option<usize>,
    problem: String,
}

fn at_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(" line {line}"))
}

impl TemplateError {
    /// The same as a mistake in the settings: a restart does not help.
    fn into_mistake(self) -> SettingsErrors {
        SettingsErrors(vec![Mistake {
            key: "notify.templates".to_owned(),
            origin: Origin::File {
                path: self.path,
                line: self.line.unwrap_or(1),
            },
            problem: format!("the template cannot be used: {}", self.problem),
        }])
    }
}

/// The templates, compiled and tried out.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    /// Where the templates came from that are not built in, by name.
    paths: BTreeMap<String, PathBuf>,
    shop_name: String,
    languages: Languages,
}

impl Templates {
    /// The templates that the settings give, each tried out once with made-up values.
    ///
    /// # Errors
    /// A folder or a file that cannot be read, parsed or rendered, as a mistake in
    /// `notify.templates` with its path and line.
    pub fn load(settings: &NotifySettings) -> Result<Self, SettingsErrors> {
        Self::try_load(settings).map_err(TemplateError::into_mistake)
    }

    fn try_load(settings: &NotifySettings) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        // A mistyped name of a value is an error, found when the templates are tried out.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        let mut templates = Self {
            environment,
            paths: BTreeMap::new(),
            shop_name: one_line(&settings.shop_name),
            languages: settings.languages.clone(),
        };
        let folder = settings.templates.as_deref();
        if let Some(missing) = folder.filter(|folder| !folder.is_dir()) {
            return Err(TemplateError {
                path: missing.display().to_string(),
                line: None,
                problem: "there is no such folder".to_owned(),
            });
        }
        templates.add(folder, LAYOUT, built_in::LAYOUT)?;
        for language in settings.languages.all() {
            for (file, text) in built_in::of(language) {
                templates.add(folder, &format!("{language}/{file}"), text)?;
            }
        }
        templates.try_out()?;
        Ok(templates)
    }

    fn add(
        &mut self,
        folder: Option<&Path>,
        name: &str,
        built_in: &str,
    ) -> Result<(), TemplateError> {
        let path = folder.map(|folder| folder.join(name));
        let text = match path.filter(|path| path.exists()) {
            None => built_in.to_owned(),
            Some(path) => {
                let text = fs::read_to_string(&path).map_err(|error| TemplateError {
                    path: path.display().to_string(),
                    line: None,
                    problem: error.to_string(),
                })?;
                self.paths.insert(name.to_owned(), path);
                text.replace("\r\n", "\n")
            }
        };
        self.environment
            .add_template_owned(name.to_owned(), text)
            .map_err(|error| self.blame(name, &error))
    }

    /// Renders every template of every language once, so that a mistake shows at start and not
    /// in front of the first buyer.
    fn try_out(&self) -> Result<(), TemplateError> {
        for language in self.languages.all() {
            for news in sample_news() {
                self.render_in(language, &sample(news))?;
            }
        }
        Ok(())
    }

    /// Puts a notification into words, in the buyer's language; the merchant's in the default one.
    pub fn render(&self, announcement: &Announcement) -> Result<Words, TemplateError> {
        self.render_in(self.language_of(announcement), announcement)
    }

    fn language_of(&self, announcement: &Announcement) -> &str {
        match announcement.news {
            News::Merchant { .. } => &self.languages.default,
            _ => self.languages.of(announcement.payer.country.as_deref()),
        }
    }

    fn render_in(
        &self,
        language: &str,
        announcement: &Announcement,
    ) -> Result<Words, TemplateError> {
        let stem = format!("{language}/{}", stem_of(&announcement.news));
        let values = self.values(language, announcement)?;
        let name = format!("{stem}.txt");
        let rendered = self.fill(&name, &values)?;
        let (subject, text) = rendered
            .split_once("\n\n")
            .and_then(|(head, text)| Some((head.strip_prefix("Subject: ")?, text)))
            .ok_or_else(|| TemplateError {
                path: self.place(&name),
                line: Some(1),
                problem: "it does not begin with a line `Subject: ...` and an empty line"
                    .to_owned(),
            })?;
        let subject = one_line(subject);
        let content = self.fill(&format!("{stem}.html"), &values)?;
        let shop = &self.shop_name;
        let html = self.fill(
            LAYOUT,
            &context! { language, subject => &subject, shop, content },
        )?;
        Ok(Words {
            subject,
            text: text.to_owned(),
            html,
        })
    }

    /// What a template may show.
    fn values(&self, language: &str, of: &Announcement) -> Result<Value, TemplateError> {
        let (mut reason, mut refund, mut full) = (String::new(), None, false);
        let (mut reasons, mut by_quarantine) = (Vec::new(), false);
        match &of.news {
            News::Pending { reason: code } => {
                let code = code.as_ref().map_or("", PendingReason::as_str);
                let name = format!("{language}/pending_reason.txt");
                reason.push_str(self.fill(&name, &context! { code })?.trim());
            }
            News::Refunded { amount: given, .. } => {
                refund = Some(amount(*given, language));
                full = of.gross == Some(*given);
            }
            News::Merchant {
                reasons: codes,
                quarantined,
                ..
            } => {
                by_quarantine = *quarantined;
                let name = format!("{language}/merchant_reason.txt");
                for code in codes {
                    let words = self.fill(&name, &context! { code, quarantined })?;
                    reasons.push(context! { code => one_line(code), words => words.trim() });
                }
            }
            News::Received | News::Failed | News::Backordered | News::Stock { .. } => {}
        }
        let lines: Vec<Value> = of
            .lines
            .iter()
            .map(|line| context! { quantity => line.quantity, name => line_name(line) })
            .collect();
        Ok(context! {
            language,
            shop => &self.shop_name,
            name => of.payer.name.as_deref().map(one_line),
            amount => of.gross.map(|gross| amount(gross, language)),
            order => order_named(&of.order).map(one_line),
            transaction => one_line(&of.txn_id),
            lines,
            reason,
            refund,
            full,
            reasons,
            quarantined => by_quarantine,
        })
    }

    fn fill(&self, name: &str, values: &Value) -> Result<String, TemplateError> {
        self.environment
            .get_template(name)
            .and_then(|template| template.render(values))
            .map_err(|error| self.blame(name, &error))
    }

    fn place(&self, name: &str) -> String {
        self.paths.get(name).map_or_else(
            || format!("{name} (built in)"),
            |path| path.display().to_string(),
        )
    }

    fn blame(&self, name: &str, error: &minijinja::Error) -> TemplateError {
        let detail = error
            .detail()
            .map_or_else(String::new, |d| format!(": {d}"));
        TemplateError {
            path: self.place(name),
            line: error.line(),
            problem: format!("{}{detail}", error.kind()),
        }
    }
}

/// The order as the customer knows it: the one that the payment was found to be for, before what
/// the payment says itself.
fn order_named(order: &OrderRef) -> Option<&str> {
    let claimed = order.claimed().map(OrderId::as_str);
    claimed.or(order.invoice.as_deref())
}

/// The file names of this news, without language and ending. A stock request has no words; if it
/// were ever asked for, the merchant's would be the ones.
const fn stem_of(news: &News) -> &'static str {
    match news {
        News::Received => "received",
        News::Pending { .. } => "pending",
        News::Failed => "failed",
        News::Refunded { .. } => "refunded",
        News::Backordered => "backordered",
        News::Merchant { .. } | News::Stock { .. } => "merchant",
    }
}

fn sample_amount() -> Option<Money> {
    "EUR"
        .parse()
        .ok()
        .map(|currency| Money::from_minor(123_450, currency))
}

/// One of every kind that has words.
fn sample_news() -> Vec<News> {
    let mut all = vec![
        News::Received,
        News::Pending {
            reason: Some(PendingReason::Echeck),
        },
        News::Failed,
        News::Backordered,
        News::Merchant {
            reasons: vec!["reversed".to_owned()],
            causes: Vec::new(),
            quarantined: false,
        },
    ];
    all.extend(sample_amount().map(|amount| News::Refunded {
        refund: "SAMPLE".to_owned(),
        amount,
    }));
    all
}

/// An announcement that has every value, for trying templates out.
fn sample(news: News) -> Announcement {
    Announcement {
        news,
        subject: "sample".to_owned(),
        txn_id: "SAMPLE".to_owned(),
        gross: sample_amount(),
        order: OrderRef {
            invoice: Some("SAMPLE".to_owned()),
            ..OrderRef::default()
        },
        lines: vec![Line {
            sku: None,
            name: "Sample".to_owned(),
            quantity: 1,
            gross: None,
            options: Vec::new(),
        }],
        payer: Payer {
            name: Some("Sample".to_owned()),
            ..Payer::default()
        },
        traceparent: None,
    }
}

#[cfg(test)]
mod tests;
