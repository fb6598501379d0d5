//! What the demo tells: each scenario, the stock, the mails, and the day in one line.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::scenario::{Outcome, Scenario};
use super::snapshot::Snapshot;
use crate::output::{Form, write_json, write_rows};
use crate::wiring::StockRow;

/// One scenario's result.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Its name.
    pub scenario: &'static str,
    /// What must be seen.
    pub expected: Outcome,
    /// What was seen.
    pub observed: Outcome,
    /// Whether they are the same, and every step could be done.
    pub ok: bool,
    /// The step that could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// For people.
    #[serde(skip)]
    pub story: &'static str,
}

impl Verdict {
    /// Judges what was seen.
    pub fn new(scenario: &Scenario, observed: Outcome, problem: Option<String>) -> Self {
        Self {
            scenario: scenario.name,
            ok: problem.is_none() && observed == scenario.expected,
            expected: scenario.expected.clone(),
            observed,
            problem,
            story: scenario.story,
        }
    }
}

/// The day in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Scenarios played.
    pub scenarios: usize,
    /// Those that came out right.
    pub ok: usize,
    /// Those that did not.
    pub failed: usize,
    /// Messages answered with 200.
    pub accepted: usize,
    /// Payments whose money came in, whatever became of them later.
    pub fulfilled: usize,
    /// Accepted messages that are neither an event in the books nor parked.
    pub duplicates: usize,
    /// Parked messages.
    pub quarantined: usize,
    /// How long the day took.
    pub wall_seconds: f64,
}

impl Summary {
    /// Counts.
    pub fn new(verdicts: &[Verdict], evening: &Snapshot, took: Duration) -> Self {
        let ok = verdicts.iter().filter(|verdict| verdict.ok).count();
        let accepted = verdicts
            .iter()
            .flat_map(|verdict| &verdict.observed.http)
            .filter(|status| **status == 200)
            .count();
        let events: u64 = evening.payments.iter().map(|row| row.events).sum();
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        let quarantined = evening.parked.len();
        let paid = ["completed", "refunded", "partially_refunded", "reversed"];
        Self {
            scenarios: verdicts.len(),
            ok,
            failed: verdicts.len().saturating_sub(ok),
            accepted,
            fulfilled: evening
                .payments
                .iter()
                .filter(|row| paid.contains(&row.status.as_str()))
                .count(),
            duplicates: accepted.saturating_sub(events).saturating_sub(quarantined),
            quarantined,
            wall_seconds: seconds(took),
        }
    }
}

/// Seconds with three decimals. By way of text: a float cannot be rounded to decimals by sums.
fn seconds(took: Duration) -> f64 {
    format!("{}.{:03}", took.as_secs(), took.subsec_millis())
        .parse()
        .unwrap_or_default()
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    summary: &'a Summary,
}

/// One product in the morning and in the evening.
#[derive(Serialize)]
struct Shelf<'a> {
    sku: &'a str,
    before: i64,
    after: i64,
    reserved: i64,
    backordered: i64,
}

/// Writes everything in the form asked for.
pub fn write(
    out: &mut dyn Write,
    form: Form,
    verdicts: &[Verdict],
    (morning, evening): (&BTreeMap<String, StockRow>, &Snapshot),
    summary: &Summary,
) -> io::Result<()> {
    if form == Form::JsonLines {
        verdicts
            .iter()
            .try_for_each(|verdict| write_json(out, verdict))?;
        return write_json(out, &SummaryLine { summary });
    }
    verdicts
        .iter()
        .try_for_each(|verdict| write_verdict(out, verdict))?;
    let shelves: Vec<Shelf<'_>> = evening
        .stock
        .values()
        .map(|row| Shelf {
            sku: &row.sku,
            before: morning.get(&row.sku).map_or(0, |row| row.on_hand),
            after: row.on_hand,
            reserved: row.reserved,
            backordered: row.backordered,
        })
        .collect();
    writeln!(out, "\nStock, before and after")?;
    let columns = ["sku", "before", "after", "reserved", "backordered"];
    write_rows(out, form, &columns, &shelves)?;
    writeln!(out, "\nMails")?;
    write_rows(out, form, &["to", "subject"], &evening.mails)?;
    let Summary {
        scenarios,
        ok,
        failed,
        accepted,
        fulfilled,
        duplicates,
        quarantined,
        wall_seconds,
    } = summary;
    writeln!(
        out,
        "\n{scenarios} scenarios: {ok} as expected, {failed} not. {accepted} messages accepted, \
         {fulfilled} payments fulfilled, {duplicates} duplicates, {quarantined} parked, \
         in {wall_seconds:.1} s."
    )
}

