//! `quittance orders`: what payments are held against.

mod cancel;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use quittance_common::ids::{AccountId, GatewayId, OrderId};
use quittance_common::money::Currency;
use quittance_common::order::link::LinkError;
use quittance_common::order::signature;
use quittance_common::settings::Settings;
use quittance_common::variant::Variants;

use super::{Context, Exit};
use crate::orders::{self, Draft, LineArgument};
use crate::output::{Form, write_json, write_rows};
use crate::wiring::{Books, SettingsMistakes};

/// What can be done with orders.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register an order: a payment that names it as `invoice` or `custom` is held against it.
    Add {
        #[command(flatten)]
        terms: Terms,
        /// Print the payment link too: a URL, and the same as an HTML form.
        #[arg(long)]
        link: bool,
        /// The account that the link pays.
        #[arg(long, value_name = "ID", default_value = "default", requires = "link")]
        account: AccountId,
    },
    /// Every registered order, the payment that settles it, and whether it is cancelled; and those
    /// that are cancelled without being registered.
    List,
    /// One registered or cancelled order: its terms, what settled it, and who cancelled it.
    Show {
        /// The shop's own number.
        id: OrderId,
    },
    /// Cancel an order, registered or only signed: what a pending payment has set aside for it is free again, and
    /// money that comes for it is for a person. A paid order is left as it is (exit code 1).
    Cancel(cancel::Arguments),
    /// Register orders from a CSV file with the head `id,total,currency` and perhaps `lines`
    /// (`SKU=QTY;ITEM[NAME=SELECTION;NAME=SELECTION]=QTY`).
    Import {
        /// The file. Nothing is imported unless every line is right.
        file: PathBuf,
    },
    /// Print the signed `custom` of an order, which needs no registration. With --line, only a
    /// cart of exactly these items is accepted. A variant is signed by its sku: one that is named by
    /// options is looked up in the catalogue.
    Sign(Terms),
}

/// What an order asks for.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// The shop's own number.
    #[arg(long, value_name = "ORDER")]
    id: OrderId,
    /// What is to be paid all in all, such as 19.80.
    #[arg(long, value_name = "AMOUNT")]
    total: String,
    /// ISO 4217, such as EUR.
    #[arg(long)]
    currency: Currency,
    /// What was ordered; may be given several times. A variant is named by its own sku, or by the
    /// item's with the options that select it: `TEE[Size=L;Colour=red]=1`.
    #[arg(long = "line", value_name = "SKU=QTY")]
    lines: Vec<LineArgument>,
}

impl Terms {
    fn draft(self) -> anyhow::Result<Draft> {
        Draft::new(self.id, &self.total, self.currency, &self.lines).map_err(anyhow::Error::msg)
    }
}

pub(crate) async fn run(command: Command, context: Context<'_>) -> anyhow::Result<Exit> {
    let settings = context.settings.load()?;
    let open = async || Books::open(&settings).await;
    match command {
        Command::Add {
            terms, link: false, ..
        } => {
            let draft = terms.draft()?;
            let books = open().await?;
            let order = draft.order(&books.variants(draft.items()).await?)?;
            books.add_orders(&[order]).await?;
        }
        Command::Add { terms, account, .. } => {
            add_linked(context, &settings, &terms.draft()?, &account).await?;
        }
        Command::List => {
            let rows = open().await?.order_list().await?;
            let columns = [
                "id",
                "total",
                "currency",
                "lines",
                "settled_by",
                "cancelled_at",
                "cancelled_by",
            ];
            write_rows(context.out, context.form, &columns, &rows)?;
        }
        Command::Show { id } => {
            let rows = open().await?.order_list().await?;
            cancel::show(&id, rows, context.form, context.out)?;
        }
        Command::Cancel(arguments) => return cancel::cancel(arguments, &settings, context).await,
        Command::Import { file } => {
            let source = std::fs::File::open(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let drafts = orders::read(std::io::BufReader::new(source))?;
            let books = open().await?;
            let variants = books.variants(drafts.iter().flat_map(Draft::items)).await?;
            let orders = orders::orders(&drafts, &variants)?;
            books.add_orders(&orders).await?;
            writeln!(context.out, "imported {} orders", orders.len())?;
        }
        Command::Sign(terms) => {
            let secret = settings
                .orders
                .secrets
                .first()
                .context("no secret to sign with: set orders.secret, or orders.secret_file")?;
            let draft = terms.draft()?;
            // Without options nothing is asked of the database, which may be elsewhere.
            let variants = if draft.has_options() {
                open().await?.variants(draft.items()).await?
            } else {
                Variants::default()
            };
            let custom = signature::sign(&draft.order(&variants)?, secret)?;
            writeln!(context.out, "{custom}")?;
        }
    }
    Ok(Exit::Done)
}

/// Registers the order and prints its link.
async fn add_linked(
    context: Context<'_>,
    settings: &Settings,
    draft: &Draft,
    account: &AccountId,
) -> anyhow::Result<()> {
    if settings.public_url.is_none() {
        // A setting is missing, and trying again does not help.
        return Err(SettingsMistakes(vec![LinkError::PublicUrl.to_string()]).into());
    }
    let account = settings
        .account(GatewayId::PayPal, account)
        .with_context(|| format!("there is no account `{account}`"))?;
    let books = Books::open(settings).await?;
    let order = draft.order(&books.variants(draft.items()).await?)?;
    let link = books.add_linked_order(settings, &order, account).await?;
    match context.form {
        Form::JsonLines => write_json(context.out, &link.linked(&order, account))?,
        Form::Table => write!(context.out, "{}\n\n{}", link.url(), link.form())?,
    }
    Ok(())
}
