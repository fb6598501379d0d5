//! What was bought: the cart lines, in every spelling that is in use.
//!
//! A cart has `item_numberN`, `quantityN`, `mc_gross_N` (with underscore; the IPN simulator writes
//! `mc_grossN`) and `option_nameK_N`; a single item has the names without a number and
//! `option_nameK` (IPN and PDT variables,
//! developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables). `num_cart_items` is a hint only.

use std::collections::BTreeSet;

use super::super::ReadError;
use super::amount;
use super::fields::Fields;
use crate::event::Line;
use crate::money::Currency;

/// The most options that a line has.
const OPTIONS: u32 = 10;

/// The lines, and what was odd about them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cart {
    /// In the order of their numbers.
    pub(super) lines: Vec<Line>,
    /// Whether a named item has the quantity 0.
    pub(super) zero_quantity: bool,
    /// Whether `num_cart_items` says another number.
    pub(super) count_differs: bool,
}

/// Reads the lines.
pub(super) fn read(fields: &Fields, currency: Option<Currency>) -> Result<Cart, ReadError> {
    let numbers = line_numbers(fields);
    let only_line = numbers.iter().all(|number| *number == 1);
    let mut lines = Vec::new();
    if only_line {
        lines.extend(line(fields, 1, true, currency)?);
    } else {
        refuse_mixed(fields)?;
        for number in numbers {
            lines.extend(line(fields, number, false, currency)?);
        }
    }
    let claimed = fields.text("num_cart_items").map(str::parse::<usize>);
    Ok(Cart {
        zero_quantity: lines.iter().any(|line| line.quantity == 0),
        count_differs: claimed.is_some_and(|claimed| claimed != Ok(lines.len())),
        lines,
    })
}

/// The numbers N for which there is a field of a line.
fn line_numbers(fields: &Fields) -> BTreeSet<u32> {
    const STEMS: [&str; 5] = [
        "item_number",
        "item_name",
        "quantity",
        "mc_gross_",
        "mc_gross",
    ];
    fields
        .iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .filter_map(|(name, _)| {
            let number = STEMS.iter().find_map(|stem| name.strip_prefix(stem))?;
            let plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
            plain.then(|| number.parse().ok()).flatten()
        })
        .collect()
}

/// A cart of several lines has no single item beside it.
fn refuse_mixed(fields: &Fields) -> Result<(), ReadError> {
    match ["item_number", "quantity"]
        .into_iter()
        .find(|name| fields.text(name).is_some())
    {
        Some(name) => Err(ambiguous(name)),
        None => Ok(()),
    }
}

/// Line `number`; `None` when nothing names an item. `single`: the names without a number count too.
fn line(
    fields: &Fields,
    number: u32,
    single: bool,
    currency: Option<Currency>,
) -> Result<Option<Line>, ReadError> {
    let pick = |stem: &str| -> Result<Option<&str>, ReadError> {
        let numbered = fields.text(&format!("{stem}{number}"));
        let plain = fields.text(stem).filter(|_| single);
        one_of(stem, numbered, plain)
    };
    let sku = pick("item_number")?
        .map(str::parse)
        .transpose()
        .map_err(|error: crate::ids::IdError| unreadable("item_number", &error.to_string()))?;
    let name = pick("item_name")?.unwrap_or_default().to_owned();
    let quantity = match pick("quantity")? {
        Some(text) => quantity(text)?,
        None => 1,
    };
    let (underscore, plain) = (format!("mc_gross_{number}"), format!("mc_gross{number}"));
    one_of(&underscore, fields.text(&underscore), fields.text(&plain))?;
    let gross = match amount::money_named(fields, &underscore, currency)? {
        Some(money) => Some(money),
        None => amount::money_named(fields, &plain, currency)?,
    };
    let line = Line {
        sku,
        name,
        quantity,
        gross,
        options: options(fields, number, single)?,
    };
    let named = line.sku.is_some() || !line.name.is_empty() || line.gross.is_some();
    Ok(named.then_some(line))
}

/// Two spellings of one field may both be there if they say the same.
fn one_of<'a>(
    name: &str,
    one: Option<&'a str>,
    other: Option<&'a str>,
) -> Result<Option<&'a str>, ReadError> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(ambiguous(name)),
        (one, other) => Ok(one.or(other)),
    }
}

/// Digits only; no sign, no fraction.
fn quantity(text: &str) -> Result<u32, ReadError> {
    let problem = || unreadable("quantity", "is not a whole number");
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(problem());
    }
    text.parse().map_err(|_: std::num::ParseIntError| problem())
}

