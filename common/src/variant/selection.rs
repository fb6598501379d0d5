//! Chosen options in one canonical form. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The most bytes of the canonical form of options that select a product: they are in an index.
const LONGEST: usize = 1000;

/// Options as `(name, selection)`: without spaces around them, in lower case, sorted.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selection(BTreeSet<(String, String)>);

/// What a buyer chose may be what he typed.
impl fmt::Debug for Selection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Selection({} options)", self.0.len())
    }
}

/// Why a text is no selection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// Nothing is selected.
    #[error("no option is named, such as `Size=L;Colour=red`")]
    Empty,
    /// One part has no name, no selection, or more than one `=`.
    #[error("`{0}` is not NAME=SELECTION (write `\\;` and `\\=` for these signs themselves)")]
    Part(String),
    /// An option has two selections.
    #[error("the option `{0}` is named twice")]
    Twice(String),
    /// It is longer than what can be found again.
    #[error("the options have more than {LONGEST} bytes")]
    TooLong,
}

impl Selection {
    /// What these pairs mean. Those without name and selection are none.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, selection)| {
            let canonical = |text: &str| text.trim().to_lowercase();
            (canonical(name), canonical(selection))
        });
        Self(
            pairs
                .filter(|(name, selection)| !(name.is_empty() && selection.is_empty()))
                .collect(),
        )
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, selection)| (name.as_str(), selection.as_str()))
    }

    /// Whether all of it is in `other` as well.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The selections of the option `name`, which is in canonical form.
    pub fn selected<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = self.pairs().filter(move |(own, _)| *own == name);
        of_name.map(|(_, selection)| selection)
    }

    /// Whether somebody can choose both at once without choosing one more special than the other.
    pub(super) fn is_confusable(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let is_exclusive = self.pairs().any(|(name, selection)| {
            other
                .selected(name)
                .any(|its_selection| its_selection != selection)
        });
        !is_exclusive && !self.is_within(other) && !other.is_within(self)
    }

    /// Adds a pair as somebody wrote it.
    fn add(&mut self, part: &str) -> Result<(), SelectionError> {
        let problem = || SelectionError::Part(part.trim().to_owned());
        let mut sides = unescaped_parts(part, '=').into_iter();
        let (Some(name), Some(selection), None) = (sides.next(), sides.next(), sides.next()) else {
            return Err(problem());
        };
        let pair = (
            unescaped(name).trim().to_lowercase(),
            unescaped(selection).trim().to_lowercase(),
        );
        if pair.0.is_empty() || pair.1.is_empty() {
            return Err(problem());
        }
        if self.selected(&pair.0).next().is_some() {
            return Err(SelectionError::Twice(pair.0));
        }
        self.0.insert(pair);
        Ok(())
    }
}

/// `Size=L;Colour=red`. A backslash takes the meaning from the sign after it.
impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let mut selection = Self::default();
        for part in unescaped_parts(text, ';') {
            if !part.trim().is_empty() {
                selection.add(part)?;
            }
        }
        if selection.is_empty() {
            return Err(SelectionError::Empty);
        }
        if selection.to_string().len() > LONGEST {
            return Err(SelectionError::TooLong);
        }
        Ok(selection)
    }
}

/// The canonical form: `colour=red;size=l`. Two selections have the same only if they are the same.
impl fmt::Display for Selection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (name, selection)) in self.pairs().enumerate() {
            let separator = if nth == 0 { "" } else { ";" };
            write!(out, "{separator}{}={}", escaped(name), escaped(selection))?;
        }
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        if matches!(sign, '\\' | ';' | '=') {
            out.push('\\');
        }
        out.push(sign);
    }
    out
}

/// Without the backslashes; one at the end stands for itself.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        out.push(match sign {
            '\\' => signs.next().unwrap_or(sign),
            sign => sign,
        });
    }
    out
}

/// The parts of `text` between the `separator`s that no backslash stands before.
fn unescaped_parts(text: &str, separator: char) -> Vec<&str> {
    let mut is_escaped = false;
    text.split(move |sign| {
        let separates = sign == separator && !is_escaped;
        is_escaped = sign == '\\' && !is_escaped;
        separates
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_canonical_form_is_trimmed_in_lower_case_and_sorted() {
        let read: Selection = " Size = XL ; Größe=ÜBER;Colour=light  blue "
            .parse()
            .unwrap();
        assert_eq!(read.to_string(), "colour=light  blue;größe=über;size=xl");
        assert_eq!(
            read,
            Selection::of([
                ("colour", "Light  Blue"),
                ("SIZE", "xl"),
                ("größe", "über"),
                ("", "")
            ])
        );
    }

    #[test]
    fn what_is_no_selection_is_told() {
        let error = |text: &str| text.parse::<Selection>().unwrap_err();
        assert_eq!(error(" ; "), SelectionError::Empty);
        for part in ["Size", "Size=", "=L", "Size=L=XL"] {
            assert_eq!(error(part), SelectionError::Part(part.to_owned()));
        }
        assert_eq!(
            error("Size=L;size=M"),
            SelectionError::Twice("size".to_owned())
        );
        let long = format!("Size={}", "x".repeat(LONGEST));
        assert_eq!(error(&long), SelectionError::TooLong);
    }

    #[test]
    fn no_text_of_a_buyer_is_in_debug_output() {
        let typed = Selection::of([("Engraving", "for Ada Muster")]);
        assert!(!format!("{typed:?}").to_lowercase().contains("ada"));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_read_again_as_the_same(
            pairs in proptest::collection::btree_map("[a-c;=\\\\\\]]{1,4}", "[a-c;=\\\\\\]]{1,4}", 1..4)
        ) {
            let pairs = pairs.iter().map(|(name, selection)| (name.as_str(), selection.as_str()));
            let selection = Selection::of(pairs);
            prop_assert_eq!(selection.to_string().parse::<Selection>(), Ok(selection));
        }
    }
}
