//! That the list of codes is complete: what the sources raise stands in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use quittance_common::codes;
use quittance_common::shop::flags;

/// Where a check refuses, and where flags are raised.
const PLACES: [&str; 7] = [
    "verifier/src/checks.rs",
    "verifier/src/checks",
    "fulfiller/src/payment.rs",
    "fulfiller/src/payment",
    "common/src/gateway/paypal",
    "common/src/shop/books",
    "common/src/gateway.rs",
];

/// What a code is an argument of.
/// (The codes of refusals are a closed set of their own.)
const RAISED_BY: [&str; 4] = ["Reason::of(", "flags.insert(", "flags.push(", "flag("];

/// Why the gateway is asked once more: nothing is parked for these.
const WAITS: [&str; 5] = [
    "empty_answer",
    "html_answer",
    "http_status",
    "redirect",
    "unexpected_answer",
];

fn sources(place: &Path, found: &mut Vec<PathBuf>) {
    if place.is_dir() {
        for entry in fs::read_dir(place).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if !place.ends_with("tests.rs") && !place.iter().any(|part| part == "tests") {
        found.push(place.to_owned());
    }
}

/// The arguments of a call, from behind its parenthesis.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    let end = text.find(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    text.get(..end.unwrap_or(text.len())).unwrap()
}

fn raised() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for place in PLACES {
        sources(&root.join(place), &mut files);
    }
    let mut codes = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for call in RAISED_BY {
            for (at, _) in text.match_indices(call) {
                let literals = arguments(text.get(at + call.len()..).unwrap()).split('"');
                // Every second piece stands between quotes.
                let literals = literals.skip(1).step_by(2);
                let is_code = |word: &&str| {
                    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                };
                codes.extend(literals.filter(is_code).map(str::to_owned));
            }
        }
    }
    codes
}

#[test]
fn every_code_that_the_sources_raise_is_in_the_list_and_every_flag_in_its_table() {
    let raised = raised();
    assert!(raised.len() > 30, "{raised:?}");
    for found in ["over_captured", "backorder", "cart_count_differs"] {
        assert!(raised.contains(found), "{found}: {raised:?}");
    }
    let known = codes::all();
    let unknown: Vec<&String> = raised
        .iter()
        .filter(|code| !known.contains(code.as_str()) && !WAITS.contains(&code.as_str()))
        .collect();
    assert!(unknown.is_empty(), "in no list: {unknown:?}");
    let names: BTreeSet<&str> = flags::ALL.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), flags::ALL.len(), "a flag twice");
}
