//! The table of traps names tests; they are there.

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
        let shown_by = row
            .trim_end_matches(" |")
            .rsplit(" | ")
            .next()
            .unwrap_or("");
        if shown_by == "none" {
            continue;
        }
        for pair in shown_by.split("; ") {
            let words: Vec<&str> = pair.split('`').collect();
            let [_, file, _, name, _] = words[..] else {
                anyhow::bail!("not a file and a test: {pair}");
            };
            let code = std::fs::read_to_string(root.join(file))?;
            assert!(code.contains(&format!("fn {name}(")), "{file} lacks {name}");
        }
    }
    assert_eq!(number, TRAPS, "rows in the table");
    Ok(())
}
