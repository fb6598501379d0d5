//! How listings are written: a table for people, one JSON object a line for programs.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

/// The two forms of every listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table with a head.
    Table,
    /// One JSON object a line.
    JsonLines,
}

impl Form {
    /// The form that `--json` asks for.
    pub const fn from_flag(json: bool) -> Self {
        if json { Self::JsonLines } else { Self::Table }
    }
}

/// A number with its noun: `1 order`, `2 orders`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Writes `rows`. The table has the members named in `columns`, in that order; JSON has all.
pub fn write_rows<T: Serialize>(
    out: &mut dyn Write,
    form: Form,
    columns: &[&str],
    rows: &[T],
) -> io::Result<()> {
    match form {
        Form::JsonLines => rows.iter().try_for_each(|row| write_json(out, row)),
        Form::Table => {
            let rows = rows
                .iter()
                .map(serde_json::to_value)
                .collect::<Result<Vec<Value>, _>>()?;
            write_table(out, columns, &rows)
        }
    }
}

/// Writes one object as one line.
pub fn write_json<T: Serialize + ?Sized>(out: &mut dyn Write, object: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// Writes the table. A column of numbers only is flush right.
fn write_table(out: &mut dyn Write, columns: &[&str], rows: &[Value]) -> io::Result<()> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| columns.iter().map(|name| cell(row.get(name))).collect())
        .collect();
    let layout: Vec<(usize, bool)> = columns
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let column = || cells.iter().filter_map(|row| row.get(at));
            let width = column()
                .map(|cell| cell.chars().count())
                .chain([name.len()])
                .max()
                .unwrap_or_default();
            let is_number = |row: &Value| row.get(name).is_some_and(Value::is_number);
            (width, !rows.is_empty() && rows.iter().all(is_number))
        })
        .collect();
    let head: Vec<String> = columns.iter().map(|name| name.to_uppercase()).collect();
    std::iter::once(&head)
        .chain(&cells)
        .try_for_each(|row| write_line(out, &layout, row))
}

fn write_line(out: &mut dyn Write, layout: &[(usize, bool)], row: &[String]) -> io::Result<()> {
    let mut line = String::new();
    for (cell, (width, right)) in row.iter().zip(layout) {
        let padded = if *right {
            format!("{cell:>width$}  ")
        } else {
            format!("{cell:<width$}  ")
        };
        line.push_str(&padded);
    }
    writeln!(out, "{}", line.trim_end())
}

/// One value as a cell, without control characters: values come from outside.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) if list.is_empty() => "-".to_owned(),
        Some(Value::Array(list)) => {
            let parts: Vec<String> = list.iter().map(|part| cell(Some(part))).collect();
            parts.join(",")
        }
        Some(other) => other.to_string(),
    };
    plain(&text)
}

/// A text without control characters: it comes from outside and goes to a terminal.
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Keeps the first `most` of rows of which one more was asked for; what to tell people when there
/// are more.
pub(crate) fn cut<T>(rows: &mut Vec<T>, most: u32) -> Option<String> {
    let shown = usize::try_from(most).unwrap_or(usize::MAX);
    (rows.len() > shown).then(|| {
        rows.truncate(shown);
        format!("{most} are shown, and there are more: a greater --limit shows them")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(form: Form, columns: &[&str], rows: &[Value]) -> String {
        let mut out = Vec::new();
        write_rows(&mut out, form, columns, rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_a_head_and_numbers_flush_right() {
        let rows = [
            json!({"queue": "ipn.verify", "ready": 5}),
            json!({"queue": "ipn.fulfil.dead", "ready": 1200}),
        ];
        assert_eq!(
            written(Form::Table, &["queue", "ready"], &rows),
            "QUEUE            READY\nipn.verify           5\nipn.fulfil.dead   1200\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line_with_every_member() {
        let rows = [json!({"a": 1, "b": [2]}), json!({"a": "x\ny"})];
        let text = written(Form::JsonLines, &["a"], &rows);
        assert_eq!(text, "{\"a\":1,\"b\":[2]}\n{\"a\":\"x\\ny\"}\n");
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        let rows = [json!({"name": "a\u{1b}[31mb\nc"})];
        assert_eq!(written(Form::Table, &["name"], &rows), "NAME\na [31mb c\n");
    }

    #[test]
    fn what_a_list_leaves_out_is_told() {
        let mut rows = vec![1, 2, 3];
        assert_eq!(cut(&mut rows, 3), None);
        let told = cut(&mut rows, 2).unwrap();
        assert_eq!(rows, [1, 2]);
        assert!(
            told.contains("2 are shown") && told.contains("--limit"),
            "{told}"
        );
    }
}
