//! The table of traps names tests; they are there, and they are tests.

use std::path::Path;

/// How many there are.
const TRAPS: usize = 88;

#[test]
fn every_test_that_the_table_of_traps_names_is_there() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = std::fs::read_to_string(root.join("docs/traps.md"))?;
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    let mut number = 0;
    for row in rows {
        number += 1;
        assert!(row.starts_with(&format!("| {number} |")), "{row}");
        named_tests_run(&root, row)?;
    }
    assert_eq!(number, TRAPS, "rows in the table");
    Ok(())
}

#[test]
fn every_fixture_has_its_row_and_every_row_its_fixture_and_its_tests() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = std::fs::read_to_string(root.join("tests/fixtures/README.md"))?;
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| notification"))
        .collect();
    for row in &rows {
        named_tests_run(&root, row)?;
    }
    let mut files: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(root.join("tests/fixtures/paypal"))? {
        files.push(entry?.file_name().to_string_lossy().into_owned());
    }
    for file in &files {
        let has_a_row = rows.iter().any(|row| row.contains(&format!("`{file}`")));
        assert!(has_a_row, "{file} has no row");
    }
    for row in &rows {
        let words: Vec<&str> = row.split('`').collect();
        let named = words
            .iter()
            .filter(|word| word.split_once('.').is_some_and(|(_, kind)| kind == "txt"));
        for file in named {
            assert!(files.iter().any(|own| own == file), "{file} is not there");
        }
    }
    Ok(())
}

/// Every pair of a file and a test in the last column of a row is a test that runs.
fn named_tests_run(root: &Path, row: &str) -> anyhow::Result<()> {
    let shown_by = row
        .trim_end_matches(" |")
        .rsplit(" | ")
        .next()
        .unwrap_or("");
    if shown_by == "none" {
        return Ok(());
    }
    for pair in shown_by.split("; ") {
        let words: Vec<&str> = pair.split('`').collect();
        let [_, file, _, name, _] = words[..] else {
            anyhow::bail!("not a file and a test: {pair}");
        };
        let code = std::fs::read_to_string(root.join(file))?;
        assert!(code.contains(&format!("fn {name}(")), "{file} lacks {name}");
        assert!(
            is_run(root, file, &code, name)?,
            "{file}: {name} is no test"
        );
    }
    Ok(())
}

/// Whether a function of that name is run as a test: by its attribute, by its line in
/// `on_both_engines!`, or by a contract's suite.
fn is_run(root: &Path, file: &str, code: &str, name: &str) -> anyhow::Result<bool> {
    if has_attribute(code, name) || is_registered(code, name) {
        return Ok(true);
    }
    let Some(suite) = suite_of(file) else {
        return Ok(false);
    };
    let suite = std::fs::read_to_string(root.join(suite))?;
    let module = Path::new(file).file_stem().and_then(|stem| stem.to_str());
    let called = format!("{}::{name}(", module.unwrap_or_default());
    let own = format!("{name}(");
    Ok(suite
        .lines()
        .map(str::trim)
        .any(|line| match line.split_once(": ") {
            // `HELD: name`, an entry of `stories!`.
            Some((_, story)) => story == name,
            None => {
                line.ends_with(".await;") && (line.starts_with(&called) || line.starts_with(&own))
            }
        }))
}

/// The file whose `all` or `stories!` runs the promises of a contract in `file`.
fn suite_of(file: &str) -> Option<&'static str> {
    if file.starts_with("tests/src/contract_shop") {
        Some("tests/src/contract_shop.rs")
    } else if file.starts_with("tests/src/contract/claims") {
        Some("tests/src/contract/claims.rs")
    } else {
        None
    }
}

/// Whether the attributes right above the function say that it is a test.
fn has_attribute(code: &str, name: &str) -> bool {
    let signature = format!("fn {name}(");
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.contains(&signature));
    let above = lines.iter().take(at.unwrap_or(0)).rev();
    above
        .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

/// Whether the function stands in the list of `on_both_engines!`.
fn is_registered(code: &str, name: &str) -> bool {
    let Some((_, rest)) = code.split_once("on_both_engines!(") else {
        return false;
    };
    let listed = rest.split_once(");").map_or(rest, |(list, _)| list);
    listed
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.split(','))
        .any(|entry| entry.trim() == name)
}

#[test]
fn a_function_that_nobody_runs_is_no_test() {
    let code = "on_both_engines!(\n    one,\n    // two,\n);\nasync fn one() {}\nasync fn two() {}\n\
        /// Runs.\n#[test]\nfn three() {}\n\nfn four() {}\n";
    let runs = |name: &str| has_attribute(code, name) || is_registered(code, name);
    assert!(runs("one") && runs("three"));
    assert!(!runs("two") && !runs("four") && !runs("five"));
}