fn write_verdict(out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
    let mark = if verdict.ok { "ok    " } else { "FAILED" };
    writeln!(out, "{mark}  {}: {}", verdict.scenario, verdict.story)?;
    writeln!(out, "        {}", told(&verdict.observed))?;
    if !verdict.ok {
        writeln!(out, "        expected: {}", told(&verdict.expected))?;
    }
    if let Some(problem) = &verdict.problem {
        writeln!(out, "        problem: {problem}")?;
    }
    Ok(())
}

/// An outcome in one line.
fn told(outcome: &Outcome) -> String {
    let statuses: Vec<String> = outcome.http.iter().map(u16::to_string).collect();
    let mut parts = vec![format!("answered {}", statuses.join(" "))];
    if let Some(status) = &outcome.payment {
        parts.push(format!("payment {status}"));
    }
    for (sku, change) in &outcome.stock {
        let counts = [
            ("", change.on_hand),
            (" reserved", change.reserved),
            (" back-ordered", change.backordered),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count != 0)
            .map(|(what, count)| format!("{count:+}{what}"))
            .collect();
        parts.push(format!("{sku} {}", counts.join(" ")));
    }
    if outcome.stock.is_empty() {
        parts.push("stock unchanged".to_owned());
    }
    parts.push(match outcome.mails {
        0 => "no mail".to_owned(),
        1 => "1 mail".to_owned(),
        more => format!("{more} mails"),
    });
    if let Some(text) = &outcome.mail_says {
        parts.push(format!("a mail says \"{text}\""));
    }
    if !outcome.quarantined.is_empty() {
        parts.push(format!("parked: {}", outcome.quarantined.join(", ")));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::day::scenarios;

    fn day(form: Form, spoil: bool) -> String {
        let scenarios = scenarios().unwrap();
        let verdicts: Vec<Verdict> = scenarios
            .iter()
            .map(|scenario| {
                let mut observed = scenario.expected.clone();
                if spoil && scenario.slug == "happy" {
                    observed.mails = 2;
                }
                Verdict::new(scenario, observed, None)
            })
            .collect();
        let (morning, evening) = (BTreeMap::new(), Snapshot::default());
        let summary = Summary::new(&verdicts, &evening, Duration::from_micros(1_985_700));
        let mut out = Vec::new();
        write(&mut out, form, &verdicts, (&morning, &evening), &summary).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_one_object_a_scenario_and_the_summary_last() {
        let text = day(Form::JsonLines, false);
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let (summary, scenarios) = lines.split_last().unwrap();
        for line in scenarios {
            for member in ["scenario", "expected", "observed", "ok"] {
                assert!(!line[member].is_null(), "{member} in {line}");
            }
        }
        assert_eq!(summary["summary"]["scenarios"], scenarios.len());
        assert_eq!(summary["summary"]["ok"], scenarios.len());
        assert_eq!(summary["summary"]["failed"], 0);
        assert_eq!(summary["summary"]["wall_seconds"], 1.985);
    }

    #[test]
    fn a_scenario_that_went_wrong_is_shown_with_what_was_expected() {
        let text = day(Form::Table, true);
        assert!(text.contains("FAILED  happy path"), "{text}");
        assert!(text.contains("DEMO-HAPPY -1; 2 mails"), "{text}");
        assert!(
            text.contains("expected: answered 200; payment completed"),
            "{text}"
        );
        assert!(text.contains(" 1 not."), "{text}");
    }
}
