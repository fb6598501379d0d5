//! Which product each line is about: the variant that its options select. Pure.
//!
//! It comes before every other check, so that price, order, stock, rules and mails see the variant
//! and know nothing of options.

use std::borrow::Cow;
use std::collections::BTreeSet;

use quittance_common::event::Line;
use quittance_common::ids::Sku;
use quittance_common::notification::{Notification, Reading};
use quittance_common::refusal::RefusalCode;
use quittance_common::variant::{Choice, Selection, Variants};

use super::Refusal;

/// How many combinations of options a refusal tells.
const TOLD: usize = 6;

/// A reading whose lines name products.
#[derive(Debug, Clone)]
pub(super) struct Resolved<'a> {
    /// As it came, where no line was about a variant.
    pub(super) reading: Cow<'a, Reading>,
    /// Of the first line whose options select none of its item's variants. The line is as it came.
    pub(super) mismatch: Option<Refusal>,
    /// Whether there are options that select nothing: the buyer's own text, or a dearer choice that
    /// the catalogue knows nothing of.
    pub(super) has_other_options: bool,
}

impl Resolved<'_> {
    /// The lines, where they are not as they came.
    pub(super) fn changed_lines(&self) -> Option<Vec<Line>> {
        match &self.reading {
            Cow::Borrowed(_) => None,
            Cow::Owned(reading) => Some(reading.data.lines.clone()),
        }
    }
}

/// Puts the variants in the place of the items that `reading` names.
pub(super) fn resolve<'a>(reading: &'a Reading, variants: &Variants) -> Resolved<'a> {
    let mut resolved = Resolved {
        reading: Cow::Borrowed(reading),
        mismatch: None,
        has_other_options: false,
    };
    for (nth, line) in reading.data.lines.iter().enumerate() {
        let options = chosen(line);
        let Some(item) = &line.sku else {
            resolved.has_other_options |= !line.options.is_empty();
            continue;
        };
        match variants.choose(item, &options) {
            Choice::Item => resolved.has_other_options |= !line.options.is_empty(),
            Choice::Variant { sku, exactly } => {
                resolved.has_other_options |= !exactly;
                let lines = &mut resolved.reading.to_mut().data.lines;
                if let Some(line) = lines.get_mut(nth) {
                    line.sku = Some(sku.clone());
                }
            }
            Choice::Nothing => {
                resolved.has_other_options |= !line.options.is_empty();
                let refusal = mismatch(item.as_str(), &options, variants.of(item));
                resolved.mismatch.get_or_insert(refusal);
            }
        }
    }
    resolved
}

/// The items that the message names: [`check`](super::check) will look for their variants.
pub fn items(notification: &Notification) -> BTreeSet<&Sku> {
    let readings = notification.readings.iter();
    let lines = readings.flat_map(|reading| &reading.data.lines);
    lines.filter_map(|line| line.sku.as_ref()).collect()
}

/// The skus that [`check`](super::check) will look for in the catalogue: those of the message, and
/// of the variants that its options select.
pub fn skus(notification: &Notification, variants: &Variants) -> Vec<Sku> {
    let resolved = notification
        .readings
        .iter()
        .filter_map(|reading| resolve(reading, variants).changed_lines())
        .flatten()
        .filter_map(|line| line.sku);
    let named = items(notification).into_iter().cloned();
    let all: BTreeSet<Sku> = named.chain(resolved).collect();
    all.into_iter().collect()
}

/// What the buyer chose.
fn chosen(line: &Line) -> Selection {
    let options = line.options.iter();
    Selection::of(options.map(|(name, selection)| (name.as_str(), selection.as_str())))
}

/// The refusal of `options`. It tells what the catalogue knows; what else was chosen may be what a
/// buyer typed.
fn mismatch<S>(item: &str, options: &Selection, known: &[(Selection, S)]) -> Refusal {
    let names: BTreeSet<&str> = pairs(known).map(|(name, _)| name).collect();
    let found: Vec<String> = names
        .into_iter()
        .map(|name| {
            let mut selected = options.selected(name);
            match (selected.next(), selected.next()) {
                (None, _) => format!("no {name}"),
                (Some(_), Some(_)) => format!("{name} twice"),
                (Some(one), None) if pairs(known).any(|pair| pair == (name, one)) => {
                    format!("{name}={one}")
                }
                (Some(_), None) => format!("{name} unknown"),
            }
        })
        .collect();
    let found = found.join(";");
    let all: Vec<String> = known
        .iter()
        .map(|(options, _)| options.to_string())
        .take(TOLD)
        .collect();
    let more = if known.len() > TOLD { " or others" } else { "" };
    let expected = format!("{}{more}", all.join(" or "));
    Refusal::new(
        RefusalCode::OptionsMismatch,
        format!("item {item} is sold as {expected}, and chosen was {found}"),
    )
    .compared(&expected, &found)
}

fn pairs<S>(known: &[(Selection, S)]) -> impl Iterator<Item = (&str, &str)> {
    known.iter().flat_map(|(options, _)| options.pairs())
}
