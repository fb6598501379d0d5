//! `quittance stock`: what is on hand, and changing it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use quittance_common::ids::Sku;

use super::{Context, Exit};
use crate::catalogue;
use crate::output::{counted, write_rows};
use crate::wiring::Books;

/// What can be asked of the stock.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every product: on hand, reserved, back-ordered.
    List,
    /// Set what is on hand.
    Set {
        /// The product.
        sku: Sku,
        /// How many are there.
        on_hand: u32,
    },
    /// Add or change products from a CSV file with the head `sku,name,price,currency,on_hand`, and
    /// for variants `item_number,options` as well: what the payment names, and what the buyer
    /// chooses to mean this product (`Size=L;Colour=red`). Without these two columns variants stay
    /// as they are; with both blank a product is none.
    Import {
        /// The file. Nothing is imported unless every line is right.
        file: PathBuf,
    },
}

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let open = async || anyhow::Ok(Books::open(&context.settings.load()?).await?);
    match command {
        Command::List => {
            let rows = open().await?.stock().await?;
            let columns = [
                "sku",
                "name",
                "price",
                "currency",
                "on_hand",
                "reserved",
                "backordered",
                "item_number",
                "options",
            ];
            write_rows(context.out, context.form, &columns, &rows)?;
        }
        Command::Set { sku, on_hand } => {
            open().await?.set_stock(&sku, on_hand).await?;
        }
        Command::Import { file } => {
            let source = std::fs::File::open(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let list = catalogue::read(std::io::BufReader::new(source))?;
            open().await?.import_catalogue(&list).await?;
            let imported = counted(list.products.len(), "product");
            writeln!(context.out, "imported {imported}")?;
        }
    }
    Ok(Exit::Done)
}
