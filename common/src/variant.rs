//! Variants: which product the options of an item select (colour, size). Pure.
//!
//! `item_number` names the item, `option_nameK` and `option_selectionK` what the buyer chose (IPN
//! and PDT variables, developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables). The catalogue says
//! which product each combination is: that one has the price and the stock. Options beyond those
//! that select (an engraving) are the buyer's own text: they never become part of a key.

mod selection;

use std::collections::HashMap;

pub use selection::{Selection, SelectionError};

use crate::ids::Sku;

/// What makes a product the variant of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// What `item_number` says.
    pub item: Sku,
    /// The options that select it.
    pub options: Selection,
}

/// Two variants of one item between which a buyer's choice may leave open which is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{one}` and `{other}` are variants of `{item}` that one choice of options can mean both: \
     give each an option that the other has with another selection"
)]
pub struct Ambiguous {
    /// The item.
    pub item: Sku,
    /// One product.
    pub one: Sku,
    /// The other.
    pub other: Sku,
}

/// What an item and options come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The item has no variants: it is the product itself.
    Item,
    /// The variant that the options select.
    Variant {
        /// The product.
        sku: &'a Sku,
        /// Whether there is no option beyond those that select.
        exactly: bool,
    },
    /// The item has variants, and the options select none of them.
    Nothing,
}

/// The variants of some items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variants(HashMap<Sku, Vec<(Selection, Sku)>>);

impl Variants {
    /// Adds the product `sku`.
    pub fn add(&mut self, sku: Sku, variant: Variant) {
        let Variant { item, options } = variant;
        self.0.entry(item).or_default().push((options, sku));
    }

    /// The combinations of `item` that are known, each with its product; empty when it has none.
    pub fn of(&self, item: &Sku) -> &[(Selection, Sku)] {
        self.0.get(item).map_or(&[], Vec::as_slice)
    }

    /// Which product `options` make of `item`. Of several variants that all of them select the most
    /// special is meant: the one that has the options of every other.
    pub fn choose(&self, item: &Sku, options: &Selection) -> Choice<'_> {
        let known = self.of(item);
        if known.is_empty() {
            return Choice::Item;
        }
        let fitting = || known.iter().filter(|(own, _)| own.is_within(options));
        let most = fitting().find(|(own, sku)| {
            fitting().all(|(other, its)| its == sku || (other != own && other.is_within(own)))
        });
        most.map_or(Choice::Nothing, |(own, sku)| Choice::Variant {
            sku,
            exactly: own == options,
        })
    }

    /// Two variants that one choice could mean both, where neither is the more special one.
    ///
    /// # Errors
    /// The first such pair.
    pub fn unambiguous(&self) -> Result<(), Ambiguous> {
        for (item, known) in &self.0 {
            let mut rest = known.iter();
            while let Some((options, one)) = rest.next() {
                let other = rest.clone().find(|(other, _)| options.is_confusable(other));
                if let Some((_, other)) = other {
                    let (one, other) = (one.min(other), one.max(other));
                    return Err(Ambiguous {
                        item: item.clone(),
                        one: one.clone(),
                        other: other.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(text: &str) -> Sku {
        text.parse().unwrap()
    }

    fn options(text: &str) -> Selection {
        if text.is_empty() {
            return Selection::default();
        }
        text.parse().unwrap()
    }

    fn variants(of_tee: &[(&str, &str)]) -> Variants {
        let mut variants = Variants::default();
        for (product, text) in of_tee {
            let (item, options) = (sku("TEE"), options(text));
            variants.add(sku(product), Variant { item, options });
        }
        variants
    }

    fn chosen(variants: &Variants, text: &str) -> Option<(String, bool)> {
        match variants.choose(&sku("TEE"), &options(text)) {
            Choice::Variant { sku, exactly } => Some((sku.to_string(), exactly)),
            Choice::Nothing => None,
            Choice::Item => panic!("TEE has variants"),
        }
    }

    #[test]
    fn options_select_the_variant_that_has_them_whatever_their_order_case_and_spaces() {
        let tee = variants(&[
            ("TEE-L-RED", "Size=L;Colour=red"),
            ("TEE-M-RED", "Size=M;Colour=red"),
        ]);
        let large = Some(("TEE-L-RED".to_owned(), true));
        assert_eq!(chosen(&tee, "Size=L;Colour=red"), large);
        assert_eq!(chosen(&tee, " COLOUR = Red ; size=l "), large);
        for other in ["", "Size=L", "Size=S;Colour=red", "Colour=L;Size=red"] {
            assert_eq!(chosen(&tee, other), None, "{other}");
        }
        let mug = tee.choose(&sku("MUG"), &options("Size=L"));
        assert_eq!(mug, Choice::Item);
    }

    #[test]
    fn what_selects_nothing_is_the_buyers_own_text() {
        let tee = variants(&[("TEE-L", "Size=L"), ("TEE-M", "Size=M")]);
        let engraved = Some(("TEE-L".to_owned(), false));
        assert_eq!(chosen(&tee, "Size=L;Engraving=for Ada"), engraved);
    }

    #[test]
    fn of_several_that_fit_the_most_special_is_meant() {
        let tee = variants(&[
            ("TEE-L", "Size=L"),
            ("TEE-L-GOLD", "Size=L;Colour=gold"),
            ("TEE-M", "Size=M"),
        ]);
        assert_eq!(tee.unambiguous(), Ok(()));
        assert_eq!(
            chosen(&tee, "Size=L;Colour=gold"),
            Some(("TEE-L-GOLD".to_owned(), true))
        );
        assert_eq!(
            chosen(&tee, "Size=L;Colour=red"),
            Some(("TEE-L".to_owned(), false))
        );
    }

    #[test]
    fn a_choice_that_means_two_means_none_and_such_variants_are_told() {
        let tee = variants(&[("TEE-L", "Size=L"), ("TEE-RED", "Colour=red")]);
        assert_eq!(chosen(&tee, "Size=L;Colour=red"), None);
        let told = tee.unambiguous().unwrap_err();
        assert_eq!(
            (told.one.as_str(), told.other.as_str()),
            ("TEE-L", "TEE-RED")
        );
        let same = variants(&[("A", "Size=L"), ("B", "size=l")]);
        assert!(same.unambiguous().is_err());
        assert_eq!(chosen(&same, "Size=L"), None);
    }

    #[test]
    fn a_name_that_is_chosen_twice_selects_nothing_by_chance() {
        let tee = variants(&[("TEE-L", "Size=L"), ("TEE-M", "Size=M")]);
        let both = Selection::of([("Size", "L"), ("Size", "M")]);
        assert_eq!(tee.choose(&sku("TEE"), &both), Choice::Nothing);
    }
}
