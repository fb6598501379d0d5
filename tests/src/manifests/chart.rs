//! Renders the subset of Helm that the chart uses, so that the comparison with Kustomize needs no
//! Helm. `deploy/helm/check.py` does the same with the real one, by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::kustomize::documents;

/// What `include "quittance.image"` must be for [`image`] to tell the same.
const IMAGE: &str = r#"{{- define "quittance.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
{{- end -}}
"#;

/// The objects of the chart in `folder` with its default values.
pub fn render(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let values = documents(&folder.join("values.yaml"))?;
    let values = values.first().context("no values")?;
    let mut objects = Vec::new();
    for entry in fs::read_dir(folder.join("templates"))? {
        let path = entry?.path();
        let template = fs::read_to_string(&path)?;
        if path.extension().is_some_and(|end| end == "tpl") {
            ensure!(
                template == IMAGE,
                "{} is not what is rendered here",
                path.display()
            );
            continue;
        }
        let text = expand(&template, values).with_context(|| path.display().to_string())?;
        let found: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("{}:\n{text}", path.display()))?;
        objects.extend(found.into_iter().filter(|one| !one.is_null()));
    }
    Ok(objects)
}

/// A template with its values; `if` and `end` stand on lines of their own.
fn expand(template: &str, values: &Value) -> anyhow::Result<String> {
    let mut text = String::new();
    // Whether each block that is open is shown.
    let mut shown = Vec::new();
    for line in template.lines() {
        let bare = line.trim();
        let action = bare
            .strip_prefix("{{- ")
            .and_then(|rest| rest.strip_suffix(" }}"));
        if let Some(condition) = action.and_then(|action| action.strip_prefix("if ")) {
            let (negated, of) = match condition.strip_prefix("not ") {
                Some(of) => (true, of),
                None => (false, condition),
            };
            shown.push((value(values, of)? == &Value::Bool(true)) != negated);
            continue;
        }
        if action == Some("end") {
            shown.pop().context("an end without a beginning")?;
            continue;
        }
        if shown.contains(&false) {
            continue;
        }
        if let Some((source, indent)) = action.and_then(|action| action.split_once(" | nindent ")) {
            let indent = " ".repeat(indent.parse()?);
            // JSON is YAML too, and stands on one line.
            let whole = match source.strip_prefix("toYaml ") {
                Some(of) => value(values, of)?.to_string(),
                None => scalar(value(values, source)?)?,
            };
            for part in whole.lines() {
                writeln!(text, "{indent}{part}")?;
            }
            continue;
        }
        text.push_str(&inline(line, values)?);
        text.push('\n');
    }
    ensure!(shown.is_empty(), "a block is not ended");
    Ok(text)
}

/// A line with its actions replaced.
fn inline(line: &str, values: &Value) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{ ") {
        let (action, after) = after
            .split_once(" }}")
            .context("an action without an end")?;
        text.push_str(before);
        rest = after;
        match action {
            r#"include "quittance.image" . | quote"# => {
                text.push_str(&Value::from(image(values)?).to_string());
            }
            quoted if quoted.starts_with('"') => text.push_str(quoted.trim_matches('"')),
            hashed if hashed.ends_with(" | sha256sum") => {
                let of = value(values, hashed.trim_end_matches(" | sha256sum"))?;
                for byte in Sha256::digest(scalar(of)?.as_bytes()) {
                    write!(text, "{byte:02x}")?;
                }
            }
            of => text.push_str(&scalar(value(values, of)?)?),
        }
    }
    text.push_str(rest);
    Ok(text)
}

fn image(values: &Value) -> anyhow::Result<String> {
    let of = |name: &str| scalar(value(values, &format!(".Values.image.{name}"))?);
    let (repository, digest) = (of("repository")?, of("digest")?);
    if digest.is_empty() {
        return Ok(format!("{repository}:{}", of("tag")?));
    }
    Ok(format!("{repository}@{digest}"))
}

/// `.Values.a.b`.
fn value<'a>(values: &'a Value, path: &str) -> anyhow::Result<&'a Value> {
    let path = path
        .strip_prefix(".Values")
        .with_context(|| format!("`{path}` is not rendered by the checks"))?;
    values
        .pointer(&path.replace('.', "/"))
        .with_context(|| format!("there is no value {path}"))
}

fn scalar(value: &Value) -> anyhow::Result<String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => bail!("{other} is no scalar"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_values_and_escapes_are_rendered_and_nothing_else() {
        let values = json!({"a": {"on": true, "off": false}, "n": 3, "text": "x\ny"});
        let template = "{{- if .Values.a.on }}\nn: {{ .Values.n }}\n{{- if not .Values.a.on }}\n\
            hidden: 1\n{{- end }}\nm: |\n  {{- .Values.text | nindent 2 }}\n\
            q: '{{ \"{{\" }} $x {{ \"}}\" }}'\n{{- end }}\n{{- if .Values.a.off }}\nno: 1\n{{- end }}\n";
        let text = expand(template, &values).unwrap();
        assert_eq!(text, "n: 3\nm: |\n  x\n  y\nq: '{{ $x }}'\n");
        for bad in ["{{ .Release.Name }}", "{{ .Values.none }}", "{{- end }}"] {
            assert!(expand(bad, &values).is_err(), "{bad}");
        }
    }
}