/// The options of line `number`, in order.
fn options(fields: &Fields, number: u32, single: bool) -> Result<Vec<(String, String)>, ReadError> {
    let mut options = Vec::new();
    for option in 1..=OPTIONS {
        let pick = |stem: &str| -> Result<String, ReadError> {
            let plain = format!("{stem}{option}");
            let numbered = fields.text(&format!("{plain}_{number}"));
            let unnumbered = fields.text(&plain).filter(|_| single);
            Ok(one_of(&plain, numbered, unnumbered)?
                .unwrap_or_default()
                .to_owned())
        };
        let pair = (pick("option_name")?, pick("option_selection")?);
        if pair != (String::new(), String::new()) {
            options.push(pair);
        }
    }
    Ok(options)
}

fn ambiguous(field: &str) -> ReadError {
    ReadError::Ambiguous {
        field: field.to_owned(),
    }
}

fn unreadable(field: &str, problem: &str) -> ReadError {
    ReadError::Field {
        field: field.to_owned(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cart(body: &str) -> Result<Cart, ReadError> {
        read(&Fields::parse(body.as_bytes()), "EUR".parse().ok())
    }

    fn brief(body: &str) -> Vec<(String, u32, Option<i64>)> {
        let lines = cart(body).unwrap().lines;
        lines
            .into_iter()
            .map(|line| {
                let sku = line.sku.map(String::from).unwrap_or_default();
                (
                    sku,
                    line.quantity,
                    line.gross.map(crate::money::Money::minor),
                )
            })
            .collect()
    }

    fn row(sku: &str, quantity: u32, gross: Option<i64>) -> (String, u32, Option<i64>) {
        (sku.to_owned(), quantity, gross)
    }

    #[test]
    fn a_single_item_has_names_without_a_number() {
        assert_eq!(brief("item_number=A&quantity=2"), [row("A", 2, None)]);
        assert_eq!(brief("item_name=Book&item_number="), [row("", 1, None)]);
        assert_eq!(brief("quantity=1"), []);
    }

    #[test]
    fn a_cart_is_read_in_the_order_of_its_numbers() {
        let body = "item_number10=C&item_number2=B&quantity2=3&mc_gross_2=3.00&item_number1=A\
                    &quantity1=&mc_gross1=1.50&num_cart_items=3&item_number=&mc_gross=9";
        let expected = [
            row("A", 1, Some(150)),
            row("B", 3, Some(300)),
            row("C", 1, None),
        ];
        assert_eq!(brief(body), expected);
    }

    #[test]
    fn a_line_is_found_by_any_of_its_fields_and_only_by_a_plain_number() {
        let body = "item_number1=A&mc_gross2=2.00&mc_gross_3=3.00&item_number04=D&quantityx=1";
        let expected = [
            row("A", 1, None),
            row("", 1, Some(200)),
            row("", 1, Some(300)),
        ];
        assert_eq!(brief(body), expected);
    }

    #[test]
    fn a_single_item_may_be_numbered_one() {
        assert_eq!(
            brief("item_number1=A&item_number=A&quantity=2&mc_gross_1=4.00"),
            [row("A", 2, Some(400))]
        );
    }

    #[test]
    fn spellings_that_disagree_are_ambiguous() {
        for body in [
            "item_number1=A&item_number=B",
            "item_number1=A&mc_gross_1=1&mc_gross1=2",
            "item_number1=A&item_number2=B&item_number=A",
            "item_number1=A&item_number2=B&quantity=2",
            "item_number=A&option_selection1=x&option_selection1_1=y",
        ] {
            assert!(
                matches!(cart(body), Err(ReadError::Ambiguous { .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn a_quantity_that_cannot_be_read_is_an_error() {
        for bad in ["-1", "%2B1", "1.5", "two", "99999999999"] {
            let body = format!("item_number=A&quantity={bad}");
            assert!(matches!(cart(&body), Err(ReadError::Field { .. })), "{bad}");
        }
    }

    #[test]
    fn a_quantity_of_zero_is_kept_and_told() {
        let cart = cart("item_number=A&quantity=0").unwrap();
        assert!(cart.zero_quantity);
        assert_eq!(cart.lines[0].quantity, 0);
    }

    #[test]
    fn the_count_of_items_is_a_hint_only() {
        let body = "item_number1=A&item_number2=B&num_cart_items=";
        assert!(cart(&format!("{body}3")).unwrap().count_differs);
        assert!(cart(&format!("{body}x")).unwrap().count_differs);
        assert!(!cart(&format!("{body}2")).unwrap().count_differs);
        assert!(!cart(body).unwrap().count_differs);
    }

    #[test]
    fn options_are_read_for_single_items_and_for_lines() {
        let single = cart("item_number=A&option_name1=Size&option_selection1=L").unwrap();
        assert_eq!(single.lines[0].options, [("Size".into(), "L".into())]);
        let body = "item_number1=A&item_number2=B&option_name1_2=Size&option_selection1_2=M\
                    &option_selection2_2=red";
        let cart = cart(body).unwrap();
        assert_eq!(cart.lines[0].options, []);
        assert_eq!(
            cart.lines[1].options,
            [("Size".into(), "M".into()), (String::new(), "red".into())]
        );
    }
}
