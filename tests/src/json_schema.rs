//! As much of JSON Schema as the schemas in `tests/schemas` use, so that checking against them needs
//! no other program. A keyword or a pattern that is not known here is an error, never passed over.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// Keywords that say nothing about whether a value is valid.
const TELLING: [&str; 8] = [
    "$schema",
    "$id",
    "$defs",
    "title",
    "description",
    "default",
    "deprecated",
    "format",
];

/// What is wrong with `value`, by the place where it stands; empty when nothing is.
///
/// # Errors
/// When the schema uses something that is not known here.
pub fn mistakes(schema: &Value, value: &Value) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    Checker { root: schema }.check(schema, value, "", &mut found)?;
    Ok(found)
}

struct Checker<'a> {
    root: &'a Value,
}

impl<'a> Checker<'a> {
    fn check(
        &self,
        schema: &'a Value,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let Some(keywords) = schema.as_object() else {
            // `true` allows everything and `false` nothing.
            if schema == &Value::Bool(false) {
                found.push(format!("{at}: nothing may stand here"));
            }
            return Ok(());
        };
        for (keyword, rule) in keywords {
            match keyword.as_str() {
                telling if TELLING.contains(&telling) => {}
                "$ref" => self.check(self.resolve(rule)?, value, at, found)?,
                "type" => {
                    if !is_of(rule, value) {
                        found.push(format!("{at}: not of the type {rule}"));
                    }
                }
                "enum" => {
                    if !rule.as_array().is_some_and(|all| all.contains(value)) {
                        found.push(format!("{at}: not one of {rule}"));
                    }
                }
                "pattern" => {
                    let pattern = rule.as_str().context("a pattern")?;
                    if value
                        .as_str()
                        .is_some_and(|text| !matches(pattern, text).unwrap_or(true))
                    {
                        found.push(format!("{at}: not like {pattern}"));
                    }
                    matches(pattern, "")?;
                }
                "minimum" | "maximum" => {
                    let (limit, number) = (rule.as_f64(), value.as_f64());
                    let outside = match keyword.as_str() {
                        "minimum" => number < limit,
                        _ => number > limit,
                    };
                    if number.is_some() && outside {
                        found.push(format!("{at}: {keyword} is {rule}"));
                    }
                }
                "oneOf" | "anyOf" | "allOf" => self.combined(keyword, rule, value, at, found)?,
                "items" | "uniqueItems" => self.items(keyword, rule, value, at, found)?,
                "required" => {
                    for name in rule.as_array().context("a list")? {
                        let name = name.as_str().context("a name")?;
                        if value
                            .as_object()
                            .is_some_and(|table| !table.contains_key(name))
                        {
                            found.push(format!("{at}: `{name}` is missing"));
                        }
                    }
                }
                "properties"
                | "patternProperties"
                | "additionalProperties"
                | "unevaluatedProperties" => {}
                other => bail!("the keyword `{other}` is not known to the checks"),
            }
        }
        self.members(schema, value, at, found)
    }

    fn combined(
        &self,
        keyword: &str,
        rule: &'a Value,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let mut valid = 0_usize;
        let mut why = Vec::new();
        let all = rule.as_array().context("a list of schemas")?;
        for schema in all {
            let mut mistakes = Vec::new();
            self.check(schema, value, at, &mut mistakes)?;
            valid += usize::from(mistakes.is_empty());
            why.extend(mistakes);
        }
        let right = match keyword {
            "oneOf" => valid == 1,
            "anyOf" => valid > 0,
            _ => valid == all.len(),
        };
        if !right {
            found.push(format!("{at}: {valid} of {keyword} ({})", why.join("; ")));
        }
        Ok(())
    }

    fn items(
        &self,
        keyword: &str,
        rule: &'a Value,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let list = value.as_array().map_or(&[][..], Vec::as_slice);
        for (index, item) in list.iter().enumerate() {
            if keyword == "items" {
                self.check(rule, item, &format!("{at}/{index}"), found)?;
            } else if rule == &Value::Bool(true) && list.iter().take(index).any(|one| one == item) {
                found.push(format!("{at}/{index}: twice"));
            }
        }
        Ok(())
    }

    /// The members of a table: each by its name, else by a pattern, else as the rest.
    fn members(
        &self,
        schema: &'a Value,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let Some(table) = value.as_object() else {
            return Ok(());
        };
        for (name, member) in table {
            let place = format!("{at}/{name}");
            let mut known = false;
            if let Some(own) = schema.get("properties").and_then(|all| all.get(name)) {
                known = true;
                self.check(own, member, &place, found)?;
            }
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            for (pattern, own) in patterns.into_iter().flatten() {
                if matches(pattern, name)? {
                    known = true;
                    self.check(own, member, &place, found)?;
                }
            }
            if known {
                continue;
            }
            match schema.get("additionalProperties") {
                None | Some(Value::Bool(true)) => {}
                Some(Value::Bool(false)) => found.push(format!("{place}: no such member")),
                Some(rest) => self.check(rest, member, &place, found)?,
            }
            let closed = schema.get("unevaluatedProperties") == Some(&Value::Bool(false));
            if closed && !self.evaluates(schema, name)? {
                found.push(format!("{place}: no such member"));
            }
        }
        Ok(())
    }

    /// Whether a schema, or one that it is made of, has a member of that name.
    fn evaluates(&self, schema: &Value, name: &str) -> anyhow::Result<bool> {
        if schema
            .get("properties")
            .is_some_and(|all| all.get(name).is_some())
        {
            return Ok(true);
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        for (pattern, _) in patterns.into_iter().flatten() {
            if matches(pattern, name)? {
                return Ok(true);
            }
        }
        if let Some(reference) = schema.get("$ref")
            && self.evaluates(self.resolve(reference)?, name)?
        {
            return Ok(true);
        }
        for part in ["allOf", "anyOf", "oneOf"] {
            for one in schema
                .get(part)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                if self.evaluates(one, name)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn resolve(&self, reference: &Value) -> anyhow::Result<&'a Value> {
        let reference = reference.as_str().context("a reference")?;
        let pointer = reference.strip_prefix('#').context("a reference within")?;
        self.root
            .pointer(pointer)
            .with_context(|| format!("nothing at {reference}"))
    }
}

fn is_of(rule: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match rule {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

/// The patterns of our schemas, spelled out: a regular expression needs a library.
fn matches(pattern: &str, text: &str) -> anyhow::Result<bool> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    Ok(match pattern {
        "^x-" => text.starts_with("x-"),
        "^.+$" | ".+" => !text.is_empty(),
        "^[a-zA-Z0-9._-]+$" => !text.is_empty() && text.chars().all(named),
        "^[a-z]+$" => !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase()),
        // Somewhere in the text.
        "[a-zA-Z0-9][a-zA-Z0-9_.-]+" => text.as_bytes().windows(2).any(|two| {
            matches!(two, [first, second]
                    if first.is_ascii_alphanumeric() && named(char::from(*second)))
        }),
        "^(always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+)$" =>
        {
            ensure!(
                !text.starts_with("every_"),
                "pulling now and then is not checked"
            );
            let words = ["always", "never", "build", "if_not_present", "missing"];
            words.contains(&text) || ["refresh", "daily", "weekly"].contains(&text)
        }
        other => bail!("the pattern {other} is not known to the checks"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value, value: &Value) -> String {
        mistakes(schema, value).unwrap().join("\n")
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let schema = json!({
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"oneOf": [{"type": "string", "enum": ["x"]}, {"$ref": "#/$defs/list"}]},
                "b": {"type": ["integer", "null"], "minimum": 3},
            },
            "patternProperties": {"^x-": {}},
            "additionalProperties": false,
            "$defs": {"list": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}},
        });
        assert_eq!(told(&schema, &json!({"a": "x", "b": null, "x-y": 1})), "");
        assert_eq!(told(&schema, &json!({"a": ["p", "q"], "b": 3})), "");
        assert_eq!(told(&schema, &json!({})), ": `a` is missing");
        assert!(told(&schema, &json!({"a": ["p", 1]})).starts_with("/a: 0 of oneOf"));
        assert!(told(&schema, &json!({"a": ["p", "p"]})).contains("/a/1: twice"));
        assert_eq!(
            told(&schema, &json!({"a": "x", "b": 2})),
            "/b: minimum is 3"
        );
        assert_eq!(
            told(&schema, &json!({"a": "x", "c": 1})),
            "/c: no such member"
        );
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        assert!(mistakes(&json!({"not": {}}), &json!(1)).is_err());
        assert!(mistakes(&json!({"pattern": "^[0-9]$"}), &json!("1")).is_err());
    }
}
