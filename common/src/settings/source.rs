//! Where settings come from: the lines of a TOML file, the environment and files with secrets.
//!
//! Everything becomes a text under its full key; what the texts mean is the reader's business.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys;
use super::mistake::{Mistake, Origin};

/// The prefix of every environment variable that is a setting.
const PREFIX: &str = "QUITTANCE_";
/// Variables with the prefix that are not settings: the path of the file itself.
const NOT_SETTINGS: [&str; 1] = ["QUITTANCE_CONFIG"];

/// One value as it was set.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    /// The text; lists are joined by commas.
    pub(super) text: String,
    /// The file that it stands in, where that was set.
    pub(super) file: Option<PathBuf>,
    /// Where it was set.
    pub(super) origin: Origin,
}

/// Everything that was set, by full key, and what was wrong on the way.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The values.
    pub(super) values: BTreeMap<String, Raw>,
    /// Unreadable files, unknown keys, values that are tables.
    pub(super) mistakes: Vec<Mistake>,
}

impl Sources {
    /// Reads the file, then the environment over it.
    pub(super) fn gather(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Self {
        let mut sources = Self::default();
        let mut found = Vec::new();
        if let Some(path) = file {
            match std::fs::read_to_string(path) {
                Ok(text) => found = sources.parse_file(path, &text),
                Err(error) => sources.mistake(
                    path.display().to_string(),
                    Origin::Default,
                    format!("the settings file cannot be read: {error}"),
                ),
            }
        }
        let from_file = sources.layer(found);
        let variables = environment
            .iter()
            .filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str()))
            .filter_map(|(name, value)| {
                let key = name.strip_prefix(PREFIX)?;
                let raw = Raw {
                    text: value.clone(),
                    file: None,
                    origin: Origin::Environment(name.clone()),
                };
                Some((key.to_ascii_lowercase().replace("__", "."), raw))
            })
            .collect();
        let from_environment = sources.layer(variables);
        sources.values = from_file;
        sources.values.extend(from_environment);
        sources
    }

    fn mistake(&mut self, key: String, origin: Origin, problem: String) {
        self.mistakes.push(Mistake {
            key,
            origin,
            problem,
        });
    }

    /// The values of a TOML text, in the order of the file.
    fn parse_file(&mut self, path: &Path, text: &str) -> Vec<(String, Raw)> {
        let path = path.display().to_string();
        let at = |offset: usize| Origin::File {
            path: path.clone(),
            line: line_of(text, offset),
        };
        match DeTable::parse(text) {
            Ok(table) => {
                let mut found = Vec::new();
                flatten("", table.get_ref(), &at, &mut found);
                found
            }
            Err(error) => {
                // The parser's message does not quote the line, which may hold a secret.
                let origin = at(error.span().map_or(0, |span| span.start));
                let problem = format!("not TOML: {}", error.message());
                self.mistake(path.clone(), origin, problem);
                Vec::new()
            }
        }
    }

    /// One source's values by full key: unknown ones are mistakes, `..._file` ones are followed.
    fn layer(&mut self, found: Vec<(String, Raw)>) -> BTreeMap<String, Raw> {
        let mut layer = BTreeMap::new();
        for (name, raw) in found {
            let Some((key, raw)) = self.resolve(name, raw) else {
                continue;
            };
            match layer.entry(key) {
                Entry::Vacant(slot) => {
                    slot.insert(raw);
                }
                Entry::Occupied(slot) => {
                    let key = slot.key().clone();
                    let problem = format!("is set twice, as `{key}` and as `{key}_file`");
                    self.mistake(key, raw.origin, problem);
                }
            }
        }
        layer
    }

    /// The key that a name stands for and its value; `None` after noting a mistake.
    fn resolve(&mut self, name: String, raw: Raw) -> Option<(String, Raw)> {
        if keys::find(&name).is_some() {
            return Some((name, raw));
        }
        let stem = name
            .strip_suffix("_file")
            .filter(|stem| keys::find(stem).is_some_and(|key| key.secret));
        if let Some(stem) = stem {
            return match std::fs::read_to_string(&raw.text) {
                Ok(text) => {
                    let text = text.trim_end_matches(['\r', '\n']).to_owned();
                    let file = Some(PathBuf::from(&raw.text));
                    Some((stem.to_owned(), Raw { text, file, ..raw }))
                }
                Err(error) => {
                    let problem = format!("the file `{}` cannot be read: {error}", raw.text);
                    self.mistake(name, raw.origin, problem);
                    None
                }
            };
        }
        let hint = keys::nearest(&name).map_or_else(
            || "see docs/settings.md for the keys".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.mistake(name, raw.origin, format!("there is no such key; {hint}"));
        None
    }
}

/// The line of a byte offset, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

/// Puts every scalar and list of `table` into `found`, under its full key.
fn flatten(
    section: &str,
    table: &DeTable<'_>,
    at: &impl Fn(usize) -> Origin,
    found: &mut Vec<(String, Raw)>,
) {
    for (name, value) in table {
        let name = name.get_ref();
        let key = if section.is_empty() {
            name.to_string()
        } else {
            format!("{section}.{name}")
        };
        flatten_value(key, value.get_ref(), value.span().start, at, found);
    }
}

/// Puts one value into `found`; a list of tables under its indices.
fn flatten_value(
    key: String,
    value: &DeValue<'_>,
    offset: usize,
    at: &impl Fn(usize) -> Origin,
    found: &mut Vec<(String, Raw)>,
) {
    let text = match value {
        DeValue::Table(table) => return flatten(&key, table, at, found),
        DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
            for (index, item) in items.iter().enumerate() {
                let key = format!("{key}.{index}");
                flatten_value(key, item.get_ref(), item.span().start, at, found);
            }
            return;
        }
        DeValue::Array(items) => items
            .iter()
            .map(|item| scalar(item.get_ref()))
            .collect::<Vec<_>>()
            .join(","),
        other => scalar(other),
    };
    let origin = at(offset);
    let file = None;
    found.push((key, Raw { text, file, origin }));
}

/// A single value as it would be written in the environment.
fn scalar(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        // Underscores are already gone; other radixes are turned into decimal.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => "a nested list".to_owned(),
    }
}
