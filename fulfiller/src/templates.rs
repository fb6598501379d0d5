//! The words of notifications: for each kind of news and each language a text template with a
//! `Subject:` line, an empty line and the text, and an HTML template that a common layout frames.
//!
//! A shop's folder may hold files of the same names; what it lacks is built in. Values are made
//! one line each, so nothing in them can be a header, and HTML templates escape them, so nothing
//! in them can be markup.
//!
//! A mail is in one language from its first line to its amounts: a language that has no words for
//! a kind of news is English there, altogether.

mod built_in;
mod next_steps;
mod samples;
mod values;
pub(crate) mod wording;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, Value, context};
use quittance_common::settings::mistake::{Mistake, Origin};
use quittance_common::settings::{Languages, NotifySettings, SettingsErrors};

use crate::announcement::{Announcement, News};
pub(crate) use wording::one_line;

/// The frame of every HTML part.
const LAYOUT: &str = "layout.html";

/// The language of what no other has words for.
const FALLBACK: &str = "en";

/// The kinds of news, as files are named, and the further file that each is told with.
const KINDS: [(&str, Option<&str>); 6] = [
    ("received", None),
    ("pending", Some("pending_reason.txt")),
    ("failed", None),
    ("refunded", None),
    ("backordered", None),
    ("merchant", Some("merchant_reason.txt")),
];

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
    /// The templates that the settings give, each tried out with made-up values: every kind of
    /// news, every code, every value that may be missing there and not there.
    ///
    /// # Errors
    /// A folder or a file that cannot be read, parsed or rendered, as a mistake in
    /// `notify.templates` with its path and line.
    pub fn load(settings: &NotifySettings) -> Result<Self, SettingsErrors> {
        Self::try_load(settings).map_err(TemplateError::into_mistake)
    }

    fn try_load(settings: &NotifySettings) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        // A mistyped name of a value is an error, and so is a missing value that is shown: found
        // when the templates are tried out.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_formatter(values::formatter);
        let mut templates = Self {
            environment,
            paths: BTreeMap::new(),
            shop_name: one_line(&settings.shop_name),
            languages: settings.languages.clone(),
        };
        let folder = settings.templates.as_deref();
        if let Some(missing) = folder.filter(|folder| !folder.is_dir()) {
            return Err(unusable(missing, "there is no such folder"));
        }
        templates.add(folder, LAYOUT, Some(built_in::LAYOUT))?;
        let languages = settings.languages.all().into_iter();
        for language in languages.filter(|language| *language != FALLBACK) {
            templates.add_language(folder, language)?;
        }
        templates.add_language(folder, FALLBACK)?;
        templates.try_out()?;
        Ok(templates)
    }

    /// Adds those kinds of news for which a language has words: all of their files, or none.
    fn add_language(&mut self, folder: Option<&Path>, language: &str) -> Result<(), TemplateError> {
        for (kind, further) in KINDS {
            let (text, html) = (format!("{kind}.txt"), format!("{kind}.html"));
            let files = [Some(text.as_str()), Some(html.as_str()), further];
            let files: Vec<&str> = files.into_iter().flatten().collect();
            let own = |file: &str| folder.map(|folder| folder.join(language).join(file));
            let is_there = |file: &&str| {
                built_in::of(language, file).is_some() || own(file).is_some_and(|own| own.exists())
            };
            if let Some(lacking) = files.iter().find(|file| !is_there(file)) {
                let Some(lacking) = own(lacking).filter(|_| files.iter().any(&is_there)) else {
                    // Nothing of this kind: it is told in English.
                    continue;
                };
                return Err(unusable(
                    &lacking,
                    "it is not there, and no mail is in two languages",
                ));
            }
            for file in files {
                let text = built_in::of(language, file);
                self.add(folder, &format!("{language}/{file}"), text)?;
            }
        }
        Ok(())
    }

    /// Adds the shop's own file of that name, or else the one that is built in.
    fn add(
        &mut self,
        folder: Option<&Path>,
        name: &str,
        built_in: Option<&str>,
    ) -> Result<(), TemplateError> {
        let path = folder.map(|folder| folder.join(name));
        let text = match path.filter(|path| path.exists()) {
            None => built_in.unwrap_or_default().to_owned(),
            Some(path) => {
                let text = fs::read_to_string(&path)
                    .map_err(|error| unusable(&path, &error.to_string()))?;
                self.paths.insert(name.to_owned(), path);
                text.replace("\r\n", "\n")
            }
        };
        self.environment
            .add_template_owned(name.to_owned(), text)
            .map_err(|error| self.blame(name, &error))
    }

    /// Renders every template of every language, so that a mistake shows at start and not in front
    /// of the first buyer.
    fn try_out(&self) -> Result<(), TemplateError> {
        let samples = samples::all();
        for language in self.languages.all() {
            for sample in &samples {
                self.render_in(language, sample)?;
            }
        }
        Ok(())
    }

    /// Puts a notification into words, in the buyer's language; the merchant's in the default one.
    pub fn render(&self, announcement: &Announcement) -> Result<Words, TemplateError> {
        let language = match announcement.news {
            News::Merchant { .. } => &self.languages.default,
            _ => self.languages.of(announcement.payer.country.as_deref()),
        };
        self.render_in(language, announcement)
    }

    fn render_in(&self, wanted: &str, announcement: &Announcement) -> Result<Words, TemplateError> {
        let kind = kind_of(&announcement.news);
        let language = self.spoken(wanted, kind);
        let stem = format!("{language}/{kind}");
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

    /// The language in which a kind of news is told to whoever reads `wanted`.
    fn spoken<'a>(&self, wanted: &'a str, kind: &str) -> &'a str {
        let has_words = self
            .environment
            .get_template(&format!("{wanted}/{kind}.txt"))
            .is_ok();
        if has_words { wanted } else { FALLBACK }
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

fn unusable(path: &Path, problem: &str) -> TemplateError {
    TemplateError {
        path: path.display().to_string(),
        line: None,
        problem: problem.to_owned(),
    }
}

/// How the files of this news are named. A stock request has no words; if it were ever asked for,
/// the merchant's would be the ones.
const fn kind_of(news: &News) -> &'static str {
    match news {
        News::Received => "received",
        News::Pending { .. } => "pending",
        News::Failed => "failed",
        News::Refunded { .. } => "refunded",
        News::Backordered => "backordered",
        News::Merchant { .. } | News::Stock { .. } => "merchant",
    }
}

#[cfg(test)]
mod tests;
