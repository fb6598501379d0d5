//! The columns of a product list that say which products are variants of one item. Pure.

use std::collections::HashMap;

use quittance_common::ids::Sku;
use quittance_common::shop::VariantChanges;
use quittance_common::variant::{Selection, Variant, Variants};

use super::Mistake;

/// The columns that a list of variants has: both or neither.
const COLUMNS: [&str; 2] = ["item_number", "options"];

/// Where [`COLUMNS`] are.
#[derive(Debug, Clone, Copy)]
pub(super) struct VariantColumns {
    item: usize,
    options: usize,
}

impl VariantColumns {
    /// `None` when the list says nothing about variants.
    pub(super) fn of(head: &csv::StringRecord) -> Result<Option<Self>, Mistake> {
        let [item, options] = COLUMNS.map(|name| head.iter().position(|column| column == name));
        match (item, options) {
            (None, None) => Ok(None),
            (Some(item), Some(options)) => Ok(Some(Self { item, options })),
            (None, Some(_)) | (Some(_), None) => Err(Mistake {
                line: 1,
                problem: "the head has one of the columns item_number, options: it must have both \
                          or neither"
                    .to_owned(),
            }),
        }
    }

    /// What the product of `record` is a variant of; `None` when it is none.
    pub(super) fn read(self, record: &csv::StringRecord) -> Result<Option<Variant>, String> {
        let field = |at| record.get(at).unwrap_or_default();
        let (item, options) = (field(self.item), field(self.options));
        if item.is_empty() && options.is_empty() {
            return Ok(None);
        }
        if item.is_empty() {
            return Err("options without the item_number that they are of".to_owned());
        }
        let item: Sku = item
            .parse()
            .map_err(|error| format!("item_number {error}"))?;
        let options: Selection = options
            .parse()
            .map_err(|error| format!("options of `{item}`: {error}"))?;
        Ok(Some(Variant { item, options }))
    }
}

/// Those variants of a list that contradict one another, by the later line. `lines` says where each
/// product stands.
pub(super) fn confused(changes: &VariantChanges, lines: &HashMap<Sku, u64>) -> Vec<Mistake> {
    let line = |sku: &Sku| lines.get(sku).copied().unwrap_or_default();
    let said = || {
        let said = changes.iter();
        said.filter_map(|(sku, variant)| Some((sku, variant.as_ref()?)))
    };
    let mut mistakes = Vec::new();
    let mut items: HashMap<&Sku, Variants> = HashMap::new();
    let mut sorted: Vec<(&Sku, &Variant)> = said().collect();
    sorted.sort_by_key(|(sku, _)| line(sku));
    for (sku, variant) in sorted {
        let known = items.entry(&variant.item).or_default();
        let mut with = known.clone();
        with.add(sku.clone(), variant.clone());
        match with.unambiguous() {
            Ok(()) => *known = with,
            Err(error) => {
                let other = if error.one == *sku {
                    &error.other
                } else {
                    &error.one
                };
                mistakes.push(Mistake {
                    line: line(sku),
                    problem: format!(
                        "the options may mean `{other}` of line {} as well: both are variants of \
                         `{}`, and a buyer can choose both at once",
                        line(other),
                        variant.item
                    ),
                });
            }
        }
    }
    for (sku, _) in said() {
        if items.contains_key(sku) {
            mistakes.push(Mistake {
                line: line(sku),
                problem: format!("`{sku}` is a variant, and has variants itself"),
            });
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use crate::catalogue::{Catalogue, Mistakes, read};

    const HEAD: &str = "sku,name,price,currency,on_hand,item_number,options\n";

    #[test]
    fn variants_are_read_and_a_product_without_options_is_none() {
        let list = format!(
            "{HEAD}TEE-L-RED,Tee red L,19.90,EUR,5,TEE,\"Size=L;Colour=red\"\nMUG,Mug,9.90,EUR,1,,\n"
        );
        let Catalogue { products, variants } = read(list.as_bytes()).unwrap();
        assert_eq!(products.len(), 2);
        let variant = variants[&"TEE-L-RED".parse().unwrap()].as_ref().unwrap();
        assert_eq!(variant.item.as_str(), "TEE");
        assert_eq!(variant.options.to_string(), "colour=red;size=l");
        assert_eq!(variants[&"MUG".parse().unwrap()], None);
    }

    #[test]
    fn every_mistake_about_variants_is_told_with_its_line() {
        let list = format!(
            "{HEAD}A,a,1.00,EUR,1,TEE,Size=L\nB,b,1.00,EUR,1,TEE,Size\nC,c,1.00,EUR,1,,Size=L\n\
             D,d,1.00,EUR,1,TEE,\nE,e,1.00,EUR,1,TEE,size= l\nF,f,1.00,EUR,1,TEE,Colour=red\n\
             G,g,1.00,EUR,x,TEE,Size=XL;Size=L\nH,h,1.00,EUR,1,A,Size=S\nI,i,1.00,EUR,1,TEE,Size=M\n"
        );
        let Mistakes(mistakes) = read(list.as_bytes()).unwrap_err();
        let told: Vec<(u64, &str)> = mistakes
            .iter()
            .map(|mistake| (mistake.line, mistake.problem.as_str()))
            .collect();
        let lines: Vec<u64> = told.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8, 8], "{told:?}");
        for (nth, words) in [
            (0, "has variants itself"),
            (1, "NAME=SELECTION"),
            (2, "without the item_number"),
            (3, "no option is named"),
            (4, "`A` of line 2"),
            (5, "`A` of line 2"),
            (6, "named twice"),
            (7, "on_hand `x`"),
        ] {
            assert!(told[nth].1.contains(words), "{:?}", told[nth]);
        }
    }

    #[test]
    fn one_of_the_two_columns_alone_is_a_mistake() {
        let list = "sku,name,price,currency,on_hand,options\nA,a,1.00,EUR,1,Size=L\n";
        let Mistakes(mistakes) = read(list.as_bytes()).unwrap_err();
        assert_eq!(mistakes[0].line, 1);
        assert!(mistakes[0].problem.contains("both"));
    }
}
