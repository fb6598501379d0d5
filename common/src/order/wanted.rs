//! What a shop orders in its own words: an item, with the options that make it a variant. Pure.
//!
//! An order is registered and signed with the skus of variants, so that whatever is compared with
//! it later compares quantities of products and nothing else.

use crate::ids::Sku;
use crate::variant::{Choice, Selection, Variants};

/// How many combinations of options an error tells.
const TOLD: usize = 6;

/// One line of an order before its options are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// A product's sku, or an item that has variants.
    pub item: Sku,
    /// Which variant; empty where `item` is the product.
    pub options: Selection,
    /// How many.
    pub quantity: u64,
}

/// Why a line of an order names no product.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WantedError {
    /// No variant has exactly these options.
    #[error("item `{item}` has no variant with exactly the options `{options}`; it has {known}")]
    NoVariant {
        /// The item.
        item: Sku,
        /// The shop's own words.
        options: String,
        /// Those that it has.
        known: String,
    },
    /// The item has variants, and none is named: no payment could ever be for it.
    #[error("item `{item}` has variants: name one by its sku or by its options; it has {known}")]
    Unsaid {
        /// The item.
        item: Sku,
        /// Those that it has.
        known: String,
    },
    /// Options of an item that has no variants.
    #[error(
        "item `{0}` has no variants in the catalogue: import them (`quittance stock import`), or \
         name it without options"
    )]
    NoVariants(Sku),
}

impl Wanted {
    /// The product that is meant. Unlike a payment's, an order's options all select: it has no
    /// buyer's text.
    ///
    /// # Errors
    /// When none is.
    pub fn sku<'a>(&'a self, variants: &'a Variants) -> Result<&'a Sku, WantedError> {
        let (item, options) = (&self.item, &self.options);
        match variants.choose(item, options) {
            Choice::Item if options.is_empty() => Ok(item),
            Choice::Item => Err(WantedError::NoVariants(item.clone())),
            Choice::Variant { sku, exactly: true } => Ok(sku),
            Choice::Variant { .. } | Choice::Nothing if !options.is_empty() => {
                Err(WantedError::NoVariant {
                    item: item.clone(),
                    options: options.to_string(),
                    known: known(item, variants),
                })
            }
            Choice::Variant { .. } | Choice::Nothing => Err(WantedError::Unsaid {
                item: item.clone(),
                known: known(item, variants),
            }),
        }
    }
}

/// Each line as the product and how many of it.
///
/// # Errors
/// Of the first line that names no product.
pub fn products(wanted: &[Wanted], variants: &Variants) -> Result<Vec<(Sku, u64)>, WantedError> {
    let lines = wanted.iter();
    lines
        .map(|line| Ok((line.sku(variants)?.clone(), line.quantity)))
        .collect()
}

/// `TEE-L-RED` (`colour=red;size=l`) and so on, for people.
fn known(item: &Sku, variants: &Variants) -> String {
    let all = variants.of(item);
    let told: Vec<String> = all
        .iter()
        .take(TOLD)
        .map(|(options, sku)| format!("`{sku}` ({options})"))
        .collect();
    let more = if all.len() > TOLD { ", ..." } else { "" };
    format!("{}{more}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::Variant;

    fn variants() -> Variants {
        let mut variants = Variants::default();
        for (sku, options) in [("TEE-L", "Size=L"), ("TEE-M", "Size=M")] {
            let variant = Variant {
                item: "TEE".parse().unwrap(),
                options: options.parse().unwrap(),
            };
            variants.add(sku.parse().unwrap(), variant);
        }
        variants
    }

    fn wanted(item: &str, options: &str) -> Wanted {
        Wanted {
            item: item.parse().unwrap(),
            options: options.parse().unwrap_or_default(),
            quantity: 1,
        }
    }

    #[test]
    fn a_line_names_a_product_by_its_sku_or_by_options_that_all_select() {
        let variants = variants();
        let sku = |item, options| {
            let wanted = wanted(item, options);
            let sku = wanted.sku(&variants)?;
            Ok::<String, WantedError>(sku.to_string())
        };
        assert_eq!(sku("TEE", "size=m").unwrap(), "TEE-M");
        assert_eq!(sku("TEE-M", "").unwrap(), "TEE-M");
        assert_eq!(sku("MUG", "").unwrap(), "MUG");
        assert!(matches!(sku("TEE", ""), Err(WantedError::Unsaid { .. })));
        assert!(matches!(
            sku("MUG", "Size=M"),
            Err(WantedError::NoVariants(_))
        ));
        for unknown in ["Size=S", "Size=M;Gift=yes"] {
            let error = sku("TEE", unknown).unwrap_err();
            assert!(matches!(error, WantedError::NoVariant { .. }));
            assert!(error.to_string().contains("`TEE-L` (size=l), `TEE-M`"));
        }
    }
}
