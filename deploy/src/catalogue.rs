//! Reading a product list: CSV with the head `sku,name,price,currency,on_hand`, in any order, and
//! perhaps `item_number,options` for variants. Every mistake is found and named by its line before
//! anything is imported.

mod variants;

use std::collections::HashMap;
use std::fmt;
use std::io::Read;

use quittance_common::ids::Sku;
use quittance_common::money::{Currency, Money};
use quittance_common::shop::VariantChanges;
use variants::VariantColumns;

/// The columns that a product list must have.
const COLUMNS: [&str; 5] = ["sku", "name", "price", "currency", "on_hand"];

/// One product of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// What `item_number` says at the gateway.
    pub sku: Sku,
    /// For people.
    pub name: String,
    /// The price of one.
    pub price: Money,
    /// How many are in stock.
    pub on_hand: u32,
}

/// A product list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// In the order of the lines.
    pub products: Vec<Product>,
    /// What they are variants of; empty when the list does not say.
    pub variants: VariantChanges,
}

/// One thing that is wrong with a product list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line of the file, counted from 1.
    pub line: u64,
    /// What is wrong there.
    pub problem: String,
}

/// Everything that is wrong with a product list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "nothing was imported; the product list has mistakes:")?;
        for Mistake { line, problem } in &self.0 {
            write!(out, "\nline {line}: {problem}")?;
        }
        Ok(())
    }
}

/// Reads a product list whole, or tells every mistake in it.
///
/// # Errors
/// All mistakes, in the order of their lines.
pub fn read(source: impl Read) -> Result<Catalogue, Mistakes> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(source);
    let columns = columns(&mut reader).map_err(|mistake| Mistakes(vec![mistake]))?;
    let variant_columns = match reader.headers() {
        Ok(head) => VariantColumns::of(head),
        Err(error) => Err(unreadable(&error)),
    };
    let variant_columns = variant_columns.map_err(|mistake| Mistakes(vec![mistake]))?;
    let mut products = Vec::new();
    let mut variants = VariantChanges::new();
    let mut mistakes = Vec::new();
    let mut seen: HashMap<Sku, u64> = HashMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                mistakes.push(unreadable(&error));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let mut mistaken = |problem| mistakes.push(Mistake { line, problem });
        let variant = variant_columns.map(|columns| columns.read(&record));
        let variant = variant.transpose().map_err(&mut mistaken).ok().flatten();
        match product(&record, columns) {
            Ok(product) => {
                if let Some(first) = seen.insert(product.sku.clone(), line) {
                    mistaken(format!("sku `{}` is on line {first} already", product.sku));
                }
                variants.extend(variant.map(|variant| (product.sku.clone(), variant)));
                products.push(product);
            }
            Err(problems) => problems.into_iter().for_each(mistaken),
        }
    }
    mistakes.extend(variants::confused(&variants, &seen));
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() {
        Ok(Catalogue { products, variants })
    } else {
        Err(Mistakes(mistakes))
    }
}

/// Where each of [`COLUMNS`] is.
fn columns<R: Read>(reader: &mut csv::Reader<R>) -> Result<[usize; 5], Mistake> {
    let head = reader.headers().map_err(|error| unreadable(&error))?;
    let place = COLUMNS.map(|name| head.iter().position(|column| column == name));
    let missing: Vec<&str> = COLUMNS
        .iter()
        .zip(place)
        .filter(|(_, at)| at.is_none())
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        Ok(place.map(Option::unwrap_or_default))
    } else {
        Err(Mistake {
            line: 1,
            problem: format!(
                "the head has no column {}; it must have {}",
                missing.join(", "),
                COLUMNS.join(",")
            ),
        })
    }
}

/// Reads one record, or says everything that is wrong with it.
fn product(record: &csv::StringRecord, columns: [usize; 5]) -> Result<Product, Vec<String>> {
    let [sku, name, price, currency, on_hand] =
        columns.map(|at| record.get(at).unwrap_or_default());
    let sku = sku.parse::<Sku>().map_err(|error| format!("sku {error}"));
    let price = currency
        .parse::<Currency>()
        .map_err(|error| format!("currency `{currency}`: {error}"))
        .and_then(|currency| {
            Money::parse(price, currency).map_err(|error| format!("price `{price}`: {error}"))
        })
        .and_then(|money| {
            if money.minor() < 0 {
                Err(format!("price `{price}` is below zero"))
            } else {
                Ok(money)
            }
        });
    let on_hand = on_hand
        .parse::<u32>()
        .map_err(|_| format!("on_hand `{on_hand}` is not a whole number of 0 or more"));
    match (sku, price, on_hand) {
        (Ok(sku), Ok(price), Ok(on_hand)) => Ok(Product {
            sku,
            name: name.to_owned(),
            price,
            on_hand,
        }),
        (sku, price, on_hand) => Err([sku.err(), price.err(), on_hand.err()]
            .into_iter()
            .flatten()
            .collect()),
    }
}

/// A record that the CSV reader itself refuses.
fn unreadable(error: &csv::Error) -> Mistake {
    let line = error.position().map_or(0, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("has {len} fields in place of {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    Mistake { line, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Vec<(u64, String)> {
        let Mistakes(mistakes) = read(text.as_bytes()).unwrap_err();
        mistakes.into_iter().map(|m| (m.line, m.problem)).collect()
    }

    #[test]
    fn a_list_is_read_whatever_the_order_of_its_columns() {
        let Catalogue { products, variants } =
            read("name,sku,on_hand,currency,price\n\"Mug, blue\",MUG-1,12,EUR,9.90\n".as_bytes())
                .unwrap();
        assert!(variants.is_empty(), "what is not said stays as it is");
        assert_eq!(products.len(), 1);
        assert_eq!(products[0].name, "Mug, blue");
        assert_eq!(products[0].price.value(), "9.90");
        assert_eq!(products[0].on_hand, 12);
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let mistakes = lines_of(
            "sku,name,price,currency,on_hand\n\
             A,ok,1.00,EUR,1\n\
             ,no sku,1.00,EUR,-1\n\
             C,bad price,1.234,EUR,1\n\
             D,short\n\
             A,again,1.00,EUR,1\n\
             F,refund,-1.00,EUR,1\n\
             G,euro,1.00,EURO,1\n",
        );
        let lines: Vec<u64> = mistakes.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 3, 4, 5, 6, 7, 8]);
        assert!(mistakes[0].1.contains("sku is empty"));
        assert!(mistakes[1].1.contains("on_hand `-1`"));
        assert!(mistakes[4].1.contains("line 2 already"));
        assert!(mistakes[6].1.contains("currency `EURO`"));
    }

    #[test]
    fn a_missing_column_is_named() {
        let mistakes = lines_of("sku,name,price\nA,b,1.00\n");
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].1.contains("no column currency, on_hand"));
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_a_mistake_and_no_end() {
        let Mistakes(mistakes) =
            read(&b"sku,name,price,currency,on_hand\nA,J\xf6rg,1.00,EUR,1\nB,b,x,EUR,1\n"[..])
                .unwrap_err();
        assert_eq!(mistakes.len(), 2);
        assert_eq!(mistakes[0].problem, "is not UTF-8");
        assert_eq!(mistakes[1].line, 3);
    }
}
