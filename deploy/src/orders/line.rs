//! One line of an order as an argument: `SKU=QTY`, or `ITEM[OPTIONS]=QTY` for a variant. Pure.

use std::fmt;
use std::str::FromStr;

use quittance_common::order::wanted::Wanted;
use quittance_common::variant::Selection;

/// `MUG=2` or `TEE[Size=L;Colour=red]=1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineArgument(Wanted);

impl LineArgument {
    /// What is wanted.
    pub const fn wanted(&self) -> &Wanted {
        &self.0
    }
}

impl FromStr for LineArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem =
            || format!("`{text}` is not SKU=QTY, such as `MUG=2` or `TEE[Size=L;Colour=red]=1`");
        let (item, quantity) = text.rsplit_once('=').ok_or_else(problem)?;
        let quantity: u32 = quantity.trim().parse().map_err(|_| problem())?;
        if quantity == 0 {
            return Err(problem());
        }
        let (item, options) = match with_options(item.trim()) {
            Some((item, options)) => {
                let options: Selection = options
                    .parse()
                    .map_err(|error| format!("`{text}`: {error}"))?;
                (item, options)
            }
            None => (item, Selection::default()),
        };
        Ok(Self(Wanted {
            item: item.trim().parse().map_err(|_| problem())?,
            options,
            quantity: u64::from(quantity),
        }))
    }
}

impl fmt::Display for LineArgument {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wanted {
            item,
            options,
            quantity,
        } = &self.0;
        if options.is_empty() {
            write!(out, "{item}={quantity}")
        } else {
            write!(out, "{item}[{options}]={quantity}")
        }
    }
}

/// The item and what stands in brackets after it. Brackets without an `=` are part of a sku.
fn with_options(item: &str) -> Option<(&str, &str)> {
    let (item, options) = item.strip_suffix(']')?.split_once('[')?;
    options.contains('=').then_some((item, options))
}

/// The lines of a list: parted by `;`, but for those in the brackets of options.
pub(super) fn lines(list: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let end = end_of_line(rest);
        let (line, after) = rest.split_at(end);
        lines.push(line);
        rest = after.strip_prefix(';').unwrap_or_default();
    }
    lines
}

/// Where the first line of `list` ends.
fn end_of_line(list: &str) -> usize {
    let whole = list.len();
    let plain = list.find(';').unwrap_or(whole);
    match list.find('[') {
        // Options end where a quantity follows; without one they are no options.
        Some(open) if open < plain => list
            .match_indices("]=")
            .find(|(close, _)| *close > open)
            .and_then(|(close, _)| {
                let after = list.get(close..)?.find(';');
                Some(after.map_or(whole, |after| close.saturating_add(after)))
            })
            .unwrap_or(plain),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String, u64) {
        let Wanted {
            item,
            options,
            quantity,
        } = text.parse::<LineArgument>().unwrap().0;
        (item.to_string(), options.to_string(), quantity)
    }

    #[test]
    fn a_line_names_a_product_or_an_item_with_options() {
        let row = |item: &str, options: &str, n| (item.to_owned(), options.to_owned(), n);
        assert_eq!(read("MUG=2"), row("MUG", "", 2));
        assert_eq!(
            read(" TEE [Size=L; Colour=red] = 1"),
            row("TEE", "colour=red;size=l", 1)
        );
        assert_eq!(read("A[1]=3"), row("A[1]", "", 3), "a sku with brackets");
        let line: LineArgument = r"TEE[Size=L\=XL\;]=1".parse().unwrap();
        assert_eq!(line.to_string(), r"TEE[size=l\=xl\;]=1");
        assert_eq!(line.to_string().parse(), Ok(line));
        for wrong in [
            "TEE[Size=L]",
            "TEE[Size=L]=0",
            "TEE[=L]=1",
            "[Size=L]=1",
            "MUG",
        ] {
            assert!(wrong.parse::<LineArgument>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_parted_outside_of_options_only() {
        assert_eq!(
            lines("TEE[Size=L;Colour=red]=1; MUG=2;TEE[Size=M;Colour=red]=3"),
            [
                "TEE[Size=L;Colour=red]=1",
                " MUG=2",
                "TEE[Size=M;Colour=red]=3"
            ]
        );
        assert_eq!(lines("MUG=2;POT=1;"), ["MUG=2", "POT=1"]);
        assert_eq!(lines("A[B=1;C=2"), ["A[B=1", "C=2"]);
        assert!(lines("").is_empty());
    }
}
