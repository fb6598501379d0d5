//! Order lists as CSV, and the terms of one order as arguments. Pure.

mod line;

use std::collections::BTreeMap;
use std::io::Read;

pub use line::LineArgument;
use quittance_common::ids::{OrderId, Sku};
use quittance_common::money::Currency;
use quittance_common::order::Order;
use quittance_common::order::wanted::{self, Wanted, WantedError};
use quittance_common::variant::Variants;

use crate::catalogue::{Mistake, Mistakes};

/// The columns that every order list has; `lines` may be missing.
const COLUMNS: [&str; 3] = ["id", "total", "currency"];

/// An order whose lines are not looked up in the catalogue yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The line of the file that it stands on; 0 where there is none.
    line: u64,
    /// Everything but what was ordered.
    terms: Order,
    /// What was ordered.
    wanted: Vec<Wanted>,
}

impl Draft {
    /// Puts a draft together.
    ///
    /// # Errors
    /// What is wrong with the total.
    pub fn new(
        id: OrderId,
        total: &str,
        currency: Currency,
        lines: &[LineArgument],
    ) -> Result<Self, String> {
        let terms = Order::of_terms(id, total, currency, []).map_err(|error| error.to_string())?;
        Ok(Self {
            line: 0,
            terms,
            wanted: lines.iter().map(|line| line.wanted().clone()).collect(),
        })
    }

    /// What is to be looked up.
    pub fn items(&self) -> impl Iterator<Item = &Sku> {
        self.wanted.iter().map(|line| &line.item)
    }

    /// Whether a line names options.
    pub fn has_options(&self) -> bool {
        self.wanted.iter().any(|line| !line.options.is_empty())
    }

    /// The order, with the products that its lines mean.
    ///
    /// # Errors
    /// When one of them means none.
    pub fn order(&self, variants: &Variants) -> Result<Order, WantedError> {
        let mut order = self.terms.clone();
        for (sku, quantity) in wanted::products(&self.wanted, variants)? {
            let count = order.lines.entry(sku).or_default();
            *count = count.saturating_add(quantity);
        }
        Ok(order)
    }
}

/// The orders of a list, or every line that means no product.
///
/// # Errors
/// All mistakes, in the order of their lines.
pub fn orders(drafts: &[Draft], variants: &Variants) -> Result<Vec<Order>, Mistakes> {
    let mut orders = Vec::new();
    let mut mistakes = Vec::new();
    for draft in drafts {
        match draft.order(variants) {
            Ok(order) => orders.push(order),
            Err(error) => mistakes.push(Mistake {
                line: draft.line,
                problem: error.to_string(),
            }),
        }
    }
    if mistakes.is_empty() {
        return Ok(orders);
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    Err(Mistakes(mistakes))
}

/// Reads an order list whole, or tells every mistake in it.
///
/// # Errors
/// All mistakes, in the order of their lines.
pub fn read(source: impl Read) -> Result<Vec<Draft>, Mistakes> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(source);
    let unreadable = |error: &csv::Error| Mistake {
        line: error.position().map_or(0, csv::Position::line),
        problem: error.to_string(),
    };
    let head = match reader.headers() {
        Ok(head) => head.clone(),
        Err(error) => return Err(Mistakes(vec![unreadable(&error)])),
    };
    let missing: Vec<&str> = COLUMNS
        .into_iter()
        .filter(|name| !head.iter().any(|column| column == *name))
        .collect();
    if !missing.is_empty() {
        let problem = format!("the head has no column {}", missing.join(", "));
        return Err(Mistakes(vec![Mistake { line: 1, problem }]));
    }
    let (mut orders, mut mistakes) = (BTreeMap::new(), Vec::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                mistakes.push(unreadable(&error));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let field = |name: &str| {
            let at = head.iter().position(|column| column == name);
            at.and_then(|at| record.get(at)).unwrap_or_default()
        };
        match read_one(field) {
            Ok(draft) => {
                let draft = Draft { line, ..draft };
                if let Some(before) = orders.insert(draft.terms.id.clone(), draft) {
                    let problem = format!("order `{}` is there twice", before.terms.id);
                    mistakes.push(Mistake { line, problem });
                }
            }
            Err(problem) => mistakes.push(Mistake { line, problem }),
        }
    }
    if mistakes.is_empty() {
        Ok(orders.into_values().collect())
    } else {
        Err(Mistakes(mistakes))
    }
}

fn read_one<'a>(field: impl Fn(&str) -> &'a str) -> Result<Draft, String> {
    let id = field("id");
    let id: OrderId = id.parse().map_err(|error| format!("the id {error}"))?;
    let currency: Currency = field("currency")
        .parse()
        .map_err(|error| format!("`{}`: {error}", field("currency")))?;
    let lines = line::lines(field("lines"))
        .into_iter()
        .filter(|line| !line.trim().is_empty())
        .map(str::parse)
        .collect::<Result<Vec<LineArgument>, _>>()?;
    Draft::new(id, field("total"), currency, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::variant::Variant;

    #[test]
    fn a_list_is_read_with_and_without_lines() {
        let drafts = read(
            "id,total,currency,lines\n1001,19.80,EUR,MUG=2; POT=1;MUG=1\n1002,500,JPY,\n"
                .as_bytes(),
        )
        .unwrap();
        let orders = orders(&drafts, &Variants::default()).unwrap();
        assert_eq!(orders.len(), 2);
        assert_eq!(orders[0].lines[&"MUG".parse().unwrap()], 3);
        assert_eq!(orders[1].total.to_string(), "500 JPY");
        assert!(read("id,total,currency\n1001,1.00,EUR\n".as_bytes()).is_ok());
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let mistakes = read(
            "id,total,currency,lines\n,1.00,EUR,\n1,1.001,EUR,\n2,0,EUR,\n3,1.00,EUR,MUG\n\
             4,1.00,EURO,\n5,1.00,EUR,\n5,1.00,EUR,\n"
                .as_bytes(),
        )
        .unwrap_err();
        let lines: Vec<u64> = mistakes.0.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 8], "{mistakes}");
        assert!(read("id,currency\n".as_bytes()).is_err());
    }

    #[test]
    fn lines_with_options_become_the_variants_and_an_unknown_one_is_told_with_its_line() {
        let mut variants = Variants::default();
        let variant = Variant {
            item: "TEE".parse().unwrap(),
            options: "Size=L;Colour=red".parse().unwrap(),
        };
        variants.add("TEE-L-RED".parse().unwrap(), variant);
        let read = |lines: &str| {
            let list = format!("id,total,currency,lines\n1001,39.80,EUR,{lines}\n");
            orders(&read(list.as_bytes()).unwrap(), &variants)
        };
        let order = read("TEE[size=l;colour=RED]=1;TEE-L-RED=1;MUG=1").unwrap();
        assert_eq!(order[0].lines[&"TEE-L-RED".parse().unwrap()], 2);
        assert_eq!(order[0].lines.len(), 2);
        for unknown in ["TEE[Size=M;Colour=red]=1", "TEE=1", "MUG[Size=L]=1"] {
            let Mistakes(mistakes) = read(unknown).unwrap_err();
            assert_eq!(mistakes.len(), 1);
            assert_eq!(mistakes[0].line, 2, "{unknown}");
        }
    }
}
