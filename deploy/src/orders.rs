//! Order lists as CSV, and the terms of one order as arguments. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::str::FromStr;

use quittance_common::ids::{OrderId, Sku};
use quittance_common::money::Currency;
use quittance_common::order::Order;

use crate::catalogue::{Mistake, Mistakes};

/// The columns that every order list has; `lines` may be missing.
const COLUMNS: [&str; 3] = ["id", "total", "currency"];

/// `SKU=QTY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineArgument {
    sku: Sku,
    quantity: u64,
}

impl FromStr for LineArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` is not SKU=QTY, such as `MUG=2`");
        let (sku, quantity) = text.rsplit_once('=').ok_or_else(problem)?;
        let quantity: u32 = quantity.trim().parse().map_err(|_| problem())?;
        if quantity == 0 {
            return Err(problem());
        }
        Ok(Self {
            sku: sku.trim().parse().map_err(|_| problem())?,
            quantity: u64::from(quantity),
        })
    }
}

impl fmt::Display for LineArgument {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.sku, self.quantity)
    }
}

/// Puts an order together.
///
/// # Errors
/// What is wrong with the total.
pub fn order(
    id: OrderId,
    total: &str,
    currency: Currency,
    lines: &[LineArgument],
) -> Result<Order, String> {
    let lines = lines.iter().map(|line| (line.sku.clone(), line.quantity));
    Order::of_terms(id, total, currency, lines).map_err(|error| error.to_string())
}

/// Reads an order list whole, or tells every mistake in it.
///
/// # Errors
/// All mistakes, in the order of their lines.
pub fn read(source: impl Read) -> Result<Vec<Order>, Mistakes> {
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
            Ok(order) => {
                if let Some(before) = orders.insert(order.id.clone(), order) {
                    let problem = format!("order `{}` is there twice", before.id);
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

fn read_one<'a>(field: impl Fn(&str) -> &'a str) -> Result<Order, String> {
    let id = field("id");
    let id: OrderId = id.parse().map_err(|error| format!("the id {error}"))?;
    let currency: Currency = field("currency")
        .parse()
        .map_err(|error| format!("`{}`: {error}", field("currency")))?;
    let lines = field("lines")
        .split(';')
        .filter(|line| !line.trim().is_empty())
        .map(str::parse)
        .collect::<Result<Vec<LineArgument>, _>>()?;
    order(id, field("total"), currency, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_and_without_lines() {
        let orders = read(
            "id,total,currency,lines\n1001,19.80,EUR,MUG=2; POT=1;MUG=1\n1002,500,JPY,\n"
                .as_bytes(),
        )
        .unwrap();
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
}
